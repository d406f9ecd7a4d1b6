"""A customer with credit on a real Postgres, and short forms of what happens to it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from meterhouse.catalog.prices import SettlementMode
from meterhouse.credits import balances, collector, grants, transactions, voids
from meterhouse.credits.allocations import Allocation
from meterhouse.credits.balances import Balance
from meterhouse.credits.collector import CollectRequest
from meterhouse.credits.grants import FundingMethod, Grant, NewGrant, Purchase
from meterhouse.credits.transactions import Transaction
from meterhouse.customers import service as customers
from meterhouse.customers.customer import NewCustomer
from meterhouse.kernel import clock
from meterhouse.kernel.clock import FrozenClock
from meterhouse.kernel.db import Database
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.periods import Duration
from meterhouse.ledger import accounts
from meterhouse.ledger.accounts import AccountType
from meterhouse.ledger.balances import by_currency
from meterhouse.ledger.routes import ABSENT, Absent, RouteFilter

NS = "default"
START = datetime(2025, 6, 1, tzinfo=UTC)
CREDIT_ONLY, CREDIT_THEN_INVOICE = SettlementMode.CREDIT_ONLY, SettlementMode.CREDIT_THEN_INVOICE


def day(month: int, number: int) -> datetime:
    """Return midnight of a day in 2025."""
    return datetime(2025, month, number, tzinfo=UTC)


@dataclass
class Story:
    """One customer's credit; every step is a transaction of its own."""

    db: Database
    customer_id: str

    async def grant(
        self, amount: str, *, expires: str | None = None, cost_basis: str | None = None, **more: Any
    ) -> Grant:
        """Grant credit: promotional, or funded externally where a cost basis is given."""
        currency = more.pop("currency", "USD")
        paid = {
            "funding_method": FundingMethod.EXTERNAL if cost_basis else FundingMethod.NONE,
            "purchase": Purchase(currency, Decimal(cost_basis)) if cost_basis else None,
        }
        new = NewGrant(
            customer_id=self.customer_id,
            name=more.pop("name", "Welcome"),
            currency=currency,
            amount=Decimal(amount),
            expires_after=Duration.parse(expires) if expires else None,
            **{**paid, **more},
        )
        async with self.db.write() as session:
            return await grants.create(session, NS, new)

    async def collect(
        self,
        amount: str,
        feature: str | None = None,
        *,
        run: str | None = None,
        mode: SettlementMode = CREDIT_ONLY,
        at: datetime | None = None,
        as_of: datetime | None = None,
        **more: Any,
    ) -> list[Allocation]:
        """Take credit, now unless `at` says otherwise."""
        at = at or clock.now()
        run = run or new_id()
        request = CollectRequest(
            namespace=NS,
            customer_id=self.customer_id,
            charge_id=more.pop("charge", f"charge of {run}"),
            run_id=run,
            currency=more.pop("currency", "USD"),
            feature_key=feature,
            amount=Decimal(amount),
            settlement_mode=mode,
            booked_at=at,
            source_balance_as_of=as_of or at,
            **more,
        )
        async with self.db.write() as session:
            return await collector.collect(session, request)

    async def correct(self, run: str, amount: str, **more: Any) -> list[Allocation]:
        """Give credit of a run back."""
        async with self.db.write() as session:
            return await collector.correct(
                session, namespace=NS, customer_id=self.customer_id, run_id=run, amount=Decimal(amount), **more
            )

    async def fill(self) -> None:
        """Cover open advances with existing credit."""
        async with self.db.write() as session:
            await collector.fill_advances(session, NS, self.customer_id)

    async def void(self, grant: Grant) -> Grant:
        """Void a grant."""
        async with self.db.write() as session:
            return await voids.void(session, NS, self.customer_id, grant.id)

    async def balances(self, **more: Any) -> list[Balance]:
        """Return all balances."""
        async with self.db.read() as session:
            return await balances.balances(session, NS, self.customer_id, **more)

    async def balance(self, currency: str = "USD", **more: Any) -> Balance:
        """Return the balance of one currency."""
        return (await self.balances(currencies=[currency], **more))[0]

    async def settled(self, at: datetime | None = None, feature: str | Absent | None = ABSENT) -> Decimal:
        """Return the settled balance."""
        return (await self.balance(at=at, feature=feature)).settled

    async def ledger(self, **route: Any) -> dict[AccountType, Decimal]:
        """Return the balance of every account in US dollars, future bookings included."""
        async with self.db.read() as session:
            book = await accounts.find(session, NS, self.customer_id)
            assert book is not None
            wanted = RouteFilter(currency="USD", **route)
            found = {
                kind: await by_currency(session, NS, [(account_id, wanted)], None)
                for kind, account_id in book.account_ids.items()
            }
        return {kind: sums["USD"] for kind, sums in found.items() if sums.get("USD")}

    async def transactions(self, size: int = 20, **more: Any) -> list[Transaction]:
        """Return rows of the list."""
        async with self.db.read() as session:
            page = await transactions.list_transactions(session, NS, self.customer_id, size=size, **more)
        return list(page.items)


async def new_story(db: Database) -> Story:
    """Return a story with a customer of its own."""
    async with db.write() as session:
        customer = await customers.create(session, NS, NewCustomer(name="Ada", key=new_id()))
    return Story(db, customer.id)


@pytest.fixture
async def time() -> AsyncIterator[FrozenClock]:
    """Let time stand at `START`; assign `at` to move it."""
    with clock.frozen(START) as frozen:
        yield frozen


@pytest.fixture
async def story(db: Database, time: FrozenClock) -> Story:
    """Give a customer without credit at `START`."""
    return await new_story(db)
