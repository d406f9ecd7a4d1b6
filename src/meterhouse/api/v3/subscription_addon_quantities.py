"""Changing how many of an add-on a subscription has; no part of the contract.

With it an add-on that v1 cannot show is changed and dropped too.
"""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from meterhouse.api import subscription_purchases as purchases
from meterhouse.api.deps import Namespace, ServicesDep
from meterhouse.api.problems import errors
from meterhouse.api.timing import SubscriptionTiming
from meterhouse.api.v3.subscription_addons import SubscriptionAddon, SubscriptionAddonId
from meterhouse.api.v3.subscriptions import SubscriptionId
from meterhouse.api.wire import V3Model

router = APIRouter(tags=["Subscription add-ons"])


class UpdateSubscriptionAddonRequest(V3Model):
    """Another quantity, from an instant on."""

    quantity: Annotated[int, Field(ge=0, description="How many; 0 removes the add-on.")]
    timing: SubscriptionTiming = Field(description="From when on: any instant at which the subscription runs.")


@router.patch(
    "/api/v3/meterhouse/subscriptions/{subscriptionId}/addons/{subscriptionAddonId}",
    operation_id="updateSubscriptionAddon",
    summary="Change how many of an add-on there are",
    responses=errors("v3", 400, 401, 403, 404, 409, 500, 503),
)
async def update_subscription_addon(
    subscription_id: SubscriptionId,
    subscription_addon_id: SubscriptionAddonId,
    body: UpdateSubscriptionAddonRequest,
    namespace: Namespace,
    services: ServicesDep,
) -> SubscriptionAddon:
    """Set the quantity of an add-on from an instant on, until the next change that is already known."""
    changed = await purchases.change_quantity(
        services, namespace, subscription_id, subscription_addon_id, body.quantity, body.timing
    )
    return SubscriptionAddon.of(changed)
