"""Giving credit back."""

from datetime import timedelta
from decimal import Decimal

import pytest

from meterhouse.credits import collector
from meterhouse.kernel.clock import FrozenClock
from meterhouse.kernel.errors import InvalidInput
from meterhouse.kernel.ids import new_id
from meterhouse.ledger.accounts import AccountType
from tests.credits.conftest import NS, START, Story, day


async def test_the_newest_allocation_is_given_back_first(story: Story, time: FrozenClock) -> None:
    await story.grant("15.00")
    run = new_id()
    for amount in ("6.00", "9.00", "4.00"):
        time.at += timedelta(minutes=1)
        await story.collect(amount, run=run)
    after = await story.correct(run, "10.00")
    assert [(one.amount, one.remaining, one.origin) for one in after] == [
        (6, 6, "real_credit"),
        (9, 3, "real_credit"),
        (4, 0, "advance"),
    ]
    assert await story.settled() == 6
    async with story.db.read() as session:
        assert (await collector.allocations(session, NS, [run, "other"])) == {run: after, "other": []}


async def test_every_source_gets_its_own_back_the_last_taken_first(story: Story) -> None:
    await story.grant("2.00", priority=1)
    await story.grant("3.00", priority=2, features=("gpu",))
    run = new_id()
    await story.collect("5.00", "gpu", run=run)
    assert [one.remaining for one in await story.correct(run, "4.00")] == [1, 0]
    assert await story.settled(feature="gpu") == 4
    assert await story.settled(feature=None) == 1


async def test_more_than_is_held_cannot_be_given_back(story: Story) -> None:
    await story.grant("5.00")
    run = new_id()
    await story.collect("5.00", run=run)
    await story.correct(run, "2.00")
    with pytest.raises(InvalidInput, match="insufficient funds") as error:
        await story.correct(run, "3.01")
    assert error.value.issues[0].code == "insufficient_funds"
    assert await story.settled() == 2


async def test_a_correction_counts_when_the_consumption_did(story: Story, time: FrozenClock) -> None:
    await story.grant("30.00")
    run = new_id()
    await story.collect("30.00", run=run, at=START)
    time.at = day(6, 10)
    await story.correct(run, "30.00")
    assert await story.settled(START) == 30
    assert await story.settled() == 30
    assert (await story.ledger()).keys() == {AccountType.FBO, AccountType.WASH}


async def test_a_correction_with_a_key_is_made_once(story: Story) -> None:
    await story.grant("5.00")
    run = new_id()
    await story.collect("5.00", run=run)
    first = await story.correct(run, "2.00", operation_key="step")
    assert await story.correct(run, "2.00", operation_key="step") == first
    assert await story.settled() == 2


async def test_credit_that_comes_back_after_its_expiry_has_expired(story: Story, time: FrozenClock) -> None:
    await story.grant("10.00", expires="P30D")
    run = new_id()
    await story.collect("10.00", run=run, at=START)
    time.at = day(8, 1)
    await story.correct(run, "4.00", booked_at=day(8, 1))
    assert await story.settled(day(6, 15)) == 4
    assert await story.settled() == 0
    assert [(row.type, row.amount, row.after) for row in await story.transactions()] == [
        ("expired", -4, 0),
        ("consumed", 4, 4),
        ("consumed", -10, 0),
        ("funded", 10, 10),
    ]


async def test_an_uncovered_advance_is_taken_back_whole(story: Story) -> None:
    run = new_id()
    await story.collect("7.50", "gpu", run=run)
    await story.correct(run, "2.25")
    assert await story.settled() == Decimal("-5.25")
    await story.correct(run, "5.25")
    assert await story.settled() == 0
    assert await story.ledger() == {}
