"""Vectors of rating section 13: one line, from quantity to money."""

from decimal import Decimal

import pytest

from meterhouse.billing.errors import BillingError
from meterhouse.billing.rating.commitments import MAXIMUM_REFERENCE
from meterhouse.billing.rating.pricing import Rated
from meterhouse.catalog.prices import DynamicPrice, PackagePrice, PaymentTerm, Price, TierMode, UnitConversion
from meterhouse.kernel.errors import InvalidInput
from tests.rating.builders import (
    CORRELATION,
    GRADUATED,
    GRADUATED_TIERS,
    PER_THOUSAND,
    VOLUME,
    d,
    flat,
    line,
    money,
    rated,
    tiered,
    unit,
    written,
)

ARREARS = flat("49.99", PaymentTerm.IN_ARREARS)
PACKAGE = PackagePrice(amount=d(9), quantity_per_package=d(250))
DYNAMIC = DynamicPrice(multiplier=d("1.175"))


def total(result: Rated) -> Decimal:
    return result.totals.total


@pytest.mark.parametrize(
    ("price", "part", "expected"),
    [
        (flat("49.99"), "whole", ["flat-price 1 x 49.99 = 49.99"]),
        (flat("49.99"), "mid", []),
        (flat("49.99"), "first", ["flat-price 1 x 49.99 = 49.99"]),
        (ARREARS, "mid", []),
        (ARREARS, "last", ["flat-price 1 x 49.99 = 49.99"]),
        (flat("0"), "whole", ["flat-price 1 x 0 = 0"]),
    ],
)
def test_flat(price: Price, part: str, expected: list[str]) -> None:
    result = rated(price, part=part)
    assert written(result.details) == expected
    assert result.quantity == 1
    assert all(detail.payment_term is price.payment_term for detail in result.details)  # type: ignore[union-attr]


def test_flat_with_percentage() -> None:
    assert written(rated(flat("80"), pct="12.5").details) == ["flat-price 1 x 80 = 80 -pct:10 => 70"]


@pytest.mark.parametrize(
    ("amount", "quantity", "currency", "expected"),
    [
        ("0.0375", "1234", "USD", ["unit-price-usage 1234 x 0.0375 = 46.28"]),
        ("0.005", "1", "USD", ["unit-price-usage 1 x 0.005 = 0.01"]),
        ("0.0049", "1", "USD", ["unit-price-usage 1 x 0.0049 = 0"]),
        ("1", "2.675", "USD", ["unit-price-usage 2.675 x 1 = 2.68"]),
        ("7.5", "0", "USD", []),
        ("0.333", "100", "JPY", ["unit-price-usage 100 x 0.333 = 33"]),
        ("0.0125", "347", "USD", ["unit-price-usage 347 x 0.0125 = 4.34"]),
    ],
)
def test_unit(amount: str, quantity: str, currency: str, expected: list[str]) -> None:
    assert written(rated(unit(amount), quantity, currency=currency).details) == expected


CAPPED = unit("4", maximum="150")


@pytest.mark.parametrize(
    ("result", "expected", "totals"),
    [
        (rated(unit("2", "50")), ["min-spend 1 x 50 = 50"], ("0", "50", "0", "50")),
        (
            rated(unit("2", "50"), "18"),
            ["unit-price-usage 18 x 2 = 36", "min-spend 1 x 14 = 14"],
            ("36", "14", "0", "50"),
        ),
        (rated(unit("2", "50"), "18", part="mid"), ["unit-price-usage 18 x 2 = 36"], ("36", "0", "0", "36")),
        (rated(CAPPED, "20", "15", "last", prev="60"), ["unit-price-usage 20 x 4 = 80"], ("80", "0", "0", "80")),
        (
            rated(CAPPED, "40", "15", "last", prev="60"),
            ["unit-price-usage 40 x 4 = 160 -max:70 => 90"],
            ("160", "0", "70", "90"),
        ),
        (
            rated(CAPPED, "10", "50", "last", prev="200"),
            ["unit-price-usage 10 x 4 = 40 -max:40 => 0"],
            ("40", "0", "40", "0"),
        ),
        (rated(unit("3"), "40", pct="25"), ["unit-price-usage 40 x 3 = 120 -pct:30 => 90"], ("120", "0", "30", "90")),
        (
            rated(unit("3", maximum="80"), "40", pct="25"),
            ["unit-price-usage 40 x 3 = 120 -pct:30 -max:10 => 80"],
            ("120", "0", "40", "80"),
        ),
        (
            rated(unit("3", "100"), "40", pct="25"),
            ["unit-price-usage 40 x 3 = 120 -pct:30 => 90", "min-spend 1 x 10 = 10"],
            ("120", "10", "30", "100"),
        ),
        (
            rated(unit("0.004"), "1250", pct="33.3"),
            ["unit-price-usage 1250 x 0.004 = 5 -pct:1.67 => 3.33"],
            ("5", "0", "1.67", "3.33"),
        ),
        (
            rated(tiered(TierMode.GRADUATED, *GRADUATED_TIERS, maximum="60"), "300"),
            [
                "graduated-tiered-1-flat-price 1 x 20 = 20",
                "graduated-tiered-2-price-usage 150 x 0.4 = 60 -max:20 => 40",
                "graduated-tiered-3-price-usage 50 x 0.25 = 12.5 -max:12.5 => 0",
                "graduated-tiered-3-flat-price 1 x 5 = 5 -max:5 => 0",
            ],
            ("97.5", "0", "37.5", "60"),
        ),
        (rated(DYNAMIC.model_copy(update={"minimum_amount": d(120)}), "83.46"),
         ["usage 1 x 98.07 = 98.07", "min-spend 1 x 21.93 = 21.93"], ("98.07", "21.93", "0", "120")),
    ],
)  # fmt: skip
def test_commitments_and_percentage(result: Rated, expected: list[str], totals: tuple[str, ...]) -> None:
    assert written(result.details) == expected
    assert money(result) == totals


def test_discounts_carry_their_references() -> None:
    (detail,) = rated(unit("3", maximum="80.50"), "40", pct="25").details
    percentage, maximum = detail.discounts
    assert percentage.child_ref == f"rateCardDiscount/correlationID={CORRELATION}"
    assert (maximum.child_ref, maximum.reason) == (MAXIMUM_REFERENCE, "maximum_spend")
    assert maximum.description == "Maximum spend discount for charges over 80.5"


def test_the_minimum_line_covers_the_full_period() -> None:
    (detail,) = rated(unit("2", "50")).details
    assert (detail.name, detail.category, detail.covers_full_period) == ("N: minimum spend", "commitment", True)
    assert detail.payment_term is PaymentTerm.IN_ARREARS


def test_a_discount_of_zero_is_recorded() -> None:
    (detail,) = rated(unit("0.0049"), "1", pct="50").details
    assert [discount.amount for discount in detail.discounts] == [0]


def test_minimum_is_left_out_where_it_is_not_owed_yet() -> None:
    assert money(rated(unit("1", "50"), "20", with_minimum=False)) == ("20", "0", "0", "20")


@pytest.mark.parametrize(
    ("quantity", "pre", "shown", "free", "worth"),
    [
        ("12", "0", ("0", "0"), ("12", None), "0"),
        ("30", "0", ("10", "0"), ("20", None), "50"),
        ("30", "12", ("22", "0"), ("8", "12"), "110"),
        ("30", "25", ("30", "5"), None, "150"),
    ],
)
def test_usage_discount(
    quantity: str, pre: str, shown: tuple[str, str], free: tuple[str, str | None] | None, worth: str
) -> None:
    result = rated(unit("5"), quantity, pre, "last" if pre != "0" else "whole", usage="20")
    assert (result.quantity, result.pre_line_quantity) == (d(shown[0]), d(shown[1]))
    assert total(result) == d(worth)
    if free is None:
        assert result.usage_discount is None
    else:
        assert result.usage_discount is not None
        assert result.usage_discount.quantity == d(free[0])
        assert result.usage_discount.pre_line_quantity == (None if free[1] is None else d(free[1]))
        assert result.usage_discount.child_ref == f"rateCardDiscount/correlationID={CORRELATION}"


ONE_FLAT = "graduated-tiered-1-flat-price 1 x 20 = 20"
HALF_CENTS = tiered(TierMode.GRADUATED, ("1", None, "0.005"), ("2", None, "0.005"), (None, None, "0.005"))


@pytest.mark.parametrize(
    ("quantity", "pre", "part", "expected", "worth"),
    [
        ("0", "0", "whole", [ONE_FLAT], "20"),
        ("100", "0", "whole", [ONE_FLAT], "20"),
        ("101", "0", "whole", [ONE_FLAT, "graduated-tiered-2-price-usage 1 x 0.4 = 0.4"], "20.4"),
        ("300", "0", "whole", [ONE_FLAT, "graduated-tiered-2-price-usage 150 x 0.4 = 60",
         "graduated-tiered-3-price-usage 50 x 0.25 = 12.5", "graduated-tiered-3-flat-price 1 x 5 = 5"], "97.5"),
        ("60", "80", "mid", ["graduated-tiered-2-price-usage 40 x 0.4 = 16"], "16"),
        ("30", "20", "mid", [], "0"),
        ("170", "100", "last", ["graduated-tiered-2-price-usage 150 x 0.4 = 60",
         "graduated-tiered-3-price-usage 20 x 0.25 = 5", "graduated-tiered-3-flat-price 1 x 5 = 5"], "70"),
        ("0", "40", "last", [], "0"),
        ("60", "0", "first", [ONE_FLAT], "20"),
        ("80", "60", "mid", ["graduated-tiered-2-price-usage 40 x 0.4 = 16"], "16"),
        ("160", "140", "last", ["graduated-tiered-2-price-usage 110 x 0.4 = 44",
         "graduated-tiered-3-price-usage 50 x 0.25 = 12.5", "graduated-tiered-3-flat-price 1 x 5 = 5"], "61.5"),
    ],
)  # fmt: skip
def test_graduated(quantity: str, pre: str, part: str, expected: list[str], worth: str) -> None:
    result = rated(GRADUATED, quantity, pre, part)
    assert written(result.details) == expected
    assert total(result) == d(worth)


def test_each_detailed_line_rounds_by_itself() -> None:
    result = rated(HALF_CENTS, "3")
    assert written(result.details) == [f"graduated-tiered-{k}-price-usage 1 x 0.005 = 0.01" for k in (1, 2, 3)]
    assert total(result) == d("0.03")


@pytest.mark.parametrize("part", ["whole", "mid"])
def test_without_any_usage_the_first_tier_shows_its_zero(part: str) -> None:
    assert written(rated(HALF_CENTS, "0", part=part).details) == ["graduated-tiered-1-price-usage 0 x 0.005 = 0"]


def test_names_of_tiers_count_from_one() -> None:
    assert [detail.name for detail in rated(GRADUATED, "300").details] == [
        "N: flat price for tier 1",
        "N: usage price for tier 2",
        "N: usage price for tier 3",
        "N: flat price for tier 3",
    ]


@pytest.mark.parametrize(
    ("price", "quantity", "pre", "part", "expected", "worth"),
    [
        (VOLUME, "0", "0", "whole", ["volume-flat-price 1 x 12 = 12"], "12"),
        (VOLUME, "100", "0", "whole", ["volume-flat-price 1 x 12 = 12", "volume-tiered-price 100 x 0.5 = 50"], "62"),
        (VOLUME, "101", "0", "whole", ["volume-tiered-price 101 x 0.3 = 30.3"], "30.3"),
        (VOLUME, "600", "0", "whole", ["volume-flat-price 1 x 30 = 30", "volume-tiered-price 600 x 0.2 = 120"], "150"),
        (VOLUME, "600", "0", "first", [], "0"),
        (PACKAGE, "251", "0", "whole", ["usage 2 x 9 = 18"], "18"),
        (PACKAGE, "250", "0", "whole", ["usage 1 x 9 = 9"], "9"),
        (PACKAGE, "0", "0", "whole", [], "0"),
        (PACKAGE, "100", "200", "last", ["usage 1 x 9 = 9"], "9"),
        (PACKAGE, "40", "200", "mid", [], "0"),
        (DYNAMIC, "83.46", "0", "whole", ["usage 1 x 98.07 = 98.07"], "98.07"),
        (DYNAMIC, "0", "0", "whole", [], "0"),
    ],
)
def test_volume_package_dynamic(
    price: Price, quantity: str, pre: str, part: str, expected: list[str], worth: str
) -> None:
    result = rated(price, quantity, pre, part)
    assert written(result.details) == expected
    assert total(result) == d(worth)


HALF_UP = UnitConversion(operation="divide", conversion_factor=d(1000), rounding="half_up", precision=1)


@pytest.mark.parametrize(
    ("conversion", "quantity", "pre", "usage", "shown", "worth"),
    [
        (PER_THOUSAND, "6100", "0", None, ("7", "0"), "70"),
        (HALF_UP, "6100", "0", None, ("6.1", "0"), "61"),
        (PER_THOUSAND, "6100", "0", "2.5", ("4.5", "0"), "45"),
        (PER_THOUSAND, "1300", "2100", None, ("2", "3"), "10"),
    ],
)
def test_unit_conversion(
    conversion: UnitConversion, quantity: str, pre: str, usage: str | None, shown: tuple[str, str], worth: str
) -> None:
    result = rated(unit("10"), quantity, pre, "last" if pre != "0" else "whole", usage=usage, conversion=conversion)
    assert (result.quantity, result.pre_line_quantity) == (d(shown[0]), d(shown[1]))
    assert total(result) == d(worth)


@pytest.mark.parametrize("price", [PACKAGE, DYNAMIC])
def test_unit_conversion_needs_a_unit_or_tiered_price(price: Price) -> None:
    with pytest.raises(InvalidInput):
        rated(price, "1", conversion=PER_THOUSAND)


def test_volume_is_not_billed_in_parts() -> None:
    with pytest.raises(BillingError) as error:
        rated(VOLUME, "10", "5", "last")
    assert error.value.code == "invoice_line_graduated_split_not_supported"


@pytest.mark.parametrize("mode", list(TierMode))
def test_a_quantity_beyond_all_tiers_is_refused(mode: TierMode) -> None:
    with pytest.raises(BillingError) as error:
        rated(tiered(mode, ("10", None, "1")), "11")
    assert error.value.code == "invoice_line_missing_open_ended_tier"


@pytest.mark.parametrize("price", [unit("4"), GRADUATED, PACKAGE, DYNAMIC])
def test_usage_that_went_down_bills_nothing_and_warns(price: Price) -> None:
    result = rated(price, "-30", "120", "last")
    assert (total(result), result.quantity, result.pre_line_quantity) == (0, 0, 120)
    assert result.warnings == ("usage is 30 below what was counted before; the decrease is not credited",)


def test_discounts_of_earlier_slices_do_not_use_up_the_maximum() -> None:
    """What earlier slices billed counts net of discounts: unit 10, half off, at most 100, slices of 12 and 20 units."""
    price = unit("10", maximum="100")
    first = rated(price, "12", part="first", pct="50")
    billed = first.totals.amount - first.totals.discounts_total
    last = rated(price, "20", "12", "last", pct="50", prev=str(billed))
    assert (total(first), total(last)) == (60, 40)


def test_sums_and_products_lose_no_digit() -> None:
    result = rated(unit("0.000000000000000000000000000001"), "1" + "0" * 40)
    assert total(result) == d("1" + "0" * 10)
    assert total(rated(unit("1"), "1" * 60)) == d("1" * 60)


def test_the_line_is_rated_the_same_twice() -> None:
    assert rated(GRADUATED, "300", pct="10") == rated(GRADUATED, "300", pct="10")
    assert line(GRADUATED, "300") == line(GRADUATED, "300")
