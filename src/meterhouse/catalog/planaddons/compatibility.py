"""Whether an add-on can be taken with a plan (catalog section 5.1): pure, in a fixed order. Every issue is a warning.

Rate cards of the add-on are laid over the plan's cards of the same keys, in every phase from the first in which the
add-on can be taken; cards without a counterpart are new.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from datetime import datetime

from meterhouse.catalog import versions
from meterhouse.catalog.addons.addon import Addon, AddonStatus, InstanceType
from meterhouse.catalog.addons.addon import status as addon_status
from meterhouse.catalog.cardrules import effective_cadence, warning
from meterhouse.catalog.planaddons.planaddon import PlanAddon
from meterhouse.catalog.plans.plan import Plan, PlanPhase
from meterhouse.catalog.plans.validation import needs_cost_basis
from meterhouse.catalog.prices import FlatPrice, Price
from meterhouse.catalog.ratecards import (
    EntitlementTemplate,
    MeteredEntitlementTemplate,
    RateCard,
    StaticEntitlementTemplate,
)
from meterhouse.catalog.versions import VersionStatus, card_path
from meterhouse.kernel.errors import Issue
from meterhouse.kernel.money import is_fiat

_ADDON = "$.addon"
_PLAN = "$.plan"


def issues(plan: Plan, assignment: PlanAddon, at: datetime, worth: Collection[str]) -> list[Issue]:
    """Return everything that stands against an assignment at `at`; `worth` as in `currency_issues`."""
    return [
        *_status_issues(plan, assignment.addon, at),
        *_quantity_issues(assignment),
        *_card_issues(plan, assignment),
        *currency_issues(plan, assignment, worth),
    ]


def _status_issues(plan: Plan, addon: Addon, at: datetime) -> Iterator[Issue]:
    code = "plan_addon_incompatible_status"
    if versions.status(plan, at) is VersionStatus.ARCHIVED:
        yield warning(code, "the plan is archived", f"{_PLAN}.status")
    if addon_status(addon, at) is not AddonStatus.ACTIVE or addon.effective_to is not None:
        yield warning(code, "the add-on is not active", f"{_ADDON}.status")


def _quantity_issues(assignment: PlanAddon) -> Iterator[Issue]:
    quantity = assignment.max_quantity
    if quantity is None:
        return
    if assignment.addon.instance_type is InstanceType.SINGLE:
        message = "an add-on that is taken once has no maximum quantity"
        yield warning("plan_addon_max_quantity_must_not_be_set", message, "$.maxQuantity")
    elif quantity <= 0:
        message = "the maximum quantity must be positive, or absent for no limit"
        yield warning("plan_addon_max_quantity_must_be_set", message, "$.maxQuantity")


def _phases(plan: Plan, assignment: PlanAddon) -> tuple[PlanPhase, ...] | None:
    """Return the phases in which the add-on can be taken, None where the first is no phase of the plan."""
    keys = [phase.key for phase in plan.phases]
    if assignment.from_plan_phase not in keys:
        return None
    return plan.phases[keys.index(assignment.from_plan_phase) :]


def _card_issues(plan: Plan, assignment: PlanAddon) -> Iterator[Issue]:
    phases = _phases(plan, assignment)
    if phases is None:
        message = f"the plan has no phase {assignment.from_plan_phase}"
        yield warning("plan_addon_unknown_plan_phase_key", message, "$.fromPlanPhase")
    yield from _alignment_issues(plan, assignment.addon)
    overlays = {card.key: card for card in assignment.addon.rate_cards}
    for phase in phases or ():
        for base in phase.rate_cards:
            if base.key in overlays:
                path = card_path(phase.path.replace("$", _PLAN, 1), base)
                yield from overlay_issues(base, overlays[base.key], path)


def _alignment_issues(plan: Plan, addon: Addon) -> Iterator[Issue]:
    for card in addon.rate_cards:
        cadence = effective_cadence(card)
        if cadence is not None and not cadence.aligns_with(plan.billing_cadence):
            message = f"the billing cadence {cadence} does not align with the plan's {plan.billing_cadence}"
            yield warning("rate_card_billing_cadence_unaligned", message, f"{card_path(_ADDON, card)}.billingCadence")
            return


def overlay_issues(base: RateCard, overlay: RateCard, path: str) -> Iterator[Issue]:
    """Yield where two cards of one key contradict each other; what one of them leaves open is fine.

    `path` is where the card stands that the other is laid over.
    """
    if base.price is not None and overlay.price is not None:
        yield from _price_issues(base.price, overlay.price, path)
    if base.feature_key and overlay.feature_key and base.feature_key != overlay.feature_key:
        yield warning("rate_card_feature_key_mismatch", "the features have different keys", f"{path}.featureKey")
    if base.feature_id and overlay.feature_id and base.feature_id != overlay.feature_id:
        yield warning("rate_card_feature_id_mismatch", "the features are different ones", f"{path}.featureId")
    if base.billing_cadence and overlay.billing_cadence and base.billing_cadence != overlay.billing_cadence:
        message = f"the billing cadences differ: {base.billing_cadence} and {overlay.billing_cadence}"
        yield warning("rate_card_billing_cadence_mismatch", message, f"{path}.billingCadence")
    if base.entitlement_template is not None and overlay.entitlement_template is not None:
        yield from _template_issues(base.entitlement_template, overlay.entitlement_template, path)
    if base.discounts.percentage is not None and overlay.discounts.percentage is not None:
        message = "only one of the two can give a percentage off"
        yield warning("rate_card_percentage_discount_not_allowed", message, f"{path}.discounts.percentage")
    conversions = (base.unit_conversion, overlay.unit_conversion)
    if None not in conversions and conversions[0] != conversions[1]:
        message = "the unit conversions differ"
        yield warning("addon_rate_card_unit_config_mismatch", message, f"{path}.unitConfig")


def _price_issues(base: Price, overlay: Price, path: str) -> Iterator[Issue]:
    if base.type != overlay.type:
        message = f"the prices are of different types, {base.type} and {overlay.type}"
        yield warning("rate_card_price_type_mismatch", message, f"{path}.price.type")
    if not isinstance(base, FlatPrice):
        message = "only a flat price can be added to"
        yield warning("rate_card_only_flat_price_allowed", message, f"{path}.price.type")
    elif not isinstance(overlay, FlatPrice) or base.payment_term is not overlay.payment_term:
        message = "the payment terms differ"
        yield warning("rate_card_price_payment_term_mismatch", message, f"{path}.price.paymentTerm")


def _template_issues(base: EntitlementTemplate, overlay: EntitlementTemplate, path: str) -> Iterator[Issue]:
    path = f"{path}.entitlementTemplate"
    if base.type != overlay.type:
        message = f"the entitlements are of different types, {base.type} and {overlay.type}"
        yield warning("rate_card_entitlement_template_type_mismatch", message, f"{path}.type")
    elif isinstance(base, StaticEntitlementTemplate):
        message = "static entitlements cannot be put together"
        yield warning("rate_card_static_entitlement_template_not_allowed", message, path)
    elif (
        isinstance(base, MeteredEntitlementTemplate)
        and isinstance(overlay, MeteredEntitlementTemplate)
        and base.usage_period != overlay.usage_period
    ):
        code = "rate_card_metered_entitlement_template_usage_period_mismatch"
        yield warning(code, "the usage periods differ", f"{path}.usagePeriod")


def codes_to_be_worth(plan: Plan, addon: Addon) -> set[str]:
    """Return the custom codes that need a cost basis in the plan's fiat for the add-on's prices to be invoiced."""
    return {
        code
        for card in addon.rate_cards
        if card.price is not None
        for code in needs_cost_basis(plan, card.currency or addon.currency)
    }


def currency_issues(plan: Plan, assignment: PlanAddon, worth: Collection[str]) -> list[Issue]:
    """Return which currencies of an add-on the plan cannot have (catalog-extras section 3.5).

    `worth` holds the custom codes that have a cost basis in the plan's fiat now.
    """
    addon = assignment.addon
    found: list[Issue] = []
    second_fiat = is_fiat(plan.currency) and is_fiat(addon.currency) and plan.currency != addon.currency
    if second_fiat:
        message = f"the plan is in {plan.currency}, the add-on in {addon.currency}"
        found.append(warning("plan_multiple_fiat_currencies", message, f"{_ADDON}.currency"))
    priced: defaultdict[str, set[str]] = defaultdict(set)
    for phase in _phases(plan, assignment) or ():
        for base in phase.rate_cards:
            if base.price is not None:
                priced[base.key].add(base.currency or plan.currency)
    for card in addon.rate_cards:
        currency = card.currency or addon.currency
        if card.price is None or (second_fiat and card.currency is None):
            continue
        path = f"{card_path(_ADDON, card)}.currency"
        if others := priced[card.key] - {currency}:
            message = f"the plan's price is in {' and '.join(sorted(others))}, the add-on's in {currency}"
            found.append(warning("plan_addon_currency_mismatch", message, path))
        elif not priced[card.key]:
            found += _new_price_issues(plan, currency, path, worth)
    return found


def _new_price_issues(plan: Plan, currency: str, path: str, worth: Collection[str]) -> Iterator[Issue]:
    if currency == plan.currency:
        return
    if not is_fiat(plan.currency):
        message = f"everything in the plan is in {plan.currency}"
        yield warning("rate_card_currency_override_not_allowed", message, path)
    elif is_fiat(currency):
        message = f"the plan is in {plan.currency}; a second fiat currency is not possible"
        yield warning("plan_multiple_fiat_currencies", message, path)
    elif currency in needs_cost_basis(plan, currency) and currency not in worth:
        message = f"{currency} has no cost basis in {plan.currency} now"
        yield warning("currency_cost_basis_not_found", message, path)
