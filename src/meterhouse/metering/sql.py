"""Pieces of ClickHouse SQL over the event table. Values from requests are always bound, never pasted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from meterhouse.metering import jsonpath
from meterhouse.metering.filters import Filter, Operator
from meterhouse.metering.meter import Slot, SlotKind

# JSON with numbers in their exact text; see `extraction`.
_EXACT = "if(exact_data = '', data, exact_data)"
# The same texts that `extraction.number_of` reads.
_NUMBER = r"'^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?$'"

_COMPARISONS = {
    Operator.EQ: "=",
    Operator.NE: "!=",
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.LT: "<",
    Operator.LTE: "<=",
    Operator.LIKE: "LIKE",
    Operator.NLIKE: "NOT LIKE",
    Operator.ILIKE: "ILIKE",
    Operator.NILIKE: "NOT ILIKE",
    Operator.CONTAINS: "ILIKE",
    Operator.NCONTAINS: "NOT ILIKE",
}
_PATTERNS = frozenset({Operator.LIKE, Operator.NLIKE, Operator.ILIKE, Operator.NILIKE})
_CONTAINMENT = frozenset({Operator.CONTAINS, Operator.NCONTAINS})


@dataclass(slots=True)
class Bound:
    """Collects the parameters of a statement."""

    parameters: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: Any, type_name: str = "String") -> str:
        """Add a value and return its placeholder."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"{{{name}:{type_name}}}"

    def text(self, value: str) -> str:
        """Bind a text."""
        return self.bind(value)

    def texts(self, values: Sequence[str]) -> str:
        """Bind a list of texts."""
        return self.bind(list(values), "Array(String)")

    def instant(self, value: datetime) -> str:
        """Bind an instant, to the microsecond."""
        # Not strftime, which writes the year 721 with three digits.
        return self.bind(value.isoformat(" ", "microseconds")[:26], "DateTime64(6, 'UTC')")


EventKey = tuple[str, str]  # source, id


@dataclass(frozen=True, slots=True)
class Supposed:
    """Corrections that are only supposed, to see what they would change: events by source and id."""

    voided: Sequence[EventKey] = ()
    restored: Sequence[EventKey] = ()


def not_voided(namespace: str, event_type: str, supposed: Supposed | None, bound: Bound) -> str:
    """Return the condition that an event counts."""
    voided = (
        "SELECT source, id FROM om_event_voids"
        f" WHERE namespace = {bound.text(namespace)} AND type = {bound.text(event_type)}"
        " GROUP BY source, id HAVING argMax(voided, version) = 1"
    )
    if supposed is not None and supposed.restored:
        voided += f" AND (source, id) NOT IN ({_listed(supposed.restored, bound)})"
    condition = f"(source, id) NOT IN ({voided})"
    if supposed is not None and supposed.voided:
        condition += f" AND (source, id) NOT IN ({_listed(supposed.voided, bound)})"
    return condition


def voided(namespace: str, bound: Bound, *, wanted: bool) -> str:
    """Return the condition that an event of any type is voided, or is not."""
    return (
        f"(type, source, id) {'' if wanted else 'NOT '}IN (SELECT type, source, id FROM om_event_voids"
        f" WHERE namespace = {bound.text(namespace)} GROUP BY type, source, id HAVING argMax(voided, version) = 1)"
    )


def listed(keys: Sequence[EventKey], bound: Bound) -> str:
    """Return the condition that an event is one of these."""
    return f"(source, id) IN ({_listed(keys, bound)})"


def _listed(keys: Sequence[EventKey], bound: Bound) -> str:
    sources, ids = bound.texts([source for source, _ in keys]), bound.texts([one for _, one in keys])
    return f"SELECT pair.1, pair.2 FROM (SELECT arrayJoin(arrayZip({sources}, {ids})) AS pair)"


@dataclass(frozen=True, slots=True)
class Value:
    """What lies at a path: where slots carry it, and how else it is read."""

    path: str
    kind: SlotKind
    slot: Slot | None


def locate(slots: Sequence[Slot], kind: SlotKind, path: str) -> Value:
    """Find the slot of a path; texts of either kind serve each other."""
    canonical = jsonpath.parse(path).text
    kinds = [kind] if kind is SlotKind.NUMBER else [kind, SlotKind.DIMENSION, SlotKind.TEXT]
    found = (slot for wanted in kinds for slot in slots if slot.kind is wanted and slot.path == canonical)
    return Value(canonical, kind, next(found, None))


def read(value: Value, bound: Bound, *, everywhere: bool) -> str:
    """Return the expression of a value: a number (exact, NULL when there is none) or a text ("" when there is none).

    Args:
        everywhere: whether all rows in question carry the slot, so that the JSON text is not even opened.
    """
    if value.slot is not None and everywhere:
        return value.slot.column
    text = f"JSON_VALUE({_EXACT}, {bound.text(value.path)})"
    if value.kind is SlotKind.NUMBER:
        text = f"if(match({text}, {_NUMBER}), toDecimal128OrNull({text}, 19), NULL)"
    if value.slot is None:
        return text
    return f"if(slots_version >= {int(value.slot.version)}, {value.slot.column}, {text})"


def condition(tested: Filter, expression: str, path: str | None, bound: Bound) -> str:
    """Return a filter on a text as a condition.

    Args:
        path: the canonical path, for tests of presence; None for columns, which are always present.
    """
    operator = tested.operator
    if operator in (Operator.AND, Operator.OR):
        parts = [condition(part, expression, path, bound) for part in tested.filters]
        return "(" + f" {operator.value.upper()} ".join(parts) + ")"
    if operator is Operator.EXISTS:
        present = "1" if path is None else f"JSON_EXISTS({_EXACT}, {bound.text(path)})"
        return f"({present} = {int(tested.present)})"
    if operator in (Operator.IN, Operator.NIN):
        negation = "NOT " if operator is Operator.NIN else ""
        return f"{negation}has({bound.texts(tested.values)}, {expression})"
    operand = tested.value
    if operator in _PATTERNS:
        operand = _whole_pattern(operand)
    elif operator in _CONTAINMENT:
        operand = f"%{escape_pattern(operand)}%"
    return f"({expression} {_COMPARISONS[operator]} {bound.text(operand)})"


def _whole_pattern(pattern: str) -> str:
    # A backslash at the end escapes nothing; the engine refuses it.
    trailing = len(pattern) - len(pattern.rstrip("\\"))
    return pattern + "\\" if trailing % 2 else pattern


def escape_pattern(text: str) -> str:
    """Make every character of `text` literal in a LIKE pattern."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def conditions(
    filters: Mapping[str, Filter], paths: Mapping[str, str], expressions: Mapping[str, str], bound: Bound
) -> list[str]:
    """Return the conditions of filters by dimension."""
    return [condition(one, expressions[name], paths[name], bound) for name, one in filters.items()]
