"""Reading subscriptions (subscriptions section 13)."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select

from meterhouse.catalog.features import Feature
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Condition, Sort, equals
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import NotFound
from meterhouse.kernel.pages import Page, PageRequest
from meterhouse.subscriptions import repository
from meterhouse.subscriptions.models import SubscriptionRow
from meterhouse.subscriptions.repository import SubscriptionFilter
from meterhouse.subscriptions.status import Status
from meterhouse.subscriptions.views import SubscriptionView

OLDEST_FIRST = (Sort("active_from"),)
NEWEST_FIRST = (Sort("active_from", descending=True),)


async def load_row(
    session: ReadSession, namespace: str, subscription_id: str, *, include_deleted: bool = False
) -> SubscriptionRow:
    """Return a subscription's row as it is stored now.

    Raises:
        NotFound: no such id, or it was deleted.
    """
    row = await repository.by_id(session, namespace, subscription_id)
    if row is None or (row.deleted_at is not None and not include_deleted):
        raise NotFound(f"subscription not found: {subscription_id}")
    return row


async def load(
    session: ReadSession, namespace: str, subscription_id: str, *, include_deleted: bool = False
) -> SubscriptionView:
    """Return a subscription with its whole schedule.

    Raises:
        NotFound: no such id, or it was deleted and deleted ones are not asked for.
    """
    row = await load_row(session, namespace, subscription_id, include_deleted=include_deleted)
    return (await repository.views(session, [row]))[0]


async def load_many(session: ReadSession, namespace: str, ids: Collection[str]) -> dict[str, SubscriptionView]:
    """Return the subscriptions of these ids, deleted ones too, by id; unknown ids are left out."""
    rows = await repository.by_ids(session, namespace, ids)
    return {view.id: view for view in await repository.views(session, rows)}


async def list_subscriptions(
    session: ReadSession,
    namespace: str,
    chosen: SubscriptionFilter,
    *,
    sorts: Sequence[Sort] = OLDEST_FIRST,
    page: PageRequest | None = None,
) -> Page[SubscriptionView]:
    """Return a page of live subscriptions, or all on one page of number and size 0."""
    rows, total = await repository.listed(session, namespace, chosen, sorts, page)
    return Page(await repository.views(session, rows), total, page or PageRequest(0, 0))


async def list_for_customer(
    session: ReadSession,
    namespace: str,
    customer_id: str,
    *,
    statuses: Collection[Status] = (),
    sorts: Sequence[Sort] = NEWEST_FIRST,
    page: PageRequest | None = None,
) -> Page[SubscriptionView]:
    """Return the live subscriptions of one customer."""
    chosen = SubscriptionFilter(at=clock.now(), customer_id=equals(customer_id), statuses=statuses)
    return await list_subscriptions(session, namespace, chosen, sorts=sorts, page=page)


async def running_of(session: ReadSession, namespace: str, customer_ids: Collection[str]) -> list[SubscriptionView]:
    """Return the subscriptions of these customers that run now, canceled ones included, in order of their start."""
    rows = await repository.running_of(session, namespace, customer_ids, clock.now())
    return await repository.views(session, rows)


def customers_on_plan(namespace: str, plan_key: Condition) -> Select[Any]:
    """Return the query of customer ids that have a subscription running now from a plan whose key meets `plan_key`."""
    return repository.customers_on_plan(namespace, plan_key, clock.now())


async def active_between(session: ReadSession, start: datetime, end: datetime) -> list[tuple[str, str]]:
    """Return namespace and id of the live subscriptions of all tenants that run at some instant of [start, end]."""
    return await repository.active_between(session, start, end)


async def feature_use(session: ReadSession, namespace: str, feature: Feature) -> str | None:
    """Tell why a feature is still needed: subscriptions that have not ended and name its key. None when none does."""
    count = await repository.count_using_feature(session, namespace, feature.key, clock.now())
    return f"{count} subscription(s) use it" if count else None
