"""v3 subscriptions. A change is committed first; billing follows it in its own transaction."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Request

from meterhouse.api.deps import Namespace, Read, ServicesDep
from meterhouse.api.filters import FieldKind, list_parameters, parse_filters, parse_sort
from meterhouse.api.paging import V3Page, V3Paging
from meterhouse.api.problems import InvalidParameterError, errors
from meterhouse.api.subscription_changes import bring_billing_up
from meterhouse.api.v3.subscription_schemas import (
    BillingSubscription,
    BillingSubscriptionCancel,
    BillingSubscriptionCreate,
)
from meterhouse.api.wire import Ulid
from meterhouse.customers import service as customers
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Condition, Operator
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
    named = body.customer.id or body.customer.key
    if named is None:
        raise invalid("either customer.id or customer.key must be provided", field="$.customer")
    async with services.db.write() as session:
        customer = await customers.get_live(session, namespace, named)
        view = await service.create(
            session, namespace, body.to_value(customer.id), credits_enabled=services.credits_enabled
        )
    await bring_billing_up(services, view)
    return BillingSubscription.of(view)


def _statuses(condition: Condition | None) -> tuple[Status, ...]:
    """Read the condition on the status, which is no column and so has its own operators."""
    if condition is None:
        return ()
    check = condition.checks[0]
    if check.operator not in (Operator.EQ, Operator.OEQ):
        raise InvalidParameterError("filter", "filter[status]: unsupported operator", rule="format")
    named = check.operand if isinstance(check.operand, tuple) else (check.operand,)
    try:
        return tuple(Status(str(name)) for name in named)
    except ValueError:
        reason = f"filter[status]: must be one of {', '.join(Status)}"
        raise InvalidParameterError("filter", reason, rule="format") from None


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
        statuses=_statuses(given.get("status")),
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
    async with services.db.write() as session:
        view = await service.cancel(session, namespace, subscription_id, body.timing)
    await bring_billing_up(services, view, view.active_to)
    return BillingSubscription.of(view)


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
    async with services.db.write() as session:
        view = await service.unschedule_cancelation(session, namespace, subscription_id)
    await bring_billing_up(services, view)
    return BillingSubscription.of(view)
