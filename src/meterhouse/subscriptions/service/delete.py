"""Deleting a subscription that has not started (subscriptions section 8)."""

from datetime import datetime

from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.subscriptions import access, links, repository
from meterhouse.subscriptions.models import SubscriptionRow
from meterhouse.subscriptions.service.update import locked
from meterhouse.subscriptions.status import Command, require


async def delete(session: WriteSession, namespace: str, subscription_id: str) -> None:
    """Delete a scheduled subscription with its schedule. What it was to follow stays canceled.

    Raises:
        NotFound: no such subscription.
        Forbidden: it has started.
    """
    row, view = await locked(session, namespace, subscription_id)
    now = clock.now()
    require(view, Command.DELETE, now)
    await remove(session, row, now)


async def remove(session: WriteSession, row: SubscriptionRow, now: datetime) -> None:
    """Delete a subscription of a locked customer, whatever its status.

    All of it at the same `now`: by that the schedule is found that it had.
    """
    await repository.delete_schedule(session, row.id, now)
    await links.unlink(session, row)
    row.touch()
    row.deleted_at = now
    await session.flush()
    await access.follow(session, (await repository.views(session, [row]))[0])
