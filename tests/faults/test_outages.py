"""Stores that go away and come back, and sinks that believe they own what another one reads by now."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import Unavailable
from meterhouse.metering import sink as sinks
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.events import embedded
from meterhouse.metering.events.embedded import EmbeddedLog
from meterhouse.metering.sink import Sink
from tests.faults.story import Story
from tests.faults.world import Held, Unreliable, all_running, assert_each_counts_once, until_stored
from tests.metering.conftest import event

SEED = int(os.environ.get("METERHOUSE_TEST_SEED", "7"))
TIME = "2025-03-01T10:00:00Z"

_TERMINATE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_TERMINATE_READER = (
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@pytest.fixture
async def log(db: Database) -> AsyncIterator[EmbeddedLog]:
    log = EmbeddedLog(db)
    yield log
    await log.close()


async def test_the_store_is_away_and_comes_back(
    db: Database, log: EmbeddedLog, clickhouse: ClickHouse, clickhouse_url: str
) -> None:
    door = Unreliable(clickhouse_url)
    sink = Sink(log, door, db)
    async with all_running([sink]):
        await log.append([event("before", TIME)])
        await asyncio.wait_for(sink.drain(), 10)
        door.down = True
        for number in range(5):
            await log.append([event(str(number), TIME)])
            await asyncio.sleep(0.05)
        door.down = False
        await asyncio.wait_for(sink.drain(), 20)
    await door.close()
    stored = await clickhouse.query("SELECT id, count() FROM om_events GROUP BY id ORDER BY id")
    assert stored == [(name, 1) for name in ("0", "1", "2", "3", "4", "before")]


async def test_everything_fails_by_chance(
    db: Database, log: EmbeddedLog, clickhouse: ClickHouse, clickhouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ClickHouse loses one call in ten or its answer, and connections to Postgres are cut; events come twice."""
    monkeypatch.setattr(sinks, "FLUSH_EVENTS", 40)
    monkeypatch.setattr(sinks, "FLUSH_INTERVAL_SECONDS", 0.01)
    monkeypatch.setattr(sinks, "LONGEST_PAUSE_SECONDS", 0.2)
    story = Story(SEED, 600)
    door = Unreliable(clickhouse_url, story.random, 0.1)
    async with all_running([Sink(log, door, db), Sink(log, door, db)]):
        for number, batch in enumerate(story.batches(40)):
            await log.append(batch)
            if number % 10 == 5:
                async with db.read() as session:
                    await (await session.connection()).exec_driver_sql(_TERMINATE_READER)
            await asyncio.sleep(0.02)
        await until_stored(clickhouse, len(story.values))
        await asyncio.sleep(0.5)  # would more come, it would be there by then
    await door.close()
    await assert_each_counts_once(clickhouse, story)


async def test_a_sink_that_slept_through_a_takeover_stores_nothing(
    db: Database, log: EmbeddedLog, clickhouse: ClickHouse
) -> None:
    story = Story(SEED, 100)
    sleeper, other = Held(log, clickhouse, db), Sink(log, clickhouse, db)
    await log.append(story.events)
    async with all_running([sleeper]):
        await asyncio.wait_for(sleeper.reached.wait(), 20)
        async with db.read() as session:
            await (await session.connection()).exec_driver_sql(_TERMINATE_READER)
        async with all_running([other]):
            await asyncio.wait_for(other.drain(), 20)
            sleeper.go.set()
            await asyncio.sleep(0.5)
            await assert_each_counts_once(clickhouse, story)
        # The other one is gone; the sleeper is awake, takes over in its turn, and stores what comes.
        await log.append([event("after", TIME), story.events[0]])
        await asyncio.wait_for(sleeper.drain(), 20)
    assert (await clickhouse.query("SELECT count() FROM om_events")) == [(len(story.values) + 1,)]


async def test_appends_are_refused_while_postgres_is_too_slow(
    db: Database, log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory stays bounded: what would wait beyond the limit is refused at once, and all goes on afterwards."""
    monkeypatch.setattr(embedded, "WAITING_LIMIT", 10)
    async with db.write() as session:
        await (await session.connection()).exec_driver_sql("LOCK TABLE event_log")
        first = asyncio.create_task(log.append([event("first", TIME)]))
        await asyncio.sleep(0.1)
        waiting = [asyncio.create_task(log.append([event(str(i), TIME)])) for i in range(30)]
        done, _ = await asyncio.wait(waiting, timeout=0.2)
        assert len(done) == 20
    await asyncio.gather(first, *waiting, return_exceptions=True)
    refused = [task for task in waiting if task.exception() is not None]
    assert len(refused) == 20
    assert (await log.end())[0] == 12


async def test_appends_are_refused_that_wait_too_long(
    db: Database, log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for a COPY that is held up is told in time, as is whoever waits for the next; then all goes on."""
    monkeypatch.setattr(embedded, "APPEND_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(embedded, "WATCH_SECONDS", 0.05)
    async with db.write() as session:
        await (await session.connection()).exec_driver_sql("LOCK TABLE event_log")
        first = asyncio.create_task(log.append([event("first", TIME)]))
        await asyncio.sleep(0.05)
        for late in (first, asyncio.create_task(log.append([event("second", TIME)]))):
            with pytest.raises(Unavailable, match="does not acknowledge"):
                await asyncio.wait_for(late, 5)
    monkeypatch.undo()
    await asyncio.wait_for(log.append([event("third", TIME)]), 5)
    # The first was on its way already; the second was never written.
    assert (await log.end())[0] == 3


async def test_appends_go_on_over_another_connection(db: Database, log: EmbeddedLog) -> None:
    async with db.write() as session:
        await (await session.connection()).exec_driver_sql("LOCK TABLE event_log")
        cut_off = asyncio.create_task(log.append([event("1", TIME)]))
        await asyncio.sleep(0.2)
        waiting = asyncio.create_task(log.append([event("2", TIME)]))
        await (await session.connection()).exec_driver_sql(_TERMINATE)
        with pytest.raises(Unavailable, match="cannot be written"):
            await asyncio.wait_for(cut_off, 5)
    await asyncio.wait_for(waiting, 5)
    assert (await log.end())[0] == 2
