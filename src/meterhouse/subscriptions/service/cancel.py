"""Cancelling a subscription, and taking that back (subscriptions section 8)."""

from datetime import datetime

from sqlalchemy.exc import IntegrityError

from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession, violated
from meterhouse.subscriptions import access, repository, timing, uniqueness
from meterhouse.subscriptions.models import ONE_AT_A_TIME, SubscriptionRow
from meterhouse.subscriptions.service.update import locked
from meterhouse.subscriptions.status import Command, require
from meterhouse.subscriptions.timing import Timing
from meterhouse.subscriptions.views import SubscriptionView


async def end_at(session: WriteSession, row: SubscriptionRow, end: datetime | None) -> SubscriptionView:
    """Set or take away the end, whatever the status."""
    row.active_to = end
    row.touch()
    await session.flush()
    (view,) = await repository.views(session, [row])
    await access.follow(session, view)
    return view


async def cancel(session: WriteSession, namespace: str, subscription_id: str, timing_: Timing) -> SubscriptionView:
    """Set the end of an active subscription. What would run longer is cut to it; nothing is deleted.

    Raises:
        NotFound: no such subscription.
        Forbidden: it is not active.
        InvalidInput: the end has passed, or is no boundary of a billing period or phase.
    """
    row, view = await locked(session, namespace, subscription_id)
    require(view, Command.CANCEL, clock.now())
    return await end_at(session, row, timing.end_of(view, timing_))


async def unschedule_cancelation(session: WriteSession, namespace: str, subscription_id: str) -> SubscriptionView:
    """Take a cancellation back before it takes effect; every interval is again what it was.

    Raises:
        NotFound: no such subscription.
        Forbidden: it is not canceled, or has ended.
        Conflict: another subscription of the customer starts after the end.
    """
    row, view = await locked(session, namespace, subscription_id)
    now = clock.now()
    require(view, Command.CONTINUE, now)
    # Whatever has not ended when this one begins, overlaps with it once it has no end.
    rows = await repository.not_ended(session, namespace, row.customer_id, row.active_from)
    others = await repository.views(session, [other for other in rows if other.id != row.id])
    asked = f"subscription {row.id} would run on; POST /api/v1/subscriptions/{row.id}/restore deletes what follows it"
    if others:
        raise uniqueness.refusal(others, asked, now)
    try:
        return await end_at(session, row, None)
    except IntegrityError as error:
        if violated(error) == ONE_AT_A_TIME:
            raise uniqueness.refusal([], asked, now) from error
        raise
