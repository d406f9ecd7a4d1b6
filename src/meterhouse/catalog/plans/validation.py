"""Which plans make sense (catalog sections 1.1, 3.5 to 3.7 and 7): pure, in a fixed order.

Paths keep the wire's spelling: rules of one card stand under `ratecards`, rules that compare cards with the plan or
with features under `rateCards`.
"""

from collections.abc import Iterator, Mapping, Sequence

from meterhouse.catalog.cardrules import at_least_an_hour, effective_cadence, rate_card_issues, warning
from meterhouse.catalog.features import Feature
from meterhouse.catalog.plans.plan import Plan, PlanPhase
from meterhouse.catalog.prices import FlatPrice
from meterhouse.catalog.ratecards import RateCard
from meterhouse.catalog.versions import card_path
from meterhouse.kernel.errors import InvalidInput, Issue, Severity
from meterhouse.kernel.money import is_fiat

BILLING_CADENCES = ("P1W", "P2W", "P4W", "P1M", "P3M", "P6M", "P12M", "P1Y")
_FIAT_CODE_LENGTH = 3  # a code of another length names a custom currency


class InvalidPlan(InvalidInput):
    """The plan has issues that block the request."""

    prefix = ""


def block(issues: Sequence[Issue], *, critical_only: bool) -> None:
    """Refuse the request for its issues; saving a draft is refused for the critical ones only (section 1.1).

    Raises:
        InvalidPlan: there are such issues; it lists them.
    """
    blocking = [issue for issue in issues if not critical_only or issue.severity is Severity.CRITICAL]
    if blocking:
        raise InvalidPlan("invalid plan", issues=blocking)


def plan_issues(plan: Plan) -> list[Issue]:
    """Return everything that can be said about a plan without looking anything up."""
    return [
        *_meta_issues(plan),
        *_phase_list_issues(plan.phases),
        *(issue for phase in plan.phases for issue in _phase_issues(phase)),
        *_alignment_issues(plan),
        *_currency_issues(plan),
    ]


def _meta_issues(plan: Plan) -> Iterator[Issue]:
    if not plan.key:
        yield Issue("resource_key_empty", "the key must not be empty", "$.key")
    if not plan.name:
        yield Issue("resource_name_empty", "the name must not be empty", "$.name")
    yield from _unknown_currency(plan.currency, "$.currency")
    if str(plan.billing_cadence) not in BILLING_CADENCES:
        message = f"the billing cadence must be one of {', '.join(BILLING_CADENCES)}"
        yield Issue("plan_billing_cadence_invalid", message, "$.billingCadence")


def _unknown_currency(code: str, path: str) -> Iterator[Issue]:
    if is_fiat(code):
        return
    if len(code) <= _FIAT_CODE_LENGTH:
        yield Issue("currency_invalid", f"invalid currency: {code}", path)
    else:
        yield Issue("currency_not_found", f"currency not found: {code}", path)


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


def _phase_issues(phase: PlanPhase) -> Iterator[Issue]:
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
    seen: set[str] = set()
    for card in phase.rate_cards:
        at = card_path(phase.path, card, "ratecards")
        if card.key in seen:
            message = f"two rate cards of the phase have the key {card.key}"
            yield Issue("rate_card_duplicated_key", message, f"{at}.key")
        seen.add(card.key)
        yield from rate_card_issues(card, at)


def _alignment_issues(plan: Plan) -> Iterator[Issue]:
    for phase in plan.phases:
        for card in phase.rate_cards:
            cadence = effective_cadence(card)
            if card.price is None or cadence is None or cadence.aligns_with(plan.billing_cadence):
                continue
            message = f"the billing cadence {cadence} does not align with the plan's {plan.billing_cadence}"
            path = f"{card_path(phase.path, card)}.billingCadence"
            yield warning("rate_card_billing_cadence_unaligned", message, path)


def _currency_issues(plan: Plan) -> Iterator[Issue]:
    for phase in plan.phases:
        for card in phase.rate_cards:
            if card.currency is not None:
                yield from _override_issues(plan, card, card.currency, f"{card_path(phase.path, card)}.currency")


def _override_issues(plan: Plan, card: RateCard, currency: str, path: str) -> Iterator[Issue]:
    unknown = list(_unknown_currency(currency, path))
    yield from unknown
    if card.price is None:
        # Critical, although listed as a warning elsewhere: such a card must not be stored.
        message = "a free rate card has no currency"
        yield Issue("rate_card_currency_requires_price", message, path)
    elif currency == plan.currency:
        yield warning("rate_card_currency_override_redundant", "the currency is the plan's already", path)
    elif not unknown:
        message = f"the plan is in {plan.currency}; a second fiat currency is not possible"
        yield warning("plan_multiple_fiat_currencies", message, path)


def feature_issues(plan: Plan, features: Mapping[str, Feature]) -> list[Issue]:
    """Return what stands against the plan's features now; `features` by id holds those that exist (section 3.4)."""
    issues: list[Issue] = []
    for holder, card in plan.placed_cards():
        if card.feature_id is not None:
            path = f"{card_path(holder, card)}.featureKey"
            issues += _feature_issues(card, features.get(card.feature_id), path)
    return issues


def _feature_issues(card: RateCard, feature: Feature | None, path: str) -> Iterator[Issue]:
    if feature is None:
        yield Issue("rate_card_feature_not_found", f"feature not found: {card.feature_key}", path)
    elif feature.archived_at is not None:
        yield Issue("rate_card_feature_archived", f"the feature {feature.key} is archived", path)
    elif feature.meter_id is None and card.price is not None and not isinstance(card.price, FlatPrice):
        message = f"the feature {feature.key} has no meter, so its usage has no price"
        yield warning("usage_based_price_with_feature_and_no_meter", message, path)


def with_features(plan: Plan, features: Sequence[Feature]) -> Plan:
    """Return the plan with id and key of every named feature filled in; `features` are the live ones (section 2.5).

    Raises:
        InvalidPlan: a name matches no live feature, or id and key name different ones.
    """
    by_id = {feature.id: feature for feature in features}
    by_key = {feature.key: feature for feature in features}
    issues: list[Issue] = []

    def resolved(holder: str, card: RateCard) -> RateCard:
        given = [by_id.get(card.feature_id)] if card.feature_id is not None else []
        given += [by_key.get(card.feature_key)] if card.feature_key is not None else []
        if not given:
            return card
        path = f"{card_path(holder, card)}.featureKey"
        first, last = given[0], given[-1]
        if first is None or last is None:
            named = card.feature_key or card.feature_id
            issues.append(Issue("rate_card_feature_not_found", f"feature not found: {named}", path))
            return card
        if first.id != last.id:
            message = f"feature {card.feature_id} has not the key {card.feature_key}"
            issues.append(Issue("rate_card_feature_mismatch", message, path))
            return card
        return card.model_copy(update={"feature_id": first.id, "feature_key": first.key})

    resolved_plan = plan.with_cards(resolved)
    block(issues, critical_only=False)
    return resolved_plan
