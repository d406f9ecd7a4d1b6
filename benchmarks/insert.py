"""Storing: what the sink does with a batch of 10,000 records, against an INSERT of text as the reference does it.

Our tables wait for the disk (fsync) with every insert; the reference's do not. Both are shown: with equal durability,
where the reference's table has the same settings, and as each is shipped.
"""

import random
from collections.abc import Awaitable, Callable

import batches
import data
import harness
import pyarrow as pa
from harness import Figure, Scale

from meterhouse.kernel import clock
from meterhouse.kernel.ids import new_id
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.events.event import read_payloads
from meterhouse.metering.events.log import Record
from meterhouse.metering.keys import event_keys
from meterhouse.metering.rows import Decoded, to_table

ROUNDS = {"small": 12, "full": 30}
DURABLE, SHIPPED = "reference_durable", "reference_events"
_SLOTS = {(data.NAMESPACE, data.TYPE): data.SLOTS}

Call = Callable[[], Awaitable[None]]


def lay_out(batch: list[Record]) -> pa.Table:
    """Turn records into columns, step by step as `Sink.store` does."""
    decoded = list(zip(batch, read_payloads(record.payload for record in batch), strict=True))
    keys = event_keys((record.namespace, payload.source, payload.id) for record, payload in decoded)
    fresh: dict[bytes, Decoded] = {}
    for key, one in zip(keys, decoded, strict=True):
        fresh.setdefault(key, one)
    return to_table(list(fresh.values()), _SLOTS, clock.now(), {})


def reference_columns(table: pa.Table) -> pa.Table:
    """Keep the columns that the reference has, in whole seconds."""
    kept = table.select(["namespace", "id", "type", "subject", "source", "time", "data", "ingested_at", "stored_at"])
    for name in ("time", "ingested_at", "stored_at"):
        seconds = kept[name].cast(pa.timestamp("s", "UTC"), safe=False)
        kept = kept.set_column(kept.schema.get_field_index(name), name, seconds)
    return kept.append_column("store_row_id", table["store_row_id"])


class Paths:
    """The ways of a batch into a table. Every call takes another batch, made beforehand."""

    def __init__(self, clickhouse: ClickHouse, count: int) -> None:
        chance = random.Random(1)
        self._clickhouse = clickhouse
        self._batches = [batches.records(chance) for _ in range(count)]
        self._tables = [lay_out(batch) for batch in self._batches]

    def ours(self) -> Call:
        """From records to stored rows, as the sink does it."""
        taken = iter(self._batches)

        async def call() -> None:
            await self._clickhouse.insert("om_events", lay_out(next(taken)), name=new_id())

        return call

    def text(self, table: str) -> Call:
        """From records to stored rows through text."""
        taken = iter(self._batches)

        async def call() -> None:
            await self._clickhouse.command(batches.reference_insert(next(taken), table))

        return call

    def only_insert(self, table: str) -> Call:
        """The insert alone, of columns that are there."""
        ready = [one if table == "om_events" else reference_columns(one) for one in self._tables]
        taken = iter(ready)

        async def call() -> None:
            await self._clickhouse.insert(table, next(taken), name=new_id())

        return call


async def measure(scale: Scale) -> list[Figure]:
    """Store batches in turns."""
    rounds = ROUNDS[scale]
    with harness.temporary_directory() as directory:
        clickhouse = ClickHouse(f"chdb://{directory}", threads=1)
        try:
            await data.create_tables(clickhouse)
            await clickhouse.command(data.REFERENCE_TABLE.format(name=DURABLE, settings=data.FSYNC))
            harness.say(f"making {rounds + 1} batches of {batches.BATCH:,} events")
            paths = Paths(clickhouse, rounds + 1)
            harness.say("storing batches from records")
            ours, durable, shipped = await harness.alternate(
                rounds, paths.ours(), paths.text(DURABLE), paths.text(SHIPPED)
            )
            harness.say("storing columns")
            alone, alone_durable, alone_shipped = await harness.alternate(
                rounds, *(paths.only_insert(table) for table in ("om_events", DURABLE, SHIPPED))
            )
        finally:
            await clickhouse.close()
    name, against = "10k records to stored rows", "INSERT VALUES text"
    note = f"{harness.milliseconds(ours)} against {harness.milliseconds(durable)}"
    alone_note = f"{harness.milliseconds(alone)} against {harness.milliseconds(alone_durable)}"
    return [
        Figure("insert", name, f"{against}, same durability", harness.ratio(durable, ours), 2.3, note=note),
        Figure("insert", name, f"{against}, no fsync", harness.ratio(shipped, ours)),
        Figure(
            "insert",
            "10k rows into the event table",
            "table of the reference, same durability",
            harness.ratio(alone, alone_durable),
            1.35,
            higher=False,
            note=alone_note,
        ),
        Figure(
            "insert",
            "10k rows into the event table",
            "table of the reference, no fsync",
            harness.ratio(alone, alone_shipped),
            higher=False,
        ),
    ]


if __name__ == "__main__":
    harness.run(measure, __doc__)
