"""Queries on sync states and on what became due."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, any_, bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import String

from meterhouse.billing.sync.models import SyncStateRow
from meterhouse.kernel.db import ReadSession
from meterhouse.subscriptions.models import SubscriptionRow
from meterhouse.subscriptions.views import PREVIOUS, SubscriptionView


class Subscription(NamedTuple):
    """Whose a subscription is, and which version of it is stored."""

    customer_id: str
    version: datetime


async def subscription(session: ReadSession, namespace: str, subscription_id: str) -> Subscription | None:
    """Return what a subscription is known by before its lock is held, deleted or not; None for an unknown one."""
    query = select(SubscriptionRow.customer_id, SubscriptionRow.updated_at).where(
        SubscriptionRow.namespace == namespace, SubscriptionRow.id == subscription_id
    )
    row = (await session.execute(query)).first()
    return None if row is None else Subscription(row.customer_id, row.updated_at)


async def replaced(session: ReadSession, view: SubscriptionView) -> list[str]:
    """Return the subscriptions whose place this one took, one after the other."""
    previous = view.annotations.get(PREVIOUS)
    if previous is None:
        return []
    in_namespace = SubscriptionRow.namespace == view.namespace
    chain = select(SubscriptionRow.id, SubscriptionRow.annotations).where(in_namespace, SubscriptionRow.id == previous)
    found = chain.cte("chain", recursive=True)
    before = select(SubscriptionRow.id, SubscriptionRow.annotations).where(
        in_namespace, SubscriptionRow.id == found.c.annotations[PREVIOUS].astext
    )
    return list(await session.scalars(select(found.union(before).c.id)))


async def ended(
    session: ReadSession, namespace: str, customer_id: str, since: datetime, now: datetime
) -> Sequence[str]:
    """Return the customer's subscriptions that are deleted, or whose end lies between `since` and `now`."""
    query = select(SubscriptionRow.id).where(
        SubscriptionRow.namespace == namespace,
        SubscriptionRow.customer_id == customer_id,
        or_(SubscriptionRow.deleted_at.is_not(None), SubscriptionRow.active_to.between(since, now)),
    )
    return (await session.scalars(query.order_by(SubscriptionRow.id))).all()


async def state(session: ReadSession, subscription_id: str) -> SyncStateRow | None:
    """Return the state of a subscription as the database has it now."""
    query = select(SyncStateRow).where(SyncStateRow.subscription_id == subscription_id)
    return await session.scalar(query.execution_options(populate_existing=True))


async def states(session: ReadSession, subscription_ids: Collection[str]) -> dict[str, SyncStateRow]:
    """Return the states of subscriptions, by subscription."""
    wanted = any_(bindparam(None, list(subscription_ids), type_=ARRAY(String)))
    rows = await session.scalars(select(SyncStateRow).where(SyncStateRow.subscription_id == wanted))
    return {row.subscription_id: row for row in rows}


def _unseen() -> ColumnElement[bool]:
    """A subscription that changed since it was last tried, or that never was; a deleted one needs no first sync."""
    return or_(
        and_(SyncStateRow.subscription_id.is_(None), SubscriptionRow.deleted_at.is_(None)),
        SyncStateRow.subscription_version != SubscriptionRow.updated_at,
    )


async def next_due(session: ReadSession) -> datetime | None:
    """Return when the first sync is due; one that no event brought about is due since the subscription changed."""
    by_time = await session.scalar(select(func.min(SyncStateRow.due_at)))
    missed = await session.scalar(
        select(func.min(SubscriptionRow.updated_at))
        .outerjoin(SyncStateRow, SyncStateRow.subscription_id == SubscriptionRow.id)
        .where(_unseen())
    )
    return min((instant for instant in (by_time, missed) if instant is not None), default=None)


async def due(session: ReadSession, at: datetime, after: str, limit: int) -> list[tuple[str, str]]:
    """Return namespace and id of subscriptions of all tenants that are due at `at`, in order of id from `after` on."""
    query = (
        select(SubscriptionRow.namespace, SubscriptionRow.id)
        .outerjoin(SyncStateRow, SyncStateRow.subscription_id == SubscriptionRow.id)
        .where(or_(SyncStateRow.due_at <= at, _unseen()), SubscriptionRow.id > after)
        .order_by(SubscriptionRow.id)
        .limit(limit)
    )
    return [(namespace, subscription_id) for namespace, subscription_id in await session.execute(query)]
