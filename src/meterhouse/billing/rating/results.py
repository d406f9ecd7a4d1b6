"""What rating returns: detailed lines and totals as immutable values.

They are stored as JSON on charge runs, so their form is under the golden-file rule like prices.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Literal

from meterhouse.catalog.prices import Amount, PaymentTerm, Value


class AmountDiscount(Value):
    """Money taken off a detailed line, already rounded; `child_ref` identifies it under its line."""

    amount: Amount
    reason: Literal["ratecard_percentage", "maximum_spend"]
    child_ref: str
    description: str | None = None


class CreditShare(Value):
    """The part of a credit allocation that a detailed line absorbs, already rounded."""

    amount: Amount
    allocation_id: str
    description: str | None = None


class UsageDiscountApplied(Value):
    """Free units used by this line and, of the same pool, by earlier lines of the period."""

    quantity: Amount
    pre_line_quantity: Amount | None = None
    child_ref: str


class Totals(Value):
    """The eight totals of rating section 10; `total` = amount + charges + exclusive taxes - discounts - credits."""

    amount: Amount = Decimal(0)
    charges_total: Amount = Decimal(0)
    discounts_total: Amount = Decimal(0)
    credits_total: Amount = Decimal(0)
    taxes_inclusive_total: Amount = Decimal(0)
    taxes_exclusive_total: Amount = Decimal(0)
    taxes_total: Amount = Decimal(0)
    total: Amount = Decimal(0)

    def __add__(self, other: "Totals") -> "Totals":
        """Add field by field."""
        return Totals(**{name: getattr(self, name) + getattr(other, name) for name in Totals.model_fields})

    @classmethod
    def sum(cls, totals: Iterable["Totals"]) -> "Totals":
        """Add many up; nothing adds up to zero."""
        result = cls()
        for one in totals:
            result = result + one
        return result


class DetailedLine(Value):
    """A calculated component beneath a line.

    `child_ref` is stable over recalculations. `unit_amount` is not rounded; the totals are. `covers_full_period` marks
    the minimum-spend line, whose period is the full service period instead of the line's.
    """

    child_ref: str
    name: str
    quantity: Amount
    unit_amount: Amount
    category: Literal["regular", "commitment"] = "regular"
    payment_term: PaymentTerm = PaymentTerm.IN_ARREARS
    covers_full_period: bool = False
    discounts: tuple[AmountDiscount, ...] = ()
    credits: tuple[CreditShare, ...] = ()
    totals: Totals = Totals()
