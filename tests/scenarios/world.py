"""A composed server inside the test process: HTTP requests without a socket, and time and every job in the test's hand.

Unlike a served process on the simulated clock, no job runs here unless the test runs it: jobs may come late, twice, or
in any order. Only the sink runs by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
from sqlalchemy import text

from meterhouse.api.wire import format_instant
from meterhouse.kernel import clock
from meterhouse.kernel.clock import FrozenClock
from meterhouse.kernel.db import Database
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.events.embedded import EmbeddedLog
from meterhouse.runtime.backends import Backends
from meterhouse.runtime.composition import Application, build
from meterhouse.settings import Settings

START = datetime(2025, 1, 15, tzinfo=UTC)
UNIT_PRICE = Decimal("0.02")

# What must come to zero for every currency, however many transactions there are.
LEDGER_SUMS = """
    SELECT s.currency, sum(e.amount) AS total
    FROM ledger_entries e JOIN ledger_sub_accounts s ON s.id = e.sub_account_id GROUP BY s.currency
"""


class World:
    """The server, the clock, and the calls that the tests make."""

    def __init__(self, app: Application, http: httpx.AsyncClient, frozen: FrozenClock) -> None:
        self.app = app
        self.http = http
        self.clock = frozen
        self._events = 0

    def pass_time(self, by: timedelta) -> None:
        """Let time pass without any job noticing."""
        self.clock.at += by

    async def run(self, *names: str) -> None:
        """Run the due works of these names once, in this order; all of them where none is named."""
        works = {work.name: work for work in self.app.due_works}
        for name in names or list(works):
            await works[name].run_due()

    async def settle(self) -> None:
        """Run queued jobs and due work until nothing is due at this instant."""
        for _ in range(50):
            await self.app.sink.drain()
            await self.app.worker.drain()
            dues = [await work.next_due() for work in self.app.due_works]
            if all(due is None or due > self.clock.at for due in dues):
                return
            await self.run()
        raise AssertionError(f"work does not settle at {self.clock.at}: {dues}")

    async def call(self, method: str, path: str, body: Any = None, *, status: int = 200, **options: Any) -> Any:
        answer = await self.http.request(method, path, json=body, **options)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def catalog(self, *, settlement_mode: str = "credit_then_invoice", price: Any = None) -> None:
        """Make a sum meter, its feature and a published monthly plan `pro` with one usage price."""
        meter = {"slug": "tokens", "eventType": "completion", "aggregation": "SUM", "valueProperty": "$.tokens"}
        await self.call("POST", "/api/v1/meters", meter, status=201)
        feature = {"key": "tokens", "name": "Tokens", "meterSlug": "tokens"}
        await self.call("POST", "/api/v1/features", feature, status=201)
        card = {
            "type": "usage_based",
            "key": "tokens",
            "name": "Tokens",
            "featureKey": "tokens",
            "billingCadence": "P1M",
            "price": price or {"type": "unit", "amount": str(UNIT_PRICE)},
        }
        plan = {
            "key": "pro",
            "name": "Pro",
            "currency": "USD",
            "billingCadence": "P1M",
            "settlementMode": settlement_mode,
            "phases": [{"key": "main", "name": "Main", "duration": None, "rateCards": [card]}],
        }
        made = await self.call("POST", "/api/v1/plans", plan, status=201)
        await self.call("POST", f"/api/v1/plans/{made['id']}/publish")

    async def customer(self, key: str = "acme") -> str:
        body = {"key": key, "name": "Acme", "usageAttribution": {"subjectKeys": [f"{key}-app"]}}
        return str((await self.call("POST", "/api/v1/customers", body, status=201))["id"])

    async def subscribe(self, customer_id: str) -> str:
        body = {"customerId": customer_id, "plan": {"key": "pro"}}
        return str((await self.call("POST", "/api/v1/subscriptions", body, status=201))["id"])

    async def ingest(self, tokens: Decimal, *, subject: str = "acme-app", event_id: str | None = None) -> str:
        """Send one event of this instant and store it; returns its id, to send it again."""
        self._events += 1
        event_id = event_id or f"event-{self._events}"
        event = {
            "specversion": "1.0",
            "id": event_id,
            "source": "tests",
            "type": "completion",
            "subject": subject,
            "time": format_instant(self.clock.at),
            "data": {"tokens": str(tokens)},
        }
        headers = {"content-type": "application/cloudevents+json"}
        answer = await self.http.post("/api/v1/events", json=event, headers=headers)
        assert answer.status_code == 204, answer.text
        await self.app.sink.drain()
        return event_id

    async def grant(self, customer_id: str, amount: Decimal) -> None:
        body = {"name": "Credit", "funding_method": "none", "currency": "USD", "amount": str(amount)}
        await self.call("POST", f"/api/v3/openmeter/customers/{customer_id}/credits/grants", body, status=201)

    async def invoice(self, customer_id: str, *, progressive: bool) -> httpx.Response:
        """Ask for an invoice; both 201 and an explained 400 are fine."""
        body = {"customerId": customer_id, "progressiveBillingOverride": progressive}
        answer = await self.http.post("/api/v1/billing/invoices/invoice", json=body)
        assert answer.status_code in (201, 400), answer.text
        return answer

    async def balance(self, customer_id: str) -> dict[str, Decimal]:
        path = f"/api/v3/openmeter/customers/{customer_id}/credits/balance"
        found = (await self.call("GET", path, params={"filter[currency][eq]": "USD"}))["balances"]
        (usd,) = found
        return {name: Decimal(usd[name]) for name in ("settled", "live", "pending")}

    async def transactions(self, customer_id: str) -> list[dict[str, Any]]:
        path = f"/api/v3/openmeter/customers/{customer_id}/credits/transactions"
        found: list[dict[str, Any]] = (await self.call("GET", path, params={"page[size]": 100}))["data"]
        return found

    async def charges(self, customer_id: str) -> list[dict[str, Any]]:
        path = f"/api/v3/openmeter/customers/{customer_id}/charges"
        found: list[dict[str, Any]] = (await self.call("GET", path, params={"page[size]": 100}))["data"]
        return found

    async def invoices(self, customer_id: str) -> list[dict[str, Any]]:
        params = {"customers": customer_id, "expand": "lines", "pageSize": 1000}
        found = (await self.call("GET", "/api/v1/billing/invoices", params=params))["items"]
        return [one for one in found if one["status"] != "gathering"]

    async def everything(self, customer_id: str) -> Any:
        """Return all that the API shows of a customer's money."""
        return (
            await self.balance(customer_id),
            await self.transactions(customer_id),
            await self.charges(customer_id),
            await self.invoices(customer_id),
        )

    async def ledger_sums(self) -> dict[str, Decimal]:
        """Return the sum of all ledger entries by currency."""
        async with self.app.services.db.read() as session:
            return {row[0]: row[1] for row in await session.execute(text(LEDGER_SUMS))}


@asynccontextmanager
async def world(
    database_url: str, clickhouse: ClickHouse, settings: Settings, *, at: datetime = START
) -> AsyncIterator[World]:
    """Compose a server on a fresh database of each engine; its clock stands still."""
    # Every request holds one connection; the concurrency tests send 50 at once.
    db = Database(database_url, pool_size=20)
    log = EmbeddedLog(db)
    with clock.frozen(at) as frozen:
        app = await build(settings, Backends(db, clickhouse), log)
        transport = httpx.ASGITransport(app=app.asgi, raise_app_exceptions=False)
        sink = asyncio.create_task(app.sink.run())
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=120) as http:
                yield World(app, http, frozen)
        finally:
            sink.cancel()
            await asyncio.wait([sink])
    await log.close()
    await db.close()


def totals(invoices: Sequence[dict[str, Any]], name: str) -> Decimal:
    """Add up one total over invoices."""
    return sum((Decimal(one["totals"][name]) for one in invoices), Decimal(0))
