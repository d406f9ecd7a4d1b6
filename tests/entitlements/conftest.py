"""A tenant with metered features and a customer, on real engines."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from meterhouse.api.app import create_app
from meterhouse.api.services import Services
from meterhouse.catalog import features
from meterhouse.catalog.features import NewFeature
from meterhouse.customers import service as customers
from meterhouse.customers.customer import Customer, NewCustomer
from meterhouse.entitlements import grants, resets, service
from meterhouse.entitlements.access import Access, Value
from meterhouse.entitlements.entitlement import (
    Entitlement,
    EntitlementType,
    Grant,
    NewEntitlement,
    NewGrant,
    NewRecurrence,
)
from meterhouse.entitlements.history import Histories
from meterhouse.kernel import clock
from meterhouse.kernel.clock import FrozenClock
from meterhouse.kernel.periods import Duration
from meterhouse.metering import meters
from meterhouse.metering.marks import UsageMarks
from meterhouse.metering.meters import Aggregation, NewMeter
from tests.metering.conftest import NS, House, event, house

__all__ = ["house"]

MONTH = Duration(months=1)


def at(text: str) -> datetime:
    """Read an instant such as `2025-03-10T08` or `2025-03-10`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass
class Tenant:
    """Short ways to give and use entitlements; the clock is in the test's hand."""

    house: House
    clock: FrozenClock
    access: Access
    customer: Customer
    http: httpx.AsyncClient
    events: int = 0

    async def call(self, method: str, path: str, body: Any = None, *, status: int = 200, **options: Any) -> Any:
        """Send a request of v1 or v2, below `/api`, or of v3, and return the answer's body."""
        path = path if path.startswith("/api/") else f"/api/v2/customers/acme/entitlements{path}"
        answer = await self.http.request(method, path, json=body, **options)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def use(self, when: str, quantity: Any = 1, *, subject: str = "acme-1") -> str:
        """Send one event of `calls` and store it."""
        self.events += 1
        name = f"e{self.events}"
        await self.house.send(event(name, when + "Z", subject, {"n": str(quantity), "u": str(quantity)}, type="call"))
        return name

    async def give(self, key: str = "api_calls", **members: Any) -> Entitlement:
        """Create a metered entitlement over monthly periods from the first of the month."""
        members.setdefault("type", EntitlementType.METERED)
        if members["type"] is EntitlementType.METERED:
            members.setdefault("usage_period", NewRecurrence(MONTH, at("2025-03-01")))
        async with self.house.db.write() as session:
            return await service.create(session, NS, self.customer.id, NewEntitlement(feature_key=key, **members))

    async def grant(self, entitlement: Entitlement, amount: Any, when: str, **members: Any) -> Grant:
        """Add a grant."""
        async with self.house.db.write() as session:
            return await grants.create(session, NS, entitlement.id, NewGrant(Decimal(amount), at(when), **members))

    async def reset(self, entitlement: Entitlement, **members: Any) -> None:
        """Reset usage."""
        async with self.house.db.write() as session:
            await resets.reset(session, NS, entitlement.id, **members)

    async def value(self, entitlement: Entitlement, when: str | None = None, *, remember: bool = True) -> Value:
        """Read what an entitlement is worth, as a route does."""
        async with self.house.db.read() as session:
            fresh = await service.get(session, NS, entitlement.id)
            instant = clock.now() if when is None else at(when)
            answer = await self.access.values(session, NS, [fresh], instant)
        if remember:
            await self.access.remember(self.house.db, answer.notes)
        return answer.values[0]

    async def numbers(self, entitlement: Entitlement, when: str | None = None, **options: Any) -> tuple[Decimal, ...]:
        """Read balance, usage, overage and all that was available in the usage period."""
        balance = (await self.value(entitlement, when, **options)).balance
        assert balance is not None
        return (balance.balance, balance.usage, balance.overage, balance.total_available)


@pytest.fixture
async def tenant(house: House) -> AsyncIterator[Tenant]:
    """The customer `acme` with the subject `acme-1`, features on meters of each kind, and `badge` without one."""
    with clock.frozen(at("2025-03-01")) as frozen:
        async with house.db.write() as session:
            for key, aggregation, value in (
                ("api_calls", Aggregation.SUM, "$.n"),
                ("users", Aggregation.UNIQUE_COUNT, "$.u"),
                ("seats", Aggregation.LATEST, "$.n"),
            ):
                await meters.create(session, NS, NewMeter(key, key, "call", aggregation, value))
                await features.create(session, NS, NewFeature(key=key, name=key, meter_key=key))
            await features.create(session, NS, NewFeature(key="badge", name="Badge"))
            acme = await customers.create(session, NS, NewCustomer(name="Acme", key="acme", subject_keys=("acme-1",)))
        marks = UsageMarks(house.clickhouse)
        access = Access(house.queries, marks)
        services = Services(
            db=house.db,
            namespace=NS,
            event_log=house.log,
            meter_queries=house.queries,
            access=access,
            histories=Histories(house.queries, marks),
        )
        app = create_app(services, max_body_bytes=1_000_000)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            yield Tenant(house, frozen, access, acme, http)
