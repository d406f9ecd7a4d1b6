"""The most and the least that a full period costs (rating section 6)."""

from collections.abc import Sequence
from decimal import Decimal

from meterhouse.billing.rating.results import AmountDiscount, DetailedLine
from meterhouse.billing.rating.totals import with_totals
from meterhouse.kernel.money import ZERO, plain, round_money, total

MAXIMUM_REFERENCE = "line_maximum_spend"
MINIMUM_REFERENCE = "min-spend"


def cap(
    details: Sequence[DetailedLine], maximum: Decimal | None, previously_billed: Decimal, currency: str
) -> list[DetailedLine]:
    """Discount what exceeds `maximum`, line by line in order, counting what earlier slices billed.

    The lines stay at their full amount with the discount beneath it. Amounts are compared after earlier discounts.
    """
    if not maximum:
        return list(details)
    limit = round_money(maximum, currency)
    running = previously_billed
    capped = []
    for detail in details:
        room = max(limit - round_money(running, currency), ZERO)
        excess = detail.totals.total - room
        if excess > 0:
            discount = AmountDiscount(
                amount=excess,
                reason="maximum_spend",
                child_ref=MAXIMUM_REFERENCE,
                description=f"Maximum spend discount for charges over {plain(maximum)}",
            )
            detail = with_totals(detail.model_copy(update={"discounts": (*detail.discounts, discount)}), currency)
        running += detail.totals.total
        capped.append(detail)
    return capped


def lift(
    name: str, details: Sequence[DetailedLine], minimum: Decimal | None, previously_billed: Decimal, currency: str
) -> list[DetailedLine]:
    """Append a line for what is missing to `minimum`. That line is neither discounted nor capped."""
    if not minimum:
        return list(details)
    billed = total(detail.totals.total for detail in details) + previously_billed
    missing = round_money(minimum - billed, currency)
    if missing <= 0:
        return list(details)
    line = DetailedLine(
        child_ref=MINIMUM_REFERENCE,
        name=f"{name}: minimum spend",
        quantity=Decimal(1),
        unit_amount=missing,
        category="commitment",
        covers_full_period=True,
    )
    return [*details, with_totals(line, currency)]
