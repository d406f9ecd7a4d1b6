"""Entitlements and grants of all customers, and single ones by id: v1 and v2."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from meterhouse.api.deps import Namespace, Read, Write
from meterhouse.api.paging import V1Page
from meterhouse.api.problems import errors
from meterhouse.api.v1.entitlements.common import MAX_LISTED, EntitlementId, Features, IncludeDeleted, shown_all
from meterhouse.api.v1.entitlements.grants import EntitlementGrant, EntitlementGrantV2
from meterhouse.api.v1.entitlements.paging import EntitlementOrderBy, GrantOrderBy, ListCut, Order, sorts
from meterhouse.api.v1.entitlements.schemas import Entitlement, EntitlementV2, shown_v1, shown_v2
from meterhouse.api.wire import Instant
from meterhouse.customers import attribution
from meterhouse.customers import service as customers
from meterhouse.customers.service import CustomerFilter
from meterhouse.entitlements import grants, service
from meterhouse.entitlements.entitlement import EntitlementType
from meterhouse.entitlements.service import EntitlementFilter
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Check, Condition, Operator
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.pages import PageRequest

router = APIRouter(tags=["Entitlements"])

Subjects = Annotated[
    list[str] | None, Query(alias="subject", max_length=MAX_LISTED, description="Subject keys of customers.")
]
Types = Annotated[list[EntitlementType] | None, Query(alias="entitlementType")]
ExcludeInactive = Annotated[bool, Query(alias="excludeInactive", description="Show only those that hold now.")]


async def _of_subjects(session: ReadSession, namespace: str, subjects: list[str] | None) -> list[str] | None:
    if not subjects:
        return None
    return await attribution.holders_of_subject_keys(session, namespace, subjects)


@router.get(
    "/api/v1/entitlements",
    operation_id="listEntitlements",
    summary="List entitlements",
    responses=errors("v1", 400, 401, 403, 412, 500, 503),
)
async def list_entitlements(
    session: Read,
    namespace: Namespace,
    cut: ListCut,
    feature: Features = None,
    subject: Subjects = None,
    entitlement_type: Types = None,
    exclude_inactive: ExcludeInactive = False,
    order: Order = "ASC",
    order_by: EntitlementOrderBy = "createdAt",
) -> list[Entitlement] | V1Page[Entitlement]:
    """List entitlements: a page when `page` or `pageSize` is given, else an array."""
    chosen = EntitlementFilter(
        customer_ids=await _of_subjects(session, namespace, subject),
        features=feature,
        types=entitlement_type,
        active_at=clock.now() if exclude_inactive else None,
    )
    stretch = cut.stretch(paged=cut.is_paged)
    found, total = await service.list_entitlements(session, namespace, chosen, sorts(order_by, order), stretch)
    items = await shown_all(session, namespace, found, shown_v1)
    return cut.shown(items, total, paged=True) if cut.is_paged else items


@router.get(
    "/api/v1/entitlements/{entitlementId}",
    operation_id="getEntitlementById",
    summary="Get an entitlement by id",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_entitlement(entitlement_id: EntitlementId, session: Read, namespace: Namespace) -> Entitlement:
    """Get an entitlement, whether or not it holds now."""
    found = await service.get(session, namespace, entitlement_id.upper())
    return (await shown_all(session, namespace, [found], shown_v1))[0]


@router.get(
    "/api/v2/entitlements",
    operation_id="listEntitlementsV2",
    summary="List entitlements",
    responses=errors("v1", 400, 401, 403, 412, 500, 503),
)
async def list_entitlements_v2(
    session: Read,
    namespace: Namespace,
    cut: ListCut,
    feature: Features = None,
    customer_keys: Annotated[list[str] | None, Query(alias="customerKeys", max_length=MAX_LISTED)] = None,
    customer_ids: Annotated[list[str] | None, Query(alias="customerIds", max_length=MAX_LISTED)] = None,
    entitlement_type: Types = None,
    exclude_inactive: ExcludeInactive = False,
    order: Order = "ASC",
    order_by: EntitlementOrderBy = "createdAt",
) -> V1Page[EntitlementV2]:
    """List entitlements, a page at a time; limit and offset are not looked at."""
    owners = set(customer_ids) if customer_ids else None
    if customer_keys:
        keyed = CustomerFilter(key=Condition((Check(Operator.OEQ, tuple(customer_keys)),)))
        page = await customers.list_customers(session, namespace, keyed, page=PageRequest(1, len(customer_keys)))
        ids = {customer.id for customer in page.items}
        owners = ids if owners is None else owners & ids
    chosen = EntitlementFilter(
        customer_ids=owners,
        features=feature,
        types=entitlement_type,
        active_at=clock.now() if exclude_inactive else None,
    )
    stretch = cut.stretch(paged=True)
    found, total = await service.list_entitlements(session, namespace, chosen, sorts(order_by, order), stretch)
    return cut.shown(await shown_all(session, namespace, found, shown_v2), total, paged=True)


@router.get(
    "/api/v2/entitlements/{entitlementId}",
    operation_id="getEntitlementByIdV2",
    summary="Get an entitlement by id",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_entitlement_v2(entitlement_id: EntitlementId, session: Read, namespace: Namespace) -> EntitlementV2:
    """Get an entitlement, whether or not it holds now."""
    found = await service.get(session, namespace, entitlement_id.upper())
    return (await shown_all(session, namespace, [found], shown_v2))[0]


@router.get(
    "/api/v1/grants",
    operation_id="listGrants",
    summary="List grants",
    responses=errors("v1", 400, 401, 403, 412, 500, 503),
)
async def list_grants(
    session: Read,
    namespace: Namespace,
    cut: ListCut,
    feature: Features = None,
    subject: Subjects = None,
    include_deleted: IncludeDeleted = False,
    order: Order = "ASC",
    order_by: GrantOrderBy = None,
) -> list[EntitlementGrant] | V1Page[EntitlementGrant]:
    """List grants, voided ones too: a page when `page` or `pageSize` is given, else an array."""
    owners = EntitlementFilter(customer_ids=await _of_subjects(session, namespace, subject), features=feature)
    chosen = sorts(order_by or "effectiveAt", order)
    found, total = await grants.list_grants(session, namespace, owners, chosen, cut.stretch(paged=cut.is_paged))
    items = [EntitlementGrant.of(grant) for grant in found]
    return cut.shown(items, total, paged=True) if cut.is_paged else items


@router.delete(
    "/api/v1/grants/{grantId}",
    operation_id="voidGrant",
    summary="Void a grant",
    status_code=204,
    response_class=Response,
    responses=errors("v1", 400, 401, 403, 404, 409, 412, 500, 503),
)
async def void_grant(
    grant_id: Annotated[str, Path(alias="grantId", description="The id of a grant.")],
    session: Write,
    namespace: Namespace,
    at: Annotated[Instant | None, Query(description="An instant of the usage period; now when absent.")] = None,
) -> None:
    """End a grant. What it has covered stays covered."""
    await grants.void(session, namespace, grant_id, at)


@router.get(
    "/api/v2/grants",
    operation_id="listGrantsV2",
    summary="List grants",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def list_grants_v2(
    session: Read,
    namespace: Namespace,
    cut: ListCut,
    feature: Features = None,
    customer: Annotated[
        list[str] | None, Query(max_length=MAX_LISTED, description="Ids or keys; deleted customers have no grants.")
    ] = None,
    include_deleted: IncludeDeleted = False,
    order: Order = "ASC",
    order_by: GrantOrderBy = None,
) -> V1Page[EntitlementGrantV2]:
    """List grants, voided ones too: by limit and offset, unless a page is asked for."""
    owners = None
    if customer:
        named = [await customers.get_by_id_or_key(session, namespace, one) for one in dict.fromkeys(customer)]
        owners = [one.id for one in named if one.deleted_at is None]
    chosen = EntitlementFilter(customer_ids=owners, features=feature)
    stretch = cut.stretch(paged=cut.is_paged)
    found, total = await grants.list_grants(
        session, namespace, chosen, sorts(order_by or "effectiveAt", order), stretch
    )
    return cut.shown([EntitlementGrantV2.of(grant) for grant in found], total, paged=cut.is_paged)
