"""Conditions and orders of a list, as values that a repository turns into SQL (api-conventions sections 10 and 12).

The wire parses them (`api.filters`); a repository knows which column a field is. NULL follows SQL: it meets no test but
`exists` false.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, or_
from sqlalchemy.sql.elements import SQLColumnExpression

Scalar = str | Decimal | datetime | bool
Column = SQLColumnExpression[Any]


class Operator(StrEnum):
    """What a test asks. `oeq` means one of, `ocontains` contains one of."""

    EQ = "eq"
    NEQ = "neq"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    CONTAINS = "contains"
    OEQ = "oeq"
    OCONTAINS = "ocontains"
    EXISTS = "exists"


@dataclass(frozen=True, slots=True)
class Check:
    """One operator with its operand: a tuple for `oeq` and `ocontains`, a boolean for `exists`."""

    operator: Operator
    operand: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """Checks on one field; all must hold."""

    checks: tuple[Check, ...]

    def clause(self, column: Column) -> ColumnElement[bool]:
        """Return the condition as SQL on `column`."""
        return and_(*(_COMPARISONS[check.operator](column, check.operand) for check in self.checks))

    def clause_of_many(self, owner: Column, owners: Select[Any], column: Column) -> ColumnElement[bool]:
        """Return the condition as SQL on a field of which an owner has many values: one of them meets it.

        Where none shall exist, the owner has no value. `owners` is the query of the owners of all values, `column` the
        value in it.
        """
        none_exists = Check(Operator.EXISTS, False)
        if none_exists not in self.checks:
            return owner.in_(owners.where(self.clause(column)))
        others = any(check != none_exists for check in self.checks)
        return false() if others else owner.not_in(owners)


def equals(value: Scalar) -> Condition:
    """Make the condition that a field has this value."""
    return Condition((Check(Operator.EQ, value),))


def contains(text: str) -> Condition:
    """Make the condition that a text contains `text`: any case, wildcard characters literal."""
    return Condition((Check(Operator.CONTAINS, text),))


def _contains(column: Column, text: Scalar) -> ColumnElement[bool]:
    escaped = str(text).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return column.ilike(f"%{escaped}%", escape="\\")


_COMPARISONS: Mapping[Operator, Callable[[Any, Any], ColumnElement[bool]]] = {
    Operator.EQ: operator.eq,
    Operator.NEQ: operator.ne,
    Operator.GT: operator.gt,
    Operator.GTE: operator.ge,
    Operator.LT: operator.lt,
    Operator.LTE: operator.le,
    Operator.CONTAINS: _contains,
    Operator.OEQ: lambda column, values: column.in_(values),
    Operator.OCONTAINS: lambda column, texts: or_(*(_contains(column, text) for text in texts)),
    Operator.EXISTS: lambda column, wanted: column.is_not(None) if wanted else column.is_(None),
}


@dataclass(frozen=True, slots=True)
class Sort:
    """Order by a field, named as on the wire in snake_case."""

    field: str
    descending: bool = False


def order_by(sorts: Sequence[Sort], columns: Mapping[str, Column], *, last: Column) -> list[ColumnElement[Any]]:
    """Return the ORDER BY of a list.

    `last` (the id) ends it in the direction of the first field, so that rows of equal values never change places
    between two pages.
    """
    chosen = [columns[sort.field].desc() if sort.descending else columns[sort.field].asc() for sort in sorts]
    return [*chosen, last.desc() if sorts and sorts[0].descending else last.asc()]
