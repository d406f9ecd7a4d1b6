"""Money: live balances, which requests are gated on, and the invoices of a month.

A balance counts usage that is not billed yet, so each answer asks Postgres and ClickHouse. It is compared with a bare
route of a FastAPI application and with a bare server. Invoices are made by the collection when a month of many
customers ends, with everything that follows from it; the unit is a transaction that writes one row.
"""

import asyncio
import random
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import data
import harness
import httpx
import ingest
import servers
from harness import Figure, Scale
from load import Load
from sqlalchemy import text

from meterhouse.api.wire import format_instant
from meterhouse.kernel import clock
from meterhouse.kernel.clock import SystemClock
from meterhouse.kernel.db import Database
from meterhouse.runtime.composition import Application, compose
from meterhouse.settings import Settings

ROUNDS = {"small": 5, "full": 15}
SECONDS = {"small": 1.0, "full": 3.0}
EVENTS = {"small": 20_000, "full": 200_000}
CUSTOMERS = {"small": 60, "full": 400}
CONNECTIONS = 16
COMMITS = 300
START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 2, 1, 3, tzinfo=UTC)
METER = {"slug": "tokens", "eventType": data.TYPE, "aggregation": "SUM", "valueProperty": "$.tokens"}
CARD = {
    "type": "usage_based",
    "key": "tokens",
    "name": "Tokens",
    "featureKey": "tokens",
    "billingCadence": "P1M",
    "price": {"type": "unit", "amount": "0.02"},
}
PLAN = {
    "key": "pro",
    "name": "Pro",
    "currency": "USD",
    "billingCadence": "P1M",
    "phases": [{"key": "main", "name": "Main", "duration": None, "rateCards": [CARD]}],
}
GRANT = {"name": "Credit", "funding_method": "none", "currency": "USD", "amount": "100.00"}


class Api:
    """The calls that set a scene."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request, which must succeed."""
        answer = await self._http.request(method, path, json=body)
        if answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    async def catalog(self) -> None:
        """Make the meter, its feature and a published plan."""
        await self.call("POST", "/api/v1/meters", METER)
        await self.call("POST", "/api/v1/features", {"key": "tokens", "name": "Tokens", "meterSlug": "tokens"})
        made = await self.call("POST", "/api/v1/plans", PLAN)
        await self.call("POST", f"/api/v1/plans/{made['id']}/publish")

    async def customer(self, key: str) -> str:
        """Make a customer with credit, who subscribes now; returns its id."""
        body = {"key": key, "name": key, "usageAttribution": {"subjectKeys": [f"{key}-app"]}}
        made = str((await self.call("POST", "/api/v1/customers", body))["id"])
        await self.call("POST", f"/api/v3/openmeter/customers/{made}/credits/grants", GRANT)
        await self.call("POST", "/api/v1/subscriptions", {"customerId": made, "plan": {"key": "pro"}})
        return made

    async def use(self, subjects: list[str], events: int, at: datetime) -> None:
        """Use tokens, in batches."""
        chance = random.Random()
        for start in range(0, events, 1000):
            batch = [
                {
                    "id": f"{chance.getrandbits(128):x}",
                    "source": "bench",
                    "type": data.TYPE,
                    "subject": subjects[number % len(subjects)],
                    "time": format_instant(at),
                    "data": {"tokens": chance.randrange(100)},
                }
                for number in range(start, min(start + 1000, events))
            ]
            await self.call("POST", "/api/v1/events", batch)


async def balances(scale: Scale, directory: Path) -> list[Figure]:
    """Ask for the balance of one customer among others."""
    async with (
        servers.serving("bare") as bare,
        servers.serving("pydantic") as route,
        servers.serving("whole", directory) as whole,
    ):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{whole.port}", timeout=60) as http:
            api = Api(http)
            await api.catalog()
            customers = [await api.customer(f"customer-{number}") for number in range(10)]
            harness.say(f"storing {EVENTS[scale]:,} events of {len(customers)} customers")
            await api.use([f"customer-{number}-app" for number in range(10)], EVENTS[scale], clock.now())
            await asyncio.sleep(3)
        path = f"/api/v3/openmeter/customers/{customers[0]}/credits/balance"
        harness.say("asking for balances")
        loads = [
            (bare, Load("GET", path, [b""], connections=CONNECTIONS)),
            (route, Load("GET", "/bare", [b""], connections=CONNECTIONS)),
            (whole, Load("GET", path, [b""], connections=CONNECTIONS)),
            (whole, Load("GET", path, [b""], connections=1)),
        ]
        at_bare, at_route, at_whole, alone = await ingest.in_turns(loads, ROUNDS[scale], SECONDS[scale])
    name = f"live balances a second, {CONNECTIONS} connections"
    return [
        Figure("money", name, "bare route of FastAPI", ingest.by_clock(at_whole, at_route), note=ingest.rate(at_whole)),
        Figure("money", name, "bare server", ingest.by_clock(at_whole, at_bare)),
        Figure(
            "money",
            "live balances a second, one connection",
            f"{CONNECTIONS} connections",
            ingest.by_clock(alone, at_whole),
            note=f"{1000 * sum(a.seconds for a in alone) / sum(a.requests for a in alone):.2g} ms each",
        ),
    ]


async def _commits(db: Database) -> float:
    """Return the seconds of a transaction that writes one row."""
    async with db.write() as session:
        await session.execute(text("CREATE TABLE IF NOT EXISTS bench_rows (id serial PRIMARY KEY, value text)"))
    start = time.perf_counter()
    for _ in range(COMMITS):
        async with db.write() as session:
            await session.execute(text("INSERT INTO bench_rows (value) VALUES ('x')"))
    return (time.perf_counter() - start) / COMMITS


async def _month(application: Application, customers: int) -> int:
    """Set up a month of customers with usage; returns how many invoices there are when it has ended."""
    transport = httpx.ASGITransport(application.asgi)
    async with httpx.AsyncClient(transport=transport, base_url="http://bench", timeout=600) as http:
        api = Api(http)
        await api.catalog()
        for number in range(customers):
            await api.customer(f"customer-{number}")
        subjects = [f"customer-{number}-app" for number in range(customers)]
        await api.use(subjects, 10 * customers, datetime(2025, 1, 15, tzinfo=UTC))
    return customers


async def invoices(scale: Scale, directory: Path) -> list[Figure]:
    """Let a month end for many customers at once."""
    customers = CUSTOMERS[scale]
    try:
        async with compose(Settings(data_dir=directory, test_clock=START), lambda _: None) as application:
            db, simulated = application.services.db, application.services.simulated_time
            assert simulated is not None
            sink = asyncio.create_task(application.sink.run())
            harness.say(f"making {customers} customers with subscriptions")
            await _month(application, customers)
            await simulated.advance_to(datetime(2025, 1, 31, tzinfo=UTC))
            commit = await _commits(db)
            harness.say("ending the month")
            start = time.perf_counter()
            await simulated.advance_to(END)
            taken = time.perf_counter() - start
            commit = (commit + await _commits(db)) / 2
            async with db.read() as session:
                made = await session.scalar(text("SELECT count(*) FROM invoices WHERE kind = 'standard'"))
            sink.cancel()
            await asyncio.wait([sink])
    finally:
        clock.use(SystemClock())
    if made != customers:
        raise AssertionError(f"{made} invoices of {customers} customers")
    return [
        Figure(
            "money",
            "an invoice, from gathering to its end",
            "transaction of one row",
            taken / customers / commit,
            higher=False,
            note=f"{customers / taken:.2g} invoices a second",
        )
    ]


async def measure(scale: Scale) -> list[Figure]:
    """Measure both."""
    with harness.temporary_directory() as directory:
        return [*await balances(scale, directory / "balances"), *await invoices(scale, directory / "invoices")]


if __name__ == "__main__":
    harness.run(measure, __doc__)
