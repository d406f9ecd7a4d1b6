"""The real services around the sync, from a plan written for one customer to invoices; usage is kept in memory."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import pytest
from sqlalchemy import select

from meterhouse.apps.registry import InstalledApps
from meterhouse.apps.sandbox import SandboxApp
from meterhouse.billing.charges.service import Charges
from meterhouse.billing.charges.views import ChargeState
from meterhouse.billing.invoices.service import Invoices
from meterhouse.billing.profiles import Profiles
from meterhouse.billing.sync.jobs import due_work
from meterhouse.billing.sync.models import SyncStateRow
from meterhouse.billing.sync.service import SubscriptionSync, SyncResult
from meterhouse.catalog import features
from meterhouse.catalog.features import NewFeature
from meterhouse.catalog.plans import PlanPhase
from meterhouse.catalog.prices import SettlementMode
from meterhouse.catalog.ratecards import RateCard
from meterhouse.customers import service as customers
from meterhouse.customers.customer import NewCustomer
from meterhouse.kernel import clock
from meterhouse.kernel.clock import FrozenClock
from meterhouse.kernel.db import Database
from meterhouse.kernel.periods import Duration
from meterhouse.metering import meters
from meterhouse.metering.meter import Aggregation, NewMeter
from meterhouse.metering.usage import UsageRequest
from meterhouse.subscriptions import service as subscriptions
from meterhouse.subscriptions.service import CustomPlan, NewSubscription, PlanChange
from meterhouse.subscriptions.timing import NamedTiming, Timing
from meterhouse.subscriptions.views import SubscriptionView
from tests.sync.builders import FEE, SEAT, TOKENS, at, short

NS = "default"


class Usage:
    """The same quantity for every question."""

    total = Decimal(0)

    async def quantities(self, requests: Sequence[UsageRequest]) -> list[Decimal]:
        return [await self.quantity(request) for request in requests]

    async def quantity(self, request: UsageRequest) -> Decimal:
        return self.total


@dataclass
class World:
    """One customer, a metered feature `tokens`, and time in the test's hands."""

    db: Database
    time: FrozenClock
    charges: Charges
    invoices: Invoices
    sync: SubscriptionSync
    usage: Usage
    customer_id: str
    feature_id: str

    async def subscribe(
        self, *cards: RateCard, start: Timing = NamedTiming.IMMEDIATE, credit_only: bool = False
    ) -> SubscriptionView:
        """Subscribe the customer to these rate cards, in one phase `main`; nothing is synced yet."""
        plan = self._plan(cards, credit_only=credit_only)
        async with self.db.write() as session:
            return await subscriptions.create(session, NS, NewSubscription(self.customer_id, plan, timing=start))

    async def change(self, subscription_id: str, *cards: RateCard) -> SubscriptionView:
        """Let a subscription to these rate cards take the place of another now; nothing is synced yet."""
        async with self.db.write() as session:
            wanted = PlanChange(self._plan(cards), NamedTiming.IMMEDIATE)
            return (await subscriptions.change(session, NS, subscription_id, wanted)).next

    def _plan(self, cards: Sequence[RateCard], *, credit_only: bool = False) -> CustomPlan:
        return CustomPlan(
            name="Pro",
            currency="USD",
            billing_cadence=Duration.parse("P1M"),
            phases=(PlanPhase("main", "Main", None, {}, None, tuple(self._bound(card) for card in cards)),),
            settlement_mode=SettlementMode.CREDIT_ONLY if credit_only else SettlementMode.CREDIT_THEN_INVOICE,
        )

    def _bound(self, card: RateCard) -> RateCard:
        return card if card.feature_key is None else card.model_copy(update={"feature_id": self.feature_id})

    async def cancel(self, subscription_id: str) -> None:
        async with self.db.write() as session:
            await subscriptions.cancel(session, NS, subscription_id, NamedTiming.IMMEDIATE)

    async def synced(self, subscription_id: str, as_of: datetime | None = None) -> SyncResult:
        async with self.db.write() as session:
            return await self.sync.sync(session, NS, subscription_id, as_of)

    async def stored(self, subscription_id: str) -> list[ChargeState]:
        async with self.db.read() as session:
            return await self.charges.of_subscription(session, NS, subscription_id)

    async def names(self, subscription_id: str) -> list[str]:
        return short([state.intent for state in await self.stored(subscription_id)])

    async def state(self, subscription_id: str) -> SyncStateRow:
        async with self.db.read() as session:
            query = select(SyncStateRow).where(SyncStateRow.subscription_id == subscription_id)
            return (await session.scalars(query)).one()

    async def run_due(self) -> int:
        return await due_work(self.db, self.sync)[0].run_due()

    async def next_due(self) -> datetime | None:
        return await due_work(self.db, self.sync)[0].next_due()


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """Give the world at 15 January 2025, 00:00 UTC."""
    with clock.frozen(at("1-15")) as time:
        registry = InstalledApps()
        profiles = Profiles(registry)
        usage = Usage()
        charges = Charges(usage, profiles)
        invoices = Invoices(charges, profiles, registry, {"sandbox": SandboxApp()})
        charges.connect(invoices)
        async with db.write() as session:
            customer = await customers.create(session, NS, NewCustomer(name="Acme", key="acme"))
            meter = await meters.create(
                session, NS, NewMeter("tokens", "Tokens", "prompt", Aggregation.SUM, value_property="$.tokens")
            )
            feature = await features.create(session, NS, NewFeature("tokens", "Tokens", meter_id=meter.id))
        sync = SubscriptionSync(charges, profiles)
        yield World(db, time, charges, invoices, sync, usage, customer.id, feature.id)


@pytest.fixture
async def running(world: World) -> SubscriptionView:
    """Give the subscription of the worked vectors, synced at its start."""
    view = await world.subscribe(FEE, TOKENS, SEAT)
    await world.synced(view.id)
    return view
