"""Queries on features."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.dialects.postgresql import distinct_on

from meterhouse.catalog.models import FeatureRow
from meterhouse.kernel.conditions import Column, Condition, Sort, order_by
from meterhouse.kernel.db import ReadSession, WriteSession

COLUMNS: Mapping[str, Column] = {
    "id": FeatureRow.id,
    "key": FeatureRow.key,
    "name": FeatureRow.name,
    "meter_id": FeatureRow.meter_id,
    "meter_key": FeatureRow.meter_key,
    "created_at": FeatureRow.created_at,
    "updated_at": FeatureRow.updated_at,
}


async def find_live(
    session: ReadSession, namespace: str, id_or_key: str, *, for_update: bool = False
) -> FeatureRow | None:
    """Return the live feature of that id or key. A key is never a ULID, so at most one matches."""
    query = select(FeatureRow).where(
        FeatureRow.namespace == namespace,
        or_(FeatureRow.id == id_or_key, FeatureRow.key == id_or_key),
        FeatureRow.archived_at.is_(None),
    )
    if for_update:
        query = query.with_for_update()
    return (await session.scalars(query)).one_or_none()


async def by_ids_or_live_keys(
    session: ReadSession, namespace: str, *, ids: Collection[str] = (), keys: Collection[str] = ()
) -> Sequence[FeatureRow]:
    """Return the features of those ids, archived or not, and the live ones of those keys."""
    query = select(FeatureRow).where(
        FeatureRow.namespace == namespace,
        or_(FeatureRow.id.in_(ids), FeatureRow.key.in_(keys) & FeatureRow.archived_at.is_(None)),
    )
    return (await session.scalars(query)).all()


async def hold(session: WriteSession, namespace: str, ids: Collection[str]) -> Sequence[FeatureRow]:
    """Return the features of those ids under a shared row lock."""
    query = (
        select(FeatureRow)
        .where(FeatureRow.namespace == namespace, FeatureRow.id.in_(ids))
        .order_by(FeatureRow.id)
        .with_for_update(read=True)
        .execution_options(populate_existing=True)
    )
    return (await session.scalars(query)).all()


async def latest_of_keys(session: ReadSession, namespace: str, keys: Collection[str]) -> Sequence[FeatureRow]:
    """Return the live feature of each key, else the one archived last."""
    query = (
        select(FeatureRow)
        .ext(distinct_on(FeatureRow.key))
        .where(FeatureRow.namespace == namespace, FeatureRow.key.in_(keys))
        .order_by(FeatureRow.key, FeatureRow.archived_at.desc().nulls_first(), FeatureRow.id.desc())
    )
    return (await session.scalars(query)).all()


async def live_of_meter(session: ReadSession, namespace: str, meter_id: str) -> Sequence[FeatureRow]:
    """Return the live features that count with the meter."""
    query = (
        select(FeatureRow)
        .where(FeatureRow.namespace == namespace, FeatureRow.meter_id == meter_id, FeatureRow.archived_at.is_(None))
        .order_by(FeatureRow.key)
    )
    return (await session.scalars(query)).all()


async def listed(
    session: ReadSession,
    namespace: str,
    *,
    conditions: Mapping[str, Condition],
    include_archived: bool,
    sorts: Sequence[Sort],
    offset: int,
    limit: int,
) -> tuple[Sequence[FeatureRow], int]:
    """Return a stretch of the features that meet all conditions, and how many meet them in all."""
    where: list[ColumnElement[bool]] = [FeatureRow.namespace == namespace]
    where += [condition.clause(COLUMNS[field]) for field, condition in conditions.items()]
    if not include_archived:
        where.append(FeatureRow.archived_at.is_(None))
    total = await session.scalar(select(func.count()).select_from(FeatureRow).where(*where)) or 0
    query = (
        select(FeatureRow)
        .where(*where)
        .order_by(*order_by(sorts, COLUMNS, last=FeatureRow.id))
        .offset(offset)
        .limit(limit)
    )
    return (await session.scalars(query)).all(), total
