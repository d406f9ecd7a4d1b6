"""Delta rating (charges sections 6 and 10; rating section 14.2)."""

from meterhouse.billing.rating.credits import apply_credits
from meterhouse.billing.rating.delta import delta
from meterhouse.billing.rating.pricing import rate, shown_quantities
from meterhouse.billing.rating.results import DetailedLine
from meterhouse.billing.rating.totals import total_of
from meterhouse.catalog.prices import DynamicPrice, Price, TierMode
from tests.rating.builders import GRADUATED, PER_THOUSAND, d, line, rated, tiered, unit, written

Run = tuple[DetailedLine, ...]


def runs(price: Price, *cumulative: str, **options: str) -> list[Run]:
    """Rate a charge at each cumulative quantity in turn; the minimum counts only at the last."""
    booked: list[Run] = []
    for index, quantity in enumerate(cumulative):
        last = index == len(cumulative) - 1
        booked.append(delta(rated(price, quantity, with_minimum=last, **options), booked, "USD"))
    return booked


def worth(run: Run) -> str:
    return str(total_of(run).total.normalize())


TWO_STEPS = tiered(TierMode.GRADUATED, ("1000", None, "0.1"), (None, None, "0.05"))
CHEAPER_AT_SCALE = tiered(TierMode.VOLUME, ("100", None, "1"), (None, None, "0.8"))


def test_a_progressive_graduated_charge() -> None:
    partial, final = runs(TWO_STEPS, "800", "1500")
    assert written(partial) == ["graduated-tiered-1-price-usage 800 x 0.1 = 80"]
    assert written(final) == [
        "graduated-tiered-1-price-usage 200 x 0.1 = 20",
        "graduated-tiered-2-price-usage 500 x 0.05 = 25",
    ]
    shown = shown_quantities(line(TWO_STEPS, "700", "800"))
    assert (shown.quantity, shown.pre_line_quantity) == (700, 800)


def test_more_units_at_the_same_price() -> None:
    _, correction = runs(unit("10"), "5", "8")
    assert written(correction) == ["unit-price-usage 3 x 10 = 30"]


def test_a_volume_price_that_moves_to_a_cheaper_tier() -> None:
    _, repriced = runs(CHEAPER_AT_SCALE, "90", "120")
    assert written(repriced) == [
        "volume-tiered-price 120 x 0.8 = 96",
        "volume-tiered-price/reversal=1 -90 x 1 = -90",
    ]
    assert total_of(repriced).total == 6
    _, cheaper = runs(CHEAPER_AT_SCALE, "100", "101")
    assert total_of(cheaper).total == d("-19.2")


def test_a_reversal_is_not_repeated() -> None:
    *_, third = runs(CHEAPER_AT_SCALE, "90", "120", "150")
    assert written(third) == ["volume-tiered-price 30 x 0.8 = 24"]


def test_the_minimum_is_owed_at_the_end() -> None:
    partial, final = runs(unit("1", "50"), "20", "32")
    assert written(partial) == ["unit-price-usage 20 x 1 = 20"]
    assert written(final) == ["unit-price-usage 12 x 1 = 12", "min-spend 1 x 18 = 18"]


def test_a_graduated_period_in_three_runs() -> None:
    first, second, third = runs(GRADUATED, "60", "140", "300")
    assert [total_of(run).total for run in (first, second, third)] == [20, 16, d("61.5")]
    assert written(third) == [
        "graduated-tiered-2-price-usage 110 x 0.4 = 44",
        "graduated-tiered-3-price-usage 50 x 0.25 = 12.5",
        "graduated-tiered-3-flat-price 1 x 5 = 5",
    ]


def test_conversion_of_the_cumulative_quantity() -> None:
    first = delta(rated(unit("10"), "2100", conversion=PER_THOUSAND), [], "USD")
    second = delta(rated(unit("10"), "3400", conversion=PER_THOUSAND), [first], "USD")
    assert written(second) == ["unit-price-usage 1 x 10 = 10"]


def test_discounts_are_subtracted_too() -> None:
    first, second = runs(unit("10", maximum="100"), "12", "32", pct="50")
    assert written(first) == ["unit-price-usage 12 x 10 = 120 -pct:60 => 60"]
    assert written(second) == ["unit-price-usage 20 x 10 = 200 -pct:100 -max:60 => 40"]


def test_a_maximum_that_reaches_a_component_booked_before() -> None:
    price = tiered(TierMode.GRADUATED, ("100", "20", "1"), (None, None, "1"), maximum="60")
    first, second = runs(price, "30", "50")
    assert total_of(first).total == 50
    assert written(second) == [
        "graduated-tiered-1-price-usage 20 x 1 = 20",
        "graduated-tiered-1-flat-price 0 x 20 = 0 -max:10 => -10",
    ]


def test_a_dynamic_price_replaces_its_amount() -> None:
    _, second, third = runs(DynamicPrice(multiplier=d(2)), "10", "15", "18")
    assert written(second) == ["usage 1 x 30 = 30", "usage/reversal=20 -1 x 20 = -20"]
    assert written(third) == ["usage 1 x 36 = 36", "usage/reversal=30 -1 x 30 = -30"]


def test_credits_of_earlier_runs_do_not_count() -> None:
    first = apply_credits(rated(unit("10"), "5").details, [("a", d(50), None)], "USD")
    again = rate(line(unit("10"), "8"))
    assert written(delta(again, [first], "USD")) == ["unit-price-usage 3 x 10 = 30"]


def test_nothing_new_gives_nothing() -> None:
    assert runs(GRADUATED, "300", "300")[1] == ()


def test_what_is_fully_discounted_stays_free_however_often_it_is_billed() -> None:
    for price in ("0.004", "0.005", "0.0149"):
        assert all(total_of(run).total == 0 for run in runs(unit(price), *map(str, range(1, 30)), pct="100"))


def test_what_rounding_billed_beyond_a_maximum_is_not_taken_back() -> None:
    """The second run rounds up to a cent more than the maximum, which is no reason to give usage that grew back."""
    price = unit("0.24398", maximum="0.385")
    assert [worth(run) for run in runs(price, "0.03", "1.61", "1.66", "5")] == ["0.01", "0.39", "0", "0"]


def test_a_share_off_gives_way_where_a_maximum_has_nothing_left_to_give() -> None:
    runs_ = runs(unit("0.00947", maximum="0.00001"), "2.12", "2.64", pct="16.7")
    assert [written(run) for run in runs_] == [
        ["unit-price-usage 2.12 x 0.00947 = 0.02 -pct:0 -max:0.02 => 0"],
        ["unit-price-usage 0.52 x 0.00947 = 0 -pct:0 -max:0 => 0"],
    ]


def test_usage_that_decreased_is_taken_back() -> None:
    _, correction = runs(unit("10"), "8", "5")
    assert written(correction) == ["unit-price-usage -3 x 10 = -30"]
