"""v1 operations that change what a customer is subscribed to. A change is committed first; billing follows it."""

from typing import Annotated

from fastapi import APIRouter, Body
from pydantic import Discriminator, Tag

from meterhouse.api import fields
from meterhouse.api import subscription_changes as changes
from meterhouse.api.deps import Namespace, ServicesDep
from meterhouse.api.problems import errors
from meterhouse.api.services import Services
from meterhouse.api.v1.subscription_change_schemas import (
    CustomSubscriptionChange,
    PlanSubscriptionChange,
    SubscriptionChangeResponseBody,
    SubscriptionEdit,
    SubscriptionMigrate,
)
from meterhouse.api.v1.subscription_schemas import Subscription
from meterhouse.api.v1.subscriptions import (
    FAILURES,
    FIELD_NAMES,
    ONE,
    SubscriptionId,
    expanded,
    kind_of,
    refuse_beyond_v1,
)
from meterhouse.subscriptions.service import Changed

router = APIRouter(tags=["Subscriptions"])

SubscriptionChange = Annotated[
    Annotated[PlanSubscriptionChange, Tag("of a plan")] | Annotated[CustomSubscriptionChange, Tag("of its own")],
    Discriminator(kind_of),
]


@router.patch(ONE, operation_id="editSubscription", summary="Edit a subscription", responses=errors("v1", *FAILURES))
async def edit_subscription(
    subscription_id: SubscriptionId, body: SubscriptionEdit, namespace: Namespace, services: ServicesDep
) -> Subscription:
    """Change items and phases of an active subscription, all patches or none."""
    wishes = [patch.to_value() for patch in body.customizations]
    return Subscription.of(await changes.edit(services, namespace, subscription_id, wishes, body.timing))


async def _shown(services: Services, changed: Changed) -> SubscriptionChangeResponseBody:
    async with services.db.read() as session:
        following = await expanded(session, changed.next)
    return SubscriptionChangeResponseBody(current=Subscription.of(changed.current), next=following)


@router.post(
    ONE + "/change",
    operation_id="changeSubscription",
    summary="Change the plan of a subscription",
    responses=errors("v1", *FAILURES),
)
async def change_subscription(
    subscription_id: SubscriptionId,
    body: Annotated[SubscriptionChange, Body()],
    namespace: Namespace,
    services: ServicesDep,
) -> SubscriptionChangeResponseBody:
    """End an active subscription and begin one to another plan at that instant. Billing dates stay."""
    with fields.named(FIELD_NAMES):
        changed = await changes.change(services, namespace, subscription_id, body.to_value(), refuse_beyond_v1)
    return await _shown(services, changed)


@router.post(
    ONE + "/migrate",
    operation_id="migrateSubscription",
    summary="Migrate a subscription to a newer version of its plan",
    responses=errors("v1", *FAILURES),
)
async def migrate_subscription(
    subscription_id: SubscriptionId, body: SubscriptionMigrate, namespace: Namespace, services: ServicesDep
) -> SubscriptionChangeResponseBody:
    """End an active subscription and begin one to a newer version of its plan at that instant."""
    with fields.named(FIELD_NAMES):
        changed = await changes.migrate(services, namespace, subscription_id, body.to_value(), refuse_beyond_v1)
    return await _shown(services, changed)


@router.post(
    ONE + "/restore",
    operation_id="restoreSubscription",
    summary="Take back a scheduled change of a subscription",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def restore_subscription(
    subscription_id: SubscriptionId, namespace: Namespace, services: ServicesDep
) -> Subscription:
    """Let a canceled subscription run on, and delete the scheduled ones that were to follow it."""
    return Subscription.of(await changes.restore(services, namespace, subscription_id))
