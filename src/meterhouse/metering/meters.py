"""Meters: creating, reading, changing and deleting them (metering section 12)."""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace

from sqlalchemy.exc import IntegrityError

from meterhouse.kernel import clock, jobs
from meterhouse.kernel.conditions import Condition, Sort
from meterhouse.kernel.db import ReadSession, WriteSession, violated
from meterhouse.kernel.errors import Conflict, InvalidInput, Issue, NotFound, invalid
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.pages import Page, PageRequest
from meterhouse.metering import jsonpath, repository
from meterhouse.metering.keys import event_key
from meterhouse.metering.meter import Aggregation, Meter, MeterUpdate, NewMeter, Slot, SlotKind
from meterhouse.metering.models import MeterRow
from meterhouse.metering.repository import MeterQuery

__all__ = [
    "BACKFILL_SLOTS",
    "Aggregation",
    "Guard",
    "Meter",
    "MeterUpdate",
    "NewMeter",
    "Slot",
    "SlotKind",
    "create",
    "delete",
    "find_by_key",
    "find_many",
    "get",
    "get_by_id_or_key",
    "held",
    "list_meters",
    "of_event_type",
    "provision",
    "update",
]

# The job that `backfill` does, for one namespace and event type.
BACKFILL_SLOTS = "metering.backfill_slots"

_DIMENSION_NAME = re.compile(r"[a-zA-Z_][0-9a-zA-Z_]*")

# Asked before a meter is deleted (None) or loses dimensions (their names): raises Conflict while something above, such
# as a feature or an entitlement, still needs them.
Guard = Callable[[ReadSession, Meter, frozenset[str] | None], Awaitable[None]]


async def get(session: ReadSession, namespace: str, meter_id: str) -> Meter:
    """Return a meter by id, deleted or not.

    Raises:
        NotFound: no meter has the id.
    """
    return _found(await repository.by_id(session, namespace, meter_id), meter_id)


async def find_by_key(session: ReadSession, namespace: str, key: str) -> Meter | None:
    """Return the live meter with this key."""
    return await repository.by_key(session, namespace, key)


async def held(session: WriteSession, namespace: str, meter_id: str, *, to_change: bool = False) -> Meter:
    """Return a meter by id, deleted or not, and keep it from being changed or deleted meanwhile; without its slots.

    Args:
        to_change: for whoever is about to change it by what it is.

    Raises:
        NotFound: no meter has the id.
    """
    row = await repository.locked_row(session, namespace, meter_id, shared=not to_change)
    return _found(None if row is None else repository.to_meter(row, ()), meter_id)


async def find_many(session: ReadSession, namespace: str, ids: Collection[str]) -> dict[str, Meter]:
    """Return the meters of these ids, deleted ones too, by id; unknown ids are left out."""
    return {meter.id: meter for meter in await repository.by_ids(session, namespace, ids)}


async def get_by_id_or_key(session: ReadSession, namespace: str, id_or_key: str) -> Meter:
    """Return the meter with this id, deleted or not, else the live one with this key (api-conventions section 13).

    Raises:
        NotFound: neither exists.
    """
    return _found(await repository.by_id_or_key(session, namespace, id_or_key), id_or_key)


def _found(meter: Meter | None, name: str) -> Meter:
    if meter is None:
        raise NotFound(f"meter not found: {name}")
    return meter


async def list_meters(
    session: ReadSession,
    namespace: str,
    *,
    include_deleted: bool = False,
    conditions: Mapping[str, Condition] | None = None,
    sorts: Sequence[Sort] = (),
    page: PageRequest | None = None,
) -> Page[Meter]:
    """Return meters: one page of them, or all without `page`.

    Args:
        conditions: by field: `key`, `name`.
        sorts: by `key`, `name`, `aggregation`, `created_at`, `updated_at`; the id comes last.
    """
    return await repository.page_of(
        session,
        MeterQuery(namespace, include_deleted=include_deleted, conditions=conditions, sorts=sorts, page=page),
    )


async def of_event_type(session: ReadSession, namespace: str, event_type: str) -> Sequence[Meter]:
    """Return the live meters that count events of a type, by key."""
    query = MeterQuery(namespace, event_type=event_type, sorts=[Sort("key")])
    return (await repository.page_of(session, query)).items


async def create(
    session: WriteSession, namespace: str, new: NewMeter, *, reserved_event_types: Sequence[str] = ()
) -> Meter:
    """Create a meter. It counts all events of its type that are stored already.

    Raises:
        InvalidInput: a rule of metering section 12.1 is broken.
        Conflict: a live meter has the key.
    """
    _check(new)
    _check_reserved(new.event_type, reserved_event_types)
    row = MeterRow(
        id=new_id(),
        namespace=namespace,
        key=new.key,
        name=new.name,
        description=new.description,
        event_type=new.event_type,
        aggregation=new.aggregation.value,
        value_property=new.value_property,
        group_by=dict(new.group_by),
        event_from=new.event_from,
        labels=dict(new.metadata),
        annotations=dict(new.annotations),
    )
    try:
        async with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        if violated(error) == "uq_meters_live_key":
            raise Conflict(f"meter with the same slug already exists: {new.key}") from error
        raise
    slots = await _assign_slots(session, namespace, new)
    return repository.to_meter(row, slots)


async def update(
    session: WriteSession,
    namespace: str,
    meter_id: str,
    change: MeterUpdate,
    *,
    guards: Sequence[Guard] = (),
    reserved_event_types: Sequence[str] = (),
) -> Meter:
    """Replace what may change of a meter: name, description, dimensions, metadata (metering section 12.2).

    Raises:
        NotFound: the meter does not exist or is deleted.
        InvalidInput: a rule of section 12.1 is broken.
        Conflict: a dimension goes away that something still needs.
    """
    row = await repository.locked_row(session, namespace, meter_id)
    if row is None or row.deleted_at is not None:
        raise NotFound(f"meter not found: {meter_id}")
    stored = repository.to_meter(row, ())
    changed = replace(
        stored,
        name=stored.name if change.name is None else change.name,
        description=stored.description if change.description is None else change.description,
        group_by=dict(change.group_by),
        metadata=dict(change.metadata),
    )
    _check(changed)
    _check_reserved(stored.event_type, reserved_event_types)
    removed = frozenset(stored.group_by) - frozenset(changed.group_by)
    for guard in guards if removed else ():
        await guard(session, stored, removed)
    row.name, row.description = changed.name, changed.description
    row.group_by, row.labels = dict(changed.group_by), dict(changed.metadata)
    await session.flush()
    slots = await _assign_slots(session, namespace, changed)
    return repository.to_meter(row, slots)


async def delete(session: WriteSession, namespace: str, meter_id: str, *, guards: Sequence[Guard] = ()) -> None:
    """Delete a meter softly; deleting a deleted one does nothing. Its key is free at once, its events stay.

    Raises:
        NotFound: no meter has the id.
        Conflict: something still needs the meter.
    """
    row = await repository.locked_row(session, namespace, meter_id)
    if row is None:
        raise NotFound(f"meter not found: {meter_id}")
    if row.deleted_at is not None:
        return
    meter = repository.to_meter(row, ())
    for guard in guards:
        await guard(session, meter, None)
    row.deleted_at = clock.now()
    await session.flush()


async def provision(session: WriteSession, namespace: str, configured: Sequence[NewMeter]) -> list[Meter]:
    """Create the configured meters that are missing; never changes or deletes any (metering section 12.5).

    Raises:
        InvalidInput: a configured meter breaks a rule, or differs from the stored one with its key.
    """
    meters = []
    for new in configured:
        stored = await repository.by_key(session, namespace, new.key)
        if stored is None:
            meters.append(await create(session, namespace, new))
            continue
        members = ("name", "description", "event_type", "aggregation", "value_property", "group_by", "metadata")
        different = [name for name in members if getattr(stored, name) != getattr(new, name)]
        if different:
            raise InvalidInput(
                f"configured meter {new.key!r} differs from the stored one in {', '.join(different)}; "
                "change the configuration back, or change the meter over the API"
            )
        meters.append(stored)
    return meters


async def _assign_slots(session: WriteSession, namespace: str, meter: Meter | NewMeter) -> Sequence[Slot]:
    """Give the meter's paths their slots. Events that are stored already get them filled in the background."""
    slots, new = await repository.assign_slots(session, namespace, meter.event_type, _paths(meter))
    if new:
        payload = {"namespace": namespace, "event_type": meter.event_type}
        # A hash, because an index holds the key and an event type may have any length.
        dedupe_key = event_key(namespace, meter.event_type, "").hex()
        await jobs.enqueue(session, BACKFILL_SLOTS, payload, dedupe_key=dedupe_key)
    return slots


def _paths(meter: Meter | NewMeter) -> list[tuple[SlotKind, str]]:
    """Return what the meter reads from event data, as slots hold it: the value first, it matters most."""
    wanted = [(SlotKind.DIMENSION, path) for _, path in sorted(meter.group_by.items())]
    if meter.value_property is not None:
        kind = SlotKind.TEXT if meter.aggregation is Aggregation.UNIQUE_COUNT else SlotKind.NUMBER
        wanted.insert(0, (kind, meter.value_property))
    parsed = [(kind, jsonpath.parse(path)) for kind, path in wanted]
    # The whole document is no value, so there is nothing to keep for it.
    return [(kind, path.text) for kind, path in parsed if path.steps]


def _check_reserved(event_type: str, patterns: Sequence[str]) -> None:
    if any(re.search(pattern, event_type) for pattern in patterns):
        raise invalid(f"event type is reserved: {event_type}", code="reserved_event_type", field="$.event_type")


def _check(meter: Meter | NewMeter) -> None:
    issues = [*_value_issues(meter), *_dimension_issues(meter)]
    if meter.description == "":
        issues.append(Issue("invalid_description", "meter description must not be empty", "$.description"))
    if meter.event_from is not None and meter.event_from.year == 1:
        issues.append(Issue("invalid_event_from", "meter event from must not be the zero time", "$.event_from"))
    if issues:
        raise InvalidInput("\n".join(issue.message for issue in issues), issues=issues)


def _value_issues(meter: Meter | NewMeter) -> list[Issue]:
    def wrong(message: str) -> list[Issue]:
        return [Issue("invalid_value_property", message, "$.value_property")]

    if meter.aggregation is Aggregation.COUNT:
        return wrong("meter value property is not allowed with count") if meter.value_property is not None else []
    if not meter.value_property:
        return wrong(f"meter value property is required with {meter.aggregation}")
    try:
        jsonpath.parse(meter.value_property)
    except jsonpath.InvalidPath as error:
        return wrong(f"meter value property is invalid: {error}")
    return []


def _dimension_issues(meter: Meter | NewMeter) -> list[Issue]:
    issues = []
    for name, path in meter.group_by.items():
        field = f"$.dimensions.{name}"
        if not _DIMENSION_NAME.fullmatch(name):
            message = f"meter group by name must hold letters, digits and underscores only: {name!r}"
            issues.append(Issue("invalid_dimension_name", message, field))
        try:
            jsonpath.parse(path)
        except jsonpath.InvalidPath as error:
            issues.append(Issue("invalid_dimension_path", f"meter group by {name!r} is invalid: {error}", field))
        if meter.value_property is not None and path == meter.value_property:
            message = f"meter group by {name!r} must not be the value property"
            issues.append(Issue("invalid_dimension_path", message, field))
    return issues
