"""Queries on billing profiles and customer overrides."""

from collections.abc import Sequence

from sqlalchemy import func, select

from meterhouse.billing.profiles.models import OverrideRow, ProfileRow
from meterhouse.kernel.conditions import Sort, order_by
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
