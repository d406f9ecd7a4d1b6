"""Listing raw events (metering section 11)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from meterhouse.metering import sql
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.filters import Filter, Operator
from meterhouse.metering.sql import Bound, EventKey

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Instants(StrEnum):
    """The instants of a stored event: when it happened, was received, was stored."""

    TIME = "time"
    INGESTED_AT = "ingested_at"
    STORED_AT = "stored_at"


_COMPARISONS = {Operator.EQ: "=", Operator.GT: ">", Operator.GTE: ">=", Operator.LT: "<", Operator.LTE: "<="}

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
class InstantTest:
    """A condition on an instant: one comparison (eq, gt, gte, lt, lte) with `at`, or `and`/`or` over `parts`."""

    operator: Operator
    at: datetime | None = None
    parts: tuple["InstantTest", ...] = ()

    def depth(self) -> int:
        """How many levels of `and`/`or` stand above the deepest comparison."""
        return 1 + max(part.depth() for part in self.parts) if self.parts else 0


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which events to list.

    Attributes:
        filters: by column of `TEXT_COLUMNS`.
        instants: conditions on the event's instants.
        subjects: only events with one of these subjects; None does not filter, an empty list finds nothing.
        keys: only events with one of these sources and ids; None does not filter.
        voided: only events that are voided, or only those that are not; None does not filter.
        sort: the instant to order by; the row id breaks ties in the same direction.
        after: go on behind this instant and row id.
    """

    namespace: str
    limit: int
    filters: Mapping[str, Filter] = field(default_factory=dict)
    instants: Mapping[Instants, InstantTest] = field(default_factory=dict)
    subjects: Sequence[str] | None = None
    keys: Sequence[EventKey] | None = None
    voided: bool | None = None
    sort: Instants = Instants.TIME
    descending: bool = True
    after: tuple[datetime, str] | None = None


class StoredEvents:
    """Reads raw events from ClickHouse."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def list_events(self, query: EventQuery) -> list[StoredEvent]:
        """Return the matching events in order, at most `query.limit`."""
        if (query.subjects is not None and not query.subjects) or (query.keys is not None and not query.keys):
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
    where += [_instant_condition(column.value, test, bound) for column, test in query.instants.items()]
    if query.subjects is not None:
        where.append(f"subject IN {bound.texts(query.subjects)}")
    if query.keys is not None:
        # The ids alone, too: they have an index.
        where += [f"id IN {bound.texts(sorted({one for _, one in query.keys}))}", sql.listed(query.keys, bound)]
    if query.voided is not None:
        where.append(sql.voided(query.namespace, bound, wanted=query.voided))
    if query.after is not None:
        at, row_id = query.after
        sign = "<" if query.descending else ">"
        where.append(f"({query.sort.value}, store_row_id) {sign} ({bound.instant(at)}, {bound.text(row_id)})")
    return where


def _instant_condition(column: str, test: InstantTest, bound: Bound) -> str:
    if test.at is None:
        parts = [_instant_condition(column, part, bound) for part in test.parts]
        return "(" + f" {test.operator.value.upper()} ".join(parts) + ")"
    return f"({column} {_COMPARISONS[test.operator]} {bound.instant(test.at)})"


def _at(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
