"""Queries of plan migrations."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, insert, literal, or_, select

from meterhouse.billing.planmigrations.models import MigratedSubscriptionRow, PlanMigrationRow
from meterhouse.billing.planmigrations.values import Outcome
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.pages import PageRequest
from meterhouse.subscriptions.models import SubscriptionRow


async def by_id(session: ReadSession, namespace: str, migration_id: str) -> PlanMigrationRow | None:
    """Return a migration."""
    return await session.scalar(
        select(PlanMigrationRow).where(PlanMigrationRow.namespace == namespace, PlanMigrationRow.id == migration_id)
    )


async def locked(session: WriteSession, migration_id: str, *, shared: bool) -> PlanMigrationRow:
    """Return a migration as it is now and hold it so until the transaction ends.

    `shared` is for those who work on its subscriptions: they do not keep each other out, only whoever ends it.
    """
    found = await session.scalars(
        select(PlanMigrationRow)
        .where(PlanMigrationRow.id == migration_id)
        .with_for_update(read=shared)
        .execution_options(populate_existing=True)
    )
    return found.one()


async def page(
    session: ReadSession, namespace: str, plan_id: str, request: PageRequest
) -> tuple[Sequence[PlanMigrationRow], int]:
    """Return one page of the migrations from a plan version, the latest first, and how many there are."""
    where = (PlanMigrationRow.namespace == namespace, PlanMigrationRow.plan_id == plan_id)
    total = await session.scalar(select(func.count()).select_from(PlanMigrationRow).where(*where))
    query = select(PlanMigrationRow).where(*where).order_by(PlanMigrationRow.id.desc())
    rows = await session.scalars(query.offset(request.offset).limit(request.size))
    return rows.all(), total or 0


async def enlist(session: WriteSession, migration: PlanMigrationRow, at: datetime) -> None:
    """Give a migration every live subscription of its plan version that has not ended at `at`."""
    chosen = select(
        literal(migration.id), SubscriptionRow.id, SubscriptionRow.customer_id, literal(Outcome.PENDING.value)
    ).where(
        SubscriptionRow.namespace == migration.namespace,
        SubscriptionRow.plan_id == migration.plan_id,
        SubscriptionRow.deleted_at.is_(None),
        or_(SubscriptionRow.active_to.is_(None), SubscriptionRow.active_to > at),
    )
    columns = ["migration_id", "subscription_id", "customer_id", "outcome"]
    await session.execute(insert(MigratedSubscriptionRow).from_select(columns, chosen))


async def counts(session: ReadSession, migration_ids: Sequence[str]) -> dict[str, dict[Outcome, int]]:
    """Return how many subscriptions of each migration have each outcome."""
    row = MigratedSubscriptionRow
    query = (
        select(row.migration_id, row.outcome, func.count())
        .where(row.migration_id.in_(migration_ids))
        .group_by(row.migration_id, row.outcome)
    )
    found: dict[str, dict[Outcome, int]] = {one: dict.fromkeys(Outcome, 0) for one in migration_ids}
    for migration_id, outcome, count in await session.execute(query):
        found[migration_id][Outcome(outcome)] = count
    return found


async def next_pending(session: WriteSession, migration_id: str) -> MigratedSubscriptionRow | None:
    """Return a subscription that is still to be done and that nobody else works on, held until the transaction ends."""
    row = MigratedSubscriptionRow
    return await session.scalar(
        select(row)
        .where(row.migration_id == migration_id, row.outcome == Outcome.PENDING.value)
        .order_by(row.subscription_id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


async def subscriptions(
    session: ReadSession, migration_id: str, outcome: Outcome | None, request: PageRequest
) -> tuple[Sequence[MigratedSubscriptionRow], int]:
    """Return one page of a migration's subscriptions in order of id, and how many there are."""
    row = MigratedSubscriptionRow
    where = [row.migration_id == migration_id]
    if outcome is not None:
        where.append(row.outcome == outcome.value)
    total = await session.scalar(select(func.count()).select_from(row).where(*where))
    query = select(row).where(*where).order_by(row.subscription_id).offset(request.offset).limit(request.size)
    return (await session.scalars(query)).all(), total or 0
