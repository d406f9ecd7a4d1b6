"""Statements of the ledger."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.money import ZERO
from meterhouse.ledger.models import (
    LedgerAccount,
    LedgerCustomerAccount,
    LedgerEntry,
    LedgerSubAccount,
    LedgerTransaction,
    LedgerTransactionGroup,
)
from meterhouse.ledger.routes import ABSENT, Route, RouteFilter


async def account_ids(session: ReadSession, namespace: str, customer_id: str) -> dict[str, str]:
    """Return the accounts that exist for the customer and for the namespace itself, by type."""
    own = select(LedgerCustomerAccount.account_type, LedgerCustomerAccount.account_id).where(
        LedgerCustomerAccount.namespace == namespace, LedgerCustomerAccount.customer_id == customer_id
    )
    shared = select(LedgerAccount.account_type, LedgerAccount.id).where(
        LedgerAccount.namespace == namespace, ~LedgerAccount.account_type.startswith("customer_", autoescape=True)
    )
    return dict((await session.execute(own.union_all(shared))).all())


async def add_customer_accounts(session: WriteSession, namespace: str, customer_id: str, kinds: Iterable[str]) -> None:
    """Make accounts of the given types for a customer."""
    for kind in kinds:
        account = LedgerAccount(id=new_id(), namespace=namespace, account_type=kind)
        session.add(account)
        await session.flush()
        session.add(
            LedgerCustomerAccount(
                namespace=namespace, customer_id=customer_id, account_type=kind, account_id=account.id
            )
        )
    await session.flush()


async def add_namespace_accounts(session: WriteSession, namespace: str, kinds: Iterable[str]) -> None:
    """Make the namespace's accounts of the given types that are missing, always in one order."""
    for kind in kinds:
        row = {"id": new_id(), "namespace": namespace, "account_type": kind}
        await session.execute(insert(LedgerAccount).values(row).on_conflict_do_nothing())


async def sub_account_ids(
    session: ReadSession, namespace: str, addresses: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """Return the ids of the sub-accounts that exist, by (account id, route key)."""
    query = select(LedgerSubAccount.account_id, LedgerSubAccount.route_key, LedgerSubAccount.id).where(
        LedgerSubAccount.namespace == namespace,
        tuple_(LedgerSubAccount.account_id, LedgerSubAccount.route_key).in_(list(addresses)),
    )
    return {(account_id, key): sub_account_id for account_id, key, sub_account_id in await session.execute(query)}


async def add_sub_accounts(session: WriteSession, namespace: str, routes: Sequence[tuple[str, Route]]) -> None:
    """Make sub-accounts of (account id, route) that may or may not exist."""
    rows = [
        {
            "id": new_id(),
            "namespace": namespace,
            "account_id": account_id,
            "route_key": route.key,
            "currency": route.currency,
            "cost_basis": route.cost_basis,
            "features": list(route.features) if route.features else None,
            "credit_priority": route.credit_priority,
            "tax_code": route.tax_code,
            "tax_behavior": route.tax_behavior,
            "authorization_status": route.authorization_status,
        }
        for account_id, route in routes
    ]
    await session.execute(insert(LedgerSubAccount).values(rows).on_conflict_do_nothing())


async def addresses(
    session: ReadSession, namespace: str, sub_account_ids: Iterable[str]
) -> dict[str, tuple[str, Route]]:
    """Return the account id and the route of each sub-account."""
    query = select(LedgerSubAccount).where(
        LedgerSubAccount.namespace == namespace, LedgerSubAccount.id.in_(list(sub_account_ids))
    )
    return {row.id: (row.account_id, route_of(row)) for row in await session.scalars(query)}


def route_of(row: LedgerSubAccount) -> Route:
    """Return the route that a sub-account stands for."""
    return Route(
        currency=row.currency,
        cost_basis=row.cost_basis,
        features=tuple(row.features) if row.features else None,
        credit_priority=row.credit_priority,
        tax_code=row.tax_code,
        tax_behavior=row.tax_behavior,
        authorization_status=row.authorization_status,  # type: ignore[arg-type]
    )


async def find_group(session: ReadSession, namespace: str, operation_key: str) -> LedgerTransactionGroup | None:
    """Return the group that was booked under an operation key."""
    query = select(LedgerTransactionGroup).where(
        LedgerTransactionGroup.namespace == namespace, LedgerTransactionGroup.operation_key == operation_key
    )
    return (await session.scalars(query)).one_or_none()


async def transactions_of(session: ReadSession, namespace: str, group_id: str) -> list[LedgerTransaction]:
    """Return the transactions of a group in the order in which they were written."""
    query = select(LedgerTransaction).where(
        LedgerTransaction.namespace == namespace, LedgerTransaction.group_id == group_id
    )
    return list(await session.scalars(query.order_by(LedgerTransaction.id)))


async def entries_of(session: ReadSession, namespace: str, transaction_ids: Iterable[str]) -> list[LedgerEntry]:
    """Return the entries of transactions in the order in which they were written."""
    query = select(LedgerEntry).where(
        LedgerEntry.namespace == namespace, LedgerEntry.transaction_id.in_(list(transaction_ids))
    )
    return list(await session.scalars(query.order_by(LedgerEntry.id)))


async def transactions(
    session: ReadSession, namespace: str, transaction_ids: Iterable[str]
) -> dict[str, LedgerTransaction]:
    """Return transactions by id."""
    query = select(LedgerTransaction).where(
        LedgerTransaction.namespace == namespace, LedgerTransaction.id.in_(list(transaction_ids))
    )
    return {row.id: row for row in await session.scalars(query)}


async def add_all(session: WriteSession, table: type[Any], rows: Sequence[Mapping[str, object]]) -> None:
    """Insert rows of one table in one statement."""
    await session.execute(insert(table).values(list(rows)))


def matches(route_filter: RouteFilter) -> list[ColumnElement[bool]]:
    """Return the conditions of a route filter on `ledger_sub_accounts`."""
    exact = ("currency", "cost_basis", "credit_priority", "tax_code", "tax_behavior", "authorization_status")
    conditions: list[ColumnElement[bool]] = []
    for name in exact:
        wanted = getattr(route_filter, name)
        if wanted is not ABSENT:
            column = getattr(LedgerSubAccount, name)
            conditions.append(column.is_(None) if wanted is None else column == wanted)
    if route_filter.features is not ABSENT:
        features = route_filter.features
        conditions.append(
            LedgerSubAccount.features.is_(None) if features is None else LedgerSubAccount.features == list(features)
        )
    if route_filter.match_feature is not ABSENT:
        unrestricted = LedgerSubAccount.features.is_(None)
        key = route_filter.match_feature
        conditions.append(unrestricted if key is None else or_(unrestricted, LedgerSubAccount.features.contains([key])))
    return conditions


def at_addresses(namespace: str, addresses: Sequence[tuple[str, RouteFilter]]) -> ColumnElement[bool]:
    """Return the condition that a sub-account is one of (account id, route filter)."""
    any_address = [and_(LedgerSubAccount.account_id == account_id, *matches(f)) for account_id, f in addresses]
    return and_(LedgerSubAccount.namespace == namespace, or_(*any_address))


async def sums(
    session: ReadSession,
    namespace: str,
    addresses: Sequence[tuple[str, RouteFilter]],
    condition: ColumnElement[bool] | None,
) -> dict[str, Decimal]:
    """Return the sum of the entries at the addresses, by currency; currencies without a sub-account are left out."""
    joined = LedgerEntry.sub_account_id == LedgerSubAccount.id
    counted = LedgerTransaction.id == LedgerEntry.transaction_id
    total = func.coalesce(func.sum(LedgerEntry.amount).filter(LedgerTransaction.id.is_not(None)), ZERO)
    query = (
        select(LedgerSubAccount.currency, total)
        .select_from(LedgerSubAccount)
        .outerjoin(LedgerEntry, joined)
        .outerjoin(LedgerTransaction, counted if condition is None else and_(counted, condition))
        .where(at_addresses(namespace, addresses))
        .group_by(LedgerSubAccount.currency)
    )
    return dict((await session.execute(query)).all())


@dataclass(frozen=True, slots=True)
class Holding:
    """What a sub-account of a customer held at an instant.

    Attributes:
        counts: whether the sub-account passes the filter of its account.
        amount: the sum of its entries.
        sourced: the part of it that came from grants.
    """

    account_type: str
    sub_account_id: str
    route: Route
    counts: bool
    amount: Decimal
    sourced: Decimal


async def holdings(
    session: ReadSession, namespace: str, customer_id: str, filters: Sequence[tuple[str, RouteFilter]], at: datetime
) -> list[Holding]:
    """Return the sub-accounts of some of a customer's accounts with what was booked on them by an instant.

    Args:
        filters: types of accounts, with what counts in each.
    """
    kind = LedgerCustomerAccount.account_type
    counts = or_(*(and_(kind == name, *matches(one)) for name, one in filters))
    booked, sourced = LedgerTransaction.id.is_not(None), LedgerEntry.source_charge_id.is_not(None)
    amount = func.coalesce(func.sum(LedgerEntry.amount).filter(booked), ZERO)
    from_grants = func.coalesce(func.sum(LedgerEntry.amount).filter(booked, sourced), ZERO)
    query = (
        select(kind, LedgerSubAccount, counts, amount, from_grants)
        .select_from(LedgerCustomerAccount)
        .join(LedgerSubAccount, LedgerSubAccount.account_id == LedgerCustomerAccount.account_id)
        .outerjoin(LedgerEntry, LedgerEntry.sub_account_id == LedgerSubAccount.id)
        .outerjoin(LedgerTransaction, and_(LedgerTransaction.id == LedgerEntry.transaction_id, booked_by(at)))
        .where(
            LedgerCustomerAccount.namespace == namespace,
            LedgerCustomerAccount.customer_id == customer_id,
            kind.in_([name for name, _ in filters]),
            LedgerSubAccount.namespace == namespace,
        )
        .group_by(kind, LedgerSubAccount.id)
    )
    return [
        Holding(account_type, place.id, route_of(place), passes, whole, part)
        for account_type, place, passes, whole, part in await session.execute(query)
    ]


def booked_by(at: datetime) -> ColumnElement[bool]:
    """Return the condition that a transaction counts at an instant (inclusive)."""
    return LedgerTransaction.booked_at <= at


def through(booked_at: datetime, created_at: datetime, transaction_id: str) -> ColumnElement[bool]:
    """Return the condition that a transaction comes no later than a cursor."""
    cursor = (LedgerTransaction.booked_at, LedgerTransaction.created_at, LedgerTransaction.id)
    return tuple_(*cursor) <= tuple_(booked_at, created_at, transaction_id)


def booked_in(start: datetime, end: datetime) -> ColumnElement[bool]:
    """Return the condition that a transaction counts in [start, end)."""
    return and_(LedgerTransaction.booked_at >= start, LedgerTransaction.booked_at < end)
