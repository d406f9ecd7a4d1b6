"""What every route does after it changed a subscription."""

from datetime import datetime

from meterhouse.api.services import Services
from meterhouse.subscriptions.views import SubscriptionView


async def bring_billing_up(services: Services, view: SubscriptionView, as_of: datetime | None = None) -> None:
    """Bring billing up to date with a change that is committed, up to `as_of` or now (subscription-sync section 6).

    It runs in its own transaction: what was bought stands even where billing cannot follow at once, and the answer
    comes when the charges of the change are there.
    """
    if services.subscription_changed is not None:
        await services.subscription_changed(view.namespace, view.id, as_of)
