"""v1 subscriptions. A change is committed first; billing follows it in its own transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Response
from pydantic import Discriminator, Tag

from meterhouse.api import fields
from meterhouse.api import subscription_changes as changes
from meterhouse.api.deps import Namespace, Read, ServicesDep
from meterhouse.api.paging import MAX_PAGE_SIZE, V1Page
from meterhouse.api.problems import errors
from meterhouse.api.v1.entitlements.schemas import shown_v1
from meterhouse.api.v1.names import CustomerIdOrKey
from meterhouse.api.v1.subscription_schemas import (
    CustomSubscriptionCreate,
    Included,
    PlanSubscriptionCreate,
    Subscription,
    SubscriptionCancel,
    SubscriptionExpanded,
)
from meterhouse.api.wire import Instant
from meterhouse.catalog import features
from meterhouse.customers import service as customers
from meterhouse.entitlements import service as entitlements
from meterhouse.entitlements.entitlement import Entitlement
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import FeatureDisabled, invalid
from meterhouse.kernel.pages import PageRequest
from meterhouse.subscriptions import service
from meterhouse.subscriptions.status import Status
from meterhouse.subscriptions.views import SubscriptionView

router = APIRouter(tags=["Subscriptions"])

_PATH = "/api/v1/subscriptions"
ONE = _PATH + "/{subscriptionId}"
FAILURES = (400, 401, 403, 404, 409, 412, 500, 503)
FIELD_NAMES = {
    "$.billing_anchor": "$.billingAnchor",
    "$.starting_phase": "$.startingPhase",
    "$.target_version": "$.targetVersion",
    "$.cost_basis_mode": "$.costBasisMode",
}
_SORT_FIELDS = {"activeFrom": "active_from", "activeTo": "active_to"}

SubscriptionId = Annotated[
    str,
    Path(
        alias="subscriptionId",
        pattern=r"^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$",
        description="The id of a subscription.",
    ),
]


def kind_of(body: Any) -> str:
    # No names of members: an error's place has the kind in it, which is told from members by not being there.
    return "of its own" if isinstance(body, dict) and "customPlan" in body else "of a plan"


SubscriptionCreate = Annotated[
    Annotated[PlanSubscriptionCreate, Tag("of a plan")] | Annotated[CustomSubscriptionCreate, Tag("of its own")],
    Discriminator(kind_of),
]


@router.post(
    _PATH,
    operation_id="createSubscription",
    summary="Create a subscription",
    status_code=201,
    responses=errors("v1", *FAILURES),
)
async def create_subscription(
    body: Annotated[SubscriptionCreate, Body()], namespace: Namespace, services: ServicesDep
) -> Subscription:
    """Subscribe a customer to a plan, or to a plan of its own."""
    with fields.named(FIELD_NAMES):
        return Subscription.of(await changes.create(services, namespace, body.customer(), body.to_value))


def refuse_beyond_v1(view: SubscriptionView) -> None:
    """Refuse a subscription that v1 cannot show (subscriptions section 13).

    Raises:
        InvalidInput: it has an item that converts units.
    """
    if any(item.rate_card.unit_conversion is not None for phase in view.phases for item in phase.items):
        message = "this subscription has a unit conversion, which only API v3 can show"
        raise invalid(message, code="unit_config_not_representable")


async def expanded(session: ReadSession, view: SubscriptionView) -> SubscriptionExpanded:
    """Show a subscription with its whole schedule."""
    keys = {item.rate_card.feature_key for phase in view.phases for item in phase.items}
    found = await features.for_billing(session, view.namespace, {key for key in keys if key})
    customer = await customers.get(session, view.namespace, view.customer_id)
    given = _by_item(view, await entitlements.of_subscription(session, view.namespace, view.id))
    included = Included(found, {item_id: shown_v1(one, customer) for item_id, one in given.items()})
    return SubscriptionExpanded.of(view, included)


def _by_item(view: SubscriptionView, given: Sequence[Entitlement]) -> dict[str, Entitlement]:
    """Return which version of an item gives which entitlement, by the version's id.

    Versions that last no time can have feature and interval in common; they were given theirs in this order.
    """
    left: dict[tuple[str | None, datetime, datetime | None], list[Entitlement]] = {}
    for one in sorted(given, key=lambda one: one.id, reverse=True):
        left.setdefault((one.feature_key, one.active_from, one.active_to), []).append(one)
    return {
        item.id: same.pop()
        for phase in view.phases
        for item in phase.items
        if item.rate_card.entitlement_template is not None
        and (same := left.get((item.rate_card.feature_key, item.active_from, item.active_to)))
    }


@router.get(ONE, operation_id="getSubscription", summary="Get a subscription", responses=errors("v1", *FAILURES, 501))
async def get_subscription(
    subscription_id: SubscriptionId,
    session: Read,
    namespace: Namespace,
    at: Annotated[Instant | None, Query(description="Not offered: a subscription is shown as it is now.")] = None,
) -> SubscriptionExpanded:
    """Get a subscription with its whole schedule."""
    if at is not None:
        raise FeatureDisabled("reading a subscription as of another instant is not offered")
    view = await service.load(session, namespace, subscription_id)
    refuse_beyond_v1(view)
    return await expanded(session, view)


@router.post(
    ONE + "/cancel",
    operation_id="cancelSubscription",
    summary="Cancel a subscription",
    responses=errors("v1", *FAILURES),
)
async def cancel_subscription(
    subscription_id: SubscriptionId, body: SubscriptionCancel, namespace: Namespace, services: ServicesDep
) -> Subscription:
    """Set the end of an active subscription. Billing is brought up to that end."""
    return Subscription.of(await changes.cancel(services, namespace, subscription_id, body.timing))


@router.post(
    ONE + "/unschedule-cancelation",
    operation_id="unscheduleCancelation",
    summary="Take a cancellation back",
    responses=errors("v1", *FAILURES),
)
async def unschedule_cancelation(
    subscription_id: SubscriptionId, namespace: Namespace, services: ServicesDep
) -> Subscription:
    """Let a canceled subscription run on, before its end has come."""
    return Subscription.of(await changes.go_on(services, namespace, subscription_id))


@router.delete(
    ONE,
    operation_id="deleteSubscription",
    summary="Delete a subscription",
    status_code=204,
    response_class=Response,
    responses=errors("v1", *FAILURES),
)
async def delete_subscription(subscription_id: SubscriptionId, namespace: Namespace, services: ServicesDep) -> None:
    """Delete a subscription that has not started."""
    async with services.db.write() as session:
        view = await service.load(session, namespace, subscription_id)
        await service.delete(session, namespace, subscription_id)
    await changes.bring_billing_up(services, view)


@router.get(
    "/api/v1/customers/{customerIdOrKey}/subscriptions",
    operation_id="listCustomerSubscriptions",
    summary="List the subscriptions of a customer",
    tags=["Customers"],
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def list_customer_subscriptions(
    id_or_key: CustomerIdOrKey,
    session: Read,
    namespace: Namespace,
    status: Annotated[Sequence[Status] | None, Query(description="Only those of one of these statuses.")] = None,
    order: Literal["ASC", "DESC"] = "DESC",
    order_by: Annotated[Literal["activeFrom", "activeTo"], Query(alias="orderBy")] = "activeFrom",
    page: Annotated[int | None, Query(ge=1, description="Page to return, counted from 1.")] = None,
    page_size: Annotated[
        int | None, Query(alias="pageSize", ge=1, le=MAX_PAGE_SIZE, description="How many items a page holds.")
    ] = None,
) -> V1Page[Subscription]:
    """List the subscriptions of a customer; without page parameters all of them, on page 0 of size 0."""
    customer = await customers.get_by_id_or_key(session, namespace, id_or_key)
    asked = None if page is None and page_size is None else PageRequest(page or 1, page_size or 100)
    found = await service.list_for_customer(
        session,
        namespace,
        customer.id,
        statuses=status or (),
        sorts=[Sort(_SORT_FIELDS[order_by], order == "DESC")],
        page=asked,
    )
    return V1Page.of(found, [Subscription.of(view) for view in found.items])
