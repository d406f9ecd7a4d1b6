"""Meter queries: a meter applied to the raw events (metering sections 8 to 10)."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from enum import StrEnum
from zoneinfo import ZoneInfo

from meterhouse.kernel.clock import whole_seconds
from meterhouse.kernel.errors import InvalidInput
from meterhouse.metering import sql
from meterhouse.metering.clickhouse import ClickHouse, Row
from meterhouse.metering.filters import Filter
from meterhouse.metering.meter import Aggregation, Meter, SlotKind
from meterhouse.metering.sql import Bound, Supposed, Value

SUBJECT = "subject"
CUSTOMER = "customer_id"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Where an event stands: by its time, its receipt, its place in the log. One number, because the engine compares tuples
# member by member, several times slower.
_RECENCY = (
    "bitShiftLeft(toUInt256(toUnixTimestamp64Micro(time)), 160)"
    " + bitShiftLeft(toUInt256(toUnixTimestamp64Micro(ingested_at)), 96)"
    " + bitShiftLeft(toUInt256(log_position), 32) + log_partition"
)
# An average has as many digits as a stored number can have.
_AVERAGE = Context(prec=38)
# Rows of one answer: each is a few hundred bytes of JSON, and all of them are held in memory at once.
DEFAULT_MAX_ROWS = 100_000


class Window(StrEnum):
    """The size of a window of time, in the calendar of the query's zone."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


_STARTS = {
    Window.MINUTE: "toStartOfMinute",
    Window.HOUR: "toStartOfHour",
    Window.DAY: "toStartOfDay",
    Window.MONTH: "toStartOfMonth",
}


@dataclass(frozen=True, slots=True)
class MeterQuery:
    """What to ask of a meter.

    Attributes:
        start, end: bounds of the event time, start included, end not; cut to the second. None does not bound.
        subjects: count only these and split by subject; None does neither, an empty list only splits.
        customers: by customer id, the subjects that count as this customer (section 13); count only these and split by
            customer. A subject of several customers counts for the first. None does neither.
        group_by: dimensions to split by, besides the words `subject` and `customer_id`; names may repeat.
        filters: conditions by dimension; a dimension may be filtered without being split by.
        stored_before: count only what was stored strictly before this instant.
        supposed: corrections to answer as if they were made.
    """

    meter: Meter
    start: datetime | None = None
    end: datetime | None = None
    window: Window | None = None
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    subjects: Sequence[str] | None = None
    customers: Mapping[str, Sequence[str]] | None = None
    group_by: Sequence[str] = ()
    filters: Mapping[str, Filter] = field(default_factory=dict)
    stored_before: datetime | None = None
    supposed: Supposed | None = None

    def groups(self) -> tuple[str, ...]:
        """Return what the answer is split by, in order, with what filters imply (section 10.3), each name once."""
        implied = [SUBJECT] if self.subjects is not None else []
        implied += [CUSTOMER] if self.customers else []
        return tuple(dict.fromkeys([*implied, *self.group_by]))


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One number of an answer.

    Attributes:
        start, end: the window in the query's zone, or the whole range in UTC.
        subject, customer_id: None unless split by.
        groups: dimension to text; None where the event has none.
    """

    value: Decimal
    start: datetime
    end: datetime
    subject: str | None
    customer_id: str | None
    groups: Mapping[str, str | None]


class MeterQueries:
    """Answers meter queries from ClickHouse. Events that are voided do not count in any of them.

    Args:
        max_rows: rows that one answer may have.
    """

    def __init__(self, clickhouse: ClickHouse, *, max_rows: int = DEFAULT_MAX_ROWS) -> None:
        self._clickhouse = clickhouse
        self._max_rows = max_rows

    async def usage(self, query: MeterQuery, *, mark: str | None = None) -> list[UsageRow]:
        """Return the rows of the answer in their fixed order (section 10.7).

        Args:
            mark: an id under which `rows_read` finds the query while it runs.

        Raises:
            InvalidInput: there are more rows than one answer may have.
        """
        dimensions = [name for name in query.groups() if name not in (SUBJECT, CUSTOMER)]
        meter = query.meter
        values = {
            name: sql.locate(meter.slots, SlotKind.DIMENSION, meter.group_by[name])
            for name in {*dimensions, *query.filters}
        }
        measured = _measured(meter)
        used = [*values.values(), *([measured] if measured else [])]
        everywhere, voids = await asyncio.gather(self._everywhere(query, used), self._has_voids(meter))
        bound = Bound()
        expressions = {name: sql.read(value, bound, everywhere=everywhere) for name, value in values.items()}
        where = _scope(query, bound) + _stable(used, everywhere=everywhere) + _counting(query, bound, voids=voids)
        paths = {name: value.path for name, value in values.items()}
        where += sql.conditions(query.filters, paths, expressions, bound)
        number = sql.read(measured, bound, everywhere=everywhere) if measured else ""
        columns, having = _aggregate(meter.aggregation, number)
        start = _window_start(query, bound)
        split = [*([start] if query.window else []), *_splits(query, expressions, bound)]
        names = [f"g{index}" for index in range(len(split))]
        selected = [*columns, *(f"{one} AS {name}" for one, name in zip(split, names, strict=True))]
        statement = (
            f"SELECT {', '.join(selected)} FROM om_events WHERE {' AND '.join(where)}"
            + (f" GROUP BY {', '.join(names)}" if names else "")
            + (f" HAVING {having}" if having else "")
            + f" LIMIT {self._max_rows + 1}"
            + (f" SETTINGS log_comment = '{mark}'" if mark else "")
        )
        rows = await self._clickhouse.query(statement, bound.parameters)
        if len(rows) > self._max_rows:
            raise InvalidInput(
                f"the answer would have more than {self._max_rows} rows; ask for a shorter range, larger windows or "
                "fewer groups"
            )
        return sorted((_row(query, row) for row in rows), key=lambda row: _order(query, row))

    async def count(self, query: MeterQuery) -> int:
        """Return how many events are in question, whatever the filters on dimensions say."""
        bound = Bound()
        where = " AND ".join(_scope(query, bound))
        ((found,),) = await self._clickhouse.query(f"SELECT count() FROM om_events WHERE {where}", bound.parameters)
        return int(found)

    async def rows_read(self, mark: str) -> int:
        """Return how many rows a running query has read; 0 when none runs under this mark."""
        bound = Bound()
        rows = await self._clickhouse.query(
            f"SELECT sum(read_rows) FROM system.processes WHERE Settings['log_comment'] = {bound.text(mark)}",
            bound.parameters,
        )
        return int(rows[0][0])

    async def _everywhere(self, query: MeterQuery, values: Sequence[Value]) -> bool:
        """Tell whether every row in question carries all slots: then no JSON text is read at all."""
        versions = [value.slot.version for value in values if value.slot is not None]
        if len(versions) < len(values):
            return False
        if not versions:
            return True
        bound = Bound()
        where = [*_scope(query, bound), f"slots_version < {max(versions)}"]
        older = await self._clickhouse.query(
            f"SELECT 1 FROM om_events WHERE {' AND '.join(where)} LIMIT 1", bound.parameters
        )
        return not older

    async def _has_voids(self, meter: Meter) -> bool:
        """Tell whether any event of the meter's type was ever voided: else nothing has to be left out."""
        bound = Bound()
        found = await self._clickhouse.query(
            f"SELECT 1 FROM om_event_voids WHERE namespace = {bound.text(meter.namespace)}"
            f" AND type = {bound.text(meter.event_type)} LIMIT 1",
            bound.parameters,
        )
        return bool(found)

    async def subjects(self, meter: Meter, start: datetime | None, end: datetime | None) -> list[str]:
        """Return the different subjects with events of the meter's type, ascending (section 12.6)."""
        return await self._distinct(MeterQuery(meter, start, end), None)

    async def dimension_values(
        self, meter: Meter, dimension: str, start: datetime | None, end: datetime | None
    ) -> list[str]:
        """Return the different texts of a dimension, ascending; "" for events without it (section 12.6)."""
        value = sql.locate(meter.slots, SlotKind.DIMENSION, meter.group_by[dimension])
        return await self._distinct(MeterQuery(meter, start, end), value)

    async def _distinct(self, query: MeterQuery, value: Value | None) -> list[str]:
        """Return the different texts of a value, or of the subject."""
        meter, used = query.meter, [value] if value else []
        everywhere, voids = await asyncio.gather(self._everywhere(query, used), self._has_voids(meter))
        bound = Bound()
        where = _range(meter, query.start, query.end, bound)
        where += _stable(used, everywhere=everywhere) + _counting(query, bound, voids=voids)
        expression = sql.read(value, bound, everywhere=everywhere) if value else SUBJECT
        rows = await self._clickhouse.query(
            f"SELECT DISTINCT {expression} AS found FROM om_events WHERE {' AND '.join(where)}"
            f" ORDER BY found LIMIT {self._max_rows + 1}",
            bound.parameters,
        )
        if len(rows) > self._max_rows:
            raise InvalidInput(f"there are more than {self._max_rows} different values; ask for a shorter range")
        return [row[0] for row in rows]


def _stable(values: Sequence[Value], *, everywhere: bool) -> list[str]:
    """Keep out rows that a sink with an older list of slots may add just now: they would be read without values."""
    versions = [value.slot.version for value in values if value.slot is not None]
    return [f"slots_version >= {max(versions)}"] if everywhere and versions else []


def _counting(query: MeterQuery, bound: Bound, *, voids: bool) -> list[str]:
    if not voids and query.supposed is None:
        return []
    return [sql.not_voided(query.meter.namespace, query.meter.event_type, query.supposed, bound)]


def _measured(meter: Meter) -> Value | None:
    if meter.value_property is None:
        return None
    kind = SlotKind.TEXT if meter.aggregation is Aggregation.UNIQUE_COUNT else SlotKind.NUMBER
    return sql.locate(meter.slots, kind, meter.value_property)


def _range(meter: Meter, start: datetime | None, end: datetime | None, bound: Bound) -> list[str]:
    where = [f"namespace = {bound.text(meter.namespace)}", f"type = {bound.text(meter.event_type)}"]
    if start is not None:
        where.append(f"time >= {bound.instant(start)}")
    if end is not None:
        where.append(f"time < {bound.instant(end)}")
    return where


def _scope(query: MeterQuery, bound: Bound) -> list[str]:
    """Return the conditions on columns: cheap ones, that decide which events are in question."""
    low = max((one for one in (query.start, query.meter.event_from) if one is not None), default=None)
    where = _range(
        query.meter,
        whole_seconds(low) if low else None,
        whole_seconds(query.end) if query.end else None,
        bound,
    )
    if query.subjects:
        where.append(f"subject IN {bound.texts(query.subjects)}")
    if query.customers:
        where.append(f"subject IN {bound.texts(list(_customer_of(query.customers)))}")
    if query.stored_before is not None:
        where.append(f"stored_at < {bound.instant(query.stored_before)}")
    return where


def _customer_of(customers: Mapping[str, Sequence[str]]) -> dict[str, str]:
    owners: dict[str, str] = {}
    for customer_id, subjects in customers.items():
        for subject in subjects:
            owners.setdefault(subject, customer_id)
    return owners


def _splits(query: MeterQuery, expressions: Mapping[str, str], bound: Bound) -> list[str]:
    splits = []
    for name in query.groups():
        if name == CUSTOMER:
            splits.append(_customer(query.customers or {}, bound))
        else:
            splits.append(SUBJECT if name == SUBJECT else expressions[name])
    return splits


def _customer(customers: Mapping[str, Sequence[str]], bound: Bound) -> str:
    if len(customers) == 1:
        return bound.text(next(iter(customers)))
    owners = _customer_of(customers)
    return f"transform(subject, {bound.texts(list(owners))}, {bound.texts(list(owners.values()))}, '')"


def _window_start(query: MeterQuery, bound: Bound) -> str:
    if query.window is None:
        return ""
    zone = bound.text(query.zone.key)
    return f"toUnixTimestamp64Micro(toDateTime64({_STARTS[query.window]}(time, {zone}), 6, {zone}))"


def _aggregate(aggregation: Aggregation, value: str) -> tuple[list[str], str]:
    """Return the columns value, count, first and last time, and what makes a row worth showing (section 9)."""
    times = ["toUnixTimestamp64Micro(min(time)) AS first_time", "toUnixTimestamp64Micro(max(time)) AS last_time"]
    if aggregation is Aggregation.COUNT:
        return ["toString(count()) AS measured", "count() AS counted", *times], ""
    if aggregation is Aggregation.UNIQUE_COUNT:
        # Missing, null and empty are no values.
        return [f"toString(uniqExactIf({value} AS v, v NOT IN ('', 'null'))) AS measured", "0 AS counted", *times], ""
    expression = {
        # A sum of Decimal128 overflows silently.
        Aggregation.SUM: "sum(toDecimal256(v, 19))",
        Aggregation.AVG: "sum(toDecimal256(v, 19))",
        Aggregation.MIN: "min(v)",
        Aggregation.MAX: "max(v)",
        Aggregation.LATEST: f"argMaxIf(v, {_RECENCY}, v IS NOT NULL)",
    }[aggregation]
    columns = [f"ifNull(toString({expression}), '') AS measured", f"count({value} AS v) AS counted", *times]
    return columns, "counted > 0"


def _row(query: MeterQuery, row: Row) -> UsageRow:
    measured, counted, first, last, *split = row
    value = Decimal(measured)
    if query.meter.aggregation is Aggregation.AVG:
        value = _AVERAGE.divide(value, Decimal(counted))
    if query.window is None:
        start = query.start or _minute(first)
        end = query.end or _minute(last) + timedelta(minutes=1)
    else:
        start = _at(split.pop(0)).astimezone(query.zone)
        end = window_end(start, query.window)
    by_name = dict(zip(query.groups(), split, strict=True))
    return UsageRow(
        value=value,
        start=start,
        end=end,
        subject=by_name.pop(SUBJECT, None),
        customer_id=by_name.pop(CUSTOMER, None),
        groups={name: text or None for name, text in by_name.items()},
    )


def _at(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _minute(micros: int) -> datetime:
    return _at(micros).replace(second=0, microsecond=0)


def window_end(start: datetime, window: Window) -> datetime:
    """Return the end of a window: the next local day or month start, or the elapsed minute or hour."""
    if window in (Window.MINUTE, Window.HOUR):
        size = timedelta(minutes=1) if window is Window.MINUTE else timedelta(hours=1)
        return (start.astimezone(UTC) + size).astimezone(start.tzinfo)
    local = start.replace(hour=0, minute=0, second=0, fold=0)
    if window is Window.DAY:
        following = local + timedelta(days=1)
    else:
        following = (local.replace(day=1) + timedelta(days=32)).replace(day=1)
    # Over UTC and back: where local midnight does not exist, the window ends at the moment of the change.
    return following.astimezone(UTC).astimezone(start.tzinfo)


def _order(query: MeterQuery, row: UsageRow) -> tuple[object, ...]:
    texts = [row.subject, row.customer_id, *(row.groups.get(name) for name in query.group_by)]
    return (
        # In UTC: Python compares instants of one zone by their local times, which come twice when clocks go back.
        row.start.astimezone(UTC) if query.window else _EPOCH,
        -row.value,
        *((text is not None, text or "") for text in texts),
    )
