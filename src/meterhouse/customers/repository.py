"""Queries on customers, attributions and subjects."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, any_, bindparam, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import String

from meterhouse.customers.models import AttributionRow, CustomerRow, SubjectRow
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Condition, Sort
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.paged import page_of
from meterhouse.kernel.pages import PageRequest


@dataclass(frozen=True, slots=True)
class CustomerFilter:
    """Which customers a list shows; conditions are combined with AND.

    Attributes:
        subject: a condition that one of the customer's live subject keys meets.
        among: queries of customer ids from domains above; the customer must be in each.
    """

    key: Condition | None = None
    name: Condition | None = None
    primary_email: Condition | None = None
    subject: Condition | None = None
    among: tuple[Select[Any], ...] = ()
    include_deleted: bool = False


_OWNER = CustomerRow.__table__.c
# A deleted customer keeps the subject keys that it had when it was deleted.
_IS_SUBJECT_KEY = (AttributionRow.is_subject_key, AttributionRow.deleted_at.is_not_distinct_from(_OWNER.deleted_at))
_BY_SUBJECT = AttributionRow.subject.collate("C")

SORT_COLUMNS = {"id": CustomerRow.id, "name": CustomerRow.name, "created_at": CustomerRow.created_at}


def _one_of(column: InstrumentedAttribute[str], values: Collection[str]) -> ColumnElement[bool]:
    # One array parameter instead of IN: a statement takes 32767 parameters at most.
    return column == any_(bindparam(None, list(values), type_=ARRAY(String)))


async def by_ids(session: ReadSession, namespace: str, ids: Collection[str]) -> Sequence[CustomerRow]:
    """Return the customers with these ids, deleted ones too."""
    query = select(CustomerRow).where(CustomerRow.namespace == namespace, _one_of(CustomerRow.id, ids))
    return (await session.scalars(query)).all()


async def by_id(session: ReadSession, namespace: str, customer_id: str) -> CustomerRow | None:
    """Return the customer with this id as the database has it now, also when it is deleted."""
    query = select(CustomerRow).where(CustomerRow.namespace == namespace, CustomerRow.id == customer_id)
    return await session.scalar(query.execution_options(populate_existing=True))


async def by_id_with_subject_keys(
    session: ReadSession, namespace: str, customer_id: str
) -> tuple[CustomerRow, tuple[str, ...]] | None:
    """Return what `by_id` and `subject_keys` do, out of one statement."""
    query = (
        select(CustomerRow, AttributionRow.subject)
        .outerjoin(AttributionRow, and_(AttributionRow.customer_id == CustomerRow.id, *_IS_SUBJECT_KEY))
        .where(CustomerRow.namespace == namespace, CustomerRow.id == customer_id)
        .order_by(_BY_SUBJECT)
        .execution_options(populate_existing=True)
    )
    found = (await session.execute(query)).all()
    return (found[0][0], tuple(subject for _, subject in found if subject is not None)) if found else None


async def by_id_or_key(session: ReadSession, namespace: str, id_or_key: str) -> CustomerRow | None:
    """Return the customer with this id, deleted or not, or the live one with this key; the lowest id wins."""
    live_key = (CustomerRow.key == id_or_key) & CustomerRow.deleted_at.is_(None)
    query = select(CustomerRow).where(CustomerRow.namespace == namespace, or_(CustomerRow.id == id_or_key, live_key))
    return await session.scalar(query.order_by(CustomerRow.id).limit(1))


async def listed(
    session: ReadSession, namespace: str, chosen: CustomerFilter, sorts: Sequence[Sort], page: PageRequest
) -> tuple[Sequence[CustomerRow], int]:
    """Return one page of customers and how many match."""
    clauses = [CustomerRow.namespace == namespace]
    conditions: list[tuple[Condition | None, Any]] = [
        (chosen.key, CustomerRow.key),
        (chosen.name, CustomerRow.name),
        (chosen.primary_email, CustomerRow.primary_email),
    ]
    clauses += [condition.clause(column) for condition, column in conditions if condition is not None]
    if not chosen.include_deleted:
        clauses.append(CustomerRow.deleted_at.is_(None))
    if chosen.subject is not None:
        held = select(AttributionRow.customer_id).where(
            AttributionRow.namespace == namespace, AttributionRow.is_subject_key, AttributionRow.deleted_at.is_(None)
        )
        clauses.append(chosen.subject.clause_of_many(CustomerRow.id, held, AttributionRow.subject))
    clauses += [CustomerRow.id.in_(query) for query in chosen.among]
    return await page_of(session, CustomerRow, clauses, sorts, SORT_COLUMNS, page, last=CustomerRow.id)


async def subject_keys(session: ReadSession, rows: Collection[CustomerRow]) -> dict[str, tuple[str, ...]]:
    """Return the subject keys of customers, ascending; of deleted ones those they had when they were deleted."""
    query = (
        select(AttributionRow.customer_id, AttributionRow.subject)
        .join(CustomerRow, _OWNER.id == AttributionRow.customer_id)
        .where(_one_of(AttributionRow.customer_id, [row.id for row in rows]), *_IS_SUBJECT_KEY)
        .order_by(_BY_SUBJECT)
    )
    found: dict[str, list[str]] = {}
    for customer_id, subject in await session.execute(query):
        found.setdefault(customer_id, []).append(subject)
    return {row.id: tuple(found.get(row.id, ())) for row in rows}


async def attributions(session: ReadSession, namespace: str, subjects: Collection[str]) -> Sequence[AttributionRow]:
    """Return who holds these strings now."""
    query = select(AttributionRow).where(
        AttributionRow.namespace == namespace,
        AttributionRow.deleted_at.is_(None),
        _one_of(AttributionRow.subject, subjects),
    )
    return (await session.scalars(query)).all()


async def attributions_of(session: ReadSession, customer_id: str) -> Sequence[AttributionRow]:
    """Return the live attributions of one customer."""
    query = select(AttributionRow).where(AttributionRow.customer_id == customer_id, AttributionRow.deleted_at.is_(None))
    return (await session.scalars(query)).all()


async def close_attributions(session: WriteSession, customer_id: str, at: datetime) -> None:
    """End every live attribution of a customer."""
    await session.execute(
        update(AttributionRow)
        .where(AttributionRow.customer_id == customer_id, AttributionRow.deleted_at.is_(None))
        .values(deleted_at=at)
    )


async def id_is_taken(session: ReadSession, namespace: str, text: str) -> bool:
    """Tell whether a customer, deleted ones included, has `text` as its id."""
    return await by_id(session, namespace, text) is not None


async def subject_ids_among(session: ReadSession, namespace: str, texts: Collection[str]) -> list[str]:
    """Return those of `texts` that are ids of live subjects."""
    query = select(SubjectRow.id).where(
        SubjectRow.namespace == namespace, SubjectRow.deleted_at.is_(None), _one_of(SubjectRow.id, texts)
    )
    return sorted((await session.scalars(query)).all())


async def display_names(session: ReadSession, namespace: str, keys: Collection[str]) -> dict[str, str | None]:
    """Return the display names of the live subjects with these keys, by key."""
    query = select(SubjectRow.key, SubjectRow.display_name).where(
        SubjectRow.namespace == namespace, SubjectRow.deleted_at.is_(None), _one_of(SubjectRow.key, keys)
    )
    return {row.key: row.display_name for row in await session.execute(query)}


async def add_subjects(session: WriteSession, namespace: str, keys: Sequence[str], attributes: dict[str, Any]) -> None:
    """Make a subject for each key that has no live one."""
    now = clock.now()
    rows = [
        {"id": new_id(), "namespace": namespace, "key": key, "attributes": attributes}
        | {"created_at": now, "updated_at": now}
        for key in keys
    ]
    if rows:
        await session.execute(insert(SubjectRow).on_conflict_do_nothing(), rows)


async def subject_by_id_or_key(session: ReadSession, namespace: str, id_or_key: str) -> SubjectRow | None:
    """Return the subject with this id, deleted or not, or else the live one with this key."""
    live_key = (SubjectRow.key == id_or_key) & SubjectRow.deleted_at.is_(None)
    query = select(SubjectRow).where(SubjectRow.namespace == namespace, or_(SubjectRow.id == id_or_key, live_key))
    return await session.scalar(query.order_by((SubjectRow.id == id_or_key).desc()).limit(1))


async def live_subjects(session: ReadSession, namespace: str) -> Sequence[SubjectRow]:
    """Return all live subjects, by id."""
    query = select(SubjectRow).where(SubjectRow.namespace == namespace, SubjectRow.deleted_at.is_(None))
    return (await session.scalars(query.order_by(SubjectRow.id))).all()


async def subject_keys_among(session: ReadSession, namespace: str, keys: Collection[str]) -> set[str]:
    """Return those of `keys` that live subjects have."""
    query = select(SubjectRow.key).where(
        SubjectRow.namespace == namespace, SubjectRow.deleted_at.is_(None), _one_of(SubjectRow.key, keys)
    )
    return set((await session.scalars(query)).all())


async def hold_subjects(session: WriteSession, namespace: str, keys: Collection[str]) -> dict[str, SubjectRow]:
    """Return the live subjects with these keys, by key, and keep others from changing them until the end."""
    query = select(SubjectRow).where(
        SubjectRow.namespace == namespace, SubjectRow.deleted_at.is_(None), _one_of(SubjectRow.key, keys)
    )
    # In one order everywhere: transactions that hold several subjects cannot wait for each other.
    query = query.order_by(SubjectRow.key.collate("C")).with_for_update()
    rows = await session.scalars(query.execution_options(populate_existing=True))
    return {row.key: row for row in rows}
