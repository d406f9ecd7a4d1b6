"""Queries on billing profiles and customer overrides."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, any_, bindparam, case, exists, func, null, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.types import String

from meterhouse.billing.profiles.models import OVERRIDE_SETTINGS, OverrideRow, ProfileRow
from meterhouse.customers.models import CustomerRow
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Check, Column, Condition, Operator, Sort
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.paged import page_of
from meterhouse.kernel.pages import PageRequest
from meterhouse.subscriptions.models import SubscriptionItemRow, SubscriptionRow

SORT_COLUMNS = {
    "created_at": ProfileRow.created_at,
    "updated_at": ProfileRow.updated_at,
    "default": ProfileRow.is_default,
    "name": ProfileRow.name,
}


CUSTOMER_SORT_COLUMNS = {
    "customer_id": CustomerRow.id,
    "name": CustomerRow.name,
    "key": CustomerRow.key,
    "primary_email": CustomerRow.primary_email,
    "created_at": CustomerRow.created_at,
}


async def profile(
    session: ReadSession, namespace: str, profile_id: str, *, hold: Literal["share", "update"] | None = None
) -> ProfileRow | None:
    """Return a profile, deleted or not, as the database has it now; `hold` locks it until the transaction ends."""
    query = select(ProfileRow).where(ProfileRow.namespace == namespace, ProfileRow.id == profile_id)
    if hold is not None:
        query = query.with_for_update(read=hold == "share")
    return await session.scalar(query.execution_options(populate_existing=True))


async def profiles(session: ReadSession, namespace: str, ids: Collection[str]) -> Sequence[ProfileRow]:
    """Return the profiles of these ids, deleted or not."""
    query = select(ProfileRow).where(ProfileRow.namespace == namespace, _one_of(ProfileRow.id, ids))
    return (await session.scalars(query)).all()


def _one_of(column: Column, values: Collection[str]) -> ColumnElement[bool]:
    # One array parameter instead of IN: a statement takes 32767 parameters at most.
    return column == any_(bindparam(None, list(values), type_=ARRAY(String)))


async def default(session: ReadSession, namespace: str) -> ProfileRow | None:
    """Return the namespace's default profile."""
    return await session.scalar(
        select(ProfileRow).where(
            ProfileRow.namespace == namespace, ProfileRow.is_default, ProfileRow.deleted_at.is_(None)
        )
    )


async def override(session: ReadSession, namespace: str, customer_id: str) -> OverrideRow | None:
    """Return the customer's live override as the database has it now."""
    found = await override_ever(session, namespace, customer_id)
    return None if found is None or found.deleted_at is not None else found


async def override_ever(session: ReadSession, namespace: str, customer_id: str) -> OverrideRow | None:
    """Return the customer's override as the database has it now, deleted or not."""
    query = select(OverrideRow).where(OverrideRow.namespace == namespace, OverrideRow.customer_id == customer_id)
    return await session.scalar(query.execution_options(populate_existing=True))


async def overrides(session: ReadSession, namespace: str, customer_ids: Collection[str]) -> Sequence[OverrideRow]:
    """Return the live overrides of customers."""
    query = select(OverrideRow).where(
        OverrideRow.namespace == namespace,
        _one_of(OverrideRow.customer_id, customer_ids),
        OverrideRow.deleted_at.is_(None),
    )
    return (await session.scalars(query)).all()


async def is_pinned_to(session: ReadSession, namespace: str, profile_id: str) -> bool:
    """Tell whether a live customer is pinned to a profile."""
    query = (
        select(OverrideRow.id)
        .join(CustomerRow, CustomerRow.id == OverrideRow.customer_id)
        .where(
            OverrideRow.namespace == namespace,
            OverrideRow.profile_id == profile_id,
            OverrideRow.deleted_at.is_(None),
            CustomerRow.deleted_at.is_(None),
        )
    )
    return (await session.execute(query.limit(1))).first() is not None


async def pin(session: WriteSession, namespace: str, customer_ids: Sequence[str], profile_id: str) -> None:
    """Pin customers to a profile. A live override keeps its other settings, a deleted one comes back without any."""
    if not customer_ids:
        return
    now = clock.now()
    rows = [
        {"id": new_id(), "namespace": namespace, "customer_id": customer_id, "profile_id": profile_id}
        | {"created_at": now, "updated_at": now}
        for customer_id in customer_ids
    ]
    revived = OverrideRow.deleted_at.is_not(None)
    settings = {name: case((revived, null()), else_=getattr(OverrideRow, name)) for name in OVERRIDE_SETTINGS}
    statement = insert(OverrideRow)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[OverrideRow.namespace, OverrideRow.customer_id],
            set_=settings
            | {
                "profile_id": statement.excluded.profile_id,
                "created_at": case((revived, statement.excluded.created_at), else_=OverrideRow.created_at),
                "updated_at": statement.excluded.updated_at,
                "deleted_at": null(),
            },
        ),
        rows,
    )


async def release(session: WriteSession, override_id: str) -> bool:
    """Delete an override; tell whether it was live."""
    now = clock.now()
    statement = update(OverrideRow).where(OverrideRow.id == override_id, OverrideRow.deleted_at.is_(None))
    ended = await session.execute(statement.values(deleted_at=now, updated_at=now).returning(OverrideRow.id))
    return ended.first() is not None


async def paying_unpinned(session: ReadSession, namespace: str, at: datetime) -> Sequence[str]:
    """Return the customers that follow the default profile and have a subscription with prices that has not ended."""
    pinned = exists().where(
        OverrideRow.namespace == namespace,
        OverrideRow.customer_id == SubscriptionRow.customer_id,
        OverrideRow.deleted_at.is_(None),
        OverrideRow.profile_id.is_not(None),
    )
    priced = exists().where(
        SubscriptionItemRow.subscription_id == SubscriptionRow.id,
        SubscriptionItemRow.deleted_at.is_(None),
        func.jsonb_typeof(SubscriptionItemRow.rate_card["price"]) == "object",
    )
    query = (
        select(SubscriptionRow.customer_id)
        .distinct()
        .where(
            SubscriptionRow.namespace == namespace,
            SubscriptionRow.deleted_at.is_(None),
            or_(SubscriptionRow.active_to.is_(None), SubscriptionRow.active_to > at),
            priced,
            ~pinned,
        )
    )
    return (await session.scalars(query)).all()


@dataclass(frozen=True, slots=True)
class OverrideFilter:
    """Which live customers a list of overrides shows; conditions are combined with AND.

    Attributes:
        profile_ids: those billed by one of these profiles, pinned to it or following the default.
        unpinned: those that are not pinned to a profile.
        all_customers: also those without an override. Without any of these three: those that have one.
    """

    profile_ids: Collection[str] | None = None
    unpinned: bool = False
    all_customers: bool = False
    customer_ids: Collection[str] | None = None
    name: Condition | None = None
    key: Condition | None = None
    primary_email: Condition | None = None


async def customer_page(
    session: ReadSession, namespace: str, chosen: OverrideFilter, sorts: Sequence[Sort], page: PageRequest
) -> tuple[list[str], int]:
    """Return the ids of one page of live customers, and how many match."""
    live = exists().where(
        OverrideRow.namespace == namespace,
        OverrideRow.customer_id == CustomerRow.id,
        OverrideRow.deleted_at.is_(None),
    )
    clauses = [CustomerRow.namespace == namespace, CustomerRow.deleted_at.is_(None)]
    if chosen.profile_ids is not None:
        billed_by = Condition((Check(Operator.OEQ, tuple(chosen.profile_ids)),))
        clauses.append(CustomerRow.id.in_(customers_on(namespace, billed_by)))
    elif chosen.unpinned:
        clauses.append(~live.where(OverrideRow.profile_id.is_not(None)))
    elif not chosen.all_customers:
        clauses.append(live)
    if chosen.customer_ids is not None:
        clauses.append(_one_of(CustomerRow.id, chosen.customer_ids))
    asked = (
        (chosen.name, CustomerRow.name),
        (chosen.key, CustomerRow.key),
        (chosen.primary_email, CustomerRow.primary_email),
    )
    clauses += [condition.clause(column) for condition, column in asked if condition is not None]
    rows, total = await page_of(session, CustomerRow, clauses, sorts, CUSTOMER_SORT_COLUMNS, page, last=CustomerRow.id)
    return [row.id for row in rows], total


async def listed(
    session: ReadSession, namespace: str, page: PageRequest, *, include_deleted: bool, sort: Sort
) -> tuple[Sequence[ProfileRow], int]:
    """Return one page of profiles, and how many there are."""
    clauses = [ProfileRow.namespace == namespace]
    if not include_deleted:
        clauses.append(ProfileRow.deleted_at.is_(None))
    return await page_of(session, ProfileRow, clauses, [sort], SORT_COLUMNS, page, last=ProfileRow.id)


def customers_on(namespace: str, profile_id: Condition) -> Select[Any]:
    """Return the query of customer ids whose effective profile meets `profile_id`.

    That is the profile pinned by the live override, else the default one; without either it is none (customers
    section 5).
    """
    default_id = select(ProfileRow.id).where(
        ProfileRow.namespace == namespace, ProfileRow.is_default, ProfileRow.deleted_at.is_(None)
    )
    effective = func.coalesce(OverrideRow.profile_id, default_id.scalar_subquery())
    pinned = (OverrideRow.customer_id == CustomerRow.id) & OverrideRow.deleted_at.is_(None)
    return (
        select(CustomerRow.id)
        .outerjoin(OverrideRow, pinned)
        .where(CustomerRow.namespace == namespace, profile_id.clause(effective))
    )
