"""What routes of both APIs do to a subscription: change it, commit, and let billing follow."""

from collections.abc import Callable
from datetime import datetime

from meterhouse.api.services import Services
from meterhouse.customers import service as customers
from meterhouse.subscriptions import service
from meterhouse.subscriptions.service import NewSubscription
from meterhouse.subscriptions.timing import Timing
from meterhouse.subscriptions.views import SubscriptionView


async def bring_billing_up(services: Services, view: SubscriptionView, as_of: datetime | None = None) -> None:
    """Bring billing up to date with a change that is committed, up to `as_of` or now (subscription-sync section 6).

    It runs in its own transaction: what was bought stands even where billing cannot follow at once, and the answer
    comes when the charges of the change are there.
    """
    if services.subscription_changed is not None:
        await services.subscription_changed(view.namespace, view.id, as_of)


async def create(
    services: Services, namespace: str, customer: str, read: Callable[[str], NewSubscription]
) -> SubscriptionView:
    """Make a subscription for the customer of that id or key; `read` reads it, given the customer's id."""
    async with services.db.write() as session:
        found = await customers.get_live(session, namespace, customer)
        view = await service.create(session, namespace, read(found.id), credits_enabled=services.credits_enabled)
    await bring_billing_up(services, view)
    return view


async def cancel(services: Services, namespace: str, subscription_id: str, timing: Timing) -> SubscriptionView:
    """Set the end of a subscription and bring billing up to it."""
    async with services.db.write() as session:
        view = await service.cancel(session, namespace, subscription_id, timing)
    await bring_billing_up(services, view, view.active_to)
    return view


async def go_on(services: Services, namespace: str, subscription_id: str) -> SubscriptionView:
    """Take the end of a subscription away."""
    async with services.db.write() as session:
        view = await service.unschedule_cancelation(session, namespace, subscription_id)
    await bring_billing_up(services, view)
    return view
