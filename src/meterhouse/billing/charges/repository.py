"""All queries on charges and runs."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, DateTime, and_, func, or_, select

from meterhouse.billing.charges.models import ChargeRow, ChargeRunRow
from meterhouse.billing.charges.states import Kind, PublicStatus
from meterhouse.billing.rating.results import Totals
from meterhouse.kernel.conditions import Sort, order_by
from meterhouse.kernel.db import ReadSession

_TOTALS = tuple(Totals.model_fields)

_KEPT = and_(ChargeRunRow.voided_at.is_(None), ChargeRunRow.deleted_at.is_(None))
# A run that was left to its invoice; kept for audit, and because its line still bills.
_LEFT = and_(_KEPT, ChargeRunRow.type == "invalid_due_to_unsupported_credit_note")
# A run that counts.
_LIVE = and_(_KEPT, ChargeRunRow.type != "invalid_due_to_unsupported_credit_note")
# What a run bills, discounts off.
_NET = ChargeRunRow.amount + ChargeRunRow.charges_total - ChargeRunRow.discounts_total
_PUBLIC_STATUS = func.split_part(ChargeRow.status, ".", 1)
# When the scheduler shall try again; GREATEST passes over a missing retry.
_DUE_AT = func.greatest(ChargeRow.advance_after, ChargeRow.retry_after)


def _effective_start(period: str, column: Any) -> Any:
    return func.coalesce(ChargeRow.override[period]["start"].astext.cast(DateTime(timezone=True)), column)


SORT_COLUMNS: dict[str, Any] = {
    "id": ChargeRow.id,
    "created_at": ChargeRow.created_at,
    "service_period.from": _effective_start("service_period", ChargeRow.service_start),
    "billing_period.from": _effective_start("billing_period", ChargeRow.billing_start),
}


async def by_id(session: ReadSession, charge_id: str, namespace: str | None = None) -> ChargeRow | None:
    """Return a charge as the database has it now; ids are unique over all namespaces."""
    query = select(ChargeRow).where(ChargeRow.id == charge_id).execution_options(populate_existing=True)
    if namespace is not None:
        query = query.where(ChargeRow.namespace == namespace)
    return (await session.scalars(query)).one_or_none()


async def runs_of(session: ReadSession, namespace: str, charge_ids: Sequence[str]) -> list[ChargeRunRow]:
    """Return every run of the charges, in order of their periods."""
    query = (
        select(ChargeRunRow)
        .where(ChargeRunRow.namespace == namespace, ChargeRunRow.charge_id.in_(charge_ids))
        .order_by(ChargeRunRow.service_period_to, ChargeRunRow.id)
        .execution_options(populate_existing=True)
    )
    return list(await session.scalars(query))


async def of_subscriptions(
    session: ReadSession, namespace: str, subscription_ids: Sequence[str], *, invoiced_beyond: datetime | None = None
) -> list[tuple[ChargeRow, bool, datetime | None, datetime | None, Decimal | None]]:
    """Return charges whose base is not deleted, each with whether it has a run that counts.

    The rest is from when, until when and for how much lines of invoices bill it that can no longer change. With
    `invoiced_beyond` only charges of which they bill days after that.
    """
    sealed = _LIVE & ChargeRunRow.sealed_at.is_not(None) & ChargeRunRow.line_id.is_not(None)
    until = func.max(ChargeRunRow.service_period_to).filter(sealed)
    query = (
        select(
            ChargeRow,
            func.coalesce(func.bool_or(_LIVE), False),
            func.min(ChargeRunRow.service_period_from).filter(sealed),
            until,
            func.sum(_NET).filter(sealed),
        )
        .outerjoin(ChargeRunRow, ChargeRunRow.charge_id == ChargeRow.id)
        .where(ChargeRow.namespace == namespace, ChargeRow.subscription_id.in_(subscription_ids))
        .where(ChargeRow.base_deleted_at.is_(None))
        .group_by(ChargeRow.id)
        .order_by(ChargeRow.id)
    )
    if invoiced_beyond is not None:
        query = query.having(until > invoiced_beyond)
    return [tuple(found) for found in await session.execute(query)]


async def left_to_invoices(
    session: ReadSession, namespace: str, subscription_ids: Sequence[str]
) -> list[tuple[ChargeRow, datetime, datetime, Decimal]]:
    """Return flat fees of subscriptions that are deleted, but billed by lines of invoices that can no longer change.

    Each with from when, until when and for how much they bill it, without the credits, which were given back.
    """
    query = (
        select(
            ChargeRow,
            func.min(ChargeRunRow.service_period_from),
            func.max(ChargeRunRow.service_period_to),
            func.sum(_NET - ChargeRunRow.credits_total),
        )
        .join(ChargeRunRow, ChargeRunRow.charge_id == ChargeRow.id)
        .where(ChargeRow.namespace == namespace, ChargeRow.subscription_id.in_(subscription_ids))
        .where(ChargeRow.kind == Kind.FLAT_FEE, ChargeRow.base_deleted_at.is_not(None), _LEFT)
        .group_by(ChargeRow.id)
        .order_by(ChargeRow.id)
    )
    return [(row, since, until, amount) for row, since, until, amount in await session.execute(query)]


async def unfinished(
    session: ReadSession, namespace: str, customer_id: str
) -> list[tuple[ChargeRow, list[ChargeRunRow]]]:
    """Return the customer's charges that are neither final nor deleted, each with all its runs by their periods."""
    of_charge = and_(ChargeRunRow.namespace == ChargeRow.namespace, ChargeRunRow.charge_id == ChargeRow.id)
    query = (
        select(ChargeRow, ChargeRunRow)
        .outerjoin(ChargeRunRow, of_charge)
        .where(ChargeRow.namespace == namespace, ChargeRow.customer_id == customer_id)
        .where(ChargeRow.status.not_in(("final", "deleted")))
        .order_by(ChargeRow.id, ChargeRunRow.service_period_to, ChargeRunRow.id)
    )
    found: dict[str, tuple[ChargeRow, list[ChargeRunRow]]] = {}
    for row, run in await session.execute(query):
        _, runs = found.setdefault(row.id, (row, []))
        if run is not None:
            runs.append(run)
    return list(found.values())


async def page(
    session: ReadSession,
    namespace: str,
    customer_id: str,
    *,
    statuses: Sequence[PublicStatus] | None,
    sorts: Sequence[Sort],
    offset: int,
    limit: int,
) -> tuple[list[ChargeRow], int]:
    """Return a stretch of the customer's charges and how many match. Without `statuses`, all but the deleted ones."""
    wanted: ColumnElement[bool] = (
        ChargeRow.status != "deleted" if statuses is None else _PUBLIC_STATUS.in_([str(status) for status in statuses])
    )
    matching = and_(ChargeRow.namespace == namespace, ChargeRow.customer_id == customer_id, wanted)
    query = (
        select(ChargeRow)
        .where(matching)
        .order_by(*order_by(sorts, SORT_COLUMNS, last=ChargeRow.id))
        .offset(offset)
        .limit(limit)
    )
    count = await session.scalar(select(func.count()).select_from(ChargeRow).where(matching))
    return list(await session.scalars(query)), count or 0


async def booked_totals(session: ReadSession, namespace: str, charge_ids: Sequence[str]) -> dict[str, Totals]:
    """Add the totals of the runs that count up by charge; a charge without any is missing."""
    sums = [func.sum(getattr(ChargeRunRow, name)) for name in _TOTALS]
    query = (
        select(ChargeRunRow.charge_id, *sums)
        .where(ChargeRunRow.namespace == namespace, ChargeRunRow.charge_id.in_(charge_ids), _LIVE)
        .group_by(ChargeRunRow.charge_id)
    )
    found: dict[str, Totals] = {}
    for charge_id, *values in await session.execute(query):
        found[charge_id] = Totals(**dict(zip(_TOTALS, map(Decimal, values), strict=True)))
    return found


def _due(at: datetime) -> ColumnElement[bool]:
    return and_(ChargeRow.advance_after <= at, or_(ChargeRow.retry_after.is_(None), ChargeRow.retry_after <= at))


async def due(session: ReadSession, at: datetime, limit: int) -> list[tuple[str, str]]:
    """Return (namespace, id) of charges that time may move on at `at`, flat fees first, the longest waiting first."""
    query = (
        select(ChargeRow.namespace, ChargeRow.id)
        .where(_due(at))
        .order_by(ChargeRow.kind, ChargeRow.advance_after, ChargeRow.id)
        .limit(limit)
    )
    return [(namespace, charge_id) for namespace, charge_id in await session.execute(query)]


async def next_due(session: ReadSession) -> datetime | None:
    """Return the earliest instant at which a charge becomes due, in the past if one is due already."""
    found: datetime | None = await session.scalar(select(func.min(_DUE_AT)).where(ChargeRow.advance_after.is_not(None)))
    return found
