"""The whole pipe, from the request over the log and the sink to what a query sees.

Throughput is compared with the same server without a sink, which only makes events durable. The age of an event is the
time from its receipt until a query sees it, under a modest steady load, in units of the sink's flush interval.
"""

import asyncio
import contextlib
import random
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import batches
import harness
import httpx
import load
import numpy as np
import pyarrow as pa
import servers
from harness import Figure, Scale
from load import Load

from meterhouse.kernel import clock
from meterhouse.metering.sink import FLUSH_INTERVAL_SECONDS
from meterhouse.runtime.composition import Application, compose
from meterhouse.settings import Settings

EVENTS = {"small": 100_000, "full": 500_000}
ROUNDS = {"small": 3, "full": 5}
PER_REQUEST = 100
CONNECTIONS = 16
# The steady load whose ages are taken.
STEADY_SECONDS = {"small": 5, "full": 30}
REQUESTS_PER_SECOND, PER_STEADY_REQUEST = 50, 20
HEADERS = {"content-type": "application/cloudevents-batch+json"}


class _Embedded(servers.Announcing):
    """A server inside this process, so that the moment at which events become visible can be taken."""

    def __init__(self, app: servers.ASGIApp) -> None:
        super().__init__(servers.config(app))
        self.port: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def announce(self, port: int) -> None:
        self.port.set_result(port)


@dataclass
class Pipe:
    """A running server with its sink, and the ages of what it stored."""

    application: Application
    port: int
    ages: list[float] = field(default_factory=list)

    async def count(self) -> int:
        """Return how many events a query sees."""
        stored = self.application.services.stored_events
        assert stored is not None
        ((count,),) = await stored._clickhouse.query("SELECT count() FROM om_events")
        return int(count)


@asynccontextmanager
async def _pipe(directory: Path) -> AsyncIterator[Pipe]:
    async with compose(Settings(data_dir=directory), lambda _: None) as application:
        sink, insert = application.sink, application.sink.insert_events
        server = _Embedded(application.asgi)
        pipe = Pipe(application, 0)

        async def taking_age(table: pa.Table) -> None:
            await insert(table)
            visible = int(clock.now().timestamp() * 1e6)
            received = table["ingested_at"].cast(pa.int64()).to_numpy()
            pipe.ages += ((visible - received) / 1e6).tolist()

        sink.insert_events = taking_age  # type: ignore[method-assign]
        tasks = [asyncio.create_task(sink.run()), asyncio.create_task(server.serve())]
        pipe.port = await server.port
        try:
            yield pipe
        finally:
            server.should_exit = True
            await tasks[1]
            tasks[0].cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await tasks[0]


def _load(chance: random.Random, events: int) -> Load:
    bodies = [batches.body(chance, PER_REQUEST) for _ in range(events // PER_REQUEST)]
    return Load("POST", "/api/v1/events", bodies, HEADERS["content-type"], CONNECTIONS)


async def _steady(pipe: Pipe, seconds: int) -> list[float]:
    chance = random.Random()
    pipe.ages.clear()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{pipe.port}", headers=HEADERS) as http:
        start = time.perf_counter()
        for index in range(seconds * REQUESTS_PER_SECOND):
            await asyncio.sleep(max(start + index / REQUESTS_PER_SECOND - time.perf_counter(), 0))
            answer = await http.post("/api/v1/events", content=batches.body(chance, PER_STEADY_REQUEST))
            answer.raise_for_status()
    await pipe.application.sink.drain()
    return list(pipe.ages)


async def measure(scale: Scale) -> list[Figure]:
    """Fill the pipe in turns with the log alone, then take ages."""
    events, chance = EVENTS[scale], random.Random()
    whole: list[float] = []
    log_only: list[float] = []
    with harness.temporary_directory() as directory:
        async with servers.serving("log", directory / "log") as log, _pipe(directory / "pipe") as pipe:
            sent = 0
            for number in range(ROUNDS[scale]):
                harness.say(f"round {number + 1}: {events:,} events each")
                given = _load(chance, events)
                log_only.append((await load.put(given, log.port, log.pid)).seconds)
                start = time.perf_counter()
                await load.put(given, pipe.port, log.pid)
                await pipe.application.sink.drain()
                whole.append(time.perf_counter() - start)
                sent += events
                if await pipe.count() != sent:
                    raise AssertionError("events are missing")
            harness.say("ages under a steady load")
            ages = await _steady(pipe, STEADY_SECONDS[scale])
    middle, high = np.percentile(ages, [50, 99])
    rate = f"{events / statistics.median(whole):,.2g} events a second".replace("e+0", "e")
    unit = "flush interval"
    return [
        Figure(
            "pipe", "events a second until queryable", "durable in the log", harness.ratio(log_only, whole), note=rate
        ),
        Figure("pipe", "age, p50", unit, middle / FLUSH_INTERVAL_SECONDS, higher=False, note=f"{middle * 1000:.2g} ms"),
        Figure("pipe", "age, p99", unit, high / FLUSH_INTERVAL_SECONDS, higher=False, note=f"{high * 1000:.2g} ms"),
    ]


if __name__ == "__main__":
    harness.run(measure, __doc__)
