"""The eight totals of a detailed line, and their sum (rating section 10)."""

from collections.abc import Iterable

from meterhouse.billing.rating.results import DetailedLine, Totals
from meterhouse.kernel.money import ZERO, round_money, total
from meterhouse.kernel.precision import exact


@exact
def with_totals(detail: DetailedLine, currency: str) -> DetailedLine:
    """Return the line with totals made anew from its quantity, unit amount, discounts and credits.

    Taxes stay zero: the invoicing provider computes them.
    """
    value = round_money(detail.quantity * detail.unit_amount, currency)
    regular = detail.category == "regular"
    discounts = total(round_money(discount.amount, currency) for discount in detail.discounts)
    credits_total = total(round_money(share.amount, currency) for share in detail.credits)
    totals = Totals(
        amount=value if regular else ZERO,
        charges_total=ZERO if regular else value,
        discounts_total=discounts,
        credits_total=credits_total,
        total=value - discounts - credits_total,
    )
    return detail.model_copy(update={"totals": totals})


@exact
def total_of(details: Iterable[DetailedLine]) -> Totals:
    """Add up the totals of detailed lines. They are rounded already; a sum is never rounded again."""
    return Totals.sum(detail.totals for detail in details)
