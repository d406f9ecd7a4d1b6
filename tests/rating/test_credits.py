"""Credits on detailed lines (rating sections 7 and 13.7)."""

import pytest

from meterhouse.billing.errors import BillingError
from meterhouse.billing.rating.credits import apply_credits, without_credits
from meterhouse.billing.rating.totals import total_of
from tests.rating.builders import GRADUATED, d, rated, unit, written

USAGE = "unit-price-usage 7 x 10 = 70"


def test_credits_reduce_a_line() -> None:
    details = apply_credits(rated(unit("10"), "7").details, [("a", d(30), None)], "USD")
    assert written(details) == [f"{USAGE} cr:30 => 40"]
    assert total_of(details).credits_total == 30


def test_credits_pay_the_minimum_too() -> None:
    details = apply_credits(
        rated(unit("10", "100"), "7").details, [("a", d(50), "first"), ("b", d(30), "second")], "USD"
    )
    assert written(details) == [f"{USAGE} cr:50 cr:20 => 0", "min-spend 1 x 30 = 30 cr:10 => 20"]
    assert [[share.allocation_id for share in detail.credits] for detail in details] == [["a", "b"], ["b"]]
    totals = total_of(details)
    assert (totals.amount, totals.charges_total, totals.discounts_total) == (70, 30, 0)
    assert (totals.credits_total, totals.total) == (80, 20)


def test_more_credit_than_the_line_is_worth_is_refused() -> None:
    with pytest.raises(BillingError) as error:
        apply_credits(rated(unit("10"), "7").details, [("a", d(80), None)], "USD")
    assert error.value.code == "invoice_line_credits_not_consumed_fully"


def test_credits_are_absorbed_in_order() -> None:
    details = apply_credits(rated(GRADUATED, "300").details, [("a", d(50), None)], "USD")
    assert written(details) == [
        "graduated-tiered-1-flat-price 1 x 20 = 20 cr:20 => 0",
        "graduated-tiered-2-price-usage 150 x 0.4 = 60 cr:30 => 30",
        "graduated-tiered-3-price-usage 50 x 0.25 = 12.5",
        "graduated-tiered-3-flat-price 1 x 5 = 5",
    ]
    assert total_of(details).total == d("47.5")


def test_credits_come_off_again() -> None:
    details = rated(GRADUATED, "300").details
    assert without_credits(apply_credits(details, [("a", d(50), None)], "USD"), "USD") == details
