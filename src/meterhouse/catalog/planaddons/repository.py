"""Queries on plan add-ons, and the mapping of their rows to values."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Select, func, or_, select

from meterhouse.catalog.addons.models import AddonRow
from meterhouse.catalog.addons.repository import STORE as ADDONS
from meterhouse.catalog.planaddons.models import PlanAddonRow
from meterhouse.catalog.planaddons.planaddon import PlanAddon
from meterhouse.catalog.plans.models import PlanRow
from meterhouse.catalog.versions.repository import named
from meterhouse.kernel.conditions import Column, Sort, order_by
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.pages import Page, PageRequest

COLUMNS: Mapping[str, Column] = {
    "id": PlanAddonRow.id,
    "key": AddonRow.key,
    "version": AddonRow.version,
    "created_at": PlanAddonRow.created_at,
    "updated_at": PlanAddonRow.updated_at,
}


@dataclass(frozen=True, slots=True)
class PlanAddonQuery:
    """Which add-ons of a plan a list shows: by the add-on's id, key, and key with version number; all must hold."""

    addon_ids: Collection[str] = ()
    keys: Collection[str] = ()
    key_versions: Mapping[str, Sequence[int]] = field(default_factory=dict)
    include_deleted: bool = False
    sorts: Sequence[Sort] = (Sort("id"),)
    page: PageRequest = field(default_factory=PageRequest)


def _of_plan(namespace: str, plan_id: str) -> list[ColumnElement[bool]]:
    return [PlanAddonRow.namespace == namespace, PlanAddonRow.plan_id == plan_id]


async def find(session: ReadSession, namespace: str, plan_addon_id: str) -> PlanAddon | None:
    """Return the assignment of that id, deleted or not."""
    query = select(PlanAddonRow).where(PlanAddonRow.namespace == namespace, PlanAddonRow.id == plan_addon_id)
    return await _one(session, namespace, query)


async def find_by_addon(session: ReadSession, namespace: str, plan_id: str, id_or_key: str) -> PlanAddon | None:
    """Return the plan's live assignment of an add-on version, or of the highest one of a key that the plan has."""
    query = (
        select(PlanAddonRow)
        .join(AddonRow, AddonRow.id == PlanAddonRow.addon_id)
        .where(
            *_of_plan(namespace, plan_id),
            PlanAddonRow.deleted_at.is_(None),
            or_(AddonRow.id == id_or_key, AddonRow.key == id_or_key),
        )
        .order_by(AddonRow.version.desc())
        .limit(1)
    )
    return await _one(session, namespace, query)


async def _one(session: ReadSession, namespace: str, query: Select[PlanAddonRow]) -> PlanAddon | None:
    rows = (await session.scalars(query.execution_options(populate_existing=True))).all()
    found = await _loaded(session, namespace, rows)
    return found[0] if found else None


async def live_of_plan(session: ReadSession, namespace: str, plan_id: str) -> list[PlanAddon]:
    """Return the assignments of a plan that are not deleted, the oldest first."""
    query = select(PlanAddonRow).where(*_of_plan(namespace, plan_id), PlanAddonRow.deleted_at.is_(None))
    return await _loaded(session, namespace, (await session.scalars(query.order_by(PlanAddonRow.id))).all())


async def plan_with(session: ReadSession, namespace: str, addon_id: str) -> str | None:
    """Return the key of a plan that has the add-on version; neither plan nor assignment is deleted."""
    query = (
        select(PlanRow.key)
        .join(PlanAddonRow, PlanAddonRow.plan_id == PlanRow.id)
        .where(
            PlanAddonRow.namespace == namespace,
            PlanAddonRow.addon_id == addon_id,
            PlanAddonRow.deleted_at.is_(None),
            PlanRow.deleted_at.is_(None),
        )
        .limit(1)
    )
    return (await session.scalars(query)).one_or_none()


async def listed(session: ReadSession, namespace: str, plan_id: str, query: PlanAddonQuery) -> Page[PlanAddon]:
    """Return a page of the assignments of a plan."""
    where = _of_plan(namespace, plan_id)
    if query.addon_ids:
        where.append(AddonRow.id.in_(query.addon_ids))
    if query.keys:
        where.append(AddonRow.key.in_(query.keys))
    if query.key_versions:
        where.append(named(AddonRow, query.key_versions))
    if not query.include_deleted:
        where.append(PlanAddonRow.deleted_at.is_(None))
    matching = select(PlanAddonRow).join(AddonRow, AddonRow.id == PlanAddonRow.addon_id).where(*where)
    total = await session.scalar(select(func.count()).select_from(matching.subquery())) or 0
    statement = (
        matching.order_by(*order_by(query.sorts, COLUMNS, last=PlanAddonRow.id))
        .offset(query.page.offset)
        .limit(query.page.size)
    )
    rows = (await session.scalars(statement)).all()
    return Page(await _loaded(session, namespace, rows), total, query.page)


async def _loaded(session: ReadSession, namespace: str, rows: Sequence[PlanAddonRow]) -> list[PlanAddon]:
    if not rows:
        return []
    addons = await ADDONS.by_ids(session, namespace, {row.addon_id for row in rows})
    return [
        PlanAddon(
            id=row.id,
            namespace=row.namespace,
            plan_id=row.plan_id,
            addon=addons[row.addon_id],
            from_plan_phase=row.from_plan_phase,
            max_quantity=row.max_quantity,
            name=row.name,
            description=row.description,
            metadata=row.metadata_,
            annotations=row.annotations,
            created_at=row.created_at,
            updated_at=row.updated_at,
            deleted_at=row.deleted_at,
        )
        for row in rows
    ]


async def insert(session: WriteSession, assignment: PlanAddon) -> None:
    """Store a new assignment."""
    row = PlanAddonRow(
        id=assignment.id,
        namespace=assignment.namespace,
        plan_id=assignment.plan_id,
        addon_id=assignment.addon.id,
        annotations=dict(assignment.annotations),
        created_at=assignment.created_at,
    )
    _write(row, assignment)
    session.add(row)
    await session.flush()


async def save(session: WriteSession, assignment: PlanAddon) -> None:
    """Write the members of a stored assignment that can change."""
    _write(await session.get_one(PlanAddonRow, assignment.id), assignment)
    await session.flush()


def _write(row: PlanAddonRow, assignment: PlanAddon) -> None:
    row.from_plan_phase = assignment.from_plan_phase
    row.max_quantity = assignment.max_quantity
    row.name = assignment.name
    row.description = assignment.description
    row.metadata_ = dict(assignment.metadata)
    row.updated_at = assignment.updated_at
    row.deleted_at = assignment.deleted_at
