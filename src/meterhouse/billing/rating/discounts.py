"""Rate card discounts: a pool of free units, and a share off every detailed line (rating sections 4.3 and 5)."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple

from meterhouse.billing.rating.results import AmountDiscount, DetailedLine, UsageDiscountApplied
from meterhouse.billing.rating.totals import with_totals
from meterhouse.catalog.prices import Discounts, PercentageDiscount, UsageDiscount
from meterhouse.kernel.money import round_money


class Discounted(NamedTuple):
    """Quantities after the usage discount, and what it took; None when nothing was free in this period."""

    quantity: Decimal
    pre_line_quantity: Decimal
    applied: UsageDiscountApplied | None


def reference(correlation_id: str | None) -> str:
    """Return the child reference of a rate card discount."""
    return f"rateCardDiscount/correlationID={correlation_id or ''}"


def with_correlation_ids(discounts: Discounts, new_id: Callable[[], str]) -> Discounts:
    """Return the discounts with an id for each that has none. Ids that exist stay: slices of a period share them."""
    percentage, usage = discounts.percentage, discounts.usage
    if percentage is not None and percentage.correlation_id is None:
        percentage = percentage.model_copy(update={"correlation_id": new_id()})
    if usage is not None and usage.correlation_id is None:
        usage = usage.model_copy(update={"correlation_id": new_id()})
    return Discounts(percentage=percentage, usage=usage)


def take_free_units(quantity: Decimal, pre_line_quantity: Decimal, discount: UsageDiscount | None) -> Discounted:
    """Take free units off, first those that earlier slices of the period used, then this slice's."""
    if discount is None:
        return Discounted(quantity, pre_line_quantity, None)
    before = min(discount.quantity, pre_line_quantity)
    now = min(discount.quantity - before, quantity)
    applied = UsageDiscountApplied(
        quantity=now, pre_line_quantity=before or None, child_ref=reference(discount.correlation_id)
    )
    return Discounted(quantity - now, pre_line_quantity - before, applied if now else None)


def percentage_off(
    details: Sequence[DetailedLine], discount: PercentageDiscount | None, currency: str
) -> list[DetailedLine]:
    """Take the share off each line by itself, rounded; recorded also where it comes to zero."""
    if discount is None:
        return list(details)
    discounted = []
    for detail in details:
        taken = AmountDiscount(
            amount=round_money(detail.totals.total * discount.percentage / 100, currency),
            reason="ratecard_percentage",
            child_ref=reference(discount.correlation_id),
        )
        discounted.append(with_totals(detail.model_copy(update={"discounts": (*detail.discounts, taken)}), currency))
    return discounted
