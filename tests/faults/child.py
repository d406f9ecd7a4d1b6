"""A sink in a process of its own, which dies by SIGKILL at a place that it is told.

    python -m tests.faults.child '{"database": URL, "clickhouse": URL, "kill_at": "after_events", "kill_on": 2, ...}'

It drains the log and then writes, as JSON, how often each event is stored, how often each has a key, and the sum of all
values. With `kafka` it reads from there until it has stored what `end` says, else from the embedded log.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from meterhouse.kernel.db import Database
from meterhouse.metering import sink as sinks
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.events.embedded import EmbeddedLog
from meterhouse.metering.events.kafka import KafkaLog
from meterhouse.metering.events.log import EventConsumer, EventLog, Record
from meterhouse.metering.rows import Decoded
from meterhouse.metering.sink import Sink

KILL_POINTS = ("before_decode", "after_decode", "amid_events", "after_events", "after_keys", "after_commit")


class MortalSink(Sink):
    """Dies when it passes the place `kill_at` for the `kill_on`-th time."""

    def __init__(self, *collaborators: Any, kill_at: str | None, kill_on: int) -> None:
        super().__init__(*collaborators)
        self._kill_at, self._left = kill_at, kill_on

    def _passes(self, place: str) -> None:
        if place == self._kill_at:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    async def decode(self, records: Sequence[Record]) -> list[Decoded]:
        self._passes("before_decode")
        decoded = await super().decode(records)
        self._passes("after_decode")
        return decoded

    async def insert_events(self, table: pa.Table) -> None:
        if self._kill_at == "amid_events" and self._left <= 1:
            # As when the process dies while the engine writes the parts of several months.
            await super().insert_events(table.slice(0, table.num_rows // 2))
        self._passes("amid_events")
        await super().insert_events(table)
        self._passes("after_events")

    async def insert_keys(self, keys: Sequence[bytes]) -> None:
        await super().insert_keys(keys)
        self._passes("after_keys")

    async def commit(self, consumer: EventConsumer, positions: Mapping[int, int]) -> None:
        await super().commit(consumer, positions)
        self._passes("after_commit")

    def has_stored(self, end: Mapping[str, int]) -> bool:
        """Tell whether every position below `end` is stored."""
        return all(self._stored.get(int(partition), 0) >= position for partition, position in end.items())


async def main(given: dict[str, Any]) -> None:
    """Store what is in the log, and tell what is stored."""
    sinks.FLUSH_EVENTS = given["flush"]  # small, so that a log of a few hundred records takes several flushes
    db = Database(given["database"], pool_size=5)
    clickhouse = ClickHouse(given["clickhouse"], threads=2)
    await clickhouse.migrate()
    log: EventLog = EmbeddedLog(db)
    if "kafka" in given:
        log = KafkaLog(given["kafka"], given["topic"], group=given["topic"], consuming=given["consuming"])
    sink = MortalSink(log, clickhouse, db, kill_at=given.get("kill_at"), kill_on=given.get("kill_on", 1))
    running = asyncio.create_task(sink.run())
    end = given.get("end") or {str(partition): position for partition, position in (await log.end()).items()}
    while not sink.has_stored(end):  # noqa: ASYNC110 what another process appended is no event of this one
        await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.wait([running])
    events = await clickhouse.query("SELECT id, count() FROM om_events GROUP BY id")
    ((keys,),) = await clickhouse.query("SELECT uniqExact(key_hash) FROM om_event_keys")
    ((total,),) = await clickhouse.query("SELECT sum(toDecimal256(JSONExtractString(data, 'v'), 2)) FROM om_events")
    print(json.dumps({"stored": dict(events), "keys": keys, "sum": str(total)}))  # noqa: T201 read by the parent
    await log.close()
    await clickhouse.close()
    await db.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
