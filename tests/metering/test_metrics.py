"""What a process counts, where it shows it, and what the readiness probe tells."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from prometheus_client import REGISTRY

from meterhouse.api.app import create_app
from meterhouse.api.services import Services
from meterhouse.engines import EngineError
from meterhouse.metering.sink import Sink
from meterhouse.runtime.serving import _measured
from meterhouse.settings import Settings
from tests.metering.conftest import NS, House
from tests.runtime.test_serve import free_port


@asynccontextmanager
async def serving(house: House, sink: Sink) -> AsyncIterator[httpx.AsyncClient]:
    services = Services(
        db=house.db,
        namespace=NS,
        event_log=house.log,
        sink=sink,
        max_batch_events=3,
        probes={"event_log": house.log.ping},
    )
    transport = httpx.ASGITransport(create_app(services, max_body_bytes=100_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(house, house.sink) as client:
        yield client


def counted() -> dict[str, float]:
    names = ("accepted_total", "stored_total", "duplicate_total", "dead_lettered_total")
    found = {name: REGISTRY.get_sample_value(f"meterhouse_events_{name}") or 0 for name in names}
    found["ages"] = REGISTRY.get_sample_value("meterhouse_event_queryable_seconds_count") or 0
    return found


async def send(client: httpx.AsyncClient, *ids: str) -> int:
    body = [{"specversion": "1.0", "id": i, "source": "s", "type": "t", "subject": "u"} for i in ids]
    headers = {"content-type": "application/json"}
    return (await client.post("/api/v1/events", content=json.dumps(body), headers=headers)).status_code


async def test_events_are_counted(client: httpx.AsyncClient, house: House) -> None:
    before = counted()
    assert await send(client, "1", "2", "1") == 204
    assert await send(client, "2", "3") == 204
    await asyncio.wait_for(house.sink.drain(), 10)
    async with house.db.write() as session:
        await (await session.connection()).exec_driver_sql(
            "INSERT INTO event_log (namespace, ingested_at, payload) VALUES ('default', now(), 'nonsense')"
        )
    assert await send(client, "4") == 204
    await asyncio.wait_for(house.sink.drain(), 10)
    difference = {name: value - before[name] for name, value in counted().items()}
    assert difference == {
        "accepted_total": 6,
        "stored_total": 4,
        "duplicate_total": 2,
        "dead_lettered_total": 1,
        "ages": difference["ages"],
    }
    assert 2 <= difference["ages"] <= 3  # one a request, unless two came into one batch as duplicates of each other
    text = (await client.get("/metrics")).text
    assert "meterhouse_events_accepted_total" in text
    assert "meterhouse_sink_lag_events 0.0" in text


async def test_a_batch_above_the_limit_is_refused_whole(client: httpx.AsyncClient, house: House) -> None:
    assert await send(client, "1", "2", "3", "4") == 413
    assert await house.log.end() == {0: 0}


async def test_readiness_tells_the_state_of_the_log_and_the_lag_of_the_sink(house: House) -> None:
    # A sink that does not run: a running one measures its lag anew all the time.
    idle = Sink(house.log, house.clickhouse, house.db)
    idle.lag = 12
    async with serving(house, idle) as client:
        answer = await client.get("/readyz")
    assert answer.json() == {"status": "ok", "backends": {"event_log": "ok"}, "sink": {"lag": 12}}


async def test_metrics_have_a_port_of_their_own() -> None:
    port = free_port()
    settings = Settings(metrics_port=port)
    with _measured(settings):
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{port}/metrics")
        assert "meterhouse_events_stored_total" in answer.text
        with pytest.raises(EngineError, match="METRICS_PORT"), _measured(settings):
            pass
    with _measured(Settings()):
        pass
