"""Queries on the add-ons of subscriptions."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from meterhouse.catalog.addons.models import AddonRow
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Sort, order_by
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.paged import page_of
from meterhouse.kernel.pages import PageRequest
from meterhouse.subscriptions.addons.instances import Instance, QuantityChange, instances
from meterhouse.subscriptions.addons.models import (
    SubscriptionAddonQuantityRow,
    SubscriptionAddonRow,
    SubscriptionBaseRow,
)

SORT_COLUMNS = {
    "id": SubscriptionAddonRow.id,
    "created_at": SubscriptionAddonRow.created_at,
    "updated_at": SubscriptionAddonRow.updated_at,
}
OLDEST_FIRST = (Sort("created_at"),)


async def find(session: ReadSession, namespace: str, purchase_id: str) -> SubscriptionAddonRow | None:
    """Return the row of that id."""
    row = await session.get(SubscriptionAddonRow, purchase_id)
    return row if row is not None and row.namespace == namespace else None


async def listed(
    session: ReadSession, namespace: str, subscription_id: str, sorts: Sequence[Sort], page: PageRequest | None
) -> tuple[Sequence[SubscriptionAddonRow], int]:
    """Return one page of a subscription's add-ons, or all of them without `page`, and how many there are."""
    clauses = [SubscriptionAddonRow.namespace == namespace, SubscriptionAddonRow.subscription_id == subscription_id]
    last = SubscriptionAddonRow.id
    if page is not None:
        return await page_of(session, SubscriptionAddonRow, clauses, sorts, SORT_COLUMNS, page, last=last)
    query = select(SubscriptionAddonRow).where(*clauses).order_by(*order_by(sorts, SORT_COLUMNS, last=last))
    rows = (await session.scalars(query)).all()
    return rows, len(rows)


async def timelines(session: ReadSession, purchase_ids: Sequence[str]) -> dict[str, tuple[Instance, ...]]:
    """Return how many there are of each add-on in time, by the id of the purchase."""
    query = (
        select(SubscriptionAddonQuantityRow)
        .where(SubscriptionAddonQuantityRow.subscription_addon_id.in_(purchase_ids))
        .order_by(SubscriptionAddonQuantityRow.created_at, SubscriptionAddonQuantityRow.id)
    )
    changes: dict[str, list[QuantityChange]] = {one: [] for one in purchase_ids}
    for row in await session.scalars(query):
        changes[row.subscription_addon_id].append(QuantityChange(row.active_from, row.quantity))
    return {one: instances(made) for one, made in changes.items()}


async def giving(
    session: ReadSession, namespace: str, subscription_id: str, *, since: datetime | None = None
) -> list[str]:
    """Return the ids of the purchases that give a subscription something at any time, past or future.

    `since`: only at that instant or later.
    """
    rows, _ = await listed(session, namespace, subscription_id, OLDEST_FIRST, None)
    found = await timelines(session, [row.id for row in rows])

    def counts(one: Instance) -> bool:
        return one.gives() and (since is None or one.active_to is None or one.active_to > since)

    return [purchase_id for purchase_id, timeline in found.items() if any(counts(one) for one in timeline)]


async def addon_keys(session: ReadSession, purchase_ids: Sequence[str]) -> list[str]:
    """Return the keys of the add-ons of purchases, in alphabetical order."""
    query = select(AddonRow.key).join(SubscriptionAddonRow, SubscriptionAddonRow.addon_id == AddonRow.id)
    return sorted(await session.scalars(query.where(SubscriptionAddonRow.id.in_(purchase_ids)).distinct()))


async def set_quantity(session: WriteSession, row: SubscriptionAddonRow, change: QuantityChange) -> None:
    """Store a quantity of a purchase, and the purchase where it is new."""
    row.updated_at = clock.now()
    session.add(row)
    await session.flush()
    session.add(
        SubscriptionAddonQuantityRow(
            namespace=row.namespace,
            subscription_addon_id=row.id,
            active_from=change.active_from,
            quantity=change.quantity,
        )
    )
    await session.flush()


async def base_items(session: ReadSession, namespace: str, subscription_id: str) -> Mapping[str, Any]:
    """Return the items of a subscription without its add-ons, in the form of `baseline`."""
    query = select(SubscriptionBaseRow.items).where(
        SubscriptionBaseRow.namespace == namespace, SubscriptionBaseRow.subscription_id == subscription_id
    )
    return (await session.scalars(query)).one()


async def keep_base_items(
    session: WriteSession, namespace: str, subscription_id: str, items: Mapping[str, Any]
) -> None:
    """Store the items of a subscription without add-ons, in place of what was stored of it before."""
    values = {"items": dict(items), "namespace": namespace, "subscription_id": subscription_id}
    statement = insert(SubscriptionBaseRow).values(values)
    await session.execute(
        statement.on_conflict_do_update(index_elements=["subscription_id"], set_={"items": statement.excluded["items"]})
    )
