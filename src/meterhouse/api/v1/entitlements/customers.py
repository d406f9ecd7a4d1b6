"""Entitlements of one customer: v2, and access in v1."""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Path, Response

from meterhouse.api.deps import Namespace, Read, ServicesDep, Write
from meterhouse.api.paging import V1Page, V1Paging
from meterhouse.api.problems import errors
from meterhouse.api.v1.entitlements.common import (
    FEATURE_KEY,
    HistoryFrom,
    HistoryTo,
    HistoryWindow,
    HistoryZone,
    IdOrFeatureKey,
    IncludeDeleted,
    Time,
    access_of,
    history_of,
    remember,
    value_of,
)
from meterhouse.api.v1.entitlements.grants import EntitlementGrantCreateInputV2, EntitlementGrantV2
from meterhouse.api.v1.entitlements.paging import EntitlementOrderBy, GrantOrderBy, ListCut, Order, sorts
from meterhouse.api.v1.entitlements.parts import (
    CustomerAccess,
    EntitlementValue,
    EntitlementValueV2,
    ResetEntitlementUsageInput,
    WindowedBalanceHistory,
)
from meterhouse.api.v1.entitlements.schemas import EntitlementV2, EntitlementV2CreateInputs, shown_v2
from meterhouse.api.v1.names import CustomerIdOrKey
from meterhouse.customers import service as customers
from meterhouse.entitlements import grants, resets, service
from meterhouse.entitlements.access import NO_ACCESS
from meterhouse.entitlements.entitlement import Entitlement
from meterhouse.entitlements.service import EntitlementFilter, Stretch
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.pages import Page

router = APIRouter(tags=["Entitlements"])

_ALL = "/api/v2/customers/{customerIdOrKey}/entitlements"
_ONE = _ALL + "/{entitlementIdOrFeatureKey}"
FeatureKey = Annotated[
    str, Path(alias="featureKey", min_length=1, max_length=64, pattern=FEATURE_KEY, description="The key of a feature.")
]


async def _found(session: ReadSession, namespace: str, customer: str, entitlement: str) -> Entitlement:
    owner = await customers.get_live(session, namespace, customer)
    return await service.get_of_customer(session, namespace, owner.id, entitlement)


@router.post(
    _ALL,
    operation_id="createCustomerEntitlementV2",
    summary="Create an entitlement",
    status_code=201,
    responses=errors("v1", 400, 401, 403, 404, 409, 412, 500, 503),
)
async def create_entitlement(
    customer_id_or_key: CustomerIdOrKey, body: EntitlementV2CreateInputs, session: Write, namespace: Namespace
) -> EntitlementV2:
    """Give a customer an entitlement from now on."""
    customer = await customers.get_live(session, namespace, customer_id_or_key)
    return shown_v2(await service.create(session, namespace, customer.id, body.to_value()), customer)


@router.get(
    _ALL,
    operation_id="listCustomerEntitlementsV2",
    summary="List entitlements of a customer",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def list_customer_entitlements(
    customer_id_or_key: CustomerIdOrKey,
    session: Read,
    namespace: Namespace,
    page: V1Paging,
    order: Order = "ASC",
    order_by: EntitlementOrderBy = "createdAt",
    include_deleted: IncludeDeleted = False,
) -> V1Page[EntitlementV2]:
    """List what a customer may use now."""
    customer = await customers.get_live(session, namespace, customer_id_or_key)
    chosen = EntitlementFilter(customer_ids=[customer.id], active_at=clock.now())
    stretch = Stretch(page.offset, page.size)
    found, total = await service.list_entitlements(session, namespace, chosen, sorts(order_by, order), stretch)
    return V1Page.of(Page(found, total, page), [shown_v2(one, customer) for one in found])


@router.get(
    _ONE,
    operation_id="getCustomerEntitlementV2",
    summary="Get an entitlement",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_entitlement(
    customer_id_or_key: CustomerIdOrKey, entitlement: IdOrFeatureKey, session: Read, namespace: Namespace
) -> EntitlementV2:
    """Get an entitlement by its id, or the one to a feature that holds now."""
    customer = await customers.get_live(session, namespace, customer_id_or_key)
    return shown_v2(await service.get_of_customer(session, namespace, customer.id, entitlement), customer)


@router.delete(
    _ONE,
    operation_id="deleteCustomerEntitlementV2",
    summary="Delete an entitlement",
    status_code=204,
    response_class=Response,
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def delete_entitlement(
    customer_id_or_key: CustomerIdOrKey, entitlement: IdOrFeatureKey, session: Write, namespace: Namespace
) -> None:
    """Delete an entitlement with its grants."""
    await service.delete(session, namespace, (await _found(session, namespace, customer_id_or_key, entitlement)).id)


@router.put(
    _ONE + "/override",
    operation_id="overrideCustomerEntitlementV2",
    summary="Replace an entitlement",
    status_code=201,
    responses=errors("v1", 400, 401, 403, 404, 409, 412, 500, 503),
)
async def override_entitlement(
    customer_id_or_key: CustomerIdOrKey,
    entitlement: IdOrFeatureKey,
    body: EntitlementV2CreateInputs,
    session: Write,
    namespace: Namespace,
) -> EntitlementV2:
    """End an entitlement now and begin another one to the same feature, with grants of its own."""
    customer = await customers.get_live(session, namespace, customer_id_or_key)
    return shown_v2(await service.override(session, namespace, customer.id, entitlement, body.to_value()), customer)


@router.get(
    _ONE + "/grants",
    operation_id="listCustomerEntitlementGrantsV2",
    summary="List grants of an entitlement",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def list_entitlement_grants(
    customer_id_or_key: CustomerIdOrKey,
    entitlement: IdOrFeatureKey,
    session: Read,
    namespace: Namespace,
    cut: ListCut,
    order: Order = "ASC",
    order_by: GrantOrderBy = None,
    include_deleted: IncludeDeleted = False,
) -> V1Page[EntitlementGrantV2]:
    """List the grants of an entitlement, voided ones too: pages, unless limit or offset are given."""
    owner = await _found(session, namespace, customer_id_or_key, entitlement)
    paged = not cut.is_offset
    chosen = sorts(order_by or "createdAt", order)
    found, total = await grants.list_of(session, namespace, owner.id, chosen, cut.stretch(paged=paged))
    return cut.shown([EntitlementGrantV2.of(grant) for grant in found], total, paged=paged)


@router.post(
    _ONE + "/grants",
    operation_id="createCustomerEntitlementGrantV2",
    summary="Add a grant to an entitlement",
    status_code=201,
    responses=errors("v1", 400, 401, 403, 404, 409, 412, 500, 503),
)
async def create_grant(
    customer_id_or_key: CustomerIdOrKey,
    entitlement: IdOrFeatureKey,
    body: EntitlementGrantCreateInputV2,
    session: Write,
    namespace: Namespace,
) -> EntitlementGrantV2:
    """Add a grant that begins in the current usage period or later."""
    owner = await _found(session, namespace, customer_id_or_key, entitlement)
    return EntitlementGrantV2.of(await grants.create(session, namespace, owner.id, body.to_value()))


@router.post(
    _ONE + "/reset",
    operation_id="resetCustomerEntitlementUsageV2",
    summary="Reset the usage of an entitlement",
    status_code=204,
    response_class=Response,
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def reset_usage(
    customer_id_or_key: CustomerIdOrKey,
    entitlement: IdOrFeatureKey,
    body: ResetEntitlementUsageInput,
    session: Write,
    namespace: Namespace,
) -> None:
    """Begin a new usage period."""
    owner = await _found(session, namespace, customer_id_or_key, entitlement)
    await resets.reset(session, namespace, owner.id, **body.members())


@router.get(
    _ONE + "/value",
    operation_id="getCustomerEntitlementValueV2",
    summary="Read what an entitlement is worth",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_value(
    customer_id_or_key: CustomerIdOrKey,
    entitlement: IdOrFeatureKey,
    session: Read,
    namespace: Namespace,
    services: ServicesDep,
    background: BackgroundTasks,
    time: Time = None,
) -> EntitlementValueV2:
    """Read access and balance at an instant. Where there is no entitlement then, there is no access."""
    customer = await customers.get_live(session, namespace, customer_id_or_key)
    found = await value_of(session, namespace, services, background, customer.id, entitlement, time)
    return EntitlementValueV2.of(found or NO_ACCESS)


@router.get(
    _ONE + "/history",
    operation_id="getCustomerEntitlementHistoryV2",
    summary="Read how an entitlement was burnt down",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_history(
    customer_id_or_key: CustomerIdOrKey,
    entitlement: IdOrFeatureKey,
    session: Read,
    namespace: Namespace,
    services: ServicesDep,
    window_size: HistoryWindow,
    start: HistoryFrom = None,
    to: HistoryTo = None,
    window_time_zone: HistoryZone = "UTC",
) -> WindowedBalanceHistory:
    """Read usage and balance by windows of time, and the stretches in which the same grants were active."""
    found = await _found(session, namespace, customer_id_or_key, entitlement)
    return await history_of(session, namespace, services, found, window_size, window_time_zone, start, to)


@router.get(
    "/api/v1/customers/{customerIdOrKey}/access",
    operation_id="getCustomerAccess",
    summary="Read what a customer may use",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_customer_access(
    customer_id_or_key: CustomerIdOrKey,
    session: Read,
    namespace: Namespace,
    services: ServicesDep,
    background: BackgroundTasks,
) -> CustomerAccess:
    """Read the values of all entitlements that a customer has now, by the key of the feature."""
    customer = await customers.get_live(session, namespace, customer_id_or_key)
    now = clock.now()
    found = await service.active_of(session, namespace, [customer.id], now)
    answer = await access_of(services).values(session, namespace, found, now)
    remember(background, services, answer)
    values = zip(found, answer.values, strict=True)
    return CustomerAccess(entitlements={one.feature_key: EntitlementValueV2.of(value) for one, value in values})


@router.get(
    "/api/v1/customers/{customerIdOrKey}/entitlements/{featureKey}/value",
    operation_id="getCustomerEntitlementValue",
    summary="Read what an entitlement of a customer is worth",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_customer_entitlement_value(
    customer_id_or_key: CustomerIdOrKey,
    feature_key: FeatureKey,
    session: Read,
    namespace: Namespace,
    services: ServicesDep,
    background: BackgroundTasks,
    time: Time = None,
) -> EntitlementValue:
    """Read access and balance at an instant. Where there is no entitlement then, there is no access."""
    customer = await customers.get_live(session, namespace, customer_id_or_key)
    found = await value_of(session, namespace, services, background, customer.id, feature_key, time)
    return EntitlementValue.of(found or NO_ACCESS)
