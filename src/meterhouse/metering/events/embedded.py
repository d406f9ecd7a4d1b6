"""The embedded event log: a table in Postgres (metering section 3, design section 6).

Appends that arrive while one is being written are gathered and written by the next in one COPY (group commit), so the
cost of making them durable is shared. As long as they keep coming they go over one connection, without the layers that
a session brings: these cost more than the COPY.

There is one partition; its reader holds a session lock, and every read and commit goes over the connection that holds
it, so a reader that lost the lock cannot go on unnoticed.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.ext.asyncio import AsyncConnection

from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import Unavailable
from meterhouse.metering.events import event as events
from meterhouse.metering.events.event import Event
from meterhouse.metering.events.log import APPEND_TIMEOUT_SECONDS, Batch, EventConsumer, Record

PARTITION = 0

# How often a reader looks for records that another process appended; appends of its own process wake it at once.
POLL_SECONDS = 0.2
# Events of one COPY. More would only delay the first of them.
GROUP_LIMIT = 50_000
# Events that may wait for their COPY in this process while Postgres is slow or away; beyond it, appends are refused.
# One append is always taken, however large.
WAITING_LIMIT = 200_000
# How often appends are looked for that waited too long; it only makes their refusal so much later.
WATCH_SECONDS = 0.5

# As many rows as have not yet `bytes` before them, so at least one, however large.
_READ = text(
    "SELECT position, namespace, ingested_at, payload FROM ("  # in the order of Record
    " SELECT *, sum(octet_length(payload)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS size FROM ("
    "  SELECT * FROM event_log WHERE position >= :next ORDER BY position LIMIT :limit) AS next) AS measured"
    " WHERE size - octet_length(payload) < :bytes ORDER BY position"
)

_WRITER_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('event_log', 0))"
_READER_LOCK = 0x6D65_7465_7268_6C67  # any number that nothing else locks

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Append:
    """Events whose sender waits for `done`, until `deadline` on the clock of the event loop."""

    events: Sequence[Event]
    done: asyncio.Future[None]
    deadline: float


def _refuse(appends: Iterable[_Append], reason: str) -> None:
    for one in appends:
        if not one.done.done():
            one.done.set_exception(Unavailable(reason))


class EmbeddedLog:
    """Keeps events in Postgres until the sink has stored them."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting: deque[_Append] = deque()
        self._group: list[_Append] = []
        self._connection: AsyncConnection | None = None
        self._waiting_events = 0
        self._writer: asyncio.Task[None] | None = None
        self.appended = asyncio.Event()

    async def append(self, events: Sequence[Event]) -> None:
        """Append all events; returning means Postgres committed them.

        Raises:
            Unavailable: Postgres does not acknowledge in time, or too much waits for it already.
        """
        if not events:
            return
        if self._waiting and self._waiting_events + len(events) > WAITING_LIMIT:
            raise Unavailable("too many events wait for the event log")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append(_Append(events, done, loop.time() + APPEND_TIMEOUT_SECONDS))
        self._waiting_events += len(events)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_waiting(), name="event log writer")
        await done

    async def _write_waiting(self) -> None:
        watch = asyncio.create_task(self._watch(), name="event log watch")
        try:
            while self._waiting:
                while self._waiting:
                    if group := self._next_group():
                        await self._write_group(group)
                # What is appended meanwhile starts no other writer, so it is looked for again.
                await self._let_go()
        finally:
            watch.cancel()

    def _next_group(self) -> list[_Append]:
        self._group, count = [], 0
        while self._waiting and count < GROUP_LIMIT:
            one = self._waiting.popleft()
            self._waiting_events -= len(one.events)
            # Who gave up waiting was refused, and will send the events again.
            if not one.done.done():
                self._group.append(one)
                count += len(one.events)
        return self._group

    async def _write_group(self, group: Sequence[_Append]) -> None:
        try:
            await self._write([event for one in group for event in one.events])
        except Exception as error:
            log.error("events could not be appended", exc_info=error)
            await self._let_go(broken=True)
            _refuse(group, "the event log cannot be written")
        else:
            for one in group:
                if not one.done.done():
                    one.done.set_result(None)
            self.appended.set()

    async def _watch(self) -> None:
        """Refuse what is not acknowledged in time; one look for all is far cheaper than a timer for each."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now = asyncio.get_running_loop().time()
            late = [one for one in (*self._group, *self._waiting) if one.deadline <= now]
            _refuse(late, "the event log does not acknowledge")

    async def _write(self, group: Sequence[Event]) -> None:
        records = [(event.namespace, event.ingested_at, events.to_payload(event)) for event in group]
        if self._connection is None:
            self._connection = await self._db.engine.connect()
        raw = await self._connection.get_raw_connection()
        driver: Any = raw.driver_connection
        async with driver.transaction():
            # Positions must become visible in their order, or a reader would pass over one that commits late.
            await driver.execute(_WRITER_LOCK)
            await driver.copy_records_to_table(
                "event_log", records=records, columns=["namespace", "ingested_at", "payload"]
            )

    async def _let_go(self, *, broken: bool = False) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(DBAPIError, InterfaceError, OSError):
                if broken:
                    await connection.invalidate()
                await connection.close()

    async def consumer(self) -> EventConsumer:
        """Start a reader. It reads once no other process does."""
        return _Reader(self._db, self.appended)

    async def end(self) -> Mapping[int, int]:
        """Return the position after the last committed record."""
        async with self._db.read() as session:
            found = await session.scalar(
                text(
                    "SELECT greatest((SELECT max(position) + 1 FROM event_log),"
                    " (SELECT position FROM event_log_offsets WHERE log_partition = :partition))"
                ),
                {"partition": PARTITION},
            )
        return {PARTITION: found or 0}

    async def ping(self) -> None:
        """Return when Postgres answers. See `EventLog.ping`."""
        try:
            async with self._db.read():
                pass  # beginning a transaction is a round trip
        except (DBAPIError, InterfaceError, OSError) as error:
            raise Unavailable("the event log does not answer") from error

    async def close(self) -> None:
        """Finish the appends that are under way."""
        if self._writer is not None:
            await self._writer


class _Reader:
    """The one reader of the table."""

    def __init__(self, db: Database, appended: asyncio.Event) -> None:
        self._db = db
        self._appended = appended
        self._connection: AsyncConnection | None = None
        self._next: int | None = None

    async def poll(self, limit: int, limit_bytes: int, wait: float) -> Batch:
        """Return the next records. See `EventConsumer.poll`."""
        try:
            return await self._poll(limit, limit_bytes, wait)
        except (DBAPIError, InterfaceError, OSError) as error:
            await self._let_go()
            raise Unavailable("the event log cannot be read") from error

    async def _poll(self, limit: int, limit_bytes: int, wait: float) -> Batch:
        if self._connection is None and not await self._take():
            await asyncio.sleep(min(wait, POLL_SECONDS))
            return Batch()
        if self._next is None:
            self._next = await self._committed()
            return Batch(taken_over={PARTITION: self._next})
        deadline = asyncio.get_running_loop().time() + wait
        while True:
            self._appended.clear()
            records = await self._read(limit, limit_bytes)
            left = deadline - asyncio.get_running_loop().time()
            if records or left <= 0:
                return Batch(records=records)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._appended.wait(), min(left, POLL_SECONDS))

    async def _take(self) -> bool:
        connection = await self._db.engine.connect()
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        taken = await connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _READER_LOCK})
        if not taken:
            await connection.close()
            return False
        self._connection, self._next = connection, None
        return True

    async def _committed(self) -> int:
        position = await self._scalar(
            "SELECT position FROM event_log_offsets WHERE log_partition = :partition", partition=PARTITION
        )
        return int(position or 0)

    async def _read(self, limit: int, limit_bytes: int) -> list[Record]:
        assert self._connection is not None
        assert self._next is not None
        rows = (await self._connection.execute(_READ, {"next": self._next, "limit": limit, "bytes": limit_bytes})).all()
        records = [Record(PARTITION, *row) for row in rows]
        if records:
            self._next = records[-1].position + 1
        return records

    async def waiting(self) -> int:
        """Count the records not read yet. See `EventConsumer.waiting`."""
        if self._connection is None or self._next is None:
            return 0
        try:
            # Positions have no gaps but those of appends that failed, so their distance is count enough.
            last = await self._scalar("SELECT max(position) FROM event_log")
        except (DBAPIError, InterfaceError, OSError) as error:
            await self._let_go()
            raise Unavailable("the event log cannot be read") from error
        return 0 if last is None else max(last + 1 - self._next, 0)

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Forget the records below the position. See `EventConsumer.commit`."""
        if self._connection is None:
            raise Unavailable("the event log is read by another process")
        try:
            # One statement, so that the position and what is forgotten are one transaction.
            await self._scalar(
                "WITH forgotten AS (DELETE FROM event_log WHERE position < :position)"
                " INSERT INTO event_log_offsets (log_partition, position) VALUES (:partition, :position)"
                " ON CONFLICT (log_partition) DO UPDATE SET position = excluded.position RETURNING position",
                partition=PARTITION,
                position=positions[PARTITION],
            )
        except (DBAPIError, InterfaceError, OSError) as error:
            await self._let_go()
            raise Unavailable("the position in the event log cannot be written") from error

    async def _scalar(self, statement: str, **parameters: object) -> Any:
        assert self._connection is not None
        return await self._connection.scalar(text(statement), parameters)

    def rewind(self) -> None:
        """Start again from the committed position."""
        self._next = None

    async def _let_go(self) -> None:
        connection, self._connection, self._next = self._connection, None, None
        if connection is not None:
            # The lock belongs to the connection: it must not go back to the pool with it.
            with contextlib.suppress(DBAPIError, InterfaceError, OSError):
                await connection.invalidate()
            with contextlib.suppress(DBAPIError, InterfaceError, OSError):
                await connection.close()

    async def close(self) -> None:
        """Give the table up for another reader."""
        await self._let_go()
