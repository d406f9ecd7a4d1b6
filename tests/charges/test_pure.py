"""Billability, re-planning and the state tables, without a database."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.billing.charges import billability, periods, states
from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.periods import Plan, RunSpan
from meterhouse.billing.charges.states import Kind, Situation, Status, Trigger
from meterhouse.billing.charges.valuation import credit_difference, value_usage
from meterhouse.billing.ports import Billability, NotBillable
from meterhouse.billing.rating.results import DetailedLine
from meterhouse.catalog.prices import Discounts, PackagePrice, PercentageDiscount, Price, SettlementMode, UsageDiscount
from meterhouse.kernel.money import total
from meterhouse.kernel.periods import Period
from meterhouse.metering.meter import Aggregation
from tests.charges.test_by_invoice import GRADUATED, VOLUME
from tests.charges.world import at, between, unit

TOKENS = between("1-15", "2-15")


def intent(price: Price, discounts: Discounts | None = None) -> ChargeIntent:
    return ChargeIntent(
        namespace="default",
        customer_id="c",
        currency="USD",
        managed_by="system",
        settlement_mode=SettlementMode.CREDIT_THEN_INVOICE,
        name="Tokens",
        price=price,
        service_period=TOKENS,
        full_service_period=TOKENS,
        billing_period=TOKENS,
        invoice_at=TOKENS.end,
        feature_key="tokens",
        discounts=discounts or Discounts(),
    )


@pytest.mark.parametrize(
    ("price", "aggregation", "as_of", "progressive", "expected"),
    [
        (unit("1"), Aggregation.SUM, "1-20 12:00:00", True, Billability(between("1-15", "1-20 12:00:00"))),
        (
            unit("1"),
            Aggregation.SUM,
            "1-20 12:00:00",
            False,
            Billability(None, NotBillable.PROGRESSIVE_BILLING_DISABLED, at("2-15")),
        ),
        (
            VOLUME,
            Aggregation.SUM,
            "1-20 12:00:00",
            True,
            Billability(None, NotBillable.VOLUME_PRICE, at("2-15")),
        ),
        (
            GRADUATED,
            Aggregation.LATEST,
            "1-20 12:00:00",
            True,
            Billability(None, NotBillable.METER_NOT_PROGRESSIVE, at("2-15")),
        ),
        (unit("1"), None, "2-15", True, Billability(TOKENS)),
        (VOLUME, Aggregation.SUM, "2-15", False, Billability(TOKENS)),
        (unit("1"), Aggregation.SUM, "2-15", False, Billability(TOKENS)),
        (unit("1"), Aggregation.SUM, "3-15", True, Billability(TOKENS)),
        (
            unit("1"),
            Aggregation.SUM,
            "1-15",
            True,
            Billability(None, NotBillable.PERIOD_NOT_OVER, at("1-15 0:00:01")),
        ),
        (unit("1"), Aggregation.SUM, "1-10", False, Billability(None, NotBillable.PERIOD_NOT_OVER, at("2-15"))),
    ],
)
def test_usage_billability(
    price: Price, aggregation: Aggregation | None, as_of: str, progressive: bool, expected: Billability
) -> None:
    moment = at(as_of) + timedelta(milliseconds=900)
    assert (
        billability.usage(intent(price), TOKENS, TOKENS.end, moment, progressive=progressive, aggregation=aggregation)
        == expected
    )


def test_billing_without_parts_waits_for_invoice_at_too() -> None:
    later = at("3-1")
    waits = billability.usage(
        intent(unit("1")), TOKENS, later, at("2-20"), progressive=False, aggregation=Aggregation.SUM
    )
    assert waits == Billability(None, NotBillable.INVOICE_AT_IN_FUTURE, later)
    taken = billability.usage(
        intent(unit("1")), TOKENS, later, at("2-20"), progressive=True, aggregation=Aggregation.SUM
    )
    assert taken == Billability(TOKENS)


def test_flat_billability() -> None:
    assert billability.flat(TOKENS, at("1-15"), at("1-15")) == Billability(TOKENS)
    early = billability.flat(TOKENS, at("1-15"), at("1-14"))
    assert early == Billability(None, NotBillable.INVOICE_AT_IN_FUTURE, at("1-15"))


def spans(*runs: tuple[str, bool]) -> list[RunSpan]:
    return [RunSpan(f"r{index}", at(end), sealed) for index, (end, sealed) in enumerate(runs)]


@pytest.mark.parametrize(
    ("runs", "plan"),
    [
        ([], Plan()),
        ([("2-1", True)], Plan()),
        ([("2-15", False)], Plan(remove=("r0",))),
        ([("2-15", True)], Plan(relabel_partial="r0")),
        ([("2-1", True), ("2-15", False)], Plan(remove=("r1",))),
    ],
)
def test_extension_plans(runs: list[tuple[str, bool]], plan: Plan) -> None:
    assert periods.extended(spans(*runs), at("2-15")) == plan


@pytest.mark.parametrize(
    ("runs", "plan"),
    [
        ([], Plan()),
        ([("1-20", True)], Plan()),
        ([("1-25", True)], Plan(relabel_final="r0")),
        ([("1-20", True), ("1-25", False), ("2-1", False)], Plan(remove=("r2",), relabel_final="r1")),
    ],
)
def test_shrink_plans(runs: list[tuple[str, bool]], plan: Plan) -> None:
    assert periods.shrunk(spans(*runs), at("1-25")) == plan


def test_what_is_left_starts_after_the_last_run() -> None:
    assert periods.uncovered(TOKENS, []) == TOKENS
    assert periods.uncovered(TOKENS, [at("1-20"), at("1-18")]) == between("1-20", "2-15")
    assert periods.uncovered(TOKENS, [at("2-15")]) is None
    assert periods.uncovered(TOKENS, [at("2-20")]) is None


@pytest.mark.parametrize(
    ("gross", "allocated", "difference"), [("28.50", "25", "3.50"), ("21", "25", "-4"), ("0", "0", "0")]
)
def test_credit_difference(gross: str, allocated: str, difference: str) -> None:
    assert credit_difference(Decimal(gross), Decimal(allocated), "USD") == Decimal(difference)


def situation(now: datetime) -> Situation:
    return Situation(now=now, starts_at=TOKENS.start, books_at=TOKENS.end)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("mode", list(SettlementMode))
def test_nothing_leaves_a_finished_charge(kind: Kind, mode: SettlementMode) -> None:
    for status in (Status.FINAL, Status.DELETED):
        for trigger in Trigger:
            assert states.find(kind, mode, status, trigger, situation(at("12-31"))) is None


@pytest.mark.parametrize("kind", list(Kind))
def test_credit_only_meets_no_invoice(kind: Kind) -> None:
    for status in Status:
        for trigger in set(Trigger) - {Trigger.NEXT}:
            assert states.find(kind, SettlementMode.CREDIT_ONLY, status, trigger, situation(at("2-1"))) is None


def test_times_are_inclusive() -> None:
    usage = (Kind.USAGE_BASED, SettlementMode.CREDIT_ONLY, Status.CREATED, Trigger.NEXT)
    assert states.find(*usage, situation(TOKENS.start - timedelta(seconds=1))) is None
    begun = states.find(*usage, situation(TOKENS.start))
    assert begun is not None
    assert begun.next is Status.ACTIVE


PRICES: list[Price] = [
    unit("0.25"),
    unit("0.25", minimum_amount="40", maximum_amount="90"),
    GRADUATED,
    PackagePrice(amount=Decimal(3), quantity_per_package=Decimal(40)),
]
DISCOUNTS = [
    Discounts(),
    Discounts(usage=UsageDiscount(quantity=Decimal(60), correlation_id="u")),
    Discounts(percentage=PercentageDiscount(percentage=Decimal(50), correlation_id="p")),
]


@given(
    price=st.sampled_from(PRICES),
    discounts=st.sampled_from(DISCOUNTS),
    steps=st.lists(st.integers(min_value=0, max_value=100), min_size=1, max_size=6),
)
def test_parts_add_up_to_the_whole(price: Price, discounts: Discounts, steps: list[int]) -> None:
    """Whatever was used when, and wherever the period was cut: the runs together cost what one run would have."""
    whole = intent(price, discounts)
    units = [Decimal(4 * step) for step in steps]
    booked: list[tuple[DetailedLine, ...]] = []
    sums = []
    for index in range(len(units)):
        run = value_usage(
            whole,
            cumulative=total(units[: index + 1]),
            previous=total(units[:index]),
            booked=booked,
            reaches_end=index == len(units) - 1,
        )
        booked.append(run.details)
        sums.append(run.totals.total)
        assert run.metered_quantity == units[index]
    at_once = value_usage(whole, cumulative=total(units), previous=Decimal(0), booked=[], reaches_end=True)
    assert total(sums) == at_once.totals.total


def test_periods_of_an_intent_are_checked() -> None:
    changed = periods.with_ends(
        intent(unit("1")),
        service_end=at("2-1"),
        full_service_end=at("2-15"),
        billing_end=at("2-1"),
        invoice_at=at("2-1"),
    )
    assert changed.service_period == Period(at("1-15"), at("2-1"))
    assert changed.full_service_period == TOKENS
    assert changed.billing_period == Period(at("1-15"), at("2-1"))
