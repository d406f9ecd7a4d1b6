"""Statements behind the list of transactions: the rows of the four types, and the balance's movements."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Select, String, case, cast, func, literal, null, or_, select, tuple_, union_all
from sqlalchemy.sql.elements import SQLColumnExpression

from meterhouse.credits.models import CreditBreakageRecord, CreditGrant, CreditVoid
from meterhouse.credits.repository import signed_breakage
from meterhouse.kernel.db import ReadSession
from meterhouse.ledger.balances import Address, Cursor
from meterhouse.ledger.models import LedgerEntry, LedgerSubAccount, LedgerTransaction
from meterhouse.ledger.postings import BREAKAGE_PLAN_ID, CHARGE_ID, CHARGE_NAME
from meterhouse.ledger.repository import at_addresses, sums
from meterhouse.ledger.routes import ABSENT, Absent, RouteFilter
from meterhouse.ledger.templates import BREAKAGE_TEMPLATES, Template

CONSUMPTION = (Template.COLLECT, Template.ADVANCE_COLLECT)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the list before its balances.

    Attributes:
        through_id: the last transaction of the ledger, among those of the row's two times, that is part of the row.
    """

    type: str
    id: str
    booked_at: datetime
    created_at: datetime
    currency: str
    amount: Decimal
    name: str | None
    description: str | None
    annotations: dict[str, str]
    through_id: str

    @property
    def cursor(self) -> Cursor:
        """The row's place in the list."""
        return Cursor(self.booked_at, self.created_at, self.id)

    @property
    def ledger_cursor(self) -> Cursor:
        """The place in the ledger up to which the balance after the row counts."""
        return Cursor(self.booked_at, self.created_at, self.through_id)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose rows, as of which instant, and which of them."""

    namespace: str
    customer_id: str
    fbo: str
    as_of: datetime
    currency: str | None = None
    feature: str | Absent | None = ABSENT

    @property
    def route_filter(self) -> RouteFilter:
        """The filter on stored credit."""
        return RouteFilter(currency=self.currency or ABSENT, match_feature=self.feature)


_Rows = Select[*tuple[Any, ...]]
_Column = SQLColumnExpression[Any]


def _features(scope: Scope) -> list[ColumnElement[bool]]:
    """Return the conditions of the feature filter on `credit_grants`."""
    if scope.feature is ABSENT:
        return []
    unrestricted = CreditGrant.features.is_(None)
    if scope.feature is None:
        return [unrestricted]
    return [or_(unrestricted, CreditGrant.features.contains([scope.feature]))]


def _last_of_group(group_id: _Column) -> ColumnElement[str]:
    """Return the last transaction of a step that is no expiry."""
    query = select(func.max(LedgerTransaction.id)).where(
        LedgerTransaction.group_id == group_id, LedgerTransaction.template_code.not_in(BREAKAGE_TEMPLATES)
    )
    return query.scalar_subquery()


def _of_charge(charge_id: _Column) -> _Column:
    return func.jsonb_build_object(CHARGE_ID, charge_id)


def _funded(scope: Scope) -> _Rows:
    return select(
        literal("funded").label("type"),
        CreditGrant.id,
        CreditGrant.starts_at.label("booked_at"),
        CreditGrant.granted_at.label("created_at"),
        CreditGrant.currency,
        CreditGrant.amount,
        CreditGrant.name,
        CreditGrant.description,
        _of_charge(CreditGrant.id).label("annotations"),
        _last_of_group(CreditGrant.group_id).label("through_id"),
    ).where(
        CreditGrant.namespace == scope.namespace,
        CreditGrant.customer_id == scope.customer_id,
        CreditGrant.deleted_at.is_(None),
        CreditGrant.granted_at.is_not(None),
        *_features(scope),
    )


def _consumed(scope: Scope) -> _Rows:
    amount = func.sum(LedgerEntry.amount)
    return (
        select(
            literal("consumed").label("type"),
            LedgerTransaction.id,
            LedgerTransaction.booked_at,
            LedgerTransaction.created_at,
            LedgerSubAccount.currency,
            amount.label("amount"),
            LedgerTransaction.annotations[CHARGE_NAME].astext.label("name"),
            cast(null(), String).label("description"),
            LedgerTransaction.annotations,
            LedgerTransaction.id.label("through_id"),
        )
        .join(LedgerEntry, LedgerEntry.transaction_id == LedgerTransaction.id)
        .join(LedgerSubAccount, LedgerSubAccount.id == LedgerEntry.sub_account_id)
        .where(
            at_addresses(scope.namespace, [(scope.fbo, scope.route_filter)]),
            LedgerTransaction.template_code.in_(CONSUMPTION),
        )
        .group_by(LedgerTransaction.id, LedgerSubAccount.currency)
        .having(amount != 0)
    )


def _expired(scope: Scope) -> _Rows:
    open_amount = func.sum(signed_breakage())
    plan_id = func.min(CreditBreakageRecord.id).filter(CreditBreakageRecord.kind == "plan")
    expires_at = CreditBreakageRecord.expires_at
    return (
        select(
            literal("expired").label("type"),
            plan_id.label("id"),
            expires_at.label("booked_at"),
            expires_at.label("created_at"),
            CreditBreakageRecord.currency,
            (-open_amount).label("amount"),
            literal("Expired credits").label("name"),
            cast(null(), String).label("description"),
            _of_charge(CreditBreakageRecord.source_charge_id).label("annotations"),
            plan_id.label("through_id"),
        )
        .join(CreditGrant, CreditGrant.id == CreditBreakageRecord.source_charge_id)
        .where(
            CreditBreakageRecord.namespace == scope.namespace,
            CreditBreakageRecord.customer_id == scope.customer_id,
            *_features(scope),
        )
        .group_by(expires_at, CreditBreakageRecord.currency, CreditBreakageRecord.source_charge_id)
        .having(open_amount != 0)
    )


def _voided(scope: Scope) -> _Rows:
    return (
        select(
            literal("voided").label("type"),
            CreditVoid.id,
            CreditVoid.booked_at,
            CreditVoid.created_at,
            CreditVoid.currency,
            (-CreditVoid.amount).label("amount"),
            literal("Voided credits").label("name"),
            cast(null(), String).label("description"),
            _of_charge(CreditVoid.grant_id).label("annotations"),
            _last_of_group(CreditVoid.group_id).label("through_id"),
        )
        .join(CreditGrant, CreditGrant.id == CreditVoid.grant_id)
        .where(CreditVoid.namespace == scope.namespace, CreditVoid.customer_id == scope.customer_id, *_features(scope))
    )


SELECTS: Mapping[str, Callable[[Scope], _Rows]] = {
    "funded": _funded,
    "consumed": _consumed,
    "expired": _expired,
    "voided": _voided,
}


async def rows(
    session: ReadSession,
    scope: Scope,
    kinds: Sequence[str],
    *,
    limit: int,
    older_than: Cursor | None = None,
    newer_than: Cursor | None = None,
) -> list[Row]:
    """Return the newest rows that count by `as_of`, newest first; with `newer_than` those next to that cursor."""
    every = union_all(*(SELECTS[kind](scope) for kind in kinds)).subquery()
    place = (every.c.booked_at, every.c.created_at, every.c.id)
    query = select(every).where(every.c.booked_at <= scope.as_of)
    if scope.currency is not None:
        query = query.where(every.c.currency == scope.currency)
    if older_than is not None:
        query = query.where(tuple_(*place) < tuple_(older_than.booked_at, older_than.created_at, older_than.id))
    if newer_than is not None:
        query = query.where(tuple_(*place) > tuple_(newer_than.booked_at, newer_than.created_at, newer_than.id))
    order = [column.asc() if newer_than is not None else column.desc() for column in place]
    found = [Row(*values) for values in await session.execute(query.order_by(*order).limit(limit))]
    return found[::-1] if newer_than is not None else found


@dataclass(frozen=True, slots=True)
class Net:
    """What a transaction changed in the settled balance of a currency."""

    cursor: Cursor
    currency: str
    amount: Decimal


def _place() -> tuple[_Column, _Column, _Column]:
    """Return where a transaction stands among the rows.

    All that is booked for an expiry, whenever it was written, stands where the expiry's row stands.
    """
    is_expiry = LedgerTransaction.template_code.in_(BREAKAGE_TEMPLATES)
    plan_id = LedgerTransaction.annotations[BREAKAGE_PLAN_ID].astext
    return (
        LedgerTransaction.booked_at,
        case((is_expiry, LedgerTransaction.booked_at), else_=LedgerTransaction.created_at),
        case((is_expiry, plan_id), else_=LedgerTransaction.id),
    )


async def sums_through(
    session: ReadSession, namespace: str, addresses: Sequence[Address], cursor: Cursor
) -> dict[str, Decimal]:
    """Return the sums of entries up to and including a place, by currency."""
    reached = tuple_(*_place()) <= tuple_(cursor.booked_at, cursor.created_at, cursor.id)
    return await sums(session, namespace, addresses, reached)


async def nets_between(
    session: ReadSession, namespace: str, addresses: Sequence[Address], after: Cursor, through: Cursor
) -> list[Net]:
    """Return what changed after one place up to and including another."""
    booked, created, place_id = place = _place()
    query = (
        select(booked, created, place_id, LedgerSubAccount.currency, func.sum(LedgerEntry.amount))
        .join(LedgerEntry, LedgerEntry.transaction_id == LedgerTransaction.id)
        .join(LedgerSubAccount, LedgerSubAccount.id == LedgerEntry.sub_account_id)
        .where(
            at_addresses(namespace, addresses),
            tuple_(*place) > tuple_(after.booked_at, after.created_at, after.id),
            tuple_(*place) <= tuple_(through.booked_at, through.created_at, through.id),
        )
        .group_by(LedgerTransaction.id, LedgerSubAccount.currency)
    )
    return [
        Net(Cursor(booked_at, created_at, last_id), currency, amount)
        for booked_at, created_at, last_id, currency, amount in await session.execute(query)
    ]
