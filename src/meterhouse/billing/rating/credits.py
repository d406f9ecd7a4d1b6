"""Credits on detailed lines (rating section 7)."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from meterhouse.billing.errors import BillingError
from meterhouse.billing.rating.results import CreditShare, DetailedLine
from meterhouse.billing.rating.totals import with_totals
from meterhouse.kernel.money import plain, round_money
from meterhouse.kernel.precision import exact


class CreditToApply(NamedTuple):
    """Money that the ledger gave for a line (> 0). A plain tuple of the same members may stand for it."""

    allocation_id: str
    amount: Decimal
    description: str | None


def without_credits(details: Sequence[DetailedLine], currency: str) -> tuple[DetailedLine, ...]:
    """Return the lines as they were before any credit."""
    return tuple(
        with_totals(detail.model_copy(update={"credits": ()}), currency) if detail.credits else detail
        for detail in details
    )


@exact
def apply_credits(
    details: Sequence[DetailedLine],
    credits_to_apply: Sequence[CreditToApply | tuple[str, Decimal, str | None]],
    currency: str,
) -> tuple[DetailedLine, ...]:
    """Let the lines absorb the credits in order, each line up to its remaining positive total.

    Raises:
        BillingError: code `invoice_line_credits_not_consumed_fully`: the ledger gave more than the lines are worth.
    """
    paid = list(details)
    for allocation_id, amount, description in credits_to_apply:
        left = round_money(amount, currency)
        for index, detail in enumerate(paid):
            part = min(left, detail.totals.total)
            if part <= 0:
                continue
            share = CreditShare(amount=part, allocation_id=allocation_id, description=description)
            paid[index] = with_totals(detail.model_copy(update={"credits": (*detail.credits, share)}), currency)
            left -= part
        if left > 0:
            raise BillingError(
                "invoice_line_credits_not_consumed_fully",
                f"the credits of the line exceed its total by {plain(left)} {currency}",
                component="openmeter.billing",
            )
    return tuple(paid)
