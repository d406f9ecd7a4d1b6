"""The sink: takes events out of the log and stores each of them once (design section 6).

Order of writes: events, then their keys, then the position in the log. Whatever dies in between, what was read is read
again; the keys tell which of it is stored already. A death between events and keys leaves events without keys: they
carry their log position, so the next owner of the partition finds them at or past the committed position and writes
their keys before it stores anything.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pyarrow as pa
import structlog

from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import Unavailable
from meterhouse.kernel.ids import new_id
from meterhouse.metering import repository
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.events import event as events
from meterhouse.metering.events.event import Event
from meterhouse.metering.events.log import Batch, EventConsumer, EventLog, Record
from meterhouse.metering.keys import KeyStore, event_key
from meterhouse.metering.rows import to_table

log = structlog.get_logger(__name__)

OnStored = Callable[[str, set[str]], Awaitable[None]]

# Events of one insert: large enough that its fixed cost does not matter, small enough to hold in memory with ease.
FLUSH_EVENTS = 10_000
# Waiting for the log when it is idle; a new event ends the wait.
POLL_WAIT_SECONDS = 1.0
# From one insert to the next while events keep coming: every insert makes a part that has to be merged later. The first
# event after a quiet time is stored at once.
FLUSH_INTERVAL_SECONDS = 0.1
# Pause after a failure, doubled up to the longest.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0
# How long a new owner waits for an insert that a dead one left running in the server.
TAKEOVER_WAIT_SECONDS = 30.0
# Events looked at in one step of a repair. Usually there are none; a new consumer group has all of them.
REPAIR_EVENTS = 50_000
_QUERY_ID_PREFIX = "meterhouse-sink-"


class Sink:
    """Stores events. One per process; several processes divide the partitions among them.

    Args:
        db: where the slots of meters are kept.
        on_stored: told, after each flush, which subjects of which namespace have new events. Best effort: a failure
            is logged, and a crash in between loses the call.
    """

    def __init__(
        self, event_log: EventLog, clickhouse: ClickHouse, db: Database, *, on_stored: OnStored | None = None
    ) -> None:
        self._log = event_log
        self._clickhouse = clickhouse
        self._db = db
        self._on_stored = on_stored
        self._keys = KeyStore(clickhouse)
        self._stored: dict[int, int] = {}
        self._progress = asyncio.Condition()

    async def run(self) -> None:
        """Store events until cancelled. A batch that is being stored is finished first."""
        consumer = await self._start()
        pause = FIRST_PAUSE_SECONDS
        try:
            while True:
                try:
                    batch = await consumer.poll(FLUSH_EVENTS, POLL_WAIT_SECONDS)
                    await _finish(self._accept(consumer, batch))
                    pause = FIRST_PAUSE_SECONDS
                    if 0 < len(batch.records) < FLUSH_EVENTS:
                        await asyncio.sleep(FLUSH_INTERVAL_SECONDS)
                except Exception as error:
                    log.error("events are not stored, trying again", pause=pause, exc_info=error)
                    consumer.rewind()
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        finally:
            await consumer.close()

    async def _start(self) -> EventConsumer:
        while True:
            try:
                return await self._log.consumer()
            except Unavailable as error:
                log.error("the event log does not answer, trying again", exc_info=error)
                await asyncio.sleep(LONGEST_PAUSE_SECONDS)

    async def drain(self) -> None:
        """Return when everything appended before the call is stored. `run` must be running, and have all partitions."""
        end = await self._log.end()
        async with self._progress:
            await self._progress.wait_for(
                lambda: all(self._stored.get(partition, 0) >= position for partition, position in end.items())
            )

    async def _accept(self, consumer: EventConsumer, batch: Batch) -> None:
        if batch.taken_over:
            await self._take_over(batch.taken_over)
        if batch.records:
            decoded = [(record, event) for record in batch.records if (event := _decoded(record)) is not None]
            await self.store(decoded)
            position = {record.partition: record.position + 1 for record in batch.records}
            await consumer.commit(position)
            await self._advance(position)
            await self._tell([event for _, event in decoded])

    async def _advance(self, positions: Mapping[int, int]) -> None:
        async with self._progress:
            self._stored.update(positions)
            self._progress.notify_all()

    async def _take_over(self, committed: Mapping[int, int]) -> None:
        await self._wait_for_orphans()
        for partition, position in committed.items():
            await self._repair(partition, position)
        await self._keys.load()
        await self._advance(committed)

    async def _wait_for_orphans(self) -> None:
        """Wait for inserts of a sink that died: the server finishes them, and only then are they seen by a repair."""
        running = (
            "SELECT count() FROM system.processes WHERE startsWith(query_id, {prefix:String})"
            " AND elapsed >= {waited:Float64}"
        )
        waited = 0.0
        while waited < TAKEOVER_WAIT_SECONDS:
            ((count,),) = await self._clickhouse.query(running, {"prefix": _QUERY_ID_PREFIX, "waited": waited})
            if not count:
                return
            await asyncio.sleep(FIRST_PAUSE_SECONDS)
            waited += FIRST_PAUSE_SECONDS
        await self._clickhouse.command(
            "KILL QUERY WHERE startsWith(query_id, {prefix:String}) AND elapsed >= {waited:Float64} SYNC",
            {"prefix": _QUERY_ID_PREFIX, "waited": waited},
        )

    async def _repair(self, partition: int, position: int) -> None:
        while True:
            rows = await self._clickhouse.query(
                "SELECT namespace, source, id, log_position FROM om_events"
                " WHERE log_partition = {partition:UInt32} AND log_position >= {position:UInt64}"
                " ORDER BY log_position LIMIT {limit:UInt32}",
                {"partition": partition, "position": position, "limit": REPAIR_EVENTS},
            )
            keys = list({event_key(*row[:3]) for row in rows})
            known = await self._keys.known(keys)
            missing = [key for key in keys if key not in known]
            if missing:
                log.info("writing keys of events that a stopped sink left", partition=partition, count=len(missing))
            await self._keys.add(missing)
            if len(rows) < REPAIR_EVENTS:
                return
            position = rows[-1][3]

    async def store(self, decoded: Sequence[tuple[Record, Event]]) -> None:
        """Store the new events, and their keys. Of several with one key the first is taken."""
        fresh: dict[bytes, tuple[Record, Event]] = {}
        for record, event in decoded:
            fresh.setdefault(event_key(event.namespace, event.source, event.id), (record, event))
        known = await self._keys.known(list(fresh))
        new = {key: value for key, value in fresh.items() if key not in known}
        if not new:
            return
        types = {(event.namespace, event.type) for _, event in new.values()}
        async with self._db.read() as session:
            slots = await repository.slots_of(session, types)
            stored_at = clock.now()
        table = await asyncio.to_thread(to_table, list(new.values()), slots, stored_at)
        await self.insert_events(table)
        await self._keys.add(list(new))

    async def insert_events(self, table: pa.Table) -> None:
        """Insert the rows of events."""
        await self._clickhouse.insert("om_events", table, name=_QUERY_ID_PREFIX + new_id())

    async def _tell(self, stored: Sequence[Event]) -> None:
        if self._on_stored is None:
            return
        subjects: dict[str, set[str]] = {}
        for event in stored:
            subjects.setdefault(event.namespace, set()).add(event.subject)
        for namespace, found in subjects.items():
            try:
                await self._on_stored(namespace, found)
            except Exception as error:
                log.error("stored events could not be announced", namespace=namespace, exc_info=error)


def _decoded(record: Record) -> Event | None:
    try:
        return events.from_payload(record.payload, namespace=record.namespace, ingested_at=record.ingested_at)
    except ValueError as error:
        # Not written by this server. It is passed over for good, or it would block all that follow.
        log.error("record is no event", partition=record.partition, position=record.position, error=str(error))
        return None


async def _finish(work: Awaitable[None]) -> None:
    """Await work to its end, also when cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await task
        raise
