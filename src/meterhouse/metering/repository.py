"""Queries on the tables of meters and slots."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, delete, func, or_, select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on, insert

from meterhouse.kernel import locks
from meterhouse.kernel.conditions import Condition, Sort, order_by
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.pages import Page, PageRequest
from meterhouse.metering.meter import Aggregation, Meter, Slot, SlotKind
from meterhouse.metering.models import EventDeadLetterRow, EventVoidRow, MeterRow, MeterSlotRow, slot_version

# The columns of the event table, by what they hold (migrations/0001_events.sql).
SLOT_COLUMNS: Mapping[SlotKind, Sequence[str]] = {
    SlotKind.NUMBER: [f"n{i}" for i in range(4)],
    SlotKind.DIMENSION: [f"s{i}" for i in range(8)],
    SlotKind.TEXT: [f"t{i}" for i in range(4)],
}

EventType = tuple[str, str]  # namespace, event type


@dataclass(frozen=True, slots=True)
class MeterQuery:
    """Which meters a list shows; `conditions` by field name."""

    namespace: str
    include_deleted: bool = False
    event_type: str | None = None
    conditions: Mapping[str, Condition] | None = None
    sorts: Sequence[Sort] = ()
    page: PageRequest | None = None


async def by_id(session: ReadSession, namespace: str, meter_id: str) -> Meter | None:
    """Return a meter, deleted or not."""
    return await _one(session, namespace, MeterRow.id == meter_id)


async def by_ids(session: ReadSession, namespace: str, ids: Collection[str]) -> list[Meter]:
    """Return the meters of these ids, deleted or not, out of one statement with their slots."""
    of_type = and_(MeterSlotRow.namespace == MeterRow.namespace, MeterSlotRow.event_type == MeterRow.event_type)
    statement = (
        select(MeterRow, MeterSlotRow)
        .outerjoin(MeterSlotRow, of_type)
        .where(MeterRow.namespace == namespace, MeterRow.id.in_(ids))
        .order_by(MeterRow.id, MeterSlotRow.version)
    )
    found: dict[str, tuple[MeterRow, list[Slot]]] = {}
    for row, slot in await session.execute(statement):
        _, slots = found.setdefault(row.id, (row, []))
        if slot is not None:
            slots.append(_slot(slot))
    return [to_meter(row, slots) for row, slots in found.values()]


async def by_key(session: ReadSession, namespace: str, key: str) -> Meter | None:
    """Return the live meter of a key."""
    return await _one(session, namespace, MeterRow.key == key, MeterRow.deleted_at.is_(None))


async def by_id_or_key(session: ReadSession, namespace: str, id_or_key: str) -> Meter | None:
    """Return the meter with this id, deleted or not, or the live one with this key."""
    live_key = (MeterRow.key == id_or_key) & MeterRow.deleted_at.is_(None)
    return await _one(session, namespace, or_(MeterRow.id == id_or_key, live_key))


async def _one(session: ReadSession, namespace: str, *where: object) -> Meter | None:
    statement = select(MeterRow).where(MeterRow.namespace == namespace, *where).order_by(MeterRow.id).limit(1)  # type: ignore[arg-type]
    row = await session.scalar(statement)
    return None if row is None else (await _meters(session, [row]))[0]


async def locked_row(session: WriteSession, namespace: str, meter_id: str, *, shared: bool = False) -> MeterRow | None:
    """Return the row of a meter as it is now, and keep it so until the transaction ends.

    `shared` is for those who measure with it: they keep out who changes it, not each other.
    """
    statement = (
        select(MeterRow)
        .where(MeterRow.namespace == namespace, MeterRow.id == meter_id)
        .with_for_update(read=shared)
        .execution_options(populate_existing=True)
    )
    row: MeterRow | None = await session.scalar(statement)
    return row


async def page_of(session: ReadSession, query: MeterQuery) -> Page[Meter]:
    """Return one page of meters; without a page request all of them."""
    columns = {
        "key": MeterRow.key,
        "name": MeterRow.name,
        "aggregation": MeterRow.aggregation,
        "created_at": MeterRow.created_at,
        "updated_at": MeterRow.updated_at,
    }
    where = [MeterRow.namespace == query.namespace]
    if not query.include_deleted:
        where.append(MeterRow.deleted_at.is_(None))
    if query.event_type is not None:
        where.append(MeterRow.event_type == query.event_type)
    where += [condition.clause(columns[field]) for field, condition in (query.conditions or {}).items()]
    statement = select(MeterRow).where(*where).order_by(*order_by(query.sorts, columns, last=MeterRow.id))
    if query.page is not None:
        statement = statement.limit(query.page.size).offset(query.page.offset)
    meters = await _meters(session, (await session.scalars(statement)).all())
    if query.page is None:
        return Page(meters, len(meters), PageRequest(1, max(len(meters), 1)))
    total = await session.scalar(select(func.count()).select_from(MeterRow).where(*where))
    return Page(meters, total or 0, query.page)


async def _meters(session: ReadSession, rows: Sequence[MeterRow]) -> list[Meter]:
    slots = await slots_of(session, {(row.namespace, row.event_type) for row in rows})
    return [to_meter(row, slots.get((row.namespace, row.event_type), ())) for row in rows]


def to_meter(row: MeterRow, slots: Sequence[Slot]) -> Meter:
    """Return the stored meter as a value."""
    return Meter(
        id=row.id,
        namespace=row.namespace,
        key=row.key,
        name=row.name,
        description=row.description,
        event_type=row.event_type,
        aggregation=Aggregation(row.aggregation),
        value_property=row.value_property,
        group_by=row.group_by,
        event_from=row.event_from,
        metadata=row.labels,
        annotations=row.annotations,
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
        slots=slots,
    )


async def slots_of(session: ReadSession, types: Collection[EventType]) -> dict[EventType, list[Slot]]:
    """Return the slots of the event types."""
    found: dict[EventType, list[Slot]] = {}
    if types:
        statement = select(MeterSlotRow).where(
            tuple_(MeterSlotRow.namespace, MeterSlotRow.event_type).in_(sorted(types))
        )
        for row in await session.scalars(statement.order_by(MeterSlotRow.version)):
            found.setdefault((row.namespace, row.event_type), []).append(_slot(row))
    return found


def _slot(row: MeterSlotRow) -> Slot:
    return Slot(SlotKind(row.kind), row.path, row.slot, row.version)


async def assign_slots(
    session: WriteSession, namespace: str, event_type: str, wanted: Sequence[tuple[SlotKind, str]]
) -> tuple[list[Slot], bool]:
    """Give each wanted (kind, canonical path) a free column, unless it has one or none is left.

    A slot is never taken back: a reader with an old list of slots stays right. Returns all slots of the event type,
    and whether any of them is new.
    """
    # Versions must become visible in the order in which they are given out, or a sink would claim a slot it missed.
    await locks.lock(session, "meter_slots", namespace, event_type)
    slots = (await slots_of(session, [(namespace, event_type)])).get((namespace, event_type), [])
    known = len(slots)
    for kind, path in wanted:
        taken = {slot.column for slot in slots}
        free = next((column for column in SLOT_COLUMNS[kind] if column not in taken), None)
        if free is None or any(slot.kind == kind and slot.path == path for slot in slots):
            continue
        version = (await session.scalars(select(slot_version.next_value()))).one()
        slots.append(Slot(kind, path, free, version))
        session.add(
            MeterSlotRow(
                namespace=namespace, event_type=event_type, kind=kind.value, path=path, slot=free, version=version
            )
        )
    await session.flush()
    return slots, len(slots) > known


async def add_dead_letters(session: WriteSession, rows: Sequence[dict[str, Any]]) -> int:
    """Add rows, but for those that are there already; return how many are new."""
    added = await session.execute(
        insert(EventDeadLetterRow)
        .on_conflict_do_nothing(constraint="uq_event_dead_letters_place")
        .returning(EventDeadLetterRow.id),
        rows,
    )
    return len(added.all())


async def dead_letters(
    session: ReadSession, limit: int, *, after: str = "", ids: Collection[str] | None = None
) -> list[EventDeadLetterRow]:
    """Return dead letters of all namespaces, the oldest first: whoever runs the server looks after them."""
    statement = select(EventDeadLetterRow).where(EventDeadLetterRow.id > after)
    if ids is not None:
        statement = statement.where(EventDeadLetterRow.id.in_(ids))
    return list(await session.scalars(statement.order_by(EventDeadLetterRow.id).limit(limit)))


async def delete_dead_letters(session: WriteSession, ids: Collection[str]) -> None:
    """Delete dead letters."""
    await session.execute(delete(EventDeadLetterRow).where(EventDeadLetterRow.id.in_(ids)))


async def latest_voids(session: ReadSession, namespace: str, keys: Collection[bytes]) -> Sequence[EventVoidRow]:
    """Return the latest record of each event, by its key and type, that has any."""
    if not keys:
        return []
    statement = (
        select(EventVoidRow)
        .ext(distinct_on(EventVoidRow.event_key, EventVoidRow.event_type))
        .where(EventVoidRow.namespace == namespace, EventVoidRow.event_key.in_(sorted(keys)))
        .order_by(EventVoidRow.event_key, EventVoidRow.event_type, EventVoidRow.version.desc())
    )
    return (await session.scalars(statement)).all()


async def voids_after(session: ReadSession, namespace: str, version: int, limit: int) -> Sequence[EventVoidRow]:
    """Return the records of a namespace that follow a version, in their order."""
    statement = (
        select(EventVoidRow)
        .where(EventVoidRow.namespace == namespace, EventVoidRow.version > version)
        .order_by(EventVoidRow.version)
        .limit(limit)
    )
    return (await session.scalars(statement)).all()
