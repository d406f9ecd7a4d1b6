"""Query parameters of customer credit that need more than their type to be read."""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime

import orjson
from fastapi import Request

from meterhouse.api.paging import MAX_PAGE_SIZE
from meterhouse.api.problems import InvalidParameterError
from meterhouse.kernel.conditions import Condition, Operator
from meterhouse.kernel.money import is_fiat
from meterhouse.ledger.balances import Cursor
from meterhouse.ledger.routes import ABSENT, Absent

DEFAULT_SIZE = 20


def encode(cursor: Cursor | None) -> str | None:
    """Write a cursor: base64 of JSON with the three values a list is ordered by."""
    if cursor is None:
        return None
    values = {
        "booked_at": cursor.booked_at.isoformat(),
        "created_at": cursor.created_at.isoformat(),
        "id": cursor.id,
    }
    return base64.b64encode(orjson.dumps(values)).decode()


def _decode(field: str, text: str) -> Cursor:
    try:
        values = orjson.loads(base64.b64decode(text, validate=True))
        booked_at = datetime.fromisoformat(values["booked_at"])
        created_at = datetime.fromisoformat(values["created_at"])
        cursor = Cursor(booked_at, created_at, values["id"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise InvalidParameterError(field, "is no cursor of this list") from None
    usable = isinstance(cursor.id, str) and cursor.id.isalnum() and booked_at.tzinfo and created_at.tzinfo
    if not usable:
        raise InvalidParameterError(field, "is no cursor of this list")
    return cursor


class CursorPaging:
    """`page[size]`, `page[after]` and `page[before]` of a request."""

    def __init__(self, request: Request) -> None:
        """Read the parameters.

        Raises:
            InvalidParameterError: an unknown member, no cursor, both cursors, or a size that is out of range.
        """
        given: dict[str, str] = {}
        for name in request.query_params:
            if name.startswith("page["):
                member = name.removeprefix("page[").removesuffix("]")
                if member not in ("size", "after", "before"):
                    raise InvalidParameterError(name, "unknown member of page")
                if len(request.query_params.getlist(name)) > 1:
                    raise InvalidParameterError(name, "may appear only once")
                given[member] = request.query_params[name]
        if "after" in given and "before" in given:
            raise InvalidParameterError("page", "after and before exclude each other")
        text = given.get("size", str(DEFAULT_SIZE))
        if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_PAGE_SIZE):
            raise InvalidParameterError("page[size]", f"must be a whole number between 1 and {MAX_PAGE_SIZE}")
        self.size = int(text)
        self.after = _decode("page[after]", given["after"]) if "after" in given else None
        self.before = _decode("page[before]", given["before"]) if "before" in given else None


PAGE_PARAMETER = {
    "name": "page",
    "in": "query",
    "required": False,
    "style": "deepObject",
    "description": "How many rows, and the cursor they follow (`after`) or precede (`before`).",
    "schema": {
        "type": "object",
        "properties": {
            "size": {"type": "integer"},
            "after": {"type": "string"},
            "before": {"type": "string"},
        },
        "additionalProperties": False,
    },
}


def _unsupported(field: str) -> InvalidParameterError:
    return InvalidParameterError(f"filter[{field}]", "operator is not supported", rule="format")


def feature_of(filters: Mapping[str, Condition]) -> str | Absent | None:
    """Read the feature filter: left out, one key, or none by `exists=false` (ledger section 10.6).

    Raises:
        InvalidParameterError: any other operator, or several keys.
    """
    condition = filters.get("feature_key")
    if condition is None:
        return ABSENT
    match [(check.operator, check.operand) for check in condition.checks]:
        case [(Operator.EXISTS, False)]:
            return None
        case [(Operator.EQ, str(key))] | [(Operator.OEQ, (str(key),))]:
            return key
        case _:
            raise _unsupported("feature_key")


def currencies_of(filters: Mapping[str, Condition]) -> list[str] | None:
    """Read the currencies that are asked for; None for all.

    Raises:
        InvalidParameterError: another operator than equality.
    """
    condition = filters.get("currency")
    if condition is None:
        return None
    match [(check.operator, check.operand) for check in condition.checks]:
        case [(Operator.EQ, str(code))]:
            return [code]
        case [(Operator.OEQ, tuple(codes))]:
            return [str(code) for code in codes]
        case _:
            raise _unsupported("currency")


def plain_of(filters: Mapping[str, Condition], field: str) -> str | None:
    """Return the value of a filter that takes nothing but a value."""
    return str(filters[field].checks[0].operand) if field in filters else None


def currency_of(filters: Mapping[str, Condition]) -> str | None:
    """Read a currency.

    Raises:
        InvalidParameterError: it is no ISO 4217 code.
    """
    code = plain_of(filters, "currency")
    if code is not None and not is_fiat(code):
        raise InvalidParameterError("filter[currency]", "must be an ISO 4217 code", rule="pattern")
    return code
