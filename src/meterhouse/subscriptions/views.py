"""A stored subscription as an immutable value: what billing, the wire and tests read.

All intervals are half-open and already clipped: a phase to its neighbours and the subscription's end, an item version
to its phase. `active_to` None means open-ended. Terms: subscriptions sections 1 and 3.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from meterhouse.catalog.prices import SettlementMode
from meterhouse.catalog.ratecards import RateCard
from meterhouse.kernel.periods import Duration, Recurrence

# Annotations: which subscription took the place of which.
PREVIOUS = "subscription.previous.id"
SUPERSEDING = "subscription.superseding.id"


class CostBasisMode(StrEnum):
    """What a unit of a custom currency is worth to a subscription: what it is worth then, or when it was sold."""

    DYNAMIC = "dynamic"
    PINNED = "pinned"


@dataclass(frozen=True, slots=True)
class ItemVersion:
    """One version of an item: the rate card that holds from `active_from` to `active_to`.

    `version` is the index in time order among the versions of one key in one phase, from 0; with phase key and item key
    it is the stable identity (`id` is the row's and may change when the schedule is edited).

    Attributes:
        active_from_override, active_to_override: what is stored of the interval: distances from the phase's start, None
            where the phase's own bound holds.
    """

    id: str
    key: str
    version: int
    rate_card: RateCard
    active_from: datetime
    active_to: datetime | None
    active_from_override: Duration | None = None
    active_to_override: Duration | None = None
    annotations: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PhaseView:
    """One phase with its item versions, ordered by key, then version. `sort_hint` orders phases that start together."""

    id: str
    key: str
    name: str
    description: str | None
    active_from: datetime
    active_to: datetime | None
    items: tuple[ItemVersion, ...]
    metadata: dict[str, str] = field(default_factory=dict)
    sort_hint: int = 0


@dataclass(frozen=True, slots=True)
class PlanReference:
    """The plan version that a subscription was made from."""

    id: str
    key: str
    version: int


@dataclass(frozen=True, slots=True)
class SubscriptionView:
    """A subscription with its whole schedule, phases in order of time. The status is derived, never stored."""

    id: str
    namespace: str
    customer_id: str
    plan: PlanReference | None
    name: str
    description: str | None
    metadata: dict[str, str]
    currency: str
    settlement_mode: SettlementMode
    pro_rating_enabled: bool
    billing_cadence: Duration
    billing_anchor: datetime
    active_from: datetime
    active_to: datetime | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    phases: tuple[PhaseView, ...]
    annotations: Mapping[str, Any] = field(default_factory=dict)
    cost_basis_mode: CostBasisMode = CostBasisMode.DYNAMIC

    def recurrence(self, cadence: Duration | None = None) -> Recurrence:
        """Return the recurrence of `cadence` (default: the billing cadence) from the billing anchor."""
        return Recurrence(cadence or self.billing_cadence, self.billing_anchor)
