"""Writing to the ledger on a real Postgres."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import Unavailable
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.periods import Period
from meterhouse.ledger import accounts, journal
from meterhouse.ledger.accounts import AccountType, Book
from meterhouse.ledger.balances import AsOf, Cursor, During, balance, by_currency
from meterhouse.ledger.models import LedgerAccount, LedgerCustomerAccount, LedgerEntry, LedgerSubAccount
from meterhouse.ledger.postings import Draft, Posting
from meterhouse.ledger.routes import Route, RouteFilter
from meterhouse.ledger.rules import LedgerError
from meterhouse.ledger.templates import Template

NS, CUSTOMER = "default", "01J00000000000000000000001"
T0 = datetime(2025, 6, 1, tzinfo=UTC)


def issue(amount: str, at: datetime = T0, *, currency: str = "USD", features: tuple[str, ...] | None = None) -> Draft:
    value = Decimal(amount)
    fbo = Route(currency, cost_basis=Decimal(0), features=features, credit_priority=100)
    owed = Route(currency, cost_basis=Decimal(0), features=features, authorization_status="open")
    postings = (Posting(AccountType.FBO, fbo, value), Posting(AccountType.RECEIVABLE, owed, -value))
    return Draft(Template.ISSUE, at, postings)


async def post(db: Database, *drafts: Draft, key: str | None = None) -> tuple[Book, journal.Group]:
    async with db.write() as session:
        book = await accounts.hold(session, NS, CUSTOMER)
        return book, await journal.post(session, book, key or new_id(), drafts)


async def test_a_customer_gets_one_account_of_each_type_whoever_comes_first(db: Database) -> None:
    async def provision(customer_id: str) -> Book:
        async with db.write() as session:
            return await accounts.provision(session, NS, customer_id)

    customers = [CUSTOMER] * 5 + ["01J00000000000000000000002"] * 5
    books = await asyncio.gather(*(provision(customer) for customer in customers))
    assert len({tuple(sorted(book.account_ids.items())) for book in books}) == 2
    async with db.read() as session:
        kinds = sorted((await session.scalars(select(LedgerAccount.account_type))).all())
        owned = (await session.scalars(select(LedgerCustomerAccount.account_id))).all()
    assert kinds == sorted(
        2 * ["customer_accrued", "customer_fbo", "customer_receivable"] + ["breakage", "brokerage", "earnings", "wash"]
    )
    assert len(set(owned)) == 6


async def test_the_three_bounds_of_a_balance(db: Database) -> None:
    day = timedelta(days=1)
    book, group = await post(db, issue("5.00"), issue("7.00", T0 + day), issue("11.00", T0 + 2 * day))
    usd = RouteFilter(currency="USD")
    async with db.read() as session:

        async def at(bound: AsOf | Cursor | During | None) -> Decimal:
            return await balance(session, NS, book.fbo, usd, bound)

        assert await at(None) == 23
        assert await at(AsOf(T0 + day)) == 12
        assert await at(AsOf(T0 + day - timedelta(microseconds=1))) == 5
        assert await at(During(Period(T0, T0 + day))) == 5
        assert await at(During(Period(T0 + day, T0 + 3 * day))) == 18
        second = group.transactions[1]
        assert await at(Cursor(second.booked_at, group.created_at, second.id)) == 12
        assert await at(Cursor(second.booked_at, group.created_at, group.transactions[0].id)) == 5


async def test_route_filters_are_absent_null_or_a_value(db: Database) -> None:
    book, _ = await post(
        db,
        issue("1.00"),
        issue("2.00", features=("a",)),
        issue("4.00", features=("a", "b")),
        issue("8", currency="JPY"),
    )
    expected = [
        (RouteFilter(), {"USD": 7, "JPY": 8}),
        (RouteFilter(currency="USD"), {"USD": 7}),
        (RouteFilter(currency="USD", features=None), {"USD": 1}),
        (RouteFilter(features=("a", "b")), {"USD": 4}),
        (RouteFilter(currency="USD", match_feature="b"), {"USD": 5}),
        (RouteFilter(currency="USD", match_feature="a"), {"USD": 7}),
        (RouteFilter(currency="USD", match_feature=None), {"USD": 1}),
        (RouteFilter(currency="EUR"), {}),
        (RouteFilter(currency="USD", cost_basis=None), {}),
    ]
    async with db.read() as session:
        for route_filter, sums in expected:
            assert await by_currency(session, NS, [(book.fbo, route_filter)], None) == sums
        both = [(book.fbo, RouteFilter(currency="USD")), (book.receivable, RouteFilter(currency="USD"))]
        assert await by_currency(session, NS, both, None) == {"USD": 0}
    with pytest.raises(ValueError, match="not both"):
        RouteFilter(features=("a",), match_feature="a")


async def test_an_operation_key_is_booked_once(db: Database) -> None:
    book, first = await post(db, issue("5.00"), key="grant/1")
    _, again = await post(db, issue("9.00"), key="grant/1")
    assert first.is_new
    assert again == replace(first, is_new=False)
    async with db.read() as session:
        assert await balance(session, NS, book.fbo, RouteFilter(currency="USD"), None) == 5


async def test_concurrent_postings_share_sub_accounts_and_lose_nothing(db: Database) -> None:
    results = await asyncio.gather(*(post(db, issue("1.00")) for _ in range(20)))
    book = results[0][0]
    async with db.read() as session:
        assert await balance(session, NS, book.fbo, RouteFilter(currency="USD"), None) == 20
        assert len((await session.scalars(select(LedgerSubAccount.id))).all()) == 2


async def test_who_waits_too_long_for_a_customer_is_told_to_try_again(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "LOCK_TIMEOUT", "50ms")
    async with db.write() as session:
        await accounts.provision(session, NS, CUSTOMER)
    async with db.write() as holder:
        await accounts.hold(holder, NS, CUSTOMER)
        with pytest.raises(Unavailable, match="try again"):
            await post(db, issue("1.00"))


async def test_the_database_refuses_to_change_or_unbalance_what_was_booked(db: Database) -> None:
    _, group = await post(db, issue("5.00"))
    with pytest.raises(DBAPIError, match="append-only"):
        async with db.write() as session:
            await session.execute(update(LedgerEntry).values(amount=Decimal(6)))
    with pytest.raises(DBAPIError, match="append-only"):
        async with db.write() as session:
            await session.execute(text("DELETE FROM ledger_transactions"))
    async with db.read() as reader:
        entry = (await reader.scalars(select(LedgerEntry).limit(1))).one()
    extra = LedgerEntry(
        id=new_id(),
        namespace=NS,
        transaction_id=group.transactions[0].id,
        sub_account_id=entry.sub_account_id,
        amount=Decimal(1),
        identity="extra",
    )
    with pytest.raises(DBAPIError, match="not balanced"):
        async with db.write() as session:
            session.add(extra)


async def test_a_step_without_transactions_is_an_error(db: Database) -> None:
    with pytest.raises(LedgerError, match="ledger_transaction_group_empty"):
        await post(db)
