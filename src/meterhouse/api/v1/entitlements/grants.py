"""Grants as v1 and v2 write them."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import Field

from meterhouse.api.v1.entitlements.parts import (
    Amount,
    ExpirationPeriod,
    Priority,
    RecurringPeriod,
    RecurringPeriodCreateInput,
)
from meterhouse.api.wire import Instant, JSONNumber, Opt, Ulid, V1Model
from meterhouse.entitlements.entitlement import Grant, NewGrant
from meterhouse.entitlements.expiration import Expiration, ExpirationUnit
from meterhouse.kernel import clock

# What v1 shows of a grant that never expires: its documents want an expiration of every grant.
_FOREVER = Expiration(100, ExpirationUnit.YEAR)


class _GrantInput(V1Model):
    amount: Amount = Field(description="More than 0.")
    priority: Opt[Priority] = Field(None, description="Grants of a lower number are used first; 0 when absent.")
    effective_at: Instant = Field(description="When it begins; cut to the minute.")
    min_rollover_amount: JSONNumber = Field(Decimal(0), description="What a reset leaves at least.")
    metadata: Opt[dict[str, str]] = None
    recurrence: Opt[RecurringPeriodCreateInput] = Field(None, description="When it is filled up again.")

    def _new(self, **members: Any) -> NewGrant:
        return NewGrant(
            amount=self.amount,
            priority=self.priority or 0,
            effective_at=self.effective_at,
            rollover_min=self.min_rollover_amount,
            recurrence=None if self.recurrence is None else self.recurrence.to_value(),
            metadata=self.metadata or {},
            **members,
        )


class EntitlementGrantCreateInput(_GrantInput):
    """A grant to add."""

    expiration: ExpirationPeriod
    max_rollover_amount: JSONNumber = Field(Decimal(0), description="What a reset leaves at most.")

    def to_value(self) -> NewGrant:
        """Read the grant."""
        return self._new(expiration=self.expiration.to_value(), rollover_max=self.max_rollover_amount)


class EntitlementGrantCreateInputV2(_GrantInput):
    """A grant to add."""

    max_rollover_amount: Opt[JSONNumber] = Field(
        None, description="What a reset leaves at most; the amount when absent."
    )
    expiration: Opt[ExpirationPeriod] = Field(None, description="Without, it never expires.")
    annotations: Opt[dict[str, Any]] = None

    def to_value(self) -> NewGrant:
        """Read the grant."""
        return self._new(
            expiration=self.expiration and self.expiration.to_value(),
            rollover_max=self.max_rollover_amount,
            annotations=self.annotations or {},
        )


class _GrantOutput(V1Model):
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    amount: JSONNumber
    priority: int = Field(description="Grants of a lower number are used first.")
    effective_at: Instant
    min_rollover_amount: JSONNumber
    max_rollover_amount: JSONNumber
    metadata: Opt[dict[str, str]] = None
    id: Ulid
    entitlement_id: str
    next_recurrence: Opt[Instant] = None
    expires_at: Opt[Instant] = None
    voided_at: Opt[Instant] = None
    recurrence: Opt[RecurringPeriod] = None
    annotations: Opt[dict[str, Any]] = None


def _members(grant: Grant, now: datetime) -> dict[str, Any]:
    return {
        "created_at": grant.created_at,
        "updated_at": grant.updated_at,
        "deleted_at": grant.deleted_at,
        "amount": grant.amount,
        "priority": grant.priority,
        "effective_at": grant.effective_at,
        "min_rollover_amount": grant.rollover_min,
        "max_rollover_amount": grant.rollover_max,
        "metadata": dict(grant.metadata) or None,
        "id": grant.id,
        "entitlement_id": grant.entitlement_id,
        "next_recurrence": grant.next_recurrence(now),
        "voided_at": grant.voided_at,
        "recurrence": grant.recurrence and RecurringPeriod.of(grant.recurrence),
        "annotations": dict(grant.annotations) or None,
    }


def _expiration(expiration: Expiration) -> ExpirationPeriod:
    return ExpirationPeriod(duration=expiration.unit, count=expiration.count)


class EntitlementGrant(_GrantOutput):
    """A grant."""

    expiration: ExpirationPeriod = Field(description="A hundred years of one that never expires.")

    @classmethod
    def of(cls, grant: Grant) -> "EntitlementGrant":
        """Show a grant."""
        now = clock.now()
        return cls(
            **_members(grant, now),
            expiration=_expiration(grant.expiration or _FOREVER),
            expires_at=grant.expires_at or _FOREVER.after(now),
        )


class EntitlementGrantV2(_GrantOutput):
    """A grant."""

    expiration: Opt[ExpirationPeriod] = None

    @classmethod
    def of(cls, grant: Grant) -> "EntitlementGrantV2":
        """Show a grant."""
        expiration = grant.expiration and _expiration(grant.expiration)
        return cls(**_members(grant, clock.now()), expiration=expiration, expires_at=grant.expires_at)
