"""Filters on text values of events: dimensions, subject, id (metering section 10.5, api-conventions section 11).

A filter is a small tree: one operator with its operand, or `and`/`or` over filters. It is stored with features as JSON
of the same shape: `{"in": ["gpt-4", "gpt-4o"]}`, `{"and": [{"ne": ""}, {"like": "gpt-%"}]}`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

# Trees are built from requests: deeper ones are refused before recursion becomes a concern.
MAX_DEPTH = 16


class Operator(StrEnum):
    """How a filter compares. Text comparison throughout: `"9"` is greater than `"10"`."""

    EQ = "eq"
    NE = "ne"
    IN = "in"
    NIN = "nin"
    LIKE = "like"
    NLIKE = "nlike"
    ILIKE = "ilike"
    NILIKE = "nilike"
    CONTAINS = "contains"
    NCONTAINS = "ncontains"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    EXISTS = "exists"
    AND = "and"
    OR = "or"


_BY_NAME = {operator.value: operator for operator in Operator}
_LISTS = frozenset({Operator.IN, Operator.NIN})
_TREES = frozenset({Operator.AND, Operator.OR})


class InvalidFilter(ValueError):
    """The filter's form is wrong; the text says how."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition on a text.

    Attributes:
        operator: the comparison.
        values: its operands: one text, or several for `in` and `nin`; empty for `exists`, `and`, `or`.
        present: for `exists`: whether the value must be there or must be missing.
        filters: for `and` and `or`: the parts.
    """

    operator: Operator
    values: tuple[str, ...] = ()
    present: bool = True
    filters: tuple["Filter", ...] = ()

    @property
    def value(self) -> str:
        """The single operand."""
        return self.values[0]

    def depth(self) -> int:
        """How many levels of `and`/`or` stand above the deepest comparison."""
        return 1 + max(part.depth() for part in self.filters) if self.filters else 0

    def operators(self) -> Iterator[Operator]:
        """Yield every operator of the tree."""
        yield self.operator
        for part in self.filters:
            yield from part.operators()

    def to_json(self) -> dict[str, object]:
        """Return the stored form, which `from_json` reads back."""
        if self.operator in _TREES:
            return {self.operator.value: [part.to_json() for part in self.filters]}
        if self.operator is Operator.EXISTS:
            return {"exists": self.present}
        return {self.operator.value: list(self.values) if self.operator in _LISTS else self.value}


def eq(value: str) -> Filter:
    """Make the filter for one exact value."""
    return Filter(Operator.EQ, (value,))


def any_of(values: tuple[str, ...]) -> Filter:
    """Make the filter for a list of exact values."""
    return Filter(Operator.IN, values)


def from_json(document: object, *, prefix: str = "", aliases: Mapping[str, Operator] | None = None) -> Filter | None:
    """Read a filter from parsed JSON. An empty object, and members that are null, filter nothing: None.

    Args:
        document: the JSON object.
        prefix: what stands before operator names: `$` in v1.
        aliases: further names, such as `neq` of v3.

    Raises:
        InvalidFilter: unknown operator, several operators in one object, an operand of the wrong type, too deep.
    """
    return _read(document, prefix, aliases or {}, 0)


def _read(document: object, prefix: str, aliases: Mapping[str, Operator], depth: int) -> Filter | None:
    if not isinstance(document, Mapping):
        raise InvalidFilter("a filter must be an object")
    if depth > MAX_DEPTH:
        raise InvalidFilter(f"filters may be nested {MAX_DEPTH} levels at most")
    given = {name: operand for name, operand in document.items() if operand is not None}
    if len(given) > 1:
        raise InvalidFilter(f"multiple operators are set: {', '.join(sorted(map(str, given)))}")
    for name, operand in given.items():
        return _condition(_operator(str(name), prefix, aliases), operand, prefix, aliases, depth)
    return None


def _operator(name: str, prefix: str, aliases: Mapping[str, Operator]) -> Operator:
    bare = name.removeprefix(prefix)
    if name.startswith(prefix):
        if bare in aliases:
            return aliases[bare]
        if bare in _BY_NAME:
            return _BY_NAME[bare]
    raise InvalidFilter(f"unknown filter operator: {name}")


def _condition(
    operator: Operator, operand: object, prefix: str, aliases: Mapping[str, Operator], depth: int
) -> Filter | None:
    if operator is Operator.EXISTS:
        if not isinstance(operand, bool):
            raise InvalidFilter("exists takes true or false")
        return Filter(operator, present=operand)
    if operator in _TREES:
        if not isinstance(operand, list):
            raise InvalidFilter(f"{operator} takes a list of filters")
        parts = tuple(part for item in operand if (part := _read(item, prefix, aliases, depth + 1)) is not None)
        return Filter(operator, filters=parts) if parts else None
    if operator in _LISTS:
        if not isinstance(operand, list) or not all(isinstance(item, str) for item in operand):
            raise InvalidFilter(f"{operator} takes a list of texts")
        return Filter(operator, tuple(operand))
    if not isinstance(operand, str):
        raise InvalidFilter(f"{operator} takes a text")
    return Filter(operator, (operand,))
