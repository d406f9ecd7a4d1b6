"""Queries on billing profiles and customer overrides."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, select

from meterhouse.billing.profiles.models import OverrideRow, ProfileRow
from meterhouse.customers.models import CustomerRow
from meterhouse.kernel.conditions import Condition, Sort, order_by
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.pages import PageRequest

SORT_COLUMNS = {
    "created_at": ProfileRow.created_at,
    "updated_at": ProfileRow.updated_at,
    "default": ProfileRow.is_default,
    "name": ProfileRow.name,
}


async def profile(session: ReadSession, namespace: str, profile_id: str) -> ProfileRow | None:
    """Return a profile, deleted or not."""
    return await session.scalar(
        select(ProfileRow).where(ProfileRow.namespace == namespace, ProfileRow.id == profile_id)
    )


async def default(session: ReadSession, namespace: str) -> ProfileRow | None:
    """Return the namespace's default profile."""
    return await session.scalar(
        select(ProfileRow).where(
            ProfileRow.namespace == namespace, ProfileRow.is_default, ProfileRow.deleted_at.is_(None)
        )
    )


async def override(session: ReadSession, namespace: str, customer_id: str) -> OverrideRow | None:
    """Return the customer's live override."""
    return await session.scalar(
        select(OverrideRow).where(
            OverrideRow.namespace == namespace,
            OverrideRow.customer_id == customer_id,
            OverrideRow.deleted_at.is_(None),
        )
    )


async def listed(
    session: ReadSession, namespace: str, page: PageRequest, *, include_deleted: bool, sort: Sort
) -> tuple[Sequence[ProfileRow], int]:
    """Return one page of profiles, and how many there are."""
    clauses = [ProfileRow.namespace == namespace]
    if not include_deleted:
        clauses.append(ProfileRow.deleted_at.is_(None))
    total = await session.scalar(select(func.count()).select_from(ProfileRow).where(*clauses))
    ordering = order_by([sort], SORT_COLUMNS, last=ProfileRow.id)
    rows = await session.scalars(
        select(ProfileRow).where(*clauses).order_by(*ordering).offset(page.offset).limit(page.size)
    )
    return rows.all(), total or 0


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
