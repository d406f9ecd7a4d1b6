"""Dropping duplicates: looking up the keys of 10,000 new events, with and without the filter in memory.

The unit is one insert of 10,000 ready rows into the table of the reference, without waiting for the disk.
"""

import random
import secrets
import time

import batches
import data
import harness
import insert
from harness import Figure, Scale

from meterhouse.kernel.ids import new_id
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.keys import KEY_BYTES, KeyStore, event_keys

KEYS = {"small": (1_000_000, 10_000_000), "full": (1_000_000, 10_000_000, 50_000_000)}
ROUNDS = {"small": 8, "full": 20}
# What merges left behind and what came since: most keys in one part, some in fresh ones.
FRESH_PARTS = 5
CHUNK = 5_000_000
# The limits hold at this size.
SIZE_OF_TARGET = 10_000_000


async def grow(clickhouse: ClickHouse, present: int, wanted: int) -> None:
    """Add keys of other events, merged, but for some fresh parts."""
    fresh = wanted // 200
    missing = wanted - present - FRESH_PARTS * fresh
    while missing > 0:
        count = min(missing, CHUNK)
        await _add(clickhouse, count)
        missing -= count
    await data.merge(clickhouse, "om_event_keys")
    for _ in range(FRESH_PARTS):
        await _add(clickhouse, fresh)


async def _add(clickhouse: ClickHouse, count: int) -> None:
    await clickhouse.command(
        f"INSERT INTO om_event_keys (key_hash) SELECT randomFixedString({KEY_BYTES}) FROM numbers({{count:UInt64}})",
        {"count": count},
    )


async def compare(clickhouse: ClickHouse, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Return the seconds of a lookup with the filter, of one without it, and of the unit."""
    filtered, bare = KeyStore(clickhouse), KeyStore(clickhouse)
    start = time.perf_counter()
    await filtered.load()
    harness.say(f"filter loaded in {time.perf_counter() - start:.1f} s")
    table = insert.reference_columns(insert.lay_out(batches.records(random.Random(2))))

    async def lookup(store: KeyStore) -> None:
        ids = secrets.token_hex(16 * batches.BATCH)
        keys = event_keys(("default", "service-1", ids[at : at + 32]) for at in range(0, len(ids), 32))
        if await store.known(keys):
            raise AssertionError("a new key is known")

    async def unit() -> None:
        await clickhouse.insert("reference_events", table, name=new_id())

    with_filter, without, units = await harness.alternate(rounds, lambda: lookup(filtered), lambda: lookup(bare), unit)
    return with_filter, without, units


async def added(clickhouse: ClickHouse, rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds of writing the keys of a batch, and of the unit with the same durability."""
    store = KeyStore(clickhouse)
    table = insert.reference_columns(insert.lay_out(batches.records(random.Random(3))))

    async def add() -> None:
        await store.add([secrets.token_bytes(KEY_BYTES) for _ in range(batches.BATCH)])

    async def unit() -> None:
        await clickhouse.insert(insert.DURABLE, table, name=new_id())

    adding, units = await harness.alternate(rounds, add, unit)
    return adding, units


async def measure(scale: Scale) -> list[Figure]:
    """Look up batches at growing sizes of the table."""
    figures: list[Figure] = []
    with harness.temporary_directory() as directory:
        clickhouse = ClickHouse(f"chdb://{directory}", threads=1)
        try:
            await data.create_tables(clickhouse)
            await clickhouse.command(data.REFERENCE_TABLE.format(name=insert.DURABLE, settings=data.FSYNC))
            present = 0
            for size in KEYS[scale]:
                harness.say(f"writing keys up to {size:,}")
                await grow(clickhouse, present, size)
                present = size
                with_filter, without, units = await compare(clickhouse, ROUNDS[scale])
                figures += _figures(size, with_filter, without, units)
            adding, units = await added(clickhouse, ROUNDS[scale])
        finally:
            await clickhouse.close()
    extra = harness.ratio(adding, units)
    return [*figures, Figure("dedupe", "keys of 10k events written", "10k insert, with fsync", extra, higher=False)]


def _figures(size: int, with_filter: list[float], without: list[float], units: list[float]) -> list[Figure]:
    name, against = f"10k new events, {size // 1_000_000}M keys", "10k insert of the reference"
    aimed = size == SIZE_OF_TARGET
    return [
        Figure(
            "dedupe",
            f"{name}, filter",
            against,
            harness.ratio(with_filter, units),
            1 if aimed else None,
            higher=False,
            note=f"{harness.milliseconds(with_filter)} against {harness.milliseconds(units)}",
        ),
        Figure(
            "dedupe",
            f"{name}, no filter",
            against,
            harness.ratio(without, units),
            6 if aimed else None,
            higher=False,
            note=f"{harness.milliseconds(without)} against {harness.milliseconds(units)}",
        ),
    ]


if __name__ == "__main__":
    harness.run(measure, __doc__)
