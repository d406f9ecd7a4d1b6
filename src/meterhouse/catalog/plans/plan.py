"""A plan version as an immutable value, and its status (catalog sections 3.1 and 3.2)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from meterhouse.catalog.prices import SettlementMode
from meterhouse.catalog.ratecards import RateCard
from meterhouse.kernel.periods import Duration


class PlanStatus(StrEnum):
    """What can be done with a plan version at an instant."""

    DRAFT = "draft"
    ACTIVE = "active"
    ARCHIVED = "archived"
    SCHEDULED = "scheduled"


@dataclass(frozen=True, slots=True)
class PlanPhase:
    """A stretch of a subscription's time with its own prices. `duration` None: until the subscription ends."""

    key: str
    name: str
    description: str | None
    metadata: Mapping[str, str]
    duration: Duration | None
    rate_cards: tuple[RateCard, ...]


@dataclass(frozen=True, slots=True)
class PlanContent:
    """What a client writes when it replaces a draft. None of an optional member keeps what is stored (section 1.4)."""

    name: str
    phases: tuple[PlanPhase, ...]
    description: str | None = None
    metadata: Mapping[str, str] | None = None
    billing_cadence: Duration | None = None
    pro_rating_enabled: bool = True
    settlement_mode: SettlementMode | None = None


@dataclass(frozen=True, slots=True)
class NewPlan:
    """What a client writes to make the next version of a key."""

    key: str
    name: str
    currency: str
    billing_cadence: Duration
    phases: tuple[PlanPhase, ...]
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    pro_rating_enabled: bool = True
    settlement_mode: SettlementMode = SettlementMode.CREDIT_THEN_INVOICE


@dataclass(frozen=True, slots=True)
class Plan:
    """One version of a plan.

    Attributes:
        version: counts from 1 within (namespace, key); a number is never used again.
        effective_from, effective_to: the version is active on [effective_from, effective_to); both None for a draft.
        phases: in order of time; only the last has no duration once the plan is published.
    """

    id: str
    namespace: str
    key: str
    version: int
    name: str
    description: str | None
    metadata: Mapping[str, str]
    currency: str
    billing_cadence: Duration
    pro_rating_enabled: bool
    settlement_mode: SettlementMode
    effective_from: datetime | None
    effective_to: datetime | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    phases: tuple[PlanPhase, ...]

    def with_cards(self, convert: Callable[[PlanPhase, RateCard], RateCard]) -> "Plan":
        """Return the plan with every rate card converted."""
        phases = tuple(
            replace(phase, rate_cards=tuple(convert(phase, card) for card in phase.rate_cards)) for phase in self.phases
        )
        return replace(self, phases=phases)


def status(plan: Plan, at: datetime) -> PlanStatus:
    """Return the status at `at`: half-open, so every instant has exactly one (section 3.1)."""
    if plan.effective_from is None:
        return PlanStatus.DRAFT
    if plan.effective_to is not None and plan.effective_to <= at:
        return PlanStatus.ARCHIVED
    return PlanStatus.SCHEDULED if at < plan.effective_from else PlanStatus.ACTIVE
