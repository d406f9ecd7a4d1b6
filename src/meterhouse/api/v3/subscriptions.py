"""v3 subscriptions. A change is committed first; billing follows it in its own transaction."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Request

from meterhouse.api.deps import Namespace, Read, ServicesDep
from meterhouse.api.filters import FieldKind, list_parameters, members_of, parse_filters, parse_sort
from meterhouse.api.paging import V3Page, V3Paging
from meterhouse.api.problems import errors
from meterhouse.api.subscription_changes import cancel, change, create, go_on
from meterhouse.api.v3.subscription_schemas import (
    BillingSubscription,
    BillingSubscriptionCancel,
    BillingSubscriptionChange,
    BillingSubscriptionChangeResponse,
    BillingSubscriptionCreate,
)
from meterhouse.api.wire import Ulid
from meterhouse.kernel import clock
from meterhouse.kernel.errors import invalid
from meterhouse.subscriptions import service
from meterhouse.subscriptions.service.read import OLDEST_FIRST
from meterhouse.subscriptions.status import Status

router = APIRouter(tags=["OpenMeter Subscriptions"])

_PATH = "/api/v3/openmeter/subscriptions"
_ONE = _PATH + "/{subscriptionId}"
_FAILURES = (400, 401, 403, 404, 409)
_SORT_FIELDS = ("id", "active_from", "active_to")
_FIELDS: Mapping[str, FieldKind] = {
    "id": FieldKind.ULID,
    "customer_id": FieldKind.ULID,
    "status": FieldKind.EXACT,
    "plan_id": FieldKind.ULID,
    "plan_key": FieldKind.EXACT,
}

SubscriptionId = Annotated[Ulid, Path(alias="subscriptionId", description="The id of a subscription.")]


@router.post(
    _PATH,
    operation_id="createSubscription",
    summary="Create a subscription",
    status_code=201,
    responses=errors("v3", *_FAILURES, 412),
)
async def create_subscription(
    body: BillingSubscriptionCreate, namespace: Namespace, services: ServicesDep
) -> BillingSubscription:
    """Subscribe a customer to a plan, from now on."""
    named = body.customer.named()
    if named is None:
        raise invalid("either customer.id or customer.key must be provided", field="$.customer")
    return BillingSubscription.of(await create(services, namespace, named, body.to_value))


@router.get(
    _PATH,
    operation_id="listSubscriptions",
    summary="List subscriptions",
    responses=errors("v3", 400, 401, 403, 404),
    openapi_extra=list_parameters(_FIELDS, _SORT_FIELDS),
)
async def list_subscriptions(
    request: Request, session: Read, namespace: Namespace, page: V3Paging
) -> V3Page[BillingSubscription]:
    """List the subscriptions that are not deleted, in order of their start unless asked otherwise."""
    given = parse_filters(request, _FIELDS)
    chosen = service.SubscriptionFilter(
        at=clock.now(),
        id=given.get("id"),
        customer_id=given.get("customer_id"),
        plan_id=given.get("plan_id"),
        plan_key=given.get("plan_key"),
        statuses=members_of(Status, given, "status") or (),
    )
    sorts = parse_sort(request, _SORT_FIELDS, OLDEST_FIRST)
    found = await service.list_subscriptions(session, namespace, chosen, sorts=sorts, page=page)
    return V3Page.of(found, [BillingSubscription.of(view) for view in found.items])


@router.get(
    _ONE,
    operation_id="getSubscription",
    summary="Get a subscription",
    responses=errors("v3", 400, 401, 403, 404),
)
async def get_subscription(subscription_id: SubscriptionId, session: Read, namespace: Namespace) -> BillingSubscription:
    """Get a subscription with its schedule."""
    return BillingSubscription.of(await service.load(session, namespace, subscription_id))


@router.post(
    _ONE + "/cancel",
    operation_id="cancelSubscription",
    summary="Cancel a subscription",
    responses=errors("v3", *_FAILURES),
)
async def cancel_subscription(
    subscription_id: SubscriptionId, body: BillingSubscriptionCancel, namespace: Namespace, services: ServicesDep
) -> BillingSubscription:
    """Set the end of an active subscription. Billing is brought up to that end."""
    return BillingSubscription.of(await cancel(services, namespace, subscription_id, body.timing))


@router.post(
    _ONE + "/unschedule-cancelation",
    operation_id="unscheduleCancelation",
    summary="Take a cancellation back",
    responses=errors("v3", *_FAILURES),
)
async def unschedule_cancelation(
    subscription_id: SubscriptionId, namespace: Namespace, services: ServicesDep
) -> BillingSubscription:
    """Let a canceled subscription run on, before its end has come."""
    return BillingSubscription.of(await go_on(services, namespace, subscription_id))


@router.post(
    _ONE + "/change",
    operation_id="changeSubscription",
    summary="Change the plan of a subscription",
    responses=errors("v3", *_FAILURES, 412),
)
async def change_subscription(
    subscription_id: SubscriptionId, body: BillingSubscriptionChange, namespace: Namespace, services: ServicesDep
) -> BillingSubscriptionChangeResponse:
    """End an active subscription and begin one to another plan at that instant. Name and billing dates stay."""
    changed = await change(services, namespace, subscription_id, body.to_value(), customer=body.customer.named())
    return BillingSubscriptionChangeResponse(
        current=BillingSubscription.of(changed.current), next=BillingSubscription.of(changed.next)
    )
