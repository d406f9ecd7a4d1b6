"""`filter[...]` and `sort` of v3 lists (api-conventions sections 10 and 12).

A list declares its fields once, as data: `parse_filters` reads them from a request and `list_parameters` documents them
in OpenAPI. What comes out are `kernel.conditions`, which repositories turn into SQL.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

from fastapi import Request

from meterhouse.api.problems import InvalidParameterError
from meterhouse.api.wire import RFC3339, ULID_PATTERN
from meterhouse.kernel.conditions import Check, Condition, Operator, Scalar, Sort

E = TypeVar("E", bound=StrEnum)

MAX_VALUE_BYTES = 1024  # a longer operand is no search a person made; bounds the SQL text
MAX_LIST_ITEMS = 50  # bounds the IN list and the OR chain of one parameter


class FieldKind(StrEnum):
    """The type of a field, which decides the operators it takes."""

    STRING = "string"
    EXACT = "exact string"
    ULID = "ULID"
    NUMERIC = "numeric"
    INSTANT = "date-time"
    BOOLEAN = "boolean"
    LABEL = "label"
    PLAIN = "plain string"
    PLAIN_INSTANT = "plain date-time"


_O = Operator
_OPERATORS: Mapping[FieldKind, frozenset[Operator]] = {
    FieldKind.STRING: frozenset(Operator),
    FieldKind.EXACT: frozenset({_O.EQ, _O.NEQ, _O.OEQ}),
    FieldKind.ULID: frozenset({_O.EQ, _O.NEQ, _O.OEQ}),
    FieldKind.NUMERIC: frozenset({_O.EQ, _O.NEQ, _O.GT, _O.GTE, _O.LT, _O.LTE, _O.OEQ}),
    FieldKind.INSTANT: frozenset({_O.EQ, _O.GT, _O.GTE, _O.LT, _O.LTE}),
    FieldKind.BOOLEAN: frozenset({_O.EQ}),
    FieldKind.LABEL: frozenset({_O.EQ, _O.NEQ, _O.CONTAINS, _O.OEQ, _O.OCONTAINS}),
    FieldKind.PLAIN: frozenset(),
    FieldKind.PLAIN_INSTANT: frozenset(),
}
_BOOLEANS = {"1": True, "t": True, "T": True, "TRUE": True, "true": True, "True": True} | {
    "0": False,
    "f": False,
    "F": False,
    "FALSE": False,
    "false": False,
    "False": False,
}
_PARAMETER = re.compile(r"filter(?P<path>(?:\[[^\[\]]*\])+)")
_LABELS = "labels"


def _refuse(reason: str) -> InvalidParameterError:
    return InvalidParameterError("filter", reason, rule="format")


def _text(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    if "\x00" in value:
        raise ValueError("must not contain a NUL character")
    return value


def _ulid(value: str) -> str:
    if not re.fullmatch(ULID_PATTERN, value):
        raise ValueError("must be a ULID")
    return value


def _instant(value: str) -> datetime:
    if not RFC3339.fullmatch(value):
        raise ValueError("must be an RFC 3339 instant")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be an RFC 3339 instant") from None


def _number(value: str) -> Decimal:
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError("must be a number") from None
    if not number.is_finite():
        raise ValueError("must be a number")
    return number


def _boolean(value: str) -> bool:
    if value not in _BOOLEANS:
        raise ValueError("must be a boolean")
    return _BOOLEANS[value]


_READERS: Mapping[FieldKind, Callable[[str], Scalar]] = {
    FieldKind.STRING: _text,
    FieldKind.EXACT: _text,
    FieldKind.ULID: _ulid,
    FieldKind.NUMERIC: _number,
    FieldKind.INSTANT: _instant,
    FieldKind.BOOLEAN: _boolean,
    FieldKind.LABEL: _text,
    FieldKind.PLAIN: _text,
    FieldKind.PLAIN_INSTANT: _instant,
}


def _items(name: str, text: str) -> list[str]:
    items = [item for item in (part.strip() for part in text.split(",")) if item]
    if not items:
        raise _refuse(f"{name}: must hold at least one item")
    if len(items) > MAX_LIST_ITEMS:
        raise _refuse(f"{name}: at most {MAX_LIST_ITEMS} items")
    return items


def _check(name: str, kind: FieldKind, operator_text: str | None, text: str) -> Check:
    read = _READERS[kind]
    negated = operator_text == "nexists"
    operator = Operator.EXISTS if negated else next((o for o in Operator if o == operator_text), None)
    if operator_text is None:
        if kind is FieldKind.STRING and not text:
            return Check(Operator.EXISTS, True)
        operator = Operator.EQ
    elif operator is None or operator not in _OPERATORS[kind]:
        raise _refuse(f"{name}: unsupported operator")
    try:
        if operator is Operator.EXISTS:
            return Check(operator, (_boolean(text) if text else True) is not negated)
        if operator in (Operator.OEQ, Operator.OCONTAINS):
            return Check(operator, tuple(read(item) for item in _items(name, text)))
        return Check(operator, read(text))
    except ValueError as error:
        raise _refuse(f"{name}: {error}") from None


def _split(name: str, steps: Sequence[str]) -> tuple[str, str | None]:
    """Return the field and the operator; a label's key may stand as a step of its own."""
    if "" in steps:
        raise _refuse(f"{name}: empty brackets")
    if steps[0] == _LABELS and len(steps) > 1:
        # `filter[labels][team][eq]`; dots in the key are part of it.
        steps = [f"{_LABELS}.{steps[1]}", *steps[2:]]
    if len(steps) > 2:
        raise _refuse(f"{name}: too many brackets")
    return steps[0], steps[1] if len(steps) == 2 else None


def parse_filters(request: Request, fields: Mapping[str, FieldKind]) -> dict[str, Condition]:
    """Read the `filter` parameters of a request.

    A label filter comes out under `labels.<key>`; see `label_conditions`. Declare it as `labels: FieldKind.LABEL`.

    Raises:
        InvalidParameterError: unknown field or operator, repeated parameter, or a value that is too long or of another
            type.
    """
    checks: dict[str, list[Check]] = {}
    unknown: set[str] = set()
    parameters = request.query_params
    for name in dict.fromkeys(parameters.keys()):
        if not name.startswith("filter"):
            continue
        match = _PARAMETER.fullmatch(name)
        if match is None:
            # Without a closing bracket it is another parameter's name, and unknown parameters are ignored.
            if name.startswith("filter[") and "]" in name:
                raise _refuse(f"{name}: malformed")
            continue
        field, operator = _split(name, match["path"][1:-1].split("]["))
        base, _, label = field.partition(".")
        kind = fields.get(base)
        if kind is None or (label != "") is not (kind is FieldKind.LABEL):
            unknown.add(base)
            continue
        values = parameters.getlist(name)
        if len(values) > 1:
            raise _refuse(f"{name}: may appear only once")
        if len(values[0].encode()) > MAX_VALUE_BYTES:
            raise _refuse(f"{name}: at most {MAX_VALUE_BYTES} bytes")
        checks.setdefault(field, []).append(_check(name, kind, operator, values[0]))
    if unknown:
        raise _refuse(f"unknown filter field(s): {', '.join(sorted(unknown))}")
    for field, found in checks.items():
        if len(found) > 1 and fields.get(field) in (FieldKind.EXACT, FieldKind.BOOLEAN):
            raise _refuse(f"filter[{field}]: only one operator is allowed")
    return {field: Condition(tuple(found)) for field, found in checks.items()}


def members_of(kind: type[E], filters: Mapping[str, Condition], field: str) -> tuple[E, ...] | None:
    """Return the members of an enumeration that a filter asks for, None where it was not given.

    Raises:
        InvalidParameterError: another operator than `eq` and `oeq`, or a value that is no member.
    """
    if field not in filters:
        return None
    (check,) = filters[field].checks
    if check.operator not in (_O.EQ, _O.OEQ):
        raise _refuse(f"filter[{field}]: unsupported operator, only eq and oeq are supported")
    values = check.operand if isinstance(check.operand, tuple) else (check.operand,)
    try:
        return tuple(kind(str(value)) for value in values)
    except ValueError:
        raise _refuse(f"filter[{field}]: must be one of {', '.join(kind)}") from None


def label_conditions(filters: Mapping[str, Condition]) -> dict[str, Condition]:
    """Return the conditions on labels by label key."""
    prefix = _LABELS + "."
    return {name.removeprefix(prefix): found for name, found in filters.items() if name.startswith(prefix)}


def parse_sort(
    request: Request, allowed: Sequence[str], default: Sequence[Sort], *, descending: bool = False
) -> tuple[Sort, ...]:
    """Read `sort`: `<field>`, `<field> asc` or `<field> desc`, several separated by commas.

    `descending` is the direction of a field that names none.

    Raises:
        InvalidParameterError: empty value, unknown field or direction, the parameter given twice.
    """
    values = request.query_params.getlist("sort")
    if not values:
        return tuple(default)
    if len(values) > 1:
        raise InvalidParameterError("sort", "may appear only once")
    return tuple(_sort(part, allowed, descending) for part in values[0].split(","))


def _sort(text: str, allowed: Sequence[str], descending: bool) -> Sort:
    words = text.split()
    if not words:
        raise InvalidParameterError("sort", "must not be empty")
    if words[0] not in allowed:
        raise InvalidParameterError(
            "sort", f'unsupported sort field "{words[0]}", supported fields: {", ".join(allowed)}'
        )
    if len(words) > 2 or (len(words) == 2 and words[1] not in ("asc", "desc")):
        raise InvalidParameterError("sort", f'unsupported sort direction "{" ".join(words[1:])}", use asc or desc')
    return Sort(words[0], words[1] == "desc" if len(words) == 2 else descending)


def parse_expand(request: Request, allowed: Sequence[str]) -> frozenset[str]:
    """Read `expand`: what an answer is to show besides, separated by commas.

    Raises:
        InvalidParameterError: something that cannot be shown.
    """
    given = [part.strip() for text in request.query_params.getlist("expand") for part in text.split(",")]
    values = [value for value in given if value]
    unknown = [value for value in values if value not in allowed]
    if unknown:
        raise InvalidParameterError("expand", f"unknown value {unknown[0]!r}", rule="enum")
    return frozenset(values)


def expand_parameter(allowed: Sequence[str], description: str) -> dict[str, Any]:
    """Return the OpenAPI parameter that `parse_expand` reads."""
    return {
        "name": "expand",
        "in": "query",
        "required": False,
        "style": "form",
        "explode": False,
        "description": description,
        "schema": {"type": "array", "items": {"type": "string", "enum": [*allowed]}},
    }


def _schema(kind: FieldKind) -> dict[str, Any]:
    operand = {"type": "boolean"} if kind is FieldKind.BOOLEAN else {"type": "string"}
    if kind in (FieldKind.PLAIN, FieldKind.PLAIN_INSTANT):
        return operand
    members = {
        str(operator): {"type": "boolean"} if operator is Operator.EXISTS else operand
        for operator in Operator
        if operator in _OPERATORS[kind]
    }
    operators = {"type": "object", "properties": members, "additionalProperties": False}
    if kind is FieldKind.LABEL:
        return {"type": "object", "additionalProperties": {"anyOf": [operand, operators]}}
    return {"anyOf": [operand, operators]}


def list_parameters(fields: Mapping[str, FieldKind] | None = None, sort_fields: Sequence[str] = ()) -> dict[str, Any]:
    """Return the `openapi_extra` of a list route: its `filter` and `sort` parameters."""
    parameters: list[dict[str, Any]] = []
    if sort_fields:
        text = f"Field to order by, with `asc` or `desc` after a space. Fields: {', '.join(sort_fields)}."
        parameters.append(
            {"name": "sort", "in": "query", "required": False, "schema": {"type": "string"}, "description": text}
        )
    if fields:
        members = {name: _schema(kind) for name, kind in fields.items()}
        parameters.append(
            {
                "name": "filter",
                "in": "query",
                "required": False,
                "style": "deepObject",
                "description": "Conditions that all must hold: `filter[field]=value` or `filter[field][op]=value`.",
                "schema": {"type": "object", "properties": members, "additionalProperties": False},
            }
        )
    return {"parameters": parameters}
