"""The schedule that a subscription wants to have: the input of validation, and what the rows store.

Terms: subscriptions sections 1 and 3. Intervals are derived by `timeline`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from meterhouse.catalog.plans.plan import Plan, PlanPhase
from meterhouse.catalog.prices import Discounts
from meterhouse.catalog.ratecards import BooleanEntitlementTemplate, RateCard
from meterhouse.kernel.errors import invalid
from meterhouse.kernel.periods import Duration
from meterhouse.subscriptions.views import PhaseView, SubscriptionView

OWNER = "subscription.owner"
BOOLEAN_COUNT = "subscription.entitlement.boolean.count"
# Tells what one edit sold from what another did, and from what the plan did.
PATCH_ID = "subscription.workflow.patchid"


@dataclass(frozen=True, slots=True)
class ItemSpec:
    """One version of an item.

    Attributes:
        active_from_override, active_to_override: distances from the phase's start; None means the phase's own bound.
    """

    key: str
    rate_card: RateCard
    active_from_override: Duration | None = None
    active_to_override: Duration | None = None
    annotations: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PhaseSpec:
    """A phase and, by item key, the versions of its items in order of time.

    Attributes:
        sort_hint: order among phases that start together, which happens when some last no time.
    """

    key: str
    name: str
    description: str | None
    metadata: Mapping[str, str]
    active_from: datetime
    sort_hint: int
    items: Mapping[str, tuple[ItemSpec, ...]]


@dataclass(frozen=True, slots=True)
class SubscriptionSpec:
    """A whole schedule, phases in order of time."""

    currency: str
    billing_cadence: Duration
    billing_anchor: datetime
    active_from: datetime
    phases: tuple[PhaseSpec, ...]

    def has_priced_items(self) -> bool:
        """Tell whether any item has a price."""
        return any(
            version.rate_card.is_billable()
            for phase in self.phases
            for versions in phase.items.values()
            for version in versions
        )


def sold_item(card: RateCard, currency: str) -> ItemSpec:
    """Return the version of an item that a plan or a customer's own wish makes of a rate card, for a whole phase."""
    annotations: dict[str, Any] = {OWNER: ["subscription"]}
    if isinstance(card.entitlement_template, BooleanEntitlementTemplate):
        annotations[BOOLEAN_COUNT] = 1
    if card.is_billable():
        card = card.model_copy(update={"currency": card.currency or currency})
    return ItemSpec(card.key, card, annotations=annotations)


def _durations(plan: Plan, starting_phase: str | None) -> list[Duration | None]:
    """Return how long each phase lasts; those before the starting phase last no time (section 4.4)."""
    durations = [phase.duration for phase in plan.phases]
    if starting_phase is None:
        return durations
    keys = [phase.key for phase in plan.phases]
    if starting_phase not in keys:
        raise invalid(f"the plan has no phase {starting_phase}", field="$.starting_phase")
    skipped = keys.index(starting_phase)
    return [Duration()] * skipped + durations[skipped:]


def from_plan(
    plan: Plan,
    *,
    active_from: datetime,
    billing_anchor: datetime,
    starting_phase: str | None = None,
    starting_phase_ends: datetime | None = None,
    starting_phase_began: bool = False,
) -> SubscriptionSpec:
    """Lay a plan out in time.

    Offsets are the sum of the durations before, part by part, added to the start once, so that month ends do not drift
    (section 3). A phase without duration is the last that is reached.

    Args:
        starting_phase: the phases before it last no time.
        starting_phase_ends: when the starting phase ends, if it ever does, instead of after its duration.
        starting_phase_began: it began before, in another subscription, which owed what its beginning costs once.

    Raises:
        InvalidInput: the plan has no phase of that key, or reaches beyond the calendar.
    """
    counted_from, offset = active_from, Duration()
    phases = []
    for hint, (phase, duration) in enumerate(zip(plan.phases, _durations(plan, starting_phase), strict=True)):
        try:
            start = offset.add_to(counted_from)
        except (OverflowError, ValueError):
            message = f"phase {phase.key} would start after the end of the calendar"
            raise invalid(message, field="$.plan") from None
        if starting_phase_began and phase.key == starting_phase:
            phase = replace(phase, rate_cards=tuple(_without_one_time_fee(card) for card in phase.rate_cards))
        phases.append(_phase(phase, start, hint, plan.currency))
        if starting_phase_ends is not None and duration is not None and phase.key == starting_phase:
            counted_from, offset = starting_phase_ends, Duration()
        else:
            offset = offset + (duration or Duration())
    return SubscriptionSpec(plan.currency, plan.billing_cadence, billing_anchor, active_from, tuple(phases))


def _without_one_time_fee(card: RateCard) -> RateCard:
    if card.billing_cadence is not None or card.price is None:
        return card
    return card.model_copy(update={"price": None, "discounts": Discounts()})


def _phase(phase: PlanPhase, active_from: datetime, hint: int, currency: str) -> PhaseSpec:
    items = {card.key: (sold_item(card, currency),) for card in phase.rate_cards}
    return PhaseSpec(phase.key, phase.name, phase.description, phase.metadata, active_from, hint, items)


def of_view(view: SubscriptionView) -> SubscriptionSpec:
    """Return the schedule that a stored subscription has; its end is no part of it."""
    return SubscriptionSpec(
        view.currency,
        view.billing_cadence,
        view.billing_anchor,
        view.active_from,
        tuple(_phase_of(phase) for phase in view.phases),
    )


def _phase_of(phase: PhaseView) -> PhaseSpec:
    items: dict[str, tuple[ItemSpec, ...]] = {}
    for item in phase.items:
        version = ItemSpec(
            item.key, item.rate_card, item.active_from_override, item.active_to_override, item.annotations
        )
        items[item.key] = (*items.get(item.key, ()), version)
    return PhaseSpec(
        phase.key, phase.name, phase.description, phase.metadata, phase.active_from, phase.sort_hint, items
    )
