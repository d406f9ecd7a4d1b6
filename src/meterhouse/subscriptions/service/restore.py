"""Taking back that something else was to follow a subscription (subscriptions section 8)."""

from dataclasses import dataclass

from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.subscriptions import repository
from meterhouse.subscriptions.service.cancel import end_at
from meterhouse.subscriptions.service.delete import remove
from meterhouse.subscriptions.service.update import locked
from meterhouse.subscriptions.status import Command, require
from meterhouse.subscriptions.views import SubscriptionView


@dataclass(frozen=True, slots=True)
class Restored:
    """The subscription that runs on, and those that were deleted for it."""

    subscription: SubscriptionView
    deleted: tuple[SubscriptionView, ...]


async def restore(session: WriteSession, namespace: str, subscription_id: str) -> Restored:
    """Let a canceled subscription run on, and delete the customer's subscriptions that were to follow it.

    Raises:
        NotFound: no such subscription.
        Forbidden: it is not canceled, or what follows it has started.
    """
    row, view = await locked(session, namespace, subscription_id)
    now = clock.now()
    require(view, Command.CONTINUE, now)
    rows = await repository.not_ended(session, namespace, row.customer_id, now)
    others = [other for other in rows if other.id != row.id]
    followers = await repository.views(session, others)
    for follower in followers:
        require(follower, Command.DELETE, now)
    for other in others:
        await remove(session, other, now)
    return Restored(await end_at(session, row, None), tuple(followers))
