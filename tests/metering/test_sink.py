"""Each event is stored once, whatever is sent twice and whatever dies in between (design section 6)."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.events.embedded import EmbeddedLog
from meterhouse.metering.keys import KeyFilter, event_key
from meterhouse.metering.meters import Aggregation
from meterhouse.metering.sink import Sink
from tests.metering.conftest import House, at, event, running

TIME = "2025-03-01T10:00:00Z"


async def stored(clickhouse: ClickHouse) -> list[str]:
    """Return the ids of all stored events."""
    return [row[0] for row in await clickhouse.query("SELECT id FROM om_events ORDER BY id")]


async def test_duplicates_in_one_batch_and_across_batches(house: House) -> None:
    await house.send(event("1", TIME, data={"v": 1}), event("1", TIME, data={"v": 2}), event("2", TIME))
    await house.send(event("1", "2025-05-01T00:00:00Z", "other", type="else"), event("3", TIME))
    assert await stored(house.clickhouse) == ["1", "2", "3"]
    meter = await house.meter(Aggregation.SUM, "$.v")
    assert [row.value for row in await house.usage(meter)] == [1]


async def test_duplicates_across_restarts(db: Database, clickhouse: ClickHouse) -> None:
    log = EmbeddedLog(db)
    for _ in range(3):
        sink = Sink(log, clickhouse, db)
        async with running(sink):
            await log.append([event(str(i), TIME) for i in range(5)])
            await asyncio.wait_for(sink.drain(), 10)
    assert await stored(clickhouse) == ["0", "1", "2", "3", "4"]


async def test_source_and_namespace_are_part_of_the_key(house: House) -> None:
    await house.send(
        event("c", TIME, source="a-b"),
        event("b-c", TIME, source="a"),
        event("c", TIME, source="a-b", namespace="other"),
    )
    assert await stored(house.clickhouse) == ["b-c", "c", "c"]


class Death(Exception):
    """The process dies here."""


def _dies_before_events(sink: Sink) -> None:
    async def insert(table: pa.Table) -> None:
        raise Death

    sink.insert_events = insert  # type: ignore[method-assign]


def _dies_between_events_and_keys(sink: Sink) -> None:
    insert = sink.insert_events

    async def insert_and_die(table: pa.Table) -> None:
        await insert(table)
        raise Death

    sink.insert_events = insert_and_die  # type: ignore[method-assign]


def _dies_amid_events(sink: Sink) -> None:
    insert = sink.insert_events

    async def insert_some(table: pa.Table) -> None:
        # As when the insert of the second month fails: only some partitions of the batch are there.
        await insert(table.slice(0, table.num_rows // 2))
        raise Death

    sink.insert_events = insert_some  # type: ignore[method-assign]


def _dies_before_commit(sink: Sink) -> None:
    async def advance(decoded: Any) -> None:
        await Sink.store(sink, decoded)
        raise Death

    sink.store = advance  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "kill", [_dies_before_events, _dies_amid_events, _dies_between_events_and_keys, _dies_before_commit]
)
async def test_death_between_steps(db: Database, clickhouse: ClickHouse, kill: Callable[[Sink], None]) -> None:
    log = EmbeddedLog(db)
    sink = Sink(log, clickhouse, db)
    async with running(sink):
        await log.append([event("0", TIME)])
        await asyncio.wait_for(sink.drain(), 10)
    await log.append([event(str(i), f"2025-0{3 + i % 2}-01T10:00:00Z") for i in range(1, 10)])
    doomed = Sink(log, clickhouse, db)
    kill(doomed)
    async with running(doomed):
        # Long enough for it to die twice at the same place.
        await asyncio.sleep(0.5)
    # The batch of the next sink ends elsewhere, and some of what it reads was sent again.
    await log.append([event("0", TIME), event("5", TIME), event("10", TIME)])
    sink = Sink(log, clickhouse, db)
    async with running(sink):
        await asyncio.wait_for(sink.drain(), 10)
    assert await stored(clickhouse) == sorted(str(i) for i in range(11))


async def test_sink_recovers_by_itself(house: House) -> None:
    insert, fails = house.sink.insert_events, 2

    async def sometimes(table: pa.Table) -> None:
        nonlocal fails
        await insert(table)
        if fails:
            fails -= 1
            raise Death

    house.sink.insert_events = sometimes  # type: ignore[method-assign]
    await house.send(event("1", TIME), event("2", TIME))
    assert await stored(house.clickhouse) == ["1", "2"]


async def test_second_sink_waits_for_the_first(house: House) -> None:
    await house.send(event("first", TIME))
    second = Sink(house.log, house.clickhouse, house.db)
    async with running(second):
        await house.send(*(event(str(i), TIME) for i in range(20)))
    assert len(await stored(house.clickhouse)) == 21


async def test_second_sink_takes_over(db: Database, clickhouse: ClickHouse) -> None:
    log = EmbeddedLog(db)
    first, second = Sink(log, clickhouse, db), Sink(log, clickhouse, db)
    async with running(first):
        await log.append([event("1", TIME)])
        await asyncio.wait_for(first.drain(), 10)
        taking_over = running(second)
        await taking_over.__aenter__()
    await log.append([event("1", TIME), event("2", TIME)])
    await asyncio.wait_for(second.drain(), 10)
    await taking_over.__aexit__(None, None, None)
    assert await stored(clickhouse) == ["1", "2"]


async def test_stored_events_are_forgotten_by_the_log(house: House) -> None:
    end = await house.log.end()
    await house.send(event("1", TIME), event("2", TIME))
    assert (await house.log.end())[0] >= end[0] + 2
    async with house.db.read() as session:
        raw = await (await session.connection()).exec_driver_sql("SELECT count(*) FROM event_log")
        assert raw.scalar() == 0


async def test_stored_at_is_the_clock_of_the_house(db: Database, clickhouse: ClickHouse) -> None:
    log = EmbeddedLog(db)
    sink = Sink(log, clickhouse, db)
    with clock.frozen(at("2024-06-01T00:00:00.000001Z")):
        async with running(sink):
            await log.append([event("1", TIME)])
            await asyncio.wait_for(sink.drain(), 10)
    ((stored_at, ingested_at),) = await clickhouse.query(
        "SELECT toString(stored_at), toString(ingested_at) FROM om_events"
    )
    assert (stored_at, ingested_at) == ("2024-06-01 00:00:00.000001", "2024-06-01 00:00:00.000001")


async def test_stored_before_is_strict_to_the_microsecond(house: House) -> None:
    meter = await house.meter(Aggregation.COUNT)
    await house.send(event("1", TIME))
    ((micros,),) = await house.clickhouse.query("SELECT toUnixTimestamp64Micro(stored_at) FROM om_events")
    stored_at = at("1970-01-01T00:00:00Z") + timedelta(microseconds=micros)
    assert [row.value for row in await house.usage(meter, stored_before=stored_at)] == [0]
    after = stored_at + timedelta(microseconds=1)
    assert [row.value for row in await house.usage(meter, stored_before=after)] == [1]


async def test_an_event_is_queryable_well_within_a_second(house: House) -> None:
    meter = await house.meter(Aggregation.COUNT)
    loop = asyncio.get_running_loop()
    await house.send(event("0", TIME))
    await asyncio.sleep(0.3)
    begin = loop.time()
    await house.log.append([event("1", TIME)])
    while (await house.usage(meter))[0].value < 2:  # noqa: ASYNC110 what is waited for has no other sign
        await asyncio.sleep(0.01)
    assert loop.time() - begin < 1


async def test_listeners_hear_of_subjects_and_may_fail(
    db: Database, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[str, set[str]]] = []

    async def listen(namespace: str, subjects: set[str]) -> None:
        heard.append((namespace, subjects))
        raise Death

    monkeypatch.setattr("meterhouse.metering.sink.ANNOUNCE_SECONDS", 0.5)
    log = EmbeddedLog(db)
    sink = Sink(log, clickhouse, db, on_stored=listen)
    async with running(sink):
        await log.append([event("1", TIME, "a"), event("2", TIME, "b"), event("1", TIME, "a")])
        await asyncio.wait_for(sink.drain(), 10)
        for subject in ("a", "c"):  # told together, since the first flush was told just now
            await log.append([event("1", TIME, subject)])
            await asyncio.wait_for(sink.drain(), 10)
        async with asyncio.timeout(10):
            while len(heard) < 2:  # noqa: ASYNC110 what is waited for has no other sign
                await asyncio.sleep(0.05)
    assert heard == [("default", {"a", "b"}), ("default", {"a", "c"})]


async def test_record_that_is_no_event_is_passed_over(house: House) -> None:
    async with house.db.write() as session:
        connection = await session.connection()
        await connection.exec_driver_sql(
            "INSERT INTO event_log (namespace, ingested_at, payload) VALUES ('default', now(), 'nonsense')"
        )
    await house.send(event("1", TIME))
    assert await stored(house.clickhouse) == ["1"]


async def test_concurrent_appends_are_all_stored(house: House) -> None:
    await asyncio.gather(*(house.log.append([event(f"{i}", TIME)]) for i in range(200)))
    await asyncio.wait_for(house.sink.drain(), 10)
    assert len(await stored(house.clickhouse)) == 200


async def test_awkward_texts_come_back_untouched(house: House) -> None:
    texts = ["'quote", "back\\slash", "tab\tline\n", "nul\0", "ünï😀", "%_", "{p0:String}"]
    await house.send(*(event(text, TIME, text, data={"v": text}, source=text) for text in texts))
    assert await stored(house.clickhouse) == sorted(texts, key=lambda text: text.encode())
    meter = await house.meter(Aggregation.COUNT, group_by={"v": "$.v"})
    rows = await house.usage(meter, subjects=texts, group_by=["v"])
    assert {(row.subject, row.groups["v"]) for row in rows} == {(text, text) for text in texts}


async def test_numbers_late_meters_see_are_exact(house: House) -> None:
    """A meter made between two sends reads both kinds of rows in one query."""
    big = "12345678901234567.1234567890123456789"
    await house.send(event("1", TIME, data=f'{{"v": {big}}}'))
    meter = await house.meter(Aggregation.SUM, "$.v")
    await house.send(event("2", TIME, data=f'{{"v": {big}}}'))
    assert [row.value for row in await house.usage(meter)] == [2 * Decimal(big)]


def test_filter_never_misses_a_key() -> None:
    known = KeyFilter(1000)
    keys = [event_key("n", "s", str(i)) for i in range(2000)]
    known.add(b"".join(keys[:1000]))
    assert known.maybe(keys[:1000]) == keys[:1000]
    assert len(known.maybe(keys[1000:])) < 100
    assert known.maybe([]) == []


async def test_one_batch_of_hundreds_of_months(house: House) -> None:
    """Each month is a partition of the table, of which the engine takes a hundred at once unless it is told."""
    await house.send(*(event(str(i), f"{1990 + i // 12}-{1 + i % 12:02}-01T00:00:00Z") for i in range(240)))
    assert len(await stored(house.clickhouse)) == 240


async def test_a_batch_of_the_log_is_bounded_by_bytes(db: Database) -> None:
    log = EmbeddedLog(db)
    await log.append([event(str(i), TIME, data={"v": "x" * 1000}) for i in range(9)])
    reader = await log.consumer()
    assert (await reader.poll(100, 2500, 0)).taken_over == {0: 0}
    sizes = []
    for limit_bytes in (2500, 1, 100_000):
        sizes.append(len((await reader.poll(100, limit_bytes, 0)).records))
        if len(sizes) == 1:
            assert await reader.waiting() == 6
    assert sizes == [3, 1, 5]
    assert await reader.waiting() == 0
    await reader.close()
