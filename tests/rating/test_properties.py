"""What holds for every price: the equation of totals, order of tiers, slices and runs that add up."""

from decimal import Decimal
from itertools import pairwise

from hypothesis import assume, given
from hypothesis import strategies as st

from meterhouse.billing.rating.credits import apply_credits
from meterhouse.billing.rating.delta import delta
from meterhouse.billing.rating.pricing import LineInput, Rated, rate
from meterhouse.billing.rating.results import DetailedLine, Totals
from meterhouse.billing.rating.totals import total_of
from meterhouse.catalog.prices import (
    Discounts,
    DynamicPrice,
    FlatPrice,
    PackagePrice,
    PercentageDiscount,
    Price,
    Tier,
    TieredPrice,
    TierMode,
    UnitPrice,
    UsageDiscount,
)

cents = st.integers(0, 50_000).map(lambda n: Decimal(n) / 100)
fine_amounts = st.integers(0, 5_000_000).map(lambda n: Decimal(n) / 100_000)
units = st.integers(0, 2_000).map(Decimal)
fine_units = st.integers(0, 200_000).map(lambda n: Decimal(n) / 100)


def bounds(amounts: st.SearchStrategy[Decimal]) -> st.SearchStrategy[dict[str, Decimal | None]]:
    return st.tuples(st.none() | amounts, st.none() | amounts).map(
        lambda pair: {
            "minimum_amount": min(pair) if None not in pair else pair[0],  # type: ignore[type-var]
            "maximum_amount": max(pair) if None not in pair else pair[1],  # type: ignore[type-var]
        }
    )


@st.composite
def tiers(draw: st.DrawFn, amounts: st.SearchStrategy[Decimal]) -> tuple[Tier, ...]:
    limits = draw(st.lists(st.integers(1, 1_500), unique=True, max_size=4))
    made = []
    for limit in [*limits, None]:
        flat, unit = draw(st.tuples(st.none() | amounts, st.none() | amounts).filter(any_given))
        made.append(Tier(up_to=None if limit is None else Decimal(limit), flat_amount=flat, unit_amount=unit))
    return tuple(made)


def any_given(pair: tuple[Decimal | None, Decimal | None]) -> bool:
    return pair != (None, None)


@st.composite
def prices(draw: st.DrawFn, amounts: st.SearchStrategy[Decimal], *, sliceable: bool = False) -> Price:
    kinds = ["unit", "graduated", "package", "dynamic"] + ([] if sliceable else ["volume", "flat"])
    limits = draw(bounds(amounts))
    match draw(st.sampled_from(kinds)):
        case "unit":
            return UnitPrice(amount=draw(amounts), **limits)
        case "package":
            return PackagePrice(amount=draw(amounts), quantity_per_package=Decimal(draw(st.integers(1, 300))), **limits)
        case "dynamic":
            return DynamicPrice(multiplier=draw(amounts), **limits)
        case "flat":
            return FlatPrice(amount=draw(amounts))
        case kind:
            return TieredPrice(mode=TierMode(kind), tiers=draw(tiers(amounts)), **limits)


discounts = st.builds(
    Discounts,
    percentage=st.none() | st.integers(0, 1000).map(lambda n: PercentageDiscount(percentage=Decimal(n) / 10)),
    usage=st.none() | units.map(lambda n: UsageDiscount(quantity=n)),
)


def line(price: Price, quantity: Decimal, given_discounts: Discounts = Discounts(), **kwargs: object) -> LineInput:  # noqa: B008
    return LineInput(
        name="N",
        price=price,
        quantity=quantity,
        discounts=given_discounts,
        currency="USD",
        **kwargs,  # type: ignore[arg-type]
    )


def assert_equation(totals: Totals) -> None:
    assert totals.total == (
        totals.amount
        + totals.charges_total
        + totals.taxes_exclusive_total
        - totals.discounts_total
        - totals.credits_total
    )


@given(price=prices(fine_amounts), quantity=fine_units, given_discounts=discounts)
def test_the_totals_equation_holds_and_nothing_is_negative(
    price: Price, quantity: Decimal, given_discounts: Discounts
) -> None:
    result = rate(line(price, quantity, given_discounts))
    for totals in (result.totals, *(detail.totals for detail in result.details)):
        assert_equation(totals)
        assert all(getattr(totals, name) >= 0 for name in Totals.model_fields)
    assert result.totals == total_of(result.details)
    assert len({detail.child_ref for detail in result.details}) == len(result.details)


@given(price=prices(fine_amounts), quantity=fine_units, share=st.integers(0, 100))
def test_credits_keep_the_equation(price: Price, quantity: Decimal, share: int) -> None:
    result = rate(line(price, quantity))
    credit = (result.totals.total * share / 100).quantize(Decimal("0.01"))
    assume(0 < credit <= result.totals.total)
    paid = total_of(apply_credits(result.details, [("a", credit, None)], "USD"))
    assert_equation(paid)
    assert (paid.credits_total, paid.total) == (credit, result.totals.total - credit)


@given(given_tiers=tiers(fine_amounts), mode=st.sampled_from(TierMode), quantity=fine_units, data=st.data())
def test_the_order_of_tiers_does_not_matter(
    given_tiers: tuple[Tier, ...], mode: TierMode, quantity: Decimal, data: st.DataObject
) -> None:
    shuffled = tuple(data.draw(st.permutations(given_tiers)))
    first, second = (rate(line(TieredPrice(mode=mode, tiers=order), quantity)) for order in (given_tiers, shuffled))
    assert first == second


@given(price=prices(fine_amounts), quantity=fine_units, given_discounts=discounts)
def test_commitments_bound_the_total(price: Price, quantity: Decimal, given_discounts: Discounts) -> None:
    if isinstance(price, FlatPrice):
        return
    total = rate(line(price, quantity, given_discounts)).totals.total
    half_a_cent = Decimal("0.005")
    if price.minimum_amount:
        assert total >= price.minimum_amount - half_a_cent
    if price.maximum_amount:
        assert total <= max(price.maximum_amount, price.minimum_amount or 0) + half_a_cent


def book(
    price: Price, quantities: list[Decimal], given_discounts: Discounts
) -> tuple[list[tuple[DetailedLine, ...]], Rated]:
    """Bill a charge in runs; returns the runs and what the whole is worth at once."""
    booked: list[tuple[DetailedLine, ...]] = []
    for index, quantity in enumerate(quantities):
        whole = rate(line(price, quantity, given_discounts, with_minimum=index == len(quantities) - 1))
        booked.append(delta(whole, booked, "USD"))
    return booked, whole


growth = st.lists(units, min_size=1, max_size=5).map(sorted)
fine_growth = st.lists(fine_units, min_size=1, max_size=5).map(sorted)


@given(price=prices(cents, sliceable=True), quantities=growth, given_discounts=discounts)
def test_runs_add_up_to_the_whole(price: Price, quantities: list[Decimal], given_discounts: Discounts) -> None:
    booked, whole = book(price, quantities, given_discounts)
    assert Totals.sum(map(total_of, booked)) == whole.totals
    assert all(total_of(run).total >= 0 for run in booked)
    for run in booked:
        assert len({detail.child_ref for detail in run}) == len(run)


@given(price=prices(fine_amounts, sliceable=True), quantities=fine_growth, given_discounts=discounts)
def test_runs_at_fine_prices_add_up_to_within_rounding(
    price: Price, quantities: list[Decimal], given_discounts: Discounts
) -> None:
    booked, whole = book(price, quantities, given_discounts)
    lines = sum(len(run) for run in booked) + len(whole.details)
    assert abs(Totals.sum(map(total_of, booked)).total - whole.totals.total) <= Decimal("0.005") * lines
    assert all(total_of(run).total >= 0 for run in booked)


@given(price=prices(cents, sliceable=True), quantities=growth)
def test_slices_add_up_to_the_whole(price: Price, quantities: list[Decimal]) -> None:
    """The same without charges: each slice knows its earlier usage and money."""
    assume(not isinstance(price, DynamicPrice))
    ends = [Decimal(0), *quantities]
    billed = Decimal(0)
    for index, (start, end) in enumerate(pairwise(ends)):
        part = rate(
            line(
                price,
                end - start,
                pre_line_quantity=start,
                first_in_period=index == 0,
                last_in_period=index == len(ends) - 2,
                previously_billed=billed,
            )
        )
        billed += part.totals.total
    assert billed == rate(line(price, quantities[-1])).totals.total


@given(start=fine_amounts, quantities=st.lists(fine_units, min_size=2, max_size=4))
def test_usage_that_moves_both_ways_ends_at_the_truth(start: Decimal, quantities: list[Decimal]) -> None:
    amount = start.quantize(Decimal("1"))
    booked, whole = book(
        UnitPrice(amount=amount), [quantity.quantize(Decimal(1)) for quantity in quantities], Discounts()
    )
    assert Totals.sum(map(total_of, booked)) == whole.totals
