"""Deleting a subscription that has not started (subscriptions section 8)."""

from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.subscriptions import repository
from meterhouse.subscriptions.service.update import locked
from meterhouse.subscriptions.status import Command, require


async def delete(session: WriteSession, namespace: str, subscription_id: str) -> None:
    """Delete a scheduled subscription with its schedule.

    Raises:
        NotFound: no such subscription.
        Forbidden: it has started.
    """
    row, view = await locked(session, namespace, subscription_id)
    now = clock.now()
    require(view, Command.DELETE, now)
    await repository.delete_schedule(session, subscription_id, now)
    row.deleted_at = row.updated_at = now
    await session.flush()
