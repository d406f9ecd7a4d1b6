"""Listing raw events (metering section 11)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from meterhouse.metering import sql
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.filters import Filter
from meterhouse.metering.sql import Bound

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Instants(StrEnum):
    """The instants of a stored event: when it happened, was received, was stored."""

    TIME = "time"
    INGESTED_AT = "ingested_at"
    STORED_AT = "stored_at"


# Columns that a list can be filtered by as text.
TEXT_COLUMNS = frozenset({"id", "source", "subject", "type"})


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as it is stored. `data` is the JSON text as it was sent, "" when there was none."""

    id: str
    type: str
    source: str
    subject: str
    time: datetime
    data: str
    ingested_at: datetime
    stored_at: datetime
    row_id: str


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which events to list.

    Attributes:
        filters: by column of `TEXT_COLUMNS`.
        not_before, before: bounds by instant; the first includes its bound, the second does not.
        subjects: only events with one of these subjects; None does not filter, an empty list finds nothing.
        sort: the instant to order by; the row id breaks ties in the same direction.
        after: go on behind this instant and row id.
    """

    namespace: str
    limit: int
    filters: Mapping[str, Filter] = field(default_factory=dict)
    not_before: Mapping[Instants, datetime] = field(default_factory=dict)
    before: Mapping[Instants, datetime] = field(default_factory=dict)
    subjects: Sequence[str] | None = None
    sort: Instants = Instants.TIME
    descending: bool = True
    after: tuple[datetime, str] | None = None


class StoredEvents:
    """Reads raw events from ClickHouse."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def list_events(self, query: EventQuery) -> list[StoredEvent]:
        """Return the matching events in order, at most `query.limit`."""
        if query.subjects is not None and not query.subjects:
            return []
        bound = Bound()
        where = _conditions(query, bound)
        direction = "DESC" if query.descending else "ASC"
        rows = await self._clickhouse.query(
            "SELECT id, type, source, subject, toUnixTimestamp64Micro(time), data, toUnixTimestamp64Micro(ingested_at),"
            " toUnixTimestamp64Micro(stored_at), store_row_id FROM om_events"
            f" WHERE {' AND '.join(where)} ORDER BY {query.sort.value} {direction}, store_row_id {direction}"
            f" LIMIT {bound.bind(query.limit, 'UInt32')}",
            bound.parameters,
        )
        return [
            StoredEvent(one, kind, source, subject, _at(time), data, _at(ingested), _at(stored), row_id)
            for one, kind, source, subject, time, data, ingested, stored, row_id in rows
        ]

    async def count_by_subject(self, namespace: str, stored_since: datetime) -> list[tuple[str, int]]:
        """Return how many events of each subject were stored at or after an instant, by subject."""
        bound = Bound()
        rows = await self._clickhouse.query(
            f"SELECT subject, count() FROM om_events WHERE namespace = {bound.text(namespace)}"
            f" AND stored_at >= {bound.instant(stored_since)} GROUP BY subject ORDER BY subject",
            bound.parameters,
        )
        return [(subject, int(count)) for subject, count in rows]


def _conditions(query: EventQuery, bound: Bound) -> list[str]:
    where = [f"namespace = {bound.text(query.namespace)}"]
    for column, one in query.filters.items():
        # The column's name goes into the text of the statement.
        if column not in TEXT_COLUMNS:
            raise ValueError(f"events cannot be filtered by {column}")
        where.append(sql.condition(one, column, None, bound))
    where += [f"{column.value} >= {bound.instant(at)}" for column, at in query.not_before.items()]
    where += [f"{column.value} < {bound.instant(at)}" for column, at in query.before.items()]
    if query.subjects is not None:
        where.append(f"subject IN {bound.texts(query.subjects)}")
    if query.after is not None:
        at, row_id = query.after
        sign = "<" if query.descending else ">"
        where.append(f"({query.sort.value}, store_row_id) {sign} ({bound.instant(at)}, {bound.text(row_id)})")
    return where


def _at(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
