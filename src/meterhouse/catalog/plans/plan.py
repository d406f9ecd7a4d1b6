"""A plan version as an immutable value (catalog section 3)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from meterhouse.catalog.prices import SettlementMode
from meterhouse.catalog.ratecards import RateCard
from meterhouse.catalog.versions import Version
from meterhouse.kernel.periods import Duration


@dataclass(frozen=True, slots=True)
class PlanPhase:
    """A stretch of a subscription's time with its own prices. `duration` None: until the subscription ends."""

    key: str
    name: str
    description: str | None
    metadata: Mapping[str, str]
    duration: Duration | None
    rate_cards: tuple[RateCard, ...]

    @property
    def path(self) -> str:
        """Return where the phase stands in its plan."""
        return f"$.phases[?(@.key=='{self.key}')]"


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
class Plan(Version):
    """One version of a plan.

    Attributes:
        phases: in order of time; only the last has no duration once the plan is published.
    """

    billing_cadence: Duration
    pro_rating_enabled: bool
    settlement_mode: SettlementMode
    phases: tuple[PlanPhase, ...]

    def decks(self) -> Sequence[tuple[str, Sequence[RateCard]]]:
        """Return the rate cards by phase, each with the path of the phase."""
        return [(phase.path, phase.rate_cards) for phase in self.phases]

    def with_cards(self, convert: Callable[[str, RateCard], RateCard]) -> "Plan":
        """Return the plan with every rate card converted."""
        phases = tuple(
            replace(phase, rate_cards=tuple(convert(phase.path, card) for card in phase.rate_cards))
            for phase in self.phases
        )
        return replace(self, phases=phases)
