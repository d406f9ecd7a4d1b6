"""Statements of customer credit; those of the list of transactions are in `rows`."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from sqlalchemy import ColumnElement, and_, case, func, or_, select, text, update

from meterhouse.credits.models import (
    CreditAllocation,
    CreditBreakageRecord,
    CreditGrant,
    CreditSegment,
)
from meterhouse.credits.sources import Movement, Plan
from meterhouse.kernel.conditions import Condition
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.pages import Page, PageRequest
from meterhouse.ledger.models import LedgerEntry, LedgerSubAccount, LedgerTransaction
from meterhouse.ledger.repository import at_addresses
from meterhouse.ledger.routes import RouteFilter


async def movements(
    session: ReadSession,
    namespace: str,
    account_id: str,
    route_filter: RouteFilter,
    as_of: datetime,
    grant_id: str | None = None,
) -> dict[tuple[str, str], list[Movement]]:
    """Return what was booked on stored credit of grants, by (sub-account, grant); all up to `as_of` is one movement."""
    at = func.greatest(LedgerTransaction.booked_at, as_of).label("counted_at")
    query = (
        select(LedgerEntry.sub_account_id, LedgerEntry.source_charge_id, at, func.sum(LedgerEntry.amount))
        .join(LedgerSubAccount, LedgerSubAccount.id == LedgerEntry.sub_account_id)
        .join(LedgerTransaction, LedgerTransaction.id == LedgerEntry.transaction_id)
        .where(at_addresses(namespace, [(account_id, route_filter)]), LedgerEntry.source_charge_id.is_not(None))
        .group_by(LedgerEntry.sub_account_id, LedgerEntry.source_charge_id, text("counted_at"))
    )
    if grant_id is not None:
        query = query.where(LedgerEntry.source_charge_id == grant_id)
    found: dict[tuple[str, str], list[Movement]] = defaultdict(list)
    for sub_account_id, source_id, counted_at, amount in await session.execute(query):
        found[sub_account_id, source_id].append(Movement(counted_at, amount))
    return dict(found)


def signed_breakage() -> ColumnElement[Decimal]:
    """Return a record's share in what is still to expire."""
    return case(
        (CreditBreakageRecord.kind == "release", -CreditBreakageRecord.amount), else_=CreditBreakageRecord.amount
    )


async def plans(session: ReadSession, namespace: str, grant_ids: Collection[str], *, lock: bool) -> dict[str, Plan]:
    """Return the expiry of each grant that has one; `lock` holds the plans against other transactions."""
    if not grant_ids:
        return {}
    query = select(CreditBreakageRecord).where(
        CreditBreakageRecord.namespace == namespace,
        CreditBreakageRecord.source_charge_id.in_(list(grant_ids)),
        CreditBreakageRecord.kind == "plan",
    )
    query = query.order_by(CreditBreakageRecord.priority, CreditBreakageRecord.expires_at, CreditBreakageRecord.id)
    rows = list(await session.scalars(query.with_for_update() if lock else query))
    sums = select(CreditBreakageRecord.source_charge_id, func.sum(signed_breakage())).where(
        CreditBreakageRecord.namespace == namespace, CreditBreakageRecord.source_charge_id.in_(list(grant_ids))
    )
    grouped = await session.execute(sums.group_by(CreditBreakageRecord.source_charge_id))
    open_amounts: Mapping[str, Decimal] = dict(grouped.all())
    return {row.source_charge_id: Plan(row.id, row.expires_at, open_amounts[row.source_charge_id]) for row in rows}


async def grant(session: ReadSession, namespace: str, grant_id: str) -> CreditGrant | None:
    """Return a live grant."""
    query = select(CreditGrant).where(
        CreditGrant.namespace == namespace, CreditGrant.id == grant_id, CreditGrant.deleted_at.is_(None)
    )
    return (await session.scalars(query)).one_or_none()


async def grants(session: ReadSession, namespace: str, grant_ids: Iterable[str]) -> dict[str, CreditGrant]:
    """Return grants by id, deleted ones too."""
    query = select(CreditGrant).where(CreditGrant.namespace == namespace, CreditGrant.id.in_(list(grant_ids)))
    return {row.id: row for row in await session.scalars(query)}


async def grant_of_key(session: ReadSession, namespace: str, customer_id: str, key: str) -> str | None:
    """Return the id of the customer's live grant that has a key."""
    query = select(CreditGrant.id).where(
        CreditGrant.namespace == namespace,
        CreditGrant.customer_id == customer_id,
        CreditGrant.key == key,
        CreditGrant.deleted_at.is_(None),
    )
    return (await session.scalars(query)).one_or_none()


_VOIDED = CreditGrant.voided_at.is_not(None)


def _has_status(status: str, at: datetime) -> ColumnElement[bool]:
    """Return the condition that a grant has a public status at an instant (ledger section 10.2)."""
    expired = func.coalesce(CreditGrant.expires_at <= at, False)
    pending = or_(CreditGrant.status == "created", CreditGrant.starts_at > at)
    return {
        "voided": _VOIDED,
        "expired": and_(~_VOIDED, expired),
        "pending": and_(~_VOIDED, ~expired, pending),
        "active": and_(~_VOIDED, ~expired, ~pending),
    }[status]


async def list_grants(
    session: ReadSession,
    namespace: str,
    customer_id: str,
    page: PageRequest,
    *,
    status: str | None,
    at: datetime,
    currency: str | None,
    key: Condition | None,
) -> Page[CreditGrant]:
    """Return a page of a customer's live grants, newest first; `status` is the public one at an instant."""
    where = [
        CreditGrant.namespace == namespace,
        CreditGrant.customer_id == customer_id,
        CreditGrant.deleted_at.is_(None),
        *([_has_status(status, at)] if status else []),
        *([CreditGrant.currency == currency] if currency else []),
        *([key.clause(CreditGrant.key)] if key else []),
    ]
    total = (await session.execute(select(func.count()).select_from(CreditGrant).where(*where))).scalar_one()
    query = select(CreditGrant).where(*where).order_by(CreditGrant.created_at.desc(), CreditGrant.id.desc())
    rows = list(await session.scalars(query.limit(page.size).offset(page.offset)))
    return Page(rows, total, page)


async def pending(session: ReadSession, namespace: str, customer_id: str, at: datetime) -> list[CreditGrant]:
    """Return the grants whose credit is promised at an instant but does not count yet; voided ones promise nothing."""
    query = select(CreditGrant).where(
        CreditGrant.namespace == namespace,
        CreditGrant.customer_id == customer_id,
        CreditGrant.deleted_at.is_(None),
        ~_VOIDED,
        CreditGrant.created_at <= at,
        or_(and_(CreditGrant.granted_at.is_(None), CreditGrant.status != "final"), CreditGrant.starts_at > at),
    )
    return list(await session.scalars(query))


async def run_allocations(session: ReadSession, namespace: str, run_ids: Collection[str]) -> list[CreditAllocation]:
    """Return the allocations of runs, oldest first."""
    query = select(CreditAllocation).where(
        CreditAllocation.namespace == namespace, CreditAllocation.run_id.in_(list(run_ids))
    )
    query = query.order_by(CreditAllocation.created_at, CreditAllocation.group_id, CreditAllocation.sort_hint)
    return list(await session.scalars(query))


async def group_allocations(session: ReadSession, namespace: str, group_id: str) -> list[CreditAllocation]:
    """Return the allocations of one collection."""
    query = select(CreditAllocation).where(
        CreditAllocation.namespace == namespace, CreditAllocation.group_id == group_id
    )
    return list(await session.scalars(query.order_by(CreditAllocation.sort_hint)))


async def segments(session: ReadSession, namespace: str, allocation_ids: Iterable[str]) -> list[CreditSegment]:
    """Return the open segments of allocations, oldest first."""
    query = select(CreditSegment).where(
        CreditSegment.namespace == namespace,
        CreditSegment.allocation_id.in_(list(allocation_ids)),
        CreditSegment.closed_at.is_(None),
    )
    return list(await session.scalars(query.order_by(CreditSegment.id)))


async def remaining(session: ReadSession, namespace: str, allocation_ids: Iterable[str]) -> dict[str, Decimal]:
    """Return what each allocation still holds; an allocation without open segments is left out."""
    query = (
        select(CreditSegment.allocation_id, func.sum(CreditSegment.amount))
        .where(
            CreditSegment.namespace == namespace,
            CreditSegment.allocation_id.in_(list(allocation_ids)),
            CreditSegment.closed_at.is_(None),
        )
        .group_by(CreditSegment.allocation_id)
    )
    return dict((await session.execute(query)).all())


async def open_segments(
    session: ReadSession, namespace: str, customer_id: str, states: Collection[str], currency: str | None = None
) -> list[tuple[CreditSegment, CreditAllocation]]:
    """Return a customer's open segments in one of the states with their allocations, oldest allocation first."""
    query = (
        select(CreditSegment, CreditAllocation)
        .join(CreditAllocation, CreditAllocation.id == CreditSegment.allocation_id)
        .where(
            CreditSegment.namespace == namespace,
            CreditSegment.customer_id == customer_id,
            CreditSegment.state.in_(list(states)),
            CreditSegment.closed_at.is_(None),
        )
        .order_by(CreditAllocation.created_at, CreditAllocation.id, CreditSegment.id)
    )
    if currency is not None:
        query = query.where(CreditAllocation.currency == currency)
    return [(segment, allocation) for segment, allocation in await session.execute(query)]


async def close_segments(session: WriteSession, namespace: str, segment_ids: Collection[str], at: datetime) -> None:
    """Close segments: what they said is no longer so."""
    await session.execute(
        update(CreditSegment)
        .where(CreditSegment.namespace == namespace, CreditSegment.id.in_(list(segment_ids)))
        .values(closed_at=at)
    )
