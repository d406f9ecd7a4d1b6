"""What routes of both APIs do to a subscription: change it, commit, and let billing follow."""

from collections.abc import Callable, Sequence
from datetime import datetime

from meterhouse.api.services import Services
from meterhouse.customers import service as customers
from meterhouse.kernel.errors import invalid
from meterhouse.subscriptions import service
from meterhouse.subscriptions.patches import Patch
from meterhouse.subscriptions.service import Changed, Migration, NewSubscription, PlanChange
from meterhouse.subscriptions.timing import Timing
from meterhouse.subscriptions.views import SubscriptionView

# Refuses a subscription that the caller's API cannot show; called before the change is committed.
Guard = Callable[[SubscriptionView], None]


def _any(_: SubscriptionView) -> None:
    """Refuse nothing."""


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


async def edit(
    services: Services, namespace: str, subscription_id: str, wishes: Sequence[Patch], timing: Timing
) -> SubscriptionView:
    """Change items and phases of a subscription."""
    async with services.db.write() as session:
        view = await service.edit(session, namespace, subscription_id, wishes, timing)
    await bring_billing_up(services, view)
    return view


async def change(
    services: Services,
    namespace: str,
    subscription_id: str,
    wanted: PlanChange,
    guard: Guard = _any,
    *,
    customer: str | None = None,
) -> Changed:
    """Put a subscription to another plan in the place of a subscription.

    `customer`: id or key of whose it must be, where the request names one.
    """
    async with services.db.write() as session:
        if customer is not None:
            owner = (await service.load(session, namespace, subscription_id)).customer_id
            if (await customers.get_by_id_or_key(session, namespace, customer)).id != owner:
                raise invalid(f"the subscription is not one of customer {customer}", field="$.customer")
        changed = await service.change(
            session, namespace, subscription_id, wanted, credits_enabled=services.credits_enabled
        )
        guard(changed.next)
    return await _both_brought_up(services, changed)


async def migrate(
    services: Services, namespace: str, subscription_id: str, wanted: Migration, guard: Guard = _any
) -> Changed:
    """Let a subscription go on with a newer version of its plan."""
    async with services.db.write() as session:
        changed = await service.migrate(
            session, namespace, subscription_id, wanted, credits_enabled=services.credits_enabled
        )
        guard(changed.next)
    return await _both_brought_up(services, changed)


async def _both_brought_up(services: Services, changed: Changed) -> Changed:
    await bring_billing_up(services, changed.current, changed.current.active_to)
    await bring_billing_up(services, changed.next)
    return changed


async def restore(services: Services, namespace: str, subscription_id: str) -> SubscriptionView:
    """Take away the end of a subscription and what was to follow it."""
    async with services.db.write() as session:
        restored = await service.restore(session, namespace, subscription_id)
    for deleted in restored.deleted:
        await bring_billing_up(services, deleted)
    await bring_billing_up(services, restored.subscription)
    return restored.subscription
