"""v3 customer credit: grants, balance, transactions."""

from enum import StrEnum
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from meterhouse.api.deps import Namespace, Read, ServicesDep, Write
from meterhouse.api.filters import FieldKind, list_parameters, parse_filters
from meterhouse.api.paging import V3Page, V3Paging
from meterhouse.api.problems import InvalidParameterError, errors
from meterhouse.api.v3.credits.params import (
    PAGE_PARAMETER,
    CursorPaging,
    currencies_of,
    currency_of,
    encode,
    feature_of,
    plain_of,
)
from meterhouse.api.v3.credits.schemas import (
    BillingCreditAdjustment,
    BillingCreditBalances,
    BillingCreditGrant,
    BillingCreditTransaction,
    CreateCreditAdjustmentRequest,
    CreateCreditGrantRequest,
    CreditTransactionPage,
    CursorMeta,
    CursorMetaPage,
    UpdateCreditGrantExternalSettlementRequest,
    VoidCreditGrantRequest,
)
from meterhouse.api.wire import Instant, Ulid
from meterhouse.credits import balances, grants, transactions, voids
from meterhouse.credits.grants import GrantStatus
from meterhouse.credits.hints import hints
from meterhouse.credits.transactions import TransactionType
from meterhouse.customers import service as customers
from meterhouse.kernel import clock
from meterhouse.kernel.errors import FeatureDisabled, invalid


def _enabled(services: ServicesDep) -> None:
    """Refuse every route of a server that runs without credits."""
    if not services.credits_enabled:
        raise FeatureDisabled("credits are not enabled on this server: the setting `credits_enabled` is off")


router = APIRouter(tags=["OpenMeter Customers"], dependencies=[Depends(_enabled)])

_PATH = "/api/v3/openmeter/customers/{customerId}/credits"
_GRANT = _PATH + "/grants/{creditGrantId}"
_GRANT_FIELDS = {"status": FieldKind.PLAIN, "currency": FieldKind.PLAIN, "key": FieldKind.STRING}
_BALANCE_FIELDS = {"currency": FieldKind.EXACT, "feature_key": FieldKind.STRING}
_TRANSACTION_FIELDS = {"type": FieldKind.PLAIN, "currency": FieldKind.PLAIN, "feature_key": FieldKind.STRING}

CustomerId = Annotated[Ulid, Path(alias="customerId", description="The id of a customer.")]
CreditGrantId = Annotated[Ulid, Path(alias="creditGrantId", description="The id of a credit grant.")]

E = TypeVar("E", bound=StrEnum)


def _member(kind: type[E], field: str, text: str | None) -> E | None:
    """Read a member of an enumeration from a filter."""
    try:
        return None if text is None else kind(text)
    except ValueError:
        choices = ", ".join(kind)
        raise InvalidParameterError(f"filter[{field}]", f"must be one of: [{choices}]", rule="enum") from None


@router.post(
    _PATH + "/grants",
    operation_id="createCreditGrant",
    summary="Grant credit to a customer",
    status_code=201,
    responses=errors("v3", 400, 401, 403, 404, 409, 501),
)
async def create_credit_grant(
    customer_id: CustomerId, body: CreateCreditGrantRequest, session: Write, namespace: Namespace, response: Response
) -> BillingCreditGrant:
    """Give credit. It pays for advances that it may serve first; the rest can be used from `effective_at` on.

    What may keep it from ever being used, such as a feature that does not exist, is told in `Warning` headers.
    """
    grant = await grants.create(session, namespace, body.to_value(customer_id))
    for hint in await hints(session, namespace, grant):
        response.headers.append("Warning", f'299 meterhouse "{hint}"')
    return BillingCreditGrant.of(grant)


@router.get(
    _PATH + "/grants",
    operation_id="listCreditGrants",
    summary="List a customer's credit grants",
    responses=errors("v3", 400, 401, 403, 404, 501),
    openapi_extra=list_parameters(_GRANT_FIELDS),
)
async def list_credit_grants(
    customer_id: CustomerId, request: Request, session: Read, namespace: Namespace, page: V3Paging
) -> V3Page[BillingCreditGrant]:
    """List grants, the newest first."""
    filters = parse_filters(request, _GRANT_FIELDS)
    found = await grants.list_grants(
        session,
        namespace,
        customer_id,
        page,
        status=_member(GrantStatus, "status", plain_of(filters, "status")),
        currency=currency_of(filters),
        key=filters.get("key"),
    )
    return V3Page.of(found, [BillingCreditGrant.of(grant) for grant in found.items])


@router.get(
    _GRANT,
    operation_id="getCreditGrant",
    summary="Get a credit grant",
    responses=errors("v3", 400, 401, 403, 404, 501),
)
async def get_credit_grant(
    customer_id: CustomerId, credit_grant_id: CreditGrantId, session: Read, namespace: Namespace
) -> BillingCreditGrant:
    """Get a grant with its present status."""
    return BillingCreditGrant.of(await grants.get(session, namespace, customer_id, credit_grant_id))


@router.post(
    _GRANT + "/settlement/external",
    operation_id="updateCreditGrantExternalSettlement",
    summary="Say how far the payment of a credit grant is",
    responses=errors("v3", 400, 401, 403, 404, 412, 501),
)
async def update_credit_grant_external_settlement(
    customer_id: CustomerId,
    credit_grant_id: CreditGrantId,
    body: UpdateCreditGrantExternalSettlementRequest,
    session: Write,
    namespace: Namespace,
) -> BillingCreditGrant:
    """Book the payment of a grant that is funded externally: authorized, then settled. The balance stays."""
    grant = await grants.settle_externally(session, namespace, customer_id, credit_grant_id, body.status)
    return BillingCreditGrant.of(grant)


@router.post(
    _GRANT + "/void",
    operation_id="voidCreditGrant",
    summary="Void a credit grant",
    responses=errors("v3", 400, 401, 403, 404, 409, 501),
)
async def void_credit_grant(
    customer_id: CustomerId,
    credit_grant_id: CreditGrantId,
    session: Write,
    namespace: Namespace,
    body: VoidCreditGrantRequest | None = None,
) -> BillingCreditGrant:
    """Take away what is left of a grant. What was used and what was paid stay. Voiding again changes nothing."""
    if body is not None and body.payment_adjustment != "none":
        raise invalid(
            "payment_adjustment must be none",
            code="credit_grant_void_payment_adjustment_invalid",
            field="$.payment_adjustment",
        )
    return BillingCreditGrant.of(await voids.void(session, namespace, customer_id, credit_grant_id))


@router.get(
    _PATH + "/balance",
    operation_id="getCustomerCreditBalance",
    summary="Get a customer's credit balance",
    responses=errors("v3", 400, 401, 403, 404, 501),
    openapi_extra=list_parameters(_BALANCE_FIELDS),
)
async def get_customer_credit_balance(
    customer_id: CustomerId,
    request: Request,
    session: Read,
    namespace: Namespace,
    services: ServicesDep,
    timestamp: Annotated[Instant | None, Query(description="Balances of this instant; of now when left out.")] = None,
) -> BillingCreditBalances:
    """Get balances per currency: settled, pending and, of now, live, which counts usage that is not billed yet."""
    filters = parse_filters(request, _BALANCE_FIELDS)
    currencies, feature = currencies_of(filters), feature_of(filters)
    customer = await customers.get(session, namespace, customer_id)
    at = timestamp or clock.now()
    outstanding = (
        await services.charges.outstanding(session, customer)
        if services.charges is not None and timestamp is None
        else []
    )
    found = await balances.balances(
        session,
        namespace,
        customer_id,
        currencies=currencies,
        feature=feature,
        at=timestamp,
        outstanding=outstanding,
    )
    return BillingCreditBalances.of(at, found)


@router.get(
    _PATH + "/transactions",
    operation_id="listCreditTransactions",
    summary="List a customer's credit transactions",
    responses=errors("v3", 400, 401, 403, 404, 501),
    openapi_extra={"parameters": [PAGE_PARAMETER, *list_parameters(_TRANSACTION_FIELDS)["parameters"]]},
)
async def list_credit_transactions(
    customer_id: CustomerId,
    request: Request,
    session: Read,
    namespace: Namespace,
    paging: Annotated[CursorPaging, Depends(CursorPaging)],
) -> CreditTransactionPage:
    """List what changed the credit, the newest first, with the settled balance before and after each."""
    filters = parse_filters(request, _TRANSACTION_FIELDS)
    page = await transactions.list_transactions(
        session,
        namespace,
        customer_id,
        size=paging.size,
        after=paging.after,
        before=paging.before,
        kind=_member(TransactionType, "type", plain_of(filters, "type")),
        currency=currency_of(filters),
        feature=feature_of(filters),
    )
    meta = CursorMetaPage(
        size=paging.size,
        next=encode(page.next),
        previous=encode(page.previous),
        first=encode(page.items[0].cursor) if page.items else None,
        last=encode(page.items[-1].cursor) if page.items else None,
    )
    return CreditTransactionPage(
        data=[BillingCreditTransaction.of(one) for one in page.items], meta=CursorMeta(page=meta)
    )


@router.post(
    _PATH + "/adjustments",
    operation_id="createCreditAdjustment",
    summary="Adjust a customer's credit",
    status_code=201,
    responses=errors("v3", 400, 401, 403, 404, 501),
)
async def create_credit_adjustment(
    customer_id: CustomerId, body: CreateCreditAdjustmentRequest
) -> BillingCreditAdjustment:
    """Not offered: give a grant or void one instead."""
    raise FeatureDisabled("credit adjustments are not offered, grant credit or void a grant instead")
