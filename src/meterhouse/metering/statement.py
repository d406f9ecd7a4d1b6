"""The SQL of a meter query (metering sections 8 to 10)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from meterhouse.kernel.clock import whole_seconds
from meterhouse.kernel.errors import invalid
from meterhouse.metering import sql
from meterhouse.metering.meter import Aggregation, Meter, SlotKind
from meterhouse.metering.question import CUSTOMER, SUBJECT, MeterQuery, Window
from meterhouse.metering.sql import Bound, Value

# Where an event stands among those of one instant: by its receipt, then by its place in the log. One number, because
# the engine compares tuples member by member, several times slower. Positions stay below 2^48, partitions below 2^16.
_RECENCY = (
    "bitShiftLeft(toUInt128(toUnixTimestamp64Micro(ingested_at)), 64)"
    " + (bitShiftLeft(log_position, 16) + log_partition)"
)

_STARTS = {
    Window.MINUTE: "toStartOfMinute",
    Window.HOUR: "toStartOfHour",
    Window.DAY: "toStartOfDay",
    Window.MONTH: "toStartOfMonth",
}


@dataclass(frozen=True, slots=True)
class Form:
    """How a statement reads, from cheap to always right. A cheap one tells with its rows whether it was right.

    Attributes:
        slots_only: never open the JSON text; wrong if a row in question was filled by an older list of slots.
        all_count: leave no event out; wrong if one was voided.
    """

    slots_only: bool
    all_count: bool


class Select(ABC):
    """A SELECT over the event table in a form that is still to be chosen.

    Its first columns are its place among others, the number of rows without slots, and 1 if any event is voided.

    Args:
        used: the values in the data of events that it reads.
    """

    def __init__(self, query: MeterQuery, used: Sequence[Value]) -> None:
        self.query = query
        self._used = used

    @property
    def scope(self) -> tuple[str, str]:
        """The namespace and the type of the events."""
        return self.query.meter.namespace, self.query.meter.event_type

    @abstractmethod
    def text(self, place: int, form: Form, bound: Bound) -> str:
        """Return the SQL, without a limit."""

    def cheapest(self) -> Form:
        """Return the cheapest form that may be right."""
        slots_only = bool(self._used) and all(value.slot is not None for value in self._used)
        return Form(slots_only, all_count=self.query.supposed is None)

    def _checks(self, place: int, form: Form, bound: Bound) -> list[str]:
        # Part of the statement itself: what is found at another instant says nothing about its rows.
        older = f"countIf(slots_version < {self._version})" if form.slots_only else "0"
        voided = "NULL"
        if form.all_count:
            namespace, event_type = self.scope
            voided = (
                f"(SELECT 1 FROM om_event_voids WHERE namespace = {bound.text(namespace)}"
                f" AND type = {bound.text(event_type)} LIMIT 1)"
            )
        return [f"{place} AS place", f"{older} AS older", f"{voided} AS voided"]

    @property
    def _version(self) -> int:
        return max(value.slot.version for value in self._used if value.slot is not None)

    def _counting(self, form: Form, bound: Bound) -> list[str]:
        if form.all_count:
            return []
        return [sql.not_voided(*self.scope, self.query.supposed, bound)]


class Usage(Select):
    """The numbers of a meter: value, count of values, start of the window or first time, last time, the groups.

    Raises:
        InvalidInput: the query names a dimension that the meter does not have, code `unknown_dimension`.
    """

    def __init__(self, query: MeterQuery) -> None:
        meter = query.meter
        self._measured = _measured(meter)
        self._values = {
            name: sql.locate(meter.slots, SlotKind.DIMENSION, _path(meter, name))
            for name in dict.fromkeys([*query.dimensions(), *query.filters])
        }
        super().__init__(query, [*self._values.values(), *([self._measured] if self._measured else [])])

    def text(self, place: int, form: Form, bound: Bound) -> str:
        """Return the SQL, without a limit."""
        query = self.query
        expressions = {name: sql.read(one, bound, everywhere=form.slots_only) for name, one in self._values.items()}
        number = sql.read(self._measured, bound, everywhere=form.slots_only) if self._measured else ""
        columns, having = _aggregate(query.meter.aggregation, number)
        keys = [f"{one} AS g{index}" for index, one in enumerate(_splits(query, expressions, bound))]
        groups = [f"g{index}" for index in range(len(keys))]
        first, last = "0", "0"
        if query.window is not None:
            zone = bound.text(query.zone.key)
            keys.append(f"{_STARTS[query.window]}(time, {zone}) AS started")
            first = f"toUnixTimestamp64Micro(toDateTime64(started, 6, {zone}))"
        elif query.shows_range():
            first, last = "toUnixTimestamp64Micro(min(time))", "toUnixTimestamp64Micro(max(time))"
        where = [
            *in_question(query, bound),
            *self._counting(form, bound),
            *self._conditions(expressions, form, bound),
        ]
        selected = [*self._checks(place, form, bound), *columns, f"{first} AS first", f"{last} AS last", *groups]
        return (
            f"SELECT {', '.join(selected)} FROM om_events WHERE {' AND '.join(where)}"
            + (f" GROUP BY {', '.join(keys)}" if keys else "")
            + (f" HAVING {having} OR older > 0" if having else "")
        )

    def _conditions(self, expressions: Mapping[str, str], form: Form, bound: Bound) -> list[str]:
        paths = {name: value.path for name, value in self._values.items()}
        found = sql.conditions(self.query.filters, paths, expressions, bound)
        if not form.slots_only:
            return found
        # Rows without slots must reach the check, whatever their empty slots seem to say.
        return [f"(slots_version < {self._version} OR {one})" for one in found]


class Distinct(Select):
    """The different texts of a value, or of the subject, ascending."""

    def __init__(self, query: MeterQuery, value: Value | None) -> None:
        super().__init__(query, [value] if value else [])
        self._value = value

    def text(self, place: int, form: Form, bound: Bound) -> str:
        """Return the SQL, without a limit."""
        query = self.query
        expression = sql.read(self._value, bound, everywhere=form.slots_only) if self._value else SUBJECT
        where = _range(query.meter, query.start, query.end, bound) + self._counting(form, bound)
        return (
            f"SELECT {', '.join(self._checks(place, form, bound))}, {expression} AS found"
            f" FROM om_events WHERE {' AND '.join(where)} GROUP BY found ORDER BY found"
        )


def _path(meter: Meter, dimension: str) -> str:
    # What was stored with a query, such as the filters of a feature, may be older than the meter's dimensions.
    if dimension not in meter.group_by:
        raise invalid(f"meter {meter.key} has no dimension {dimension}", code="unknown_dimension")
    return meter.group_by[dimension]


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


def in_question(query: MeterQuery, bound: Bound) -> list[str]:
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


def _aggregate(aggregation: Aggregation, value: str) -> tuple[list[str], str]:
    """Return the columns value and count of values, and what makes a row worth showing (section 9)."""
    if aggregation is Aggregation.COUNT:
        return ["toString(count()) AS measured", "0 AS counted"], ""
    if aggregation is Aggregation.UNIQUE_COUNT:
        # Missing, null and empty are no values.
        return [f"toString(uniqExactIf({value} AS v, v NOT IN ('', 'null'))) AS measured", "0 AS counted"], ""
    expression = {
        # A sum of Decimal128 overflows silently.
        Aggregation.SUM: f"sum(toDecimal256({value}, 19))",
        Aggregation.AVG: f"sum(toDecimal256({value}, 19))",
        Aggregation.MIN: f"min({value})",
        Aggregation.MAX: f"max({value})",
        # Among events of the last instant the last one; the order among them is only looked at there.
        Aggregation.LATEST: f"argMaxArgMax({value}, {_RECENCY}, time)",
    }[aggregation]
    counted = f"count({value})" if aggregation is Aggregation.AVG else "0"
    # None of them has a result where there is no value.
    return [f"toString({expression}) AS measured", f"{counted} AS counted"], "isNotNull(measured)"
