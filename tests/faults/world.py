"""Sinks and stores that fail on demand, and the check that everything counts once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from random import Random
from typing import Any

import pyarrow as pa

from meterhouse.kernel.errors import Unavailable
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.sink import Sink
from tests.faults.story import Story

SETTLE_SECONDS = 60  # far more than it takes; other tests run beside this one


class Unreliable(ClickHouse):
    """A door to a ClickHouse that goes away: all of it while `down`, or now and then by chance.

    When it goes away by chance, what was asked for is done in half of the cases: only the answer is lost.
    """

    def __init__(self, url: str, random: Random | None = None, chance: float = 0.0) -> None:
        super().__init__(url, threads=2)
        self.down = False
        self._random, self._chance = random, chance

    async def _run(self, call: Callable[[Any], Any]) -> Any:
        if self.down:
            raise Unavailable("away")
        if self._random is None or self._random.random() >= self._chance:
            return await super()._run(call)
        if self._random.random() < 0.5:
            await super()._run(call)
        raise Unavailable("away by chance")


class Held(Sink):
    """A sink that stops right before it inserts events, and goes on when it is told: as if its process had slept."""

    def __init__(self, *collaborators: Any) -> None:
        super().__init__(*collaborators)
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def insert_events(self, table: pa.Table) -> None:
        self.reached.set()
        await self.go.wait()
        await super().insert_events(table)


async def until_stored(clickhouse: ClickHouse, count: int) -> None:
    """Wait until there are as many distinct events."""
    async with asyncio.timeout(SETTLE_SECONDS):
        while (await clickhouse.query("SELECT uniqExact(id) FROM om_events"))[0][0] < count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def assert_each_counts_once(clickhouse: ClickHouse, story: Story) -> None:
    """Compare what is stored with the story's truth."""
    rows = await clickhouse.query("SELECT id, count() FROM om_events GROUP BY id")
    stored: Mapping[str, int] = {row[0]: row[1] for row in rows}
    assert stored == dict.fromkeys(story.values, 1)
    ((total,),) = await clickhouse.query("SELECT sum(toDecimal256(JSONExtractString(data, 'v'), 2)) FROM om_events")
    assert Decimal(total) == story.total


@asynccontextmanager
async def all_running(sinks: Sequence[Sink]) -> AsyncIterator[None]:
    """Run sinks for the length of the block."""
    tasks = [asyncio.create_task(sink.run()) for sink in sinks]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
