"""Putting credit behind advances: by a later grant, or by credit there is."""

from decimal import Decimal

import pytest

from meterhouse.credits import collector, recognition
from meterhouse.credits.advances import OpenAdvance, distribute
from meterhouse.credits.steps import Tax
from meterhouse.kernel.clock import FrozenClock
from meterhouse.kernel.ids import new_id
from meterhouse.ledger.accounts import AccountType
from tests.credits.conftest import NS, Story, day


async def _advanced(story: Story) -> str:
    await story.grant("5.00")
    run = new_id()
    await story.collect("12.40", "gpu", run=run)
    return run


async def test_a_grant_without_features_fills_open_advances_first(story: Story) -> None:
    await _advanced(story)
    await story.grant("10.00")
    assert await story.settled() == Decimal("2.60")
    ledger = await story.ledger()
    assert ledger == {
        AccountType.FBO: Decimal("2.60"),
        AccountType.ACCRUED: Decimal("12.40"),
        AccountType.WASH: Decimal("-15"),
    }
    assert (await story.transactions())[0].amount == 10


async def test_a_grant_for_other_features_leaves_the_advance_open(story: Story) -> None:
    await _advanced(story)
    await story.grant("10.00", features=("storage",))
    assert await story.settled() == Decimal("2.60")
    assert await story.settled(feature="gpu") == Decimal("-7.40")
    assert await story.settled(feature="storage") == 10
    assert await story.settled(feature=None) == 0


async def test_a_restricted_grant_never_serves_an_advance_without_feature(story: Story) -> None:
    await story.collect("4.00")
    await story.grant("10.00", features=("gpu",))
    assert await story.ledger(cost_basis=None, authorization_status="open") == {AccountType.RECEIVABLE: -4}


def _advance(name: str, amount: str, tax: str, charge: str = "charge", feature: str | None = None) -> OpenAdvance:
    return OpenAdvance(name, name, charge, "USD", feature, Tax(tax), Decimal(amount))


@pytest.mark.parametrize(
    ("amount", "advances", "shares"),
    [
        ("5.00", [("4.00", "A"), ("3.40", "B")], ["2.70", "2.30"]),
        ("10.00", [("3.33", "A"), ("3.33", "B"), ("6.67", "C")], ["2.50", "2.50", "5.00"]),
        ("20.00", [("4.00", "A"), ("3.40", "B")], ["4.00", "3.40"]),
    ],
)
def test_a_charge_is_filled_in_proportion_to_its_taxes(
    amount: str, advances: list[tuple[str, str]], shares: list[str]
) -> None:
    given = [_advance(tax, part, tax) for part, tax in advances]
    assert [share.amount for share in distribute(given, Decimal(amount), None)] == [Decimal(one) for one in shares]


def test_charges_are_filled_one_after_the_other_and_the_oldest_part_first() -> None:
    given = [
        _advance("1", "2.00", "A", "first"),
        _advance("2", "3.00", "A", "second"),
        _advance("3", "4.00", "A", "first", "gpu"),
    ]
    shares = distribute(given, Decimal("7.00"), None)
    assert [(one.advance.segment_id, one.amount) for one in shares] == [("1", 2), ("3", 4), ("2", 1)]
    shares = distribute(given, Decimal("7.00"), ("gpu", "cpu"))
    assert [(one.advance.segment_id, one.amount) for one in shares] == [("3", 4)]


async def test_a_split_over_taxes_reaches_the_ledger(story: Story) -> None:
    for run, tax, amount in (("r1", "tax-a", "4.00"), ("r2", "tax-b", "3.40")):
        await story.collect(amount, run=run, charge="c", tax_code_id=tax, tax_behavior="exclusive")
    await story.grant("5.00")
    for tax, filled in (("tax-a", "2.70"), ("tax-b", "2.30")):
        known = await story.ledger(tax_code=tax, cost_basis=Decimal(0))
        assert known == {AccountType.ACCRUED: Decimal(filled)}
    assert await story.settled() == Decimal("-2.40")


async def test_correcting_a_filled_advance_frees_the_grant(story: Story, time: FrozenClock) -> None:
    run = await _advanced(story)
    time.at = day(6, 3)
    await story.grant("10.00", expires="P30D", features=("gpu", "tpu"), priority=7)
    assert await story.ledger() == {
        AccountType.ACCRUED: Decimal("12.40"),
        AccountType.WASH: -15,
        AccountType.BREAKAGE: Decimal("2.60"),
    }
    after = await story.correct(run, "7.40")
    assert [one.remaining for one in after] == [5, 0]
    assert await story.settled() == 10
    # What came back has the grant's own terms, and expires with it.
    assert await story.ledger(credit_priority=7, features=("gpu", "tpu")) == {}
    assert await story.settled(day(7, 2)) == 10
    assert await story.settled(day(7, 3)) == 0
    assert await story.ledger() == {
        AccountType.ACCRUED: 5,
        AccountType.WASH: -15,
        AccountType.BREAKAGE: 10,
    }
    assert [one.amount for one in await story.collect("10.00", "tpu")] == [10]


async def test_existing_credit_fills_advances_on_request(story: Story, time: FrozenClock) -> None:
    await _advanced(story)
    time.at = day(6, 2)
    await story.grant("4.00", features=("storage",))
    time.at = day(6, 3)
    run = new_id()
    await story.collect("6.00", "storage", run=run)
    assert await story.settled() == Decimal("-9.40")
    # Credit for the advance's feature that came back after the advance was made.
    await story.grant("1.00", effective_at=day(6, 4))
    time.at = day(6, 5)
    before = await story.ledger()
    await story.fill()
    await story.fill()
    assert await story.ledger() == before


async def test_credit_given_back_fills_another_advance_and_can_be_freed_again(story: Story, time: FrozenClock) -> None:
    await story.grant("10.00", expires="P30D")
    first, second = new_id(), new_id()
    await story.collect("10.00", run=first)
    await story.collect("6.00", run=second)
    assert await story.settled() == -6
    time.at = day(6, 2)
    await story.correct(first, "8.00")
    assert await story.settled() == 2
    assert await story.ledger(cost_basis=None, authorization_status="open") == {AccountType.RECEIVABLE: -6}
    await story.fill()
    assert await story.settled() == 2
    assert await story.ledger(cost_basis=None) == {}
    assert await story.settled(day(7, 1)) == 0
    assert [row.type for row in await story.transactions()] == ["consumed", "consumed", "consumed", "funded"]
    await story.correct(second, "6.00")
    assert await story.settled() == 8
    assert await story.settled(day(7, 1)) == 0
    assert await story.ledger() == {AccountType.ACCRUED: 2, AccountType.WASH: -10, AccountType.BREAKAGE: 8}


async def test_a_back_dated_grant_fills_when_it_took_effect(story: Story, time: FrozenClock) -> None:
    time.at = day(6, 20)
    await story.collect("7.40", at=day(6, 15))
    await story.grant("10.00", effective_at=day(6, 10))
    assert [await story.settled(day(6, number)) for number in (9, 12, 20)] == [0, 10, Decimal("2.60")]
    rows = await story.transactions()
    assert [(row.type, row.amount, row.before, row.after) for row in rows] == [
        ("consumed", Decimal("-7.40"), 10, Decimal("2.60")),
        ("funded", 10, 0, 10),
    ]


async def test_recognised_revenue_is_taken_back_by_a_correction(story: Story) -> None:
    await story.grant("30.00")
    run = new_id()
    await story.collect("30.00", run=run)
    async with story.db.write() as session:
        recognized = await recognition.recognize(session, NS, story.customer_id, "USD", limit=Decimal(12))
    assert recognized == 12
    assert await story.ledger() == {AccountType.ACCRUED: 18, AccountType.EARNINGS: 12, AccountType.WASH: -30}
    await story.correct(run, "20.00")
    assert await story.ledger() == {AccountType.FBO: 20, AccountType.ACCRUED: 10, AccountType.WASH: -30}
    async with story.db.write() as session:
        assert await recognition.recognize(session, NS, story.customer_id, "USD") == 10
        assert await recognition.recognize(session, NS, story.customer_id, "USD") == 0


async def test_revenue_from_a_filled_advance_is_recognised_and_freed(story: Story) -> None:
    run = await _advanced(story)
    await story.grant("10.00", cost_basis="0.5")
    async with story.db.write() as session:
        assert await recognition.recognize(session, NS, story.customer_id, "USD") == Decimal("12.40")
    await story.correct(run, "8.00")
    assert await story.settled() == Decimal("10.60")
    assert (await story.ledger())[AccountType.EARNINGS] == Decimal("4.40")


async def test_a_promised_grant_covers_an_advance_when_it_takes_effect(story: Story, time: FrozenClock) -> None:
    run = await _advanced(story)
    await story.grant("10.00", effective_at=day(6, 11))
    balance = await story.balance()
    assert (balance.settled, balance.pending) == (Decimal("-7.40"), 10)
    time.at = day(6, 11)
    balance = await story.balance()
    assert (balance.settled, balance.pending) == (Decimal("2.60"), 0)
    await story.correct(run, "7.40")
    assert await story.settled() == 10


async def test_an_advance_that_several_grants_fill_stays_whole(story: Story, time: FrozenClock) -> None:
    time.at = day(6, 2)
    for amount in ("3.40", "1.28"):
        await story.grant(amount)
    run = new_id()
    # As of an instant at which there was no credit yet.
    await story.collect("36.76", run=run, at=day(6, 1))
    await story.fill()
    assert await story.ledger(cost_basis=None, authorization_status="open") == {
        AccountType.RECEIVABLE: Decimal("-32.08")
    }
    for amount in ("18.95", "18.95"):
        await story.grant(amount)
    async with story.db.read() as session:
        (allocation,) = (await collector.allocations(session, NS, [run]))[run]
    assert allocation.remaining == Decimal("36.76")
    assert await story.ledger(cost_basis=None, authorization_status="open") == {}
    assert await story.settled() == Decimal("5.82")
