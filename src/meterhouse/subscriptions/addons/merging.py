"""Adding what an add-on gives to what an item has (subscriptions section 12.3). Pure.

Taking it away again is never computed: the schedule without add-ons is kept, and the add-ons are laid over it anew.
"""

from collections.abc import Iterator
from typing import Any

from meterhouse.catalog.prices import Discounts, FlatPrice, Price, UsageDiscount
from meterhouse.catalog.ratecards import (
    BooleanEntitlementTemplate,
    EntitlementTemplate,
    MeteredEntitlementTemplate,
    RateCard,
    StaticEntitlementTemplate,
)
from meterhouse.kernel.errors import Issue
from meterhouse.kernel.money import total
from meterhouse.kernel.precision import exact

Fault = tuple[str, str, str]  # code, field and message


class Unmergeable(Exception):
    """The rate card of an add-on cannot be added to an item; the issues say why, with fields relative to the card."""

    def __init__(self, issues: list[Issue]) -> None:
        super().__init__("; ".join(issue.message for issue in issues))
        self.issues = issues


@exact
def times(card: RateCard, quantity: int) -> RateCard:
    """Return what a rate card gives `quantity` times over: amounts multiply, shares and access stay what they are.

    Raises:
        Unmergeable: several of a price that is not flat.
    """
    if quantity == 1:
        return card
    price, template, usage = card.price, card.entitlement_template, card.discounts.usage
    if isinstance(price, FlatPrice):
        price = price.model_copy(update={"amount": price.amount * quantity})
    elif price is not None:
        message = f"{card.key} has a price by usage, which cannot be taken {quantity} times"
        raise Unmergeable([Issue("rate_card_only_flat_price_allowed", message, "price")])
    if isinstance(template, MeteredEntitlementTemplate) and template.issue_after_reset is not None:
        template = template.model_copy(update={"issue_after_reset": template.issue_after_reset * quantity})
    if usage is not None:
        usage = usage.model_copy(update={"quantity": usage.quantity * quantity})
    discounts = card.discounts.model_copy(update={"usage": usage})
    return card.model_copy(update={"price": price, "entitlement_template": template, "discounts": discounts})


@exact
def merged(target: RateCard, addition: RateCard) -> RateCard:
    """Return the card of an item with a card of the same key added.

    Name, description, metadata and tax stay the item's. A price that the item did not have comes with all that belongs
    to it: kind, cadence, currency, unit conversion and discounts.

    Raises:
        Unmergeable: the two do not fit.
    """
    refuse(target, addition)
    changes: dict[str, Any] = {
        "discounts": _discounts(target.discounts, addition.discounts),
        "entitlement_template": _template(target.entitlement_template, addition.entitlement_template),
    }
    if target.feature_key is None:
        changes |= {"feature_key": addition.feature_key, "feature_id": addition.feature_id}
    if target.price is None and addition.price is not None:
        of_price = ("price", "kind", "billing_cadence", "currency", "unit_conversion")
        changes |= {name: getattr(addition, name) for name in of_price}
        changes["discounts"] = changes["discounts"].model_copy(update={"percentage": addition.discounts.percentage})
    elif addition.price is not None:
        changes["price"] = _sum(target.price, addition.price)
    return target.model_copy(update=changes)


def _sum(price: Price | None, addition: Price) -> Price:
    # `refuse` lets nothing else pass.
    assert isinstance(price, FlatPrice)
    assert isinstance(addition, FlatPrice)
    return price.model_copy(update={"amount": price.amount + addition.amount})


def _discounts(target: Discounts, addition: Discounts) -> Discounts:
    if addition.usage is None:
        return target
    if target.usage is None:
        return target.model_copy(update={"usage": addition.usage})
    usage = UsageDiscount(
        quantity=target.usage.quantity + addition.usage.quantity, correlation_id=target.usage.correlation_id
    )
    return target.model_copy(update={"usage": usage})


def _template(target: EntitlementTemplate | None, addition: EntitlementTemplate | None) -> EntitlementTemplate | None:
    if target is None or addition is None:
        return target or addition
    if isinstance(target, MeteredEntitlementTemplate) and isinstance(addition, MeteredEntitlementTemplate):
        issued = [one for one in (target.issue_after_reset, addition.issue_after_reset) if one is not None]
        return target.model_copy(update={"issue_after_reset": total(issued) if issued else None})
    assert isinstance(target, BooleanEntitlementTemplate)  # `refuse` lets nothing else pass
    return target


def refuse(target: RateCard, addition: RateCard) -> None:
    """Check that two rate cards of one key can be added up.

    Raises:
        Unmergeable: they cannot.
    """
    faults = [*_price_faults(target, addition), *_template_faults(target, addition), *_other_faults(target, addition)]
    if faults:
        raise Unmergeable([Issue(code, f"{target.key}: {message}", field) for code, field, message in faults])


def _price_faults(target: RateCard, addition: RateCard) -> Iterator[Fault]:
    one, other = target.price, addition.price
    if one is None or other is None:
        return
    if one.type != other.type:
        yield "rate_card_price_type_mismatch", "price", f"a {other.type} price cannot be added to a {one.type} price"
    elif not isinstance(one, FlatPrice):
        yield "rate_card_only_flat_price_allowed", "price", "only flat prices can be added up"
    elif isinstance(other, FlatPrice) and one.payment_term != other.payment_term:
        message = f"a price {other.payment_term} cannot be added to one {one.payment_term}"
        yield "rate_card_price_payment_term_mismatch", "price", message
    if target.currency != addition.currency:
        message = f"a price in {addition.currency} cannot be added to one in {target.currency}"
        yield "plan_addon_currency_mismatch", "currency", message


def _template_faults(target: RateCard, addition: RateCard) -> Iterator[Fault]:
    one, other, field = target.entitlement_template, addition.entitlement_template, "entitlementTemplate"
    if one is None or other is None:
        return
    if one.type != other.type:
        message = f"a {other.type} entitlement cannot be added to a {one.type} one"
        yield "rate_card_entitlement_template_type_mismatch", field, message
    elif isinstance(one, StaticEntitlementTemplate):
        yield "rate_card_static_entitlement_template_not_allowed", field, "static entitlements cannot be added up"
    elif (
        isinstance(one, MeteredEntitlementTemplate)
        and isinstance(other, MeteredEntitlementTemplate)
        and one.usage_period != other.usage_period
    ):
        code = "rate_card_metered_entitlement_template_usage_period_mismatch"
        yield code, f"{field}.usagePeriod", f"the usage periods differ: {one.usage_period}, {other.usage_period}"


def _other_faults(target: RateCard, addition: RateCard) -> Iterator[Fault]:
    def differ(one: object, other: object) -> bool:
        return one is not None and other is not None and one != other

    if differ(target.feature_key, addition.feature_key):
        yield "rate_card_feature_key_mismatch", "featureKey", "the features differ"
    if differ(target.billing_cadence, addition.billing_cadence):
        message = f"the billing cadences differ: {target.billing_cadence}, {addition.billing_cadence}"
        yield "rate_card_billing_cadence_mismatch", "billingCadence", message
    if target.discounts.percentage is not None and addition.discounts.percentage is not None:
        message = "two percentage discounts cannot be added up"
        yield "rate_card_percentage_discount_not_allowed", "discounts.percentage", message
    if differ(target.unit_conversion, addition.unit_conversion):
        yield "addon_rate_card_unit_config_mismatch", "unit_config", "the unit conversions differ"
