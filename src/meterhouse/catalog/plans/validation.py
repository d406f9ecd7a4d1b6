"""Which plans make sense (catalog sections 3.5 to 3.7 and 7): pure, in a fixed order."""

from collections.abc import Collection, Iterator, Sequence

from meterhouse.catalog.cardrules import at_least_an_hour, effective_cadence, warning
from meterhouse.catalog.plans.plan import Plan, PlanPhase
from meterhouse.catalog.prices import SettlementMode
from meterhouse.catalog.versions.rules import deck_issues, unknown_currency
from meterhouse.catalog.versions.version import card_path
from meterhouse.kernel.errors import Issue
from meterhouse.kernel.money import is_fiat

BILLING_CADENCES = ("P1W", "P2W", "P4W", "P1M", "P3M", "P6M", "P12M", "P1Y")


def plan_issues(plan: Plan, custom: Collection[str] = ()) -> list[Issue]:
    """Return everything that can be said about a plan by itself; `custom` holds the custom currencies that exist."""
    return [
        *_meta_issues(plan, custom),
        *_phase_list_issues(plan.phases),
        *(issue for phase in plan.phases for issue in _phase_issues(phase, plan.currency, custom)),
        *_alignment_issues(plan),
    ]


def _meta_issues(plan: Plan, custom: Collection[str]) -> Iterator[Issue]:
    if not plan.key:
        yield Issue("resource_key_empty", "the key must not be empty", "$.key")
    if not plan.name:
        yield Issue("resource_name_empty", "the name must not be empty", "$.name")
    yield from unknown_currency(plan.currency, "$.currency", custom)
    if str(plan.billing_cadence) not in BILLING_CADENCES:
        message = f"the billing cadence must be one of {', '.join(BILLING_CADENCES)}"
        yield Issue("plan_billing_cadence_invalid", message, "$.billingCadence")


def _phase_list_issues(phases: Sequence[PlanPhase]) -> Iterator[Issue]:
    if not phases:
        yield warning("plan_with_no_phases", "a plan needs at least one phase", "$.phases")
    seen: set[str] = set()
    for index, phase in enumerate(phases):
        path = phase.path
        if phase.key in seen:
            message = f"two phases have the key {phase.key}"
            # The doubled segment is the wire's own.
            yield Issue("plan_phase_duplicated_key", message, f"{path}.key.key")
        seen.add(phase.key)
        last = index == len(phases) - 1
        if phase.duration is None and not last:
            message = "every phase but the last needs a duration"
            yield warning("plan_has_non_last_phase_with_no_duration", message, f"{path}.duration")
        if phase.duration is not None and last:
            message = "the last phase must not have a duration"
            yield warning("plan_has_last_phase_with_duration", message, f"{path}.duration")


def _phase_issues(phase: PlanPhase, currency: str, custom: Collection[str]) -> Iterator[Issue]:
    path = phase.path
    if not phase.key:
        yield Issue("resource_key_empty", "the key of a phase must not be empty", f"{path}.key")
    if not phase.name:
        yield Issue("resource_name_empty", "the name of a phase must not be empty", f"{path}.name")
    if phase.duration is not None and not phase.duration.is_positive():
        message = "the duration of a phase must be positive"
        yield warning("plan_phase_with_negative_duration", message, f"{path}.duration")
    if phase.duration is not None and not at_least_an_hour(phase.duration):
        message = "the duration of a phase must be at least an hour"
        yield warning("plan_phase_duration_less_then_an_hour", message, f"{path}.duration")
    if not phase.rate_cards:
        yield warning("plan_phase_has_no_rate_cards", "a phase needs at least one rate card", f"{path}.rateCards")
    yield from deck_issues(path, phase.rate_cards, currency, custom)


def _alignment_issues(plan: Plan) -> Iterator[Issue]:
    for holder, card in plan.placed_cards():
        cadence = effective_cadence(card)
        if card.price is None or cadence is None or cadence.aligns_with(plan.billing_cadence):
            continue
        message = f"the billing cadence {cadence} does not align with the plan's {plan.billing_cadence}"
        yield warning("rate_card_billing_cadence_unaligned", message, f"{card_path(holder, card)}.billingCadence")


def cost_basis_issues(plan: Plan, worth: Collection[str]) -> list[Issue]:
    """Return which prices could not be invoiced; `worth` has the custom codes with a cost basis in the plan's fiat.

    Cards paid by credits alone need none, and neither does a plan that is in a custom currency as a whole
    (catalog-extras section 3.5).
    """
    return [
        warning(
            "currency_cost_basis_not_found",
            f"{code} has no cost basis in {plan.currency} now",
            f"{card_path(holder, card)}.currency",
        )
        for holder, card in plan.placed_cards()
        for code in needs_cost_basis(plan, card.currency)
        if card.price is not None and code not in worth
    ]


def needs_cost_basis(plan: Plan, currency: str | None) -> tuple[str, ...]:
    """Return the code if prices in it have to be turned into the plan's fiat to be paid, else nothing."""
    if currency is None or is_fiat(currency) or not is_fiat(plan.currency):
        return ()
    return () if plan.settlement_mode is SettlementMode.CREDIT_ONLY else (currency,)
