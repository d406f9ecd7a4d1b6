"""Queries on entitlements, grants, resets and snapshots."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import ColumnElement, any_, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY, array, insert
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import String

from meterhouse.catalog.models import FeatureRow
from meterhouse.customers.models import CustomerRow
from meterhouse.entitlements.models import BalanceSnapshotRow, EntitlementRow, GrantRow, UsageResetRow
from meterhouse.kernel.conditions import Column, Sort, order_by
from meterhouse.kernel.db import Base, ReadSession, WriteSession

R = TypeVar("R", bound=Base)

ENTITLEMENT_COLUMNS: Mapping[str, Column] = {
    "created_at": EntitlementRow.created_at,
    "updated_at": EntitlementRow.updated_at,
}
GRANT_COLUMNS: Mapping[str, Column] = {
    "id": GrantRow.id,
    "created_at": GrantRow.created_at,
    "updated_at": GrantRow.updated_at,
    "expires_at": GrantRow.expires_at,
    "effective_at": GrantRow.effective_at,
    "owner": GrantRow.entitlement_id,
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which part of a list: how many rows to pass over, and how many to return."""

    offset: int
    limit: int


@dataclass(frozen=True, slots=True)
class EntitlementFilter:
    """Which entitlements a list shows. None does not filter; an empty collection matches nothing.

    Attributes:
        features: ids or keys.
        active_at: only those that hold then.
    """

    ids: Collection[str] | None = None
    customer_ids: Collection[str] | None = None
    features: Collection[str] | None = None
    subscription_ids: Collection[str] | None = None
    types: Collection[str] | None = None
    active_at: datetime | None = None


def _one_of(
    column: InstrumentedAttribute[str] | InstrumentedAttribute[str | None], values: Collection[str]
) -> ColumnElement[bool]:
    # One array parameter instead of IN: a statement takes 32767 parameters at most.
    return column == any_(bindparam(None, list(values), type_=ARRAY(String)))


def _active(at: datetime) -> ColumnElement[bool]:
    open_or_later = or_(EntitlementRow.active_to.is_(None), EntitlementRow.active_to > at)
    return (EntitlementRow.active_from <= at) & open_or_later


def _live(namespace: str, chosen: EntitlementFilter) -> list[ColumnElement[bool]]:
    clauses = [EntitlementRow.namespace == namespace, EntitlementRow.deleted_at.is_(None)]
    if chosen.ids is not None:
        clauses.append(_one_of(EntitlementRow.id, chosen.ids))
    if chosen.customer_ids is not None:
        clauses.append(_one_of(EntitlementRow.customer_id, chosen.customer_ids))
    if chosen.subscription_ids is not None:
        clauses.append(_one_of(EntitlementRow.subscription_id, chosen.subscription_ids))
    if chosen.features is not None:
        named = chosen.features
        clauses.append(_one_of(EntitlementRow.feature_id, named) | _one_of(EntitlementRow.feature_key, named))
    if chosen.types is not None:
        clauses.append(_one_of(EntitlementRow.type, chosen.types))
    if chosen.active_at is not None:
        clauses.append(_active(chosen.active_at))
    return clauses


async def find(
    session: ReadSession, namespace: str, entitlement_id: str, *, for_update: bool = False
) -> EntitlementRow | None:
    """Return a live entitlement, as it is stored now."""
    query = select(EntitlementRow).where(*_live(namespace, EntitlementFilter(ids=[entitlement_id])))
    if for_update:
        query = query.with_for_update()
    return await session.scalar(query.execution_options(populate_existing=True))


async def active(session: ReadSession, namespace: str, chosen: EntitlementFilter) -> Sequence[EntitlementRow]:
    """Return all live entitlements that a filter chooses, by feature key."""
    query = select(EntitlementRow).where(*_live(namespace, chosen))
    return (await session.scalars(query.order_by(EntitlementRow.feature_key.collate("C"), EntitlementRow.id))).all()


async def overlapping(
    session: ReadSession,
    namespace: str,
    customer_id: str,
    feature_key: str,
    start: datetime,
    end: datetime | None,
    *,
    but: str | None = None,
) -> EntitlementRow | None:
    """Return the first live entitlement to the feature, other than `but`, that shares an instant with [start, end)."""
    if end is not None and end <= start:
        return None
    query = select(EntitlementRow).where(
        *_live(namespace, EntitlementFilter(customer_ids=[customer_id])),
        EntitlementRow.feature_key == feature_key,
        or_(EntitlementRow.active_to.is_(None), EntitlementRow.active_to > start),
        or_(EntitlementRow.active_to.is_(None), EntitlementRow.active_to > EntitlementRow.active_from),
        *([EntitlementRow.active_from < end] if end is not None else []),
        *([EntitlementRow.id != but] if but is not None else []),
    )
    return await session.scalar(query.order_by(EntitlementRow.active_from, EntitlementRow.id).limit(1))


async def of_subscription(session: WriteSession, namespace: str, subscription_id: str) -> Sequence[EntitlementRow]:
    """Return the live entitlements that a subscription manages, locked."""
    query = (
        select(EntitlementRow)
        .where(
            EntitlementRow.namespace == namespace,
            EntitlementRow.subscription_id == subscription_id,
            EntitlementRow.deleted_at.is_(None),
        )
        .order_by(EntitlementRow.active_from, EntitlementRow.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return (await session.scalars(query)).all()


async def listed(
    session: ReadSession, namespace: str, chosen: EntitlementFilter, sorts: Sequence[Sort], stretch: Stretch
) -> tuple[Sequence[EntitlementRow], int]:
    """Return a stretch of the live entitlements, and how many match."""
    ordering = order_by(sorts, ENTITLEMENT_COLUMNS, last=EntitlementRow.id)
    return await _stretch(session, EntitlementRow, _live(namespace, chosen), ordering, stretch)


async def _stretch(
    session: ReadSession,
    row: type[R],
    clauses: Sequence[ColumnElement[bool]],
    ordering: Sequence[ColumnElement[object]],
    stretch: Stretch,
) -> tuple[Sequence[R], int]:
    total = await session.scalar(select(func.count()).select_from(row).where(*clauses)) or 0
    query = select(row).where(*clauses).order_by(*ordering).offset(stretch.offset).limit(stretch.limit)
    return (await session.scalars(query)).all(), total


async def measured_by(
    session: ReadSession, namespace: str, meter_id: str, dimensions: Collection[str] | None, at: datetime
) -> EntitlementRow | None:
    """Return an entitlement of a live customer that holds at `at` and is measured by the meter.

    With `dimensions` only one that is measured by values of any of them.
    """
    query = (
        select(EntitlementRow)
        .join(FeatureRow, FeatureRow.id == EntitlementRow.feature_id)
        .join(CustomerRow, CustomerRow.id == EntitlementRow.customer_id)
        .where(
            *_live(namespace, EntitlementFilter(types=["metered"], active_at=at)),
            FeatureRow.meter_id == meter_id,
            CustomerRow.deleted_at.is_(None),
        )
    )
    if dimensions is not None:
        query = query.where(FeatureRow.meter_filters.has_any(array(sorted(dimensions), type_=String)))
    return await session.scalar(query.order_by(EntitlementRow.id).limit(1))


async def resets(session: ReadSession, entitlement_ids: Collection[str]) -> dict[str, list[UsageResetRow]]:
    """Return the manual resets of entitlements, in order of time, by entitlement."""
    query = select(UsageResetRow).where(_one_of(UsageResetRow.entitlement_id, entitlement_ids))
    found: dict[str, list[UsageResetRow]] = {}
    for row in await session.scalars(query.order_by(UsageResetRow.reset_at)):
        found.setdefault(row.entitlement_id, []).append(row)
    return found


async def all_grants(session: ReadSession, entitlement_ids: Collection[str]) -> dict[str, list[GrantRow]]:
    """Return the grants of entitlements, deleted ones too, by entitlement."""
    query = select(GrantRow).where(_one_of(GrantRow.entitlement_id, entitlement_ids)).order_by(GrantRow.id)
    found: dict[str, list[GrantRow]] = {}
    for row in await session.scalars(query):
        found.setdefault(row.entitlement_id, []).append(row)
    return found


async def find_grant(session: ReadSession, namespace: str, grant_id: str) -> GrantRow | None:
    """Return a live grant."""
    return await session.scalar(
        select(GrantRow)
        .where(GrantRow.namespace == namespace, GrantRow.id == grant_id, GrantRow.deleted_at.is_(None))
        .execution_options(populate_existing=True)
    )


async def listed_grants(
    session: ReadSession, namespace: str, owners: EntitlementFilter, sorts: Sequence[Sort], stretch: Stretch
) -> tuple[Sequence[GrantRow], int]:
    """Return a stretch of the live grants of live entitlements, and how many match."""
    owned = select(EntitlementRow.id).where(*_live(namespace, owners))
    clauses = [GrantRow.namespace == namespace, GrantRow.deleted_at.is_(None), GrantRow.entitlement_id.in_(owned)]
    return await _stretch(session, GrantRow, clauses, order_by(sorts, GRANT_COLUMNS, last=GrantRow.id), stretch)


async def end_grants(session: WriteSession, entitlement_ids: Collection[str], at: datetime) -> None:
    """Delete the live grants of entitlements, as of an instant."""
    await session.execute(
        update(GrantRow)
        .where(_one_of(GrantRow.entitlement_id, entitlement_ids), GrantRow.deleted_at.is_(None))
        .values(deleted_at=at)
    )


async def snapshots(
    session: ReadSession, entitlement_ids: Collection[str], until: datetime
) -> dict[str, list[BalanceSnapshotRow]]:
    """Return the snapshots of entitlements of no later than `until`, the latest first, by entitlement."""
    query = select(BalanceSnapshotRow).where(
        _one_of(BalanceSnapshotRow.entitlement_id, entitlement_ids), BalanceSnapshotRow.at <= until
    )
    found: dict[str, list[BalanceSnapshotRow]] = {}
    for row in await session.scalars(query.order_by(BalanceSnapshotRow.at.desc())):
        found.setdefault(row.entitlement_id, []).append(row)
    return found


async def drop_snapshots(session: WriteSession, entitlement_id: str, after: datetime) -> None:
    """Forget the snapshots of an entitlement that are later than `after`."""
    await session.execute(
        delete(BalanceSnapshotRow).where(
            BalanceSnapshotRow.entitlement_id == entitlement_id, BalanceSnapshotRow.at > after
        )
    )


async def hold_unless_busy(session: WriteSession, entitlement_id: str, revision: int) -> bool:
    """Lock an entitlement if it is free and still of this revision; tell whether it was."""
    query = (
        select(EntitlementRow.id)
        .where(
            EntitlementRow.id == entitlement_id,
            EntitlementRow.revision == revision,
            EntitlementRow.deleted_at.is_(None),
        )
        .with_for_update(skip_locked=True)
    )
    return await session.scalar(query) is not None


async def forget_snapshots(session: WriteSession, ids: Collection[str]) -> None:
    """Drop snapshots."""
    if ids:
        await session.execute(delete(BalanceSnapshotRow).where(_one_of(BalanceSnapshotRow.id, ids)))


async def keep_snapshot(session: WriteSession, row: BalanceSnapshotRow, *, at_most: int) -> None:
    """Store a snapshot in the place of one of the same instant, and keep only the latest `at_most` ones."""
    table = BalanceSnapshotRow
    columns = {column.key: getattr(row, column.key) for column in table.__table__.columns}
    statement = insert(table).values(columns)
    await session.execute(statement.on_conflict_do_update(index_elements=["entitlement_id", "at"], set_=columns))
    kept = select(table.id).where(table.entitlement_id == row.entitlement_id).order_by(table.at.desc()).limit(at_most)
    await session.execute(delete(table).where(table.entitlement_id == row.entitlement_id, table.id.not_in(kept)))
