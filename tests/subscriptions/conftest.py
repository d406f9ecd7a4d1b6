"""A tenant with a metered feature, and short ways to sell to its customers."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meterhouse.catalog import features, planaddons, plans
from meterhouse.catalog.features import NewFeature
from meterhouse.catalog.plans import PlanPhase
from meterhouse.customers import service as customers
from meterhouse.customers.customer import Customer, NewCustomer
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.metering import meters
from meterhouse.metering.meters import Aggregation, NewMeter
from meterhouse.subscriptions import service
from meterhouse.subscriptions.service import NewSubscription, PlanChoice
from meterhouse.subscriptions.views import SubscriptionView
from tests.catalog.builders import new_plan, phase, unit_card

NS = "default"
CATALOG_TIME = datetime(2024, 12, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    """Read an instant such as `2025-03-10T08` or `2025-03-10`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


Publish = Callable[..., Awaitable[None]]
Subscribe = Callable[..., Awaitable[SubscriptionView]]


@pytest.fixture
async def metered(db: Database) -> None:
    """The feature `api_calls` with a meter, and `badge` without one."""
    with clock.frozen(CATALOG_TIME):
        async with db.write() as session:
            await meters.create(session, NS, NewMeter("calls", "Calls", "call", Aggregation.SUM, "$.n"))
            await features.create(session, NS, NewFeature(key="api_calls", name="API calls", meter_key="calls"))
            await features.create(session, NS, NewFeature(key="badge", name="Badge"))


@pytest.fixture
async def publish(db: Database, metered: None) -> Publish:
    """Publish the next version of a plan."""

    async def publish(*phases: PlanPhase, key: str = "ws_pro", when: datetime = CATALOG_TIME, **members: Any) -> None:
        with clock.frozen(when):
            async with db.write() as session:
                draft = await plans.create(session, NS, new_plan(key, phases or (phase(unit_card()),), **members))
            async with db.write() as session:
                await plans.publish(session, NS, draft.id, check=planaddons.publish_issues)

    return publish


@pytest.fixture
async def customer(db: Database) -> Customer:
    """The customer `acme`."""
    with clock.frozen(CATALOG_TIME):
        async with db.write() as session:
            return await customers.create(session, NS, NewCustomer(name="Acme", key="acme", subject_keys=("acme-1",)))


@pytest.fixture
def subscribe(db: Database, customer: Customer) -> Subscribe:
    """Subscribe `acme` to the plan `ws_pro` at an instant."""

    async def subscribe(when: str = "2025-03-10T08", **members: Any) -> SubscriptionView:
        members = {"customer_id": customer.id, "plan": PlanChoice(key="ws_pro"), **members}
        with clock.frozen(at(when)):
            async with db.write() as session:
                return await service.create(session, NS, NewSubscription(**members))

    return subscribe


MINUTE = timedelta(minutes=1)
