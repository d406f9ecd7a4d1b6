"""Which credit is taken, in which order, and what happens when there is not enough."""

from datetime import timedelta
from decimal import Decimal

import pytest

from meterhouse.credits.sources import Movement, Plan, Source, build, spendable, take
from meterhouse.kernel.clock import FrozenClock
from meterhouse.kernel.ids import new_id
from meterhouse.ledger.accounts import AccountType
from meterhouse.ledger.routes import Route
from tests.credits.conftest import CREDIT_THEN_INVOICE, START, Story, day


def _source(name: str, amount: str, priority: int, feature: str | None = None, expires: int | None = None) -> Source:
    route = Route("USD", Decimal(0), (feature,) if feature else None, priority)
    plan = Plan(name, START + timedelta(days=expires), Decimal(amount)) if expires else None
    return Source(name, route, name, Decimal(amount), plan)


A = _source("A", "5", 10)
B = _source("B", "7", 10, "tokens", 60)
C = _source("C", "4", 10, expires=30)
D = _source("D", "2", 5)
E = _source("E", "9", 1, "storage")


@pytest.mark.parametrize(
    ("sources", "amount", "taken"),
    [
        ([A, B, C, D], "15.00", [("D", "2"), ("B", "7"), ("C", "4"), ("A", "2")]),
        ([A, C, D], "15.00", [("D", "2"), ("C", "4"), ("A", "5")]),
        ([A, C, D, E], "12.50", [("E", "9"), ("D", "2"), ("C", "1.50")]),
        ([], "1", []),
    ],
)
def test_order_of_sources(sources: list[Source], amount: str, taken: list[tuple[str, str]]) -> None:
    slices = take(sources, Decimal(amount))
    assert [(one.source.grant_id, one.amount) for one in slices] == [(name, Decimal(part)) for name, part in taken]


def _moves(*moves: tuple[int, str]) -> list[Movement]:
    return [Movement(START + timedelta(days=days), Decimal(amount)) for days, amount in moves]


@pytest.mark.parametrize(
    ("moves", "expires", "open_amount", "spend"),
    [
        ([(0, "10")], None, "0", "10"),
        ([(0, "10"), (5, "-4")], None, "0", "6"),
        ([(0, "10"), (5, "-4"), (6, "4")], None, "0", "6"),
        ([(0, "10"), (5, "3")], None, "0", "10"),
        ([(5, "10")], None, "0", "0"),
        ([(0, "10"), (30, "-10")], 30, "10", "10"),
        ([(0, "10"), (5, "-4"), (30, "-6")], 30, "6", "6"),
        ([(0, "10"), (30, "-4")], 30, "4", "4"),
        ([(-5, "10"), (0, "-10")], 0, "10", "0"),
    ],
)
def test_no_credit_is_spent_twice(
    moves: list[tuple[int, str]], expires: int | None, open_amount: str, spend: str
) -> None:
    plan = Plan("p", START + timedelta(days=expires), Decimal(open_amount)) if expires is not None else None
    assert spendable(_moves(*moves), START, plan) == Decimal(spend)
    found = build({("s", "g"): _moves(*moves)}, {"s": A.route}, {"g": plan} if plan else {}, START)
    assert [one.available for one in found] == ([Decimal(spend)] if Decimal(spend) else [])


async def test_a_charge_takes_credit_of_its_feature_then_unrestricted_credit(story: Story) -> None:
    await story.grant("8.00", features=("b", "a"))
    await story.grant("2.00")
    taken = await story.collect("9.00", "a", mode=CREDIT_THEN_INVOICE)
    assert [one.amount for one in taken] == [8, 1]
    assert await story.settled() == 1


async def test_a_charge_without_feature_takes_unrestricted_credit_only(story: Story) -> None:
    await story.grant("8.00", features=("a", "b"))
    await story.grant("2.00")
    taken = await story.collect("9.00", mode=CREDIT_THEN_INVOICE)
    assert [one.amount for one in taken] == [2]
    assert await story.settled() == 8


async def test_a_shortfall_is_advanced_for_credit_only(story: Story) -> None:
    await story.grant("5.00")
    taken = await story.collect("12.40", "gpu")
    assert [(one.amount, one.origin) for one in taken] == [(5, "real_credit"), (Decimal("7.40"), "advance")]
    assert await story.settled() == Decimal("-7.40")
    assert await story.ledger() == {
        AccountType.RECEIVABLE: Decimal("-7.40"),
        AccountType.ACCRUED: Decimal("12.40"),
        AccountType.WASH: Decimal("-5"),
    }


async def test_zero_takes_nothing_and_other_currencies_are_not_touched(story: Story) -> None:
    await story.grant("5.00")
    assert await story.collect("0") == []
    assert await story.collect("3", currency="EUR", mode=CREDIT_THEN_INVOICE) == []
    assert await story.settled() == 5


async def test_credit_that_takes_effect_later_is_not_used(story: Story, time: FrozenClock) -> None:
    await story.grant("30.00", effective_at=START + timedelta(seconds=1))
    time.at = day(6, 2)
    assert await story.collect("30.00", mode=CREDIT_THEN_INVOICE, at=START) == []
    assert [one.amount for one in await story.collect("30.00", at=START + timedelta(seconds=1))] == [30]


async def test_credit_spent_later_cannot_be_spent_again_in_the_past(story: Story, time: FrozenClock) -> None:
    await story.grant("10.00")
    time.at = day(6, 10)
    await story.collect("8.00")
    late = await story.collect("5.00", at=day(6, 5), mode=CREDIT_THEN_INVOICE)
    assert [one.amount for one in late] == [2]
    assert await story.settled(day(6, 5)) == 8
    assert await story.settled() == 0


async def test_a_step_with_a_key_is_taken_once(story: Story) -> None:
    await story.grant("10.00")
    run = new_id()
    first = await story.collect("4.00", run=run, operation_key="step")
    assert await story.collect("4.00", run=run, operation_key="step") == first
    assert await story.settled() == 6
    again = await story.collect("1.00", run=run)
    assert [one.run_id for one in again] == [run]
    assert await story.settled() == 5


async def test_expiry_is_a_posting_of_the_future(story: Story, time: FrozenClock) -> None:
    await story.grant("25.00", expires="P30D")
    time.at = day(6, 10)
    run = new_id()
    await story.collect("9.00", run=run)
    time.at = day(6, 20)
    await story.correct(run, "3.00", booked_at=day(6, 20))
    expected = [(day(6, 5), 25), (day(6, 10), 16), (day(6, 20), 19), (day(6, 30), 19), (day(7, 1), 0)]
    assert [(at, await story.settled(at)) for at, _ in expected] == expected
    time.at = day(7, 1) - timedelta(microseconds=1)
    assert [row.type for row in await story.transactions()] == ["consumed", "consumed", "funded"]
    time.at = day(7, 1)
    newest = (await story.transactions())[0]
    assert (newest.type, newest.amount, newest.booked_at) == ("expired", -19, day(7, 1))
    assert await story.collect("5.00", mode=CREDIT_THEN_INVOICE) == []


async def test_a_charge_booked_at_the_expiry_finds_no_credit_but_one_before_does(story: Story) -> None:
    await story.grant("25.00", expires="P30D")
    assert await story.collect("5.00", at=day(7, 1), mode=CREDIT_THEN_INVOICE) == []
    taken = await story.collect("5.00", at=day(7, 1), as_of=day(6, 30), mode=CREDIT_THEN_INVOICE)
    assert [one.amount for one in taken] == [5]
    assert await story.settled(day(7, 2)) == 0
