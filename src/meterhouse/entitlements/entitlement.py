"""Entitlements and grants as values, and what a caller may ask for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from meterhouse.catalog.prices import UnitConversion
from meterhouse.entitlements import burndown
from meterhouse.entitlements.burndown import GrantTerms, Reset
from meterhouse.entitlements.expiration import Expiration
from meterhouse.entitlements.periods import UsagePeriods
from meterhouse.kernel.errors import Forbidden
from meterhouse.kernel.periods import Duration, Period, Recurrence


class EntitlementType(StrEnum):
    """What decides about access: usage, or that the entitlement is there. A static one says how much as JSON text."""

    METERED = "metered"
    STATIC = "static"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True)
class Metered:
    """What a metered entitlement has beside the others.

    Attributes:
        periods: its usage periods, manual resets included.
        resets: manual resets with their own rule for overage, by instant.
        preserve_overage: whether overage survives automatic resets.
        issue_after_reset: amount of the default grant; None or 0: there is none.
        issue_priority: of the default grant, as far as it was given.
        conversion: applied to measured usage before it burns anything; the rounding of invoices is not.
    """

    periods: UsagePeriods
    resets: Mapping[datetime, bool]
    is_soft_limit: bool
    preserve_overage: bool
    issue_after_reset: Decimal | None
    issue_priority: int | None
    conversion: UnitConversion | None

    def reset_at(self, boundary: datetime) -> Reset:
        """Return the reset at a boundary of usage periods."""
        return Reset(boundary, self.resets.get(boundary, self.preserve_overage))


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What one customer may use of one feature in [active_from, active_to).

    Attributes:
        usage_period: as it was set up, whatever resets did to the anchor; None where there is none.
        metered: set exactly for metered ones.
        config: JSON text, set exactly for static ones.
        subscription_id: the subscription that manages it, and alone may change it.
        revision: counts what changed its past.
    """

    id: str
    namespace: str
    type: EntitlementType
    customer_id: str
    feature_id: str
    feature_key: str
    active_from: datetime
    active_to: datetime | None
    metadata: Mapping[str, str]
    annotations: Mapping[str, Any]
    subscription_id: str | None
    usage_period: Recurrence | None
    metered: Metered | None
    config: str | None
    revision: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None

    def active_at(self, at: datetime) -> bool:
        """Tell whether it holds at `at`."""
        gone = self.deleted_at is not None and self.deleted_at <= at
        return not gone and self.active_from <= at and (self.active_to is None or at < self.active_to)

    def current_usage_period(self, at: datetime) -> Period | None:
        """Return the usage period at `at`."""
        if self.metered is not None:
            return self.metered.periods.current(at)
        return None if self.usage_period is None else self.usage_period.period_at(at)

    def require_unmanaged(self) -> None:
        """Refuse what only a subscription may do.

        Raises:
            Forbidden: a subscription manages it.
        """
        if self.subscription_id is not None:
            raise Forbidden(f"entitlement is managed by subscription {self.subscription_id}")


@dataclass(frozen=True, slots=True)
class Grant:
    """An amount that usage burns down; see `burndown.GrantTerms`."""

    id: str
    namespace: str
    entitlement_id: str
    amount: Decimal
    priority: int
    effective_at: datetime
    expiration: Expiration | None
    expires_at: datetime | None
    rollover_min: Decimal
    rollover_max: Decimal
    recurrence: Recurrence | None
    voided_at: datetime | None
    metadata: Mapping[str, str]
    annotations: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None

    def terms(self) -> GrantTerms:
        """Return what the engine needs of it."""
        return GrantTerms(
            id=self.id,
            amount=self.amount,
            priority=self.priority,
            effective_at=self.effective_at,
            expires_at=self.expires_at,
            ends_at=burndown.ends_at(self.expires_at, self.voided_at, self.deleted_at),
            rollover_min=self.rollover_min,
            rollover_max=self.rollover_max,
            recurrence=self.recurrence,
            created_at=self.created_at,
        )

    def next_recurrence(self, at: datetime) -> datetime | None:
        """Return the first recurrence that is not before `at`, whether or not it still has an effect."""
        if self.recurrence is None:
            return None
        n = self.recurrence.index_at(at)
        occurrence = self.recurrence.occurrence(n)
        return occurrence if occurrence == at else self.recurrence.occurrence(n + 1)


class MeasureFrom(StrEnum):
    """Words for since when usage is measured."""

    NOW = "NOW"
    CURRENT_PERIOD_START = "CURRENT_PERIOD_START"


@dataclass(frozen=True, slots=True)
class NewRecurrence:
    """How often something recurs; without an anchor it is counted from the most natural instant."""

    interval: Duration
    anchor: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewGrant:
    """What a grant is created from; `rollover_max` None means its amount."""

    amount: Decimal
    effective_at: datetime
    priority: int = 0
    expiration: Expiration | None = None
    rollover_min: Decimal = Decimal(0)
    rollover_max: Decimal | None = None
    recurrence: NewRecurrence | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewEntitlement:
    """What an entitlement is created from. What a type does not have must be left at its default.

    Attributes:
        feature_id, feature_key: one is enough; the id wins.
        measure_usage_from: None means now.
        grants: to create with it.
    """

    type: EntitlementType
    feature_id: str | None = None
    feature_key: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    usage_period: NewRecurrence | None = None
    measure_usage_from: datetime | MeasureFrom | None = None
    is_soft_limit: bool | None = None
    preserve_overage: bool | None = None
    issue_after_reset: Decimal | None = None
    issue_priority: int | None = None
    config: str | None = None
    grants: Sequence[NewGrant] = ()
