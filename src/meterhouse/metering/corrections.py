"""Correcting what was metered: voiding events, taking that back, and replacing an event by another.

Nothing stored is changed. What is answered to the caller holds for every query that begins afterwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from decimal import Decimal

from meterhouse.kernel import jobs
from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import Conflict, InvalidInput, NotFound
from meterhouse.kernel.periods import Period
from meterhouse.metering import meters, voids
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.events.event import Event, to_payload
from meterhouse.metering.events.log import EventLog
from meterhouse.metering.listing import EventQuery, StoredEvent, StoredEvents
from meterhouse.metering.meter import Aggregation, Meter
from meterhouse.metering.query import MeterQueries, MeterQuery
from meterhouse.metering.sql import EventKey, Supposed
from meterhouse.metering.voids import voidable

APPEND_EVENT = "metering.append_event"

# Events that one call corrects: all of them are listed in the answer and held in memory.
MAX_EVENTS = 10_000
# Unknown events that an error names.
_NAMED = 10
_ZERO_WHEN_EMPTY = frozenset({Aggregation.SUM, Aggregation.COUNT, Aggregation.UNIQUE_COUNT})


@dataclass(frozen=True, slots=True)
class Correction:
    """A wish to void events, or to let voided ones count again.

    Attributes:
        chosen: which events: by `keys`, all of which must be stored, or by its other conditions.
        voided: whether they shall be voided afterwards.
        window: event times over which changes of usage are measured; None takes the UTC months of the events.
    """

    chosen: EventQuery
    voided: bool
    window: Period | None
    reason: str
    actor: str


@dataclass(frozen=True, slots=True)
class UsageChange:
    """What a correction does to the usage of one subject over the window. None: there is no value."""

    meter: Meter
    subject: str
    before: Decimal | None
    after: Decimal | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a correction does, or would do.

    Attributes:
        events: those that change, the latest first.
        unchanged: events that were asked for by key and are what they shall be already.
        window: None when nothing changes and none was given.
    """

    events: Sequence[StoredEvent]
    unchanged: Sequence[StoredEvent]
    window: Period | None
    usage: Sequence[UsageChange]


class Corrections:
    """Corrects events."""

    def __init__(self, db: Database, clickhouse: ClickHouse, queries: MeterQueries, event_log: EventLog) -> None:
        self._db = db
        self._clickhouse = clickhouse
        self._queries = queries
        self._event_log = event_log
        self._stored = StoredEvents(clickhouse)

    async def preview(self, wish: Correction) -> Outcome:
        """Tell what a correction would do, and do nothing.

        Raises:
            NotFound: an event that is asked for by key is not stored (yet).
            InvalidInput: more events match than one call corrects.
        """
        namespace = wish.chosen.namespace
        # What queries see must be what the records say, also after a crash in between.
        await voids.mirror(self._db, self._clickhouse, namespace)
        found = await self._find(wish)
        async with self._db.read() as session:
            known = await voids.states(session, namespace, found)
        changing = [event for event in found if (voidable(event) in known) is not wish.voided]
        unchanged = [event for event in found if (voidable(event) in known) is wish.voided]
        window = wish.window or (_months(changing) if changing else None)
        usage = await self._changes(wish, changing, window) if window else []
        return Outcome(changing, unchanged, window, usage)

    async def apply(self, wish: Correction) -> Outcome:
        """Correct events. When it returns, every new query goes by it. See `preview`."""
        outcome = await self.preview(wish)
        namespace = wish.chosen.namespace
        async with self._db.write() as session:
            await voids.record(
                session, namespace, outcome.events, voided=wish.voided, reason=wish.reason, actor=wish.actor
            )
        await voids.mirror(self._db, self._clickhouse, namespace)
        return outcome

    async def amend(self, key: EventKey, replacement: Event, *, reason: str, actor: str) -> None:
        """Void an event and take in another one for it: both happen, or neither. Calling it again changes nothing.

        When it returns, the old event does not count and the new one is durable in the event log.

        Raises:
            NotFound: the event is not stored (yet).
            InvalidInput: the replacement has the source and id of the event itself.
            Conflict: the event is voided, or replaced by another one, already; or another event with the
                replacement's source and id is stored, so the replacement would be taken for a repeat.
        """
        namespace = replacement.namespace
        fresh = (replacement.source, replacement.id)
        if fresh == key:
            raise InvalidInput("the new event needs another id (or source) than the one it replaces")
        found = await self._stored.list_events(EventQuery(namespace, MAX_EVENTS, keys=[key, fresh]))
        old = [event for event in found if (event.source, event.id) == key]
        if not old:
            raise _unknown([key])
        for event in found:
            if (event.source, event.id) == fresh and not _same(event, replacement):
                raise Conflict(f"another event is stored with the id of the new one: {replacement.id}")
        payload = {
            "namespace": namespace,
            "event": to_payload(replacement).decode(),
            "ingested_at": replacement.ingested_at.isoformat(),
        }
        async with self._db.write() as session:
            await voids.record(session, namespace, old, voided=True, reason=reason, actor=actor, replacement=fresh)
            states = await voids.states(session, namespace, old)
            if any(state.replacement != fresh for state in states.values()):
                raise Conflict(f"the event is voided already: {key[1]}")
            # For the case that this process dies before it has appended it.
            await jobs.enqueue(session, APPEND_EVENT, payload)
        await voids.mirror(self._db, self._clickhouse, namespace)
        await self._event_log.append([replacement])

    async def _find(self, wish: Correction) -> list[StoredEvent]:
        found = await self._stored.list_events(wish.chosen)
        if len(found) > MAX_EVENTS:
            raise InvalidInput(f"more than {MAX_EVENTS} events match; narrow the conditions, or correct them in parts")
        if wish.chosen.keys is not None:
            stored = {(event.source, event.id) for event in found}
            if missing := [key for key in dict.fromkeys(wish.chosen.keys) if key not in stored]:
                raise _unknown(missing)
        return list({voidable(event): event for event in found}.values())

    async def _changes(self, wish: Correction, events: Sequence[StoredEvent], window: Period) -> list[UsageChange]:
        by_type: dict[str, list[StoredEvent]] = {}
        for event in events:
            by_type.setdefault(event.type, []).append(event)
        changes = []
        for event_type, found in sorted(by_type.items()):
            async with self._db.read() as session:
                measuring = await meters.of_event_type(session, wish.chosen.namespace, event_type)
            keys = [(event.source, event.id) for event in found]
            supposed = Supposed(voided=keys) if wish.voided else Supposed(restored=keys)
            subjects = sorted({event.subject for event in found})
            for meter in measuring:
                before = await self._usage(meter, subjects, window, None)
                after = await self._usage(meter, subjects, window, supposed)
                changes += [
                    UsageChange(meter, subject, before[subject], after[subject])
                    for subject in subjects
                    if before[subject] != after[subject]
                ]
        return changes

    async def _usage(
        self, meter: Meter, subjects: Sequence[str], window: Period, supposed: Supposed | None
    ) -> Mapping[str, Decimal | None]:
        query = MeterQuery(meter, window.start, window.end, subjects=subjects, supposed=supposed)
        nothing = Decimal(0) if meter.aggregation in _ZERO_WHEN_EMPTY else None
        values: dict[str, Decimal | None] = dict.fromkeys(subjects, nothing)
        for row in await self._queries.usage(query):
            if row.subject is not None:
                values[row.subject] = row.value
        return values


def _same(stored: StoredEvent, event: Event) -> bool:
    mine = (event.type, event.subject, event.time, event.data)
    return (stored.type, stored.subject, stored.time, stored.data) == mine


def _unknown(keys: Sequence[EventKey]) -> NotFound:
    named = ", ".join(f"{event_id} of {source}" for source, event_id in keys[:_NAMED])
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return NotFound(
        f"event not found: {named}{more}. An event can be corrected once it is stored, seconds after ingest"
    )


def _months(events: Sequence[StoredEvent]) -> Period:
    times = [event.time.astimezone(UTC) for event in events]
    first, last = (one.replace(day=1, hour=0, minute=0, second=0, microsecond=0) for one in (min(times), max(times)))
    return Period(first, (last + timedelta(days=32)).replace(day=1))
