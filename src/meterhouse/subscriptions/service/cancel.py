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
from meterhouse.subscriptions.uniqueness import Span
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
    require(view, Command.CONTINUE, clock.now())
    others = await repository.not_ended(session, namespace, row.customer_id, row.active_from)
    spans = [Span(other.active_from, other.active_to) for other in others if other.id != row.id]
    if uniqueness.overlap([*spans, Span(row.active_from, None)]):
        raise uniqueness.refusal()
    try:
        return await end_at(session, row, None)
    except IntegrityError as error:
        if violated(error) == ONE_AT_A_TIME:
            raise uniqueness.refusal() from error
        raise
