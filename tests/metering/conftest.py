"""A metering house: log, sink, meters and queries on real engines."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.metering import meters
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.events.embedded import EmbeddedLog
from meterhouse.metering.events.event import Event
from meterhouse.metering.meters import Aggregation, Meter, NewMeter
from meterhouse.metering.query import MeterQueries, MeterQuery, UsageRow
from meterhouse.metering.sink import Sink

NS = "default"


def at(text: str) -> datetime:
    """Read an instant in UTC."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def event(event_id: str, time: str, subject: str = "acme", data: Any = "", **members: str) -> Event:
    """Make an event; data that is no text is written as JSON."""
    text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
    given = {"namespace": NS, "source": "srv", "type": "storage", **members}
    return Event(id=event_id, subject=subject, time=at(time), data=text, ingested_at=clock.now(), **given)


@dataclass
class House:
    """Everything a metering test needs."""

    db: Database
    clickhouse: ClickHouse
    log: EmbeddedLog
    sink: Sink
    queries: MeterQueries

    async def send(self, *events: Event) -> None:
        """Append events and wait until they are stored."""
        await self.log.append(events)
        await asyncio.wait_for(self.sink.drain(), 10)

    async def meter(
        self,
        aggregation: Aggregation,
        value: str | None = None,
        group_by: Mapping[str, str] | None = None,
        **members: Any,
    ) -> Meter:
        """Create a meter."""
        given = {"event_type": "storage", "name": "Meter", "key": f"m_{aggregation.value}", **members}
        new = NewMeter(aggregation=aggregation, value_property=value, group_by=group_by or {}, **given)
        async with self.db.write() as session:
            return await meters.create(session, NS, new)

    async def usage(self, meter: Meter, **query: Any) -> list[UsageRow]:
        """Ask a meter."""
        return await self.queries.usage(MeterQuery(meter, **query))


@contextlib.asynccontextmanager
async def running(sink: Sink) -> AsyncIterator[None]:
    """Run a sink for the length of the block."""
    task = asyncio.create_task(sink.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def house(db: Database, clickhouse: ClickHouse) -> AsyncIterator[House]:
    """Give a metering house with a running sink."""
    log = EmbeddedLog(db)
    sink = Sink(log, clickhouse, db)
    async with running(sink):
        yield House(db, clickhouse, log, sink, MeterQueries(clickhouse))
    await log.close()
