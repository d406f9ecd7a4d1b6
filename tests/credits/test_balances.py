"""Balances and the list of transactions."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from meterhouse.catalog.prices import SettlementMode
from meterhouse.credits import invoiced, transactions
from meterhouse.credits.balances import OutstandingCharge
from meterhouse.credits.transactions import Transaction, TransactionPage, TransactionType
from meterhouse.kernel.clock import FrozenClock
from meterhouse.kernel.errors import NotFound
from meterhouse.kernel.ids import new_id
from meterhouse.ledger.accounts import AccountType
from tests.credits.conftest import CREDIT_ONLY, CREDIT_THEN_INVOICE, NS, START, Story, day


def outstanding(mode: SettlementMode, feature: str | None, amount: str, currency: str = "USD") -> OutstandingCharge:
    return OutstandingCharge(new_id(), currency, feature, mode, Decimal(amount))


@pytest.mark.parametrize(
    ("charges", "feature", "live"),
    [
        ([outstanding(CREDIT_THEN_INVOICE, "tokens", "25.00")], ..., "30.00"),
        ([outstanding(CREDIT_THEN_INVOICE, "storage", "55.00")], ..., "0"),
        ([outstanding(CREDIT_ONLY, "tokens", "55.00")], ..., "-15.00"),
        ([outstanding(CREDIT_ONLY, "tokens", "55.00", "EUR")], ..., "40.00"),
        # Credit that one charge takes is gone for the next: storage takes the restricted credit first.
        (
            [outstanding(CREDIT_THEN_INVOICE, "storage", "35.00"), outstanding(CREDIT_THEN_INVOICE, None, "25.00")],
            ...,
            "0",
        ),
        ([outstanding(CREDIT_THEN_INVOICE, "storage", "5.00")], "tokens", "10.00"),
        ([outstanding(CREDIT_THEN_INVOICE, "storage", "5.00")], "storage", "35.00"),
        ([outstanding(CREDIT_THEN_INVOICE, None, "4.00")], None, "6.00"),
        ([outstanding(CREDIT_THEN_INVOICE, "storage", "4.00")], None, "10.00"),
    ],
)
async def test_live_counts_what_charges_will_take(
    story: Story, charges: list[OutstandingCharge], feature: Any, live: str
) -> None:
    await story.grant("10.00")
    await story.grant("30.00", features=("storage",))
    wanted = {} if feature is ... else {"feature": feature}
    assert (await story.balance(outstanding=charges, **wanted)).live == Decimal(live)
    assert (await story.balance(outstanding=charges, at=START, **wanted)).live == 0


async def test_requested_currencies_are_shown_even_without_credit(story: Story) -> None:
    assert await story.balances() == []
    await story.grant("10.00", currency="EUR")
    assert [(one.currency, one.settled) for one in await story.balances()] == [("EUR", 10)]
    found = await story.balances(currencies=["USD", "JPY"])
    assert [(one.currency, one.settled, one.pending, one.live) for one in found] == [("JPY", 0, 0, 0), ("USD", 0, 0, 0)]


def _running(rows: list[Transaction]) -> list[tuple[str, Decimal, Decimal, Decimal]]:
    return [(row.type.value, row.amount, row.before, row.after) for row in rows]


async def test_running_balance(story: Story, time: FrozenClock) -> None:
    time.at = day(3, 1)
    await story.grant("25.00", expires="P30D")
    time.at = day(3, 5)
    await story.collect("9.00", name="Tokens", labels={"subscription_id": "s", "feature_id": "f"}, charge="c")
    time.at = day(4, 2)
    rows = await story.transactions()
    assert _running(rows) == [
        ("expired", -16, 16, 0),
        ("consumed", -9, 25, 16),
        ("funded", 25, 0, 25),
    ]
    assert [row.name for row in rows] == ["Expired credits", "Tokens", "Welcome"]
    assert rows[1].labels == {"charge_id": "c", "subscription_id": "s", "feature_id": "f"}


async def test_the_running_balance_is_per_currency_and_right_under_any_filter(story: Story, time: FrozenClock) -> None:
    run = new_id()
    for step in (
        lambda: story.grant("25.00"),
        lambda: story.grant("900", currency="JPY"),
        lambda: story.collect("9.00", run=run),
        lambda: story.collect("1000", currency="JPY"),
        lambda: story.correct(run, "4.00", booked_at=time.at),
        lambda: story.grant("300", currency="JPY"),
    ):
        time.at += timedelta(hours=1)
        await step()
    rows = await story.transactions()
    assert [(row.currency, *one) for row, one in zip(rows, _running(rows), strict=True)] == [
        ("JPY", "funded", 300, -100, 200),
        ("USD", "consumed", 4, 16, 20),
        # Booked in one step: credit there was, then the advance.
        ("JPY", "consumed", -100, 0, -100),
        ("JPY", "consumed", -900, 900, 0),
        ("USD", "consumed", -9, 25, 16),
        ("JPY", "funded", 900, 0, 900),
        ("USD", "funded", 25, 0, 25),
    ]
    for kind in TransactionType:
        assert await story.transactions(kind=kind) == [row for row in rows if row.type is kind]
    assert await story.transactions(currency="JPY") == [row for row in rows if row.currency == "JPY"]


async def test_a_feature_filter_shows_amounts_of_the_credit_that_passes(story: Story, time: FrozenClock) -> None:
    await story.grant("5.00", features=("gpu",))
    await story.grant("3.00")
    time.at = day(6, 2)
    await story.collect("7.00", "gpu")
    assert _running(await story.transactions(feature=None)) == [("consumed", -2, 3, 1), ("funded", 3, 0, 3)]
    assert _running(await story.transactions(feature="cpu")) == [("consumed", -2, 3, 1), ("funded", 3, 0, 3)]
    assert [row.amount for row in await story.transactions(feature="gpu")] == [-7, 3, 5]


async def test_credit_that_expires_as_other_credit_is_used(story: Story, time: FrozenClock) -> None:
    await story.grant("5.00", expires="P30D")
    await story.grant("8.00")
    await story.grant("2.00", expires="P30D")
    time.at = day(7, 2)
    await story.collect("3.00", at=day(7, 1))
    assert _running(await story.transactions(size=3)) == [
        ("consumed", -3, 8, 5),
        ("expired", -2, 10, 8),
        ("expired", -5, 15, 10),
    ]


async def test_pages_in_both_directions(story: Story, time: FrozenClock) -> None:
    await story.grant("100.00")
    for _ in range(6):
        time.at += timedelta(hours=1)
        await story.collect("1.00")
    every = await story.transactions()
    assert [row.after for row in every] == [94, 95, 96, 97, 98, 99, 100]

    async def page(**cursor: Any) -> TransactionPage:
        async with story.db.read() as session:
            return await transactions.list_transactions(session, NS, story.customer_id, size=3, **cursor)

    first = await page()
    assert (list(first.items), first.previous) == (every[:3], None)
    second = await page(after=first.next)
    assert list(second.items) == every[3:6]
    third = await page(after=second.next)
    assert (list(third.items), third.next) == (every[6:], None)
    back = await page(before=third.previous)
    assert list(back.items) == every[3:6]
    assert back.next is not None
    start = await page(before=back.previous)
    assert (list(start.items), start.previous) == (every[:3], None)
    assert await page(before=start.items[0].cursor) == TransactionPage([], None, None)


async def test_transactions_of_nobody_and_of_a_customer_without_credit(story: Story) -> None:
    assert await story.transactions() == []
    with pytest.raises(NotFound):
        await replace(story, customer_id=new_id()).transactions()


async def test_invoiced_consumption_is_owed_until_it_is_paid_and_booked_once(story: Story) -> None:
    run = {"namespace": NS, "customer_id": story.customer_id, "charge_id": "c", "run_id": "r", "currency": "USD"}
    for _ in range(2):
        async with story.db.write() as session:
            await invoiced.accrue(session, **run, amount=Decimal(15), booked_at=START, tax_code_id="t")
    assert await story.ledger() == {AccountType.RECEIVABLE: -15, AccountType.ACCRUED: 15}
    assert (await story.balance()).settled == 0
    for _ in range(2):
        async with story.db.write() as session:
            await invoiced.authorize_payment(session, **run, amount=Decimal(15))
    assert await story.ledger(authorization_status="authorized") == {AccountType.RECEIVABLE: -15}
    for _ in range(2):
        async with story.db.write() as session:
            await invoiced.settle_payment(session, **run, amount=Decimal(15))
    assert await story.ledger() == {AccountType.ACCRUED: 15, AccountType.WASH: -15}
    assert await story.transactions() == []


async def test_settling_authorises_first_and_zero_books_nothing(story: Story) -> None:
    run = {"namespace": NS, "customer_id": story.customer_id, "charge_id": "c", "currency": "USD"}
    async with story.db.write() as session:
        await invoiced.accrue(session, **run, run_id="r", amount=Decimal(15), booked_at=START)
        await invoiced.settle_payment(session, **run, run_id="r", amount=Decimal(15))
        await invoiced.accrue(session, **run, run_id="z", amount=Decimal(0), booked_at=START)
        await invoiced.authorize_payment(session, **run, run_id="z", amount=Decimal(0))
        await invoiced.settle_payment(session, **run, run_id="z", amount=Decimal(0))
    assert await story.ledger() == {AccountType.ACCRUED: 15, AccountType.WASH: -15}
