"""The sink: takes events out of the log and stores each of them once (design section 6).

Order of writes: dead letters, events, their keys, then the position in the log. Whatever dies in between, what was read
is read again; the keys tell which of it is stored already. A death between events and keys leaves events without keys:
they carry their log position, so the next owner of the partition finds them at or past the committed position and
writes their keys before it stores anything (`ownership`).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pyarrow as pa
import structlog

from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import Unavailable
from meterhouse.metering import deadletters, metrics, repository
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.deadletters import Refused
from meterhouse.metering.events import event as events
from meterhouse.metering.events.log import Batch, EventConsumer, EventLog, Record
from meterhouse.metering.keys import KeyStore, event_keys
from meterhouse.metering.ownership import Ownership, insert_name
from meterhouse.metering.rows import Decoded, to_table

log = structlog.get_logger(__name__)

OnStored = Callable[[str, set[str]], Awaitable[None]]

# Events of one insert: large enough that its fixed cost does not matter, small enough to hold in memory with ease.
FLUSH_EVENTS = 10_000
# The same for events that are large: a batch is held several times over while it becomes columns.
FLUSH_BYTES = 32 * 1024 * 1024
# Waiting for the log when it is idle; a new event ends the wait.
POLL_WAIT_SECONDS = 1.0
# From one insert to the next while events keep coming: every insert makes a part that has to be merged later. The first
# event after a quiet time is stored at once.
FLUSH_INTERVAL_SECONDS = 0.1
# From one announcement of changed subjects to the next: those of several flushes are told together.
ANNOUNCE_SECONDS = 1.0
# Pause after a failure, doubled up to the longest.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0


class Sink:
    """Stores events. One per process; several processes divide the partitions among them.

    Args:
        db: where the slots of meters and the dead letters are kept.
        on_stored: told, soon after a flush, which subjects of which namespace have new events. Best effort: a failure
            is logged, and a crash in between loses the call.

    Attributes:
        lag: records that were yet to be read when the sink last looked.
    """

    def __init__(
        self, event_log: EventLog, clickhouse: ClickHouse, db: Database, *, on_stored: OnStored | None = None
    ) -> None:
        self._log = event_log
        self._clickhouse = clickhouse
        self._db = db
        self._on_stored = on_stored
        self._keys = KeyStore(clickhouse)
        self._ownership = Ownership(clickhouse, self._keys)
        self._stored: dict[int, int] = {}
        self._progress = asyncio.Condition()
        self._changed: dict[str, set[str]] = {}
        self._announce_at = 0.0
        self.lag = 0

    async def run(self) -> None:
        """Store events until cancelled. A batch that is being stored is finished first."""
        consumer = await self._start()
        pause = FIRST_PAUSE_SECONDS
        try:
            while True:
                try:
                    batch = await consumer.poll(FLUSH_EVENTS, FLUSH_BYTES, POLL_WAIT_SECONDS)
                    await _finish(self._accept(consumer, batch))
                    await self._announce()
                    self.lag = await consumer.waiting()
                    metrics.LAG.set(self.lag)
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
            await self._ownership.take(batch.taken_over)
            await self._advance(batch.taken_over)
        if batch.records:
            decoded = await self.decode(batch.records)
            await self.store(decoded)
            positions = {record.partition: record.position + 1 for record in batch.records}
            await self.commit(consumer, positions)
            await self._advance(positions)
            for namespace, subject in {(record.namespace, payload.subject) for record, payload in decoded}:
                self._changed.setdefault(namespace, set()).add(subject)

    async def _advance(self, positions: Mapping[int, int]) -> None:
        async with self._progress:
            self._stored.update(positions)
            self._progress.notify_all()

    async def decode(self, records: Sequence[Record]) -> list[Decoded]:
        """Read the events out of records. Records that hold none are put aside, or they would block all that follow."""
        try:
            if all(record.namespace for record in records):
                return list(zip(records, events.read_payloads(record.payload for record in records), strict=True))
        except ValueError:
            log.warning("records cannot be read, looking for those that are to blame")
        decoded: list[Decoded] = []
        refused: list[Refused] = []
        for record in records:
            try:
                if not record.namespace:
                    raise ValueError("a record needs a namespace")
                decoded.append((record, events.read_payload(record.payload)))
            except ValueError as error:
                refused.append(Refused(record, str(error)))
        await self._put_aside(refused)
        return decoded

    async def _put_aside(self, refused: Sequence[Refused]) -> None:
        if refused:
            async with self._db.write() as session:
                count = await deadletters.add(session, refused)
            metrics.DEAD_LETTERED.inc(count)
            log.error("records became dead letters", count=count, reason=refused[0].reason)

    async def store(self, decoded: Sequence[Decoded]) -> None:
        """Store the new events, and their keys. Of several with one key the first is taken."""
        keys = event_keys((record.namespace, payload.source, payload.id) for record, payload in decoded)
        fresh: dict[bytes, Decoded] = {}
        for key, one in zip(keys, decoded, strict=True):
            fresh.setdefault(key, one)
        known = await self._keys.known(list(fresh))
        new = {key: one for key, one in fresh.items() if key not in known} if known else fresh
        metrics.DUPLICATE.inc(len(decoded) - len(new))
        if not new:
            return
        table = await self._laid_out(new)
        if table.num_rows:
            await self.insert_events(table)
            await self.insert_keys(list(new))
        metrics.STORED.inc(len(new))
        now = clock.now()
        for ingested_at in {record.ingested_at for record, _ in new.values()}:
            metrics.AGE.observe(max((now - ingested_at).total_seconds(), 0))

    async def _laid_out(self, new: dict[bytes, Decoded]) -> pa.Table:
        """Return the rows of events. One that cannot be laid out is put aside and taken out of `new`."""
        types = {(record.namespace, payload.type) for record, payload in new.values()}
        async with self._db.read() as session:
            slots = await repository.slots_of(session, types)
            stored_at = clock.now()

        def table(decoded: Sequence[Decoded]) -> pa.Table:
            return to_table(decoded, slots, stored_at, self._ownership.marks)

        try:
            return await asyncio.to_thread(table, list(new.values()))
        except Exception as failure:
            log.error("events cannot be laid out, looking for the one that is to blame", exc_info=failure)
            refused: list[Refused] = []
            for key, one in list(new.items()):
                try:
                    table([one])
                except Exception as error:  # noqa: BLE001 - whatever it is, it would come back at every attempt
                    refused.append(Refused(one[0], repr(error)))
                    del new[key]
            await self._put_aside(refused)
            return await asyncio.to_thread(table, list(new.values()))

    async def insert_events(self, table: pa.Table) -> None:
        """Insert the rows of events; refused by the engine when another sink owns a partition of theirs by now."""
        await self._clickhouse.insert("om_events", table, name=insert_name())

    async def insert_keys(self, keys: Sequence[bytes]) -> None:
        """Insert the keys of stored events."""
        await self._keys.add(keys)

    async def commit(self, consumer: EventConsumer, positions: Mapping[int, int]) -> None:
        """Let the log forget what is stored."""
        await consumer.commit(positions)

    async def _announce(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._on_stored is None or not self._changed or now < self._announce_at:
            return
        changed, self._changed, self._announce_at = self._changed, {}, now + ANNOUNCE_SECONDS
        for namespace, subjects in changed.items():
            try:
                await self._on_stored(namespace, subjects)
            except Exception as error:
                log.error("stored events could not be announced", namespace=namespace, exc_info=error)


async def _finish(work: Awaitable[None]) -> None:
    """Await work to its end, also when cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await task
        raise
