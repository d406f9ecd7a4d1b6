"""v1 debug metrics and the progress of queries (metering sections 16 and 19)."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from meterhouse.api.app import create_app
from meterhouse.api.services import Services
from meterhouse.api.v1.debug import exposition
from meterhouse.kernel import clock
from meterhouse.kernel.clock import FrozenClock
from meterhouse.kernel.db import Database
from meterhouse.kernel.ids import new_id
from meterhouse.metering.listing import StoredEvents
from meterhouse.metering.meters import Aggregation
from meterhouse.metering.progress.tracker import KEPT, TrackedQueries
from meterhouse.metering.query import MeterQueries, MeterQuery, UsageRow
from tests.metering.conftest import NS, House, at, event, house

__all__ = ["house"]

NOW = at("2025-03-01T23:59:00Z")
PROGRESS = "/api/v1/info/progress"


class Slow(MeterQueries):
    """Meter queries that stop on their way until they may go on."""

    def __init__(self, house: House) -> None:
        super().__init__(house.clickhouse)
        self.running, self.go_on = asyncio.Event(), asyncio.Event()
        self.go_on.set()

    async def usage(self, query: MeterQuery, *, mark: str | None = None) -> list[UsageRow]:
        self.running.set()
        await self.go_on.wait()
        return await super().usage(query, mark=mark)


@pytest.fixture
def now() -> Any:
    """A clock that stands a minute before midnight."""
    with clock.frozen(NOW) as now:
        yield now


@pytest.fixture
def slow(house: House) -> Slow:
    """Queries that can be stopped."""
    return Slow(house)


@pytest.fixture
async def client(now: FrozenClock, house: House, slow: Slow) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the whole server."""
    services = Services(
        db=house.db,
        namespace=NS,
        meter_queries=slow,
        stored_events=StoredEvents(house.clickhouse),
        tracked_queries=TrackedQueries(house.db, slow),
    )
    transport = httpx.ASGITransport(create_app(services, max_body_bytes=100_000), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def test_events_of_today_by_subject(client: httpx.AsyncClient, house: House) -> None:
    answer = await client.get("/api/v1/debug/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text == exposition([])
    # By the instant of storing: an old event that arrives today counts today.
    await house.send(
        event("1", "2025-03-01T08:00:00Z", "acme"),
        event("2", "2025-01-01T08:00:00Z", "acme"),
        event("3", "2025-03-01T08:00:00Z", 'say "hi"'),
        event("4", "2025-03-01T08:00:00Z", "elsewhere", namespace="other"),
    )
    assert (await client.get("/api/v1/debug/metrics")).text.splitlines() == [
        "# TYPE openmeter_events counter",
        "# HELP openmeter_events Events stored since midnight UTC.",
        'openmeter_events_total{subject="acme"} 2',
        r'openmeter_events_total{subject="say \"hi\""} 1',
        "# EOF",
    ]


async def test_the_counter_starts_anew_at_midnight(client: httpx.AsyncClient, house: House, now: FrozenClock) -> None:
    await house.send(event("1", "2025-03-01T08:00:00Z"))
    now.at = at("2025-03-02T00:00:00Z")
    assert (await client.get("/api/v1/debug/metrics")).text == exposition([])


def test_label_values_are_escaped() -> None:
    assert r'{subject="a\\b\"c\nd"} 7' in exposition([('a\\b"c\nd', 7)])


async def test_progress_of_a_query(client: httpx.AsyncClient, house: House, slow: Slow, now: FrozenClock) -> None:
    await house.meter(Aggregation.SUM, "$.gb", key="storage")
    await house.send(*(event(str(n), "2025-03-01T08:00:00Z", "acme" if n else "beta", {"gb": 1}) for n in range(4)))
    assert (await client.get(f"{PROGRESS}/me")).status_code == 404

    slow.go_on.clear()
    params = {"clientId": "me", "subject": "acme"}
    query = asyncio.create_task(client.get("/api/v1/meters/storage/query", params=params))
    await slow.running.wait()
    began = (await client.get(f"{PROGRESS}/me")).json()
    assert began == {"success": 0, "failed": 0, "total": 3, "updatedAt": "2025-03-01T23:59:00Z"}
    now.at += timedelta(seconds=2)
    slow.go_on.set()
    assert (await query).json()["data"][0]["value"] == 3

    ended = {"success": 3, "failed": 0, "total": 3, "updatedAt": "2025-03-01T23:59:00Z"}
    assert {**(await client.get(f"{PROGRESS}/me")).json(), "updatedAt": ended["updatedAt"]} == ended
    body = {"clientId": "me"}
    assert (await client.post("/api/v1/meters/storage/query", json=body)).status_code == 200
    assert (await client.get(f"{PROGRESS}/me")).json()["total"] == 4
    assert (await client.get(f"{PROGRESS}/you")).status_code == 404
    now.at += KEPT + timedelta(seconds=2)
    assert (await client.get(f"{PROGRESS}/me")).status_code == 404


async def test_rows_read_by_a_running_query(house: House) -> None:
    mark = new_id()
    heavy = f"SELECT sum(sipHash64(number)) FROM numbers(30000000) SETTINGS log_comment = '{mark}'"
    running = asyncio.create_task(house.clickhouse.query(heavy))
    seen = 0
    while not running.done() and not seen:
        seen = await house.queries.rows_read(mark)
    await running
    assert seen > 0
    assert await house.queries.rows_read(mark) == 0


async def test_a_query_is_answered_when_it_cannot_be_tracked(house: House) -> None:
    meter = await house.meter(Aggregation.COUNT, key="storage")
    await house.send(event("1", "2025-03-01T08:00:00Z"))
    unreachable = Database("postgresql+asyncpg://nobody@/none?host=/nowhere")
    (row,) = await TrackedQueries(unreachable, house.queries).usage("me", MeterQuery(meter))
    assert row.value == 1
    await unreachable.close()
