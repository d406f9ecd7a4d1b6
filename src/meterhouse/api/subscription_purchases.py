"""What routes of both APIs do to the add-ons of a subscription: change them, commit, and let billing follow."""

from collections.abc import Callable

from meterhouse.api.services import Services
from meterhouse.api.subscription_changes import bring_billing_up
from meterhouse.subscriptions.addons import service
from meterhouse.subscriptions.addons.purchase import Purchase
from meterhouse.subscriptions.addons.service import NewPurchase
from meterhouse.subscriptions.timing import Timing

# Refuses what the caller's API cannot show; called before the change is committed.
Guard = Callable[[Purchase], None]


def anything(_: Purchase) -> None:
    """Refuse nothing."""


async def buy(
    services: Services,
    namespace: str,
    subscription_id: str,
    new: NewPurchase,
    guard: Guard = anything,
    *,
    or_change: bool = False,
) -> Purchase:
    """Take an add-on; with `or_change` one that is there already only changes its quantity."""
    async with services.db.write() as session:
        bought = await service.buy(session, namespace, subscription_id, new, or_change=or_change)
        guard(bought)
    await bring_billing_up(services, bought.subscription)
    return bought


async def change_quantity(
    services: Services,
    namespace: str,
    subscription_id: str,
    purchase_id: str,
    quantity: int,
    timing: Timing,
    guard: Guard = anything,
) -> Purchase:
    """Set how many there are from an instant on."""
    async with services.db.write() as session:
        changed = await service.change_quantity(session, namespace, subscription_id, purchase_id, quantity, timing)
        guard(changed)
    await bring_billing_up(services, changed.subscription)
    return changed
