"""Voids: stored events that do not count any more, or count again.

A record in Postgres (`event_voids`) is the truth; it is only ever added, under a lock of the namespace, so that
versions rise in order of commit. Queries read a copy in ClickHouse (`om_event_voids`). Copying takes every record past
the highest version that is there already, in order: what is there is always a whole beginning of the records, and
copying twice changes nothing. A job that is enqueued with the record copies it if the process that wrote it dies first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from meterhouse.kernel import clock, jobs, locks
from meterhouse.kernel.db import Database, ReadSession, WriteSession
from meterhouse.metering import repository
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.keys import event_key
from meterhouse.metering.listing import StoredEvent
from meterhouse.metering.models import EventVoidRow
from meterhouse.metering.sql import EventKey

MIRROR_VOIDS = "metering.mirror_voids"

# Records that are copied in one insert.
MIRRORED_AT_ONCE = 10_000

# An event that can be voided: type, source, id. The same source and id may come back as another event once the window
# of deduplication is over.
Voidable = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class VoidState:
    """Why an event does not count.

    Attributes:
        at: when it was voided, by `kernel.clock`.
        reason, actor: as they were given.
        replacement: source and id of the event that stands for it, if it was replaced.
    """

    at: datetime
    reason: str
    actor: str
    replacement: EventKey | None


def voidable(event: StoredEvent) -> Voidable:
    """Return what names a stored event in a void."""
    return event.type, event.source, event.id


async def states(session: ReadSession, namespace: str, events: Iterable[StoredEvent]) -> Mapping[Voidable, VoidState]:
    """Return the state of those of the events that are voided."""
    keys = {event_key(namespace, event.source, event.id) for event in events}
    return {
        (row.event_type, row.source, row.event_id): _state(row)
        for row in await repository.latest_voids(session, namespace, keys)
        if row.voided
    }


def _state(row: EventVoidRow) -> VoidState:
    replacement = None
    if row.replacement_source is not None and row.replacement_id is not None:
        replacement = (row.replacement_source, row.replacement_id)
    return VoidState(row.recorded_at, row.reason, row.actor, replacement)


async def record(
    session: WriteSession,
    namespace: str,
    events: Sequence[StoredEvent],
    *,
    voided: bool,
    reason: str,
    actor: str,
    replacement: EventKey | None = None,
) -> list[StoredEvent]:
    """Record that events do not count any more, or count again; returns those for which this is news.

    Queries follow once `mirror` has run, which a job does after this transaction at the latest.
    """
    await locks.lock(session, "event_voids", namespace)
    known = await states(session, namespace, events)
    changed = {voidable(event): event for event in events if (voidable(event) in known) is not voided}
    now = clock.now()
    replacement_source, replacement_id = replacement or (None, None)
    for event in changed.values():
        row = EventVoidRow(
            namespace=namespace,
            event_key=event_key(namespace, event.source, event.id),
            event_type=event.type,
            source=event.source,
            event_id=event.id,
            voided=voided,
            recorded_at=now,
            reason=reason,
            actor=actor,
            replacement_source=replacement_source,
            replacement_id=replacement_id,
        )
        session.add(row)
    await session.flush()
    if changed:
        # A hash, because an index holds the key and a namespace may have any length.
        dedupe_key = event_key(namespace, "", "").hex()
        await jobs.enqueue(session, MIRROR_VOIDS, {"namespace": namespace}, dedupe_key=dedupe_key)
    return list(changed.values())


async def mirror(db: Database, clickhouse: ClickHouse, namespace: str) -> None:
    """Copy the records that queries do not know yet. Safe at any time, and in many processes at once."""
    ((version,),) = await clickhouse.query(
        "SELECT max(version) FROM om_event_voids WHERE namespace = {namespace:String}", {"namespace": namespace}
    )
    while True:
        async with db.read() as session:
            rows = await repository.voids_after(session, namespace, version, MIRRORED_AT_ONCE)
        if rows:
            await clickhouse.insert("om_event_voids", _table(rows))
            version = rows[-1].version
        if len(rows) < MIRRORED_AT_ONCE:
            return


def _table(rows: Sequence[EventVoidRow]) -> pa.Table:
    columns = {
        "namespace": [row.namespace for row in rows],
        "type": [row.event_type for row in rows],
        "source": [row.source for row in rows],
        "id": [row.event_id for row in rows],
        "version": pa.array([row.version for row in rows], pa.uint64()),
        "voided": pa.array([int(row.voided) for row in rows], pa.uint8()),
    }
    return pa.table(columns)
