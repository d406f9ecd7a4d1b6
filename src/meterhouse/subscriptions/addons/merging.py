"""Adding what an add-on gives to what an item has (subscriptions section 12.3). Pure.

Taking it away again is never computed: the schedule without add-ons is kept, and the add-ons are laid over it anew.
"""

from typing import Any

from meterhouse.catalog.planaddons.compatibility import overlay_issues
from meterhouse.catalog.prices import Discounts, FlatPrice, Price, UsageDiscount
from meterhouse.catalog.ratecards import (
    EntitlementTemplate,
    MeteredEntitlementTemplate,
    RateCard,
)
from meterhouse.kernel.errors import Issue
from meterhouse.kernel.money import total
from meterhouse.kernel.precision import exact


class Unmergeable(Exception):
    """The rate card of an add-on cannot be added to an item. The fields of the issues go on where the item's end."""

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
        raise Unmergeable([Issue("rate_card_only_flat_price_allowed", message, ".price.type")])
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
    to it: kind, cadence, currency, unit conversion, discounts, and tax where the item says nothing of it.

    Raises:
        Unmergeable: the two do not fit.
    """
    issues = [*overlay_issues(target, addition, ""), *_currency_issues(target, addition)]
    if issues:
        raise Unmergeable(issues)
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
        changes["tax_config"] = target.tax_config or addition.tax_config
    elif addition.price is not None:
        changes["price"] = _sum(target.price, addition.price)
    return target.model_copy(update=changes)


def _currency_issues(target: RateCard, addition: RateCard) -> list[Issue]:
    if target.price is None or addition.price is None or target.currency == addition.currency:
        return []
    message = f"a price in {addition.currency} cannot be added to one in {target.currency}"
    return [Issue("plan_addon_currency_mismatch", message, ".currency")]


def _sum(price: Price | None, addition: Price) -> Price:
    # What the catalog lets pass.
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
    return target  # both boolean: that there are two is counted beside it
