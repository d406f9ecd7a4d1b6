"""v3 access to features: of one customer, and of many at once (entitlements section 10)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, BackgroundTasks, Request
from pydantic import Field

from meterhouse.api import cursors
from meterhouse.api.deps import Namespace, Read, ServicesDep
from meterhouse.api.problems import InvalidParameterError, errors
from meterhouse.api.v1.entitlements.common import access_of, remember
from meterhouse.api.v3.customers import BillingCustomer, CustomerId
from meterhouse.api.wire import Instant, Opt, ResourceKey, V3Model
from meterhouse.catalog import features
from meterhouse.catalog.features import FeatureQuery
from meterhouse.customers import attribution
from meterhouse.customers import service as customers
from meterhouse.customers.customer import Customer
from meterhouse.entitlements import service
from meterhouse.entitlements.access import Value
from meterhouse.entitlements.entitlement import EntitlementType
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import InvalidInput

router = APIRouter(tags=["OpenMeter Entitlements"])

MAX_KEYS = 100  # of customers and of features: each pair is one answer
MAX_SIZE = 100
MAX_FEATURES = 10_000  # shown for each customer when the request names none

Keys = Annotated[list[str], Field(min_length=1, max_length=MAX_KEYS)]


class BillingEntitlementAccessResult(V3Model):
    """Whether a customer may use one feature."""

    type: EntitlementType
    feature_key: ResourceKey
    has_access: bool
    config: Opt[str] = Field(None, description="Of a static entitlement: JSON text.")


class ListCustomerEntitlementAccessResponseData(V3Model):
    """What a customer has entitlements to now."""

    data: list[BillingEntitlementAccessResult]


class EntitlementAccessQueryRequestCustomers(V3Model):
    """Which customers."""

    keys: Keys = Field(description="Keys or subject keys of customers.")


class EntitlementAccessQueryRequestFeatures(V3Model):
    """Which features."""

    keys: Keys


class EntitlementAccessQueryRequest(V3Model):
    """Whose access to what."""

    customer: EntitlementAccessQueryRequestCustomers
    feature: Opt[EntitlementAccessQueryRequestFeatures] = Field(None, description="All that are live when absent.")
    include_credits: bool = Field(False, description="Accepted; access does not depend on credit.")


class EntitlementFeatureAccessReason(V3Model):
    """Why there is no access."""

    code: Literal["unknown", "usage_limit_reached", "feature_unavailable", "feature_not_found", "no_credit_available"]
    message: str
    attributes: Opt[dict[str, Any]] = None


class EntitlementFeatureAccess(V3Model):
    """Whether a customer may use a feature."""

    has_access: bool
    reason: Opt[EntitlementFeatureAccessReason] = None


class EntitlementAccessQueryResult(V3Model):
    """The access of one customer."""

    matched: list[str] = Field(description="The keys of the request that led here.")
    customer: BillingCustomer
    features: dict[str, EntitlementFeatureAccess]
    updated_at: Instant


class EntitlementAccessQueryError(V3Model):
    """A key that led to no customer."""

    code: Literal["unknown", "customer_not_found"]
    message: str
    customer: Opt[str] = None
    attributes: Opt[dict[str, Any]] = None


class AccessCursorMetaPage(V3Model):
    """Where a page stands: cursors for `page[after]` and `page[before]`."""

    size: int
    first: Opt[str] = None
    last: Opt[str] = None
    next: str | None
    previous: str | None


class AccessCursorMeta(V3Model):
    """Facts about the answer."""

    page: AccessCursorMetaPage


class EntitlementAccessQueryResponse(V3Model):
    """A page of customers with their access."""

    data: list[EntitlementAccessQueryResult]
    errors: list[EntitlementAccessQueryError]
    meta: AccessCursorMeta


@router.get(
    "/api/v3/openmeter/customers/{customerId}/entitlement-access",
    operation_id="listCustomerEntitlementAccess",
    summary="List what a customer may use",
    responses=errors("v3", 400, 401, 403, 404, 412),
)
async def list_customer_entitlement_access(
    customer_id: CustomerId, session: Read, namespace: Namespace, services: ServicesDep, background: BackgroundTasks
) -> ListCustomerEntitlementAccessResponseData:
    """List the entitlements that a customer has now, by the key of the feature."""
    customer = await customers.get_live(session, namespace, customer_id)
    now = clock.now()
    found = await service.active_of(session, namespace, [customer.id], now)
    answer = await access_of(services).values(session, namespace, found, now)
    remember(background, services, answer)
    return ListCustomerEntitlementAccessResponseData(
        data=[
            BillingEntitlementAccessResult(
                type=one.type, feature_key=one.feature_key, has_access=value.has_access, config=value.config
            )
            for one, value in zip(found, answer.values, strict=True)
        ]
    )


@dataclass(frozen=True, slots=True)
class _PageRequest:
    size: int
    after: tuple[datetime, str] | None
    before: tuple[datetime, str] | None


_PAGE_PARAMETER = {
    "name": "page",
    "in": "query",
    "required": False,
    "style": "deepObject",
    "description": f"`page[size]`: how many customers, 1 to {MAX_SIZE}. `page[after]`, `page[before]`: cursors to go "
    "on behind, and to end before.",
    "schema": {
        "type": "object",
        "properties": {"size": {"type": "integer"}, "after": {"type": "string"}, "before": {"type": "string"}},
    },
}


def _page(request: Request) -> _PageRequest:
    parameters = request.query_params
    for name in parameters:
        if name.startswith("page[") and name not in ("page[size]", "page[after]", "page[before]"):
            raise InvalidParameterError(name, "unknown member of page")
    text = parameters.get("page[size]", str(MAX_SIZE))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_SIZE):
        raise InvalidParameterError("page[size]", f"must be between 1 and {MAX_SIZE}")
    if "page[after]" in parameters and "page[before]" in parameters:
        raise InvalidParameterError("page", "after and before exclude each other")
    return _PageRequest(int(text), _cursor(request, "page[after]"), _cursor(request, "page[before]"))


def _cursor(request: Request, name: str) -> tuple[datetime, str] | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        return cursors.decode(text)
    except InvalidInput as error:
        raise InvalidParameterError(name, error.message) from None


def _place(customer: Customer) -> tuple[datetime, str]:
    return (customer.created_at, customer.id)


@router.post(
    "/api/v3/openmeter/entitlement-access/query",
    operation_id="queryEntitlementAccess",
    summary="Query what customers may use",
    responses=errors("v3", 400, 401, 403),
    openapi_extra={"parameters": [_PAGE_PARAMETER]},
)
async def query_entitlement_access(
    body: EntitlementAccessQueryRequest,
    request: Request,
    session: Read,
    namespace: Namespace,
    services: ServicesDep,
    background: BackgroundTasks,
) -> EntitlementAccessQueryResponse:
    """Tell, for each of the customers, whether it may use each of the features. All at one instant."""
    asked = _page(request)
    keys = body.customer.keys
    resolved: Mapping[str, Customer | None] = {}
    if named := {key for key in keys if key}:
        resolved = await attribution.resolve(session, namespace, named)
    found = sorted({one.id: one for one in resolved.values() if one is not None}.values(), key=_place)
    page, meta = _cut(found, asked)
    shown = await _shown_features(session, namespace, body)
    now = clock.now()
    entitlements = await service.active_of(session, namespace, [one.id for one in page], now, feature_keys=list(shown))
    answer = await access_of(services).values(session, namespace, entitlements, now)
    remember(background, services, answer)
    values = {(one.customer_id, one.feature_key): value for one, value in zip(entitlements, answer.values, strict=True)}
    return EntitlementAccessQueryResponse(
        data=[
            EntitlementAccessQueryResult(
                matched=[key for key in keys if (owner := resolved.get(key)) is not None and owner.id == customer.id],
                customer=BillingCustomer.of(customer),
                features={key: _access(values.get((customer.id, key)), live=live) for key, live in shown.items()},
                updated_at=now,
            )
            for customer in page
        ],
        errors=[
            EntitlementAccessQueryError(
                code="customer_not_found", message=f"no customer has the key or subject key: {key}", customer=key
            )
            for key in keys
            if resolved.get(key) is None
        ],
        meta=AccessCursorMeta(page=meta),
    )


async def _shown_features(session: ReadSession, namespace: str, body: EntitlementAccessQueryRequest) -> dict[str, bool]:
    """Return which features to show, by key, and whether each is live."""
    if body.feature is None:
        query = FeatureQuery(sorts=[Sort("key")], limit=MAX_FEATURES)
        found, _ = await features.list_features(session, namespace, query)
        return {feature.key: True for feature in found}
    live = {feature.key for feature in await features.named(session, namespace, keys=body.feature.keys)}
    return {key: key in live for key in body.feature.keys}


def _access(value: Value | None, *, live: bool) -> EntitlementFeatureAccess:
    if value is not None and value.has_access:
        return EntitlementFeatureAccess(has_access=True)
    if value is not None:
        reason = EntitlementFeatureAccessReason(code="usage_limit_reached", message="usage limit for feature reached")
    elif live:
        reason = EntitlementFeatureAccessReason(
            code="feature_unavailable", message="feature is not available for customer"
        )
    else:
        reason = EntitlementFeatureAccessReason(code="feature_not_found", message="feature is not found")
    return EntitlementFeatureAccess(has_access=False, reason=reason)


def _cut(found: Sequence[Customer], asked: _PageRequest) -> tuple[Sequence[Customer], AccessCursorMetaPage]:
    """Return the customers of a page, and where it stands."""
    if asked.before is not None:
        end = sum(_place(customer) < asked.before for customer in found)
        start = max(end - asked.size, 0)
    else:
        start = 0 if asked.after is None else sum(_place(customer) <= asked.after for customer in found)
        end = min(start + asked.size, len(found))
    page = found[start:end]
    places = [cursors.encode(*_place(customer)) for customer in page]
    return page, AccessCursorMetaPage(
        size=asked.size,
        first=places[0] if places else None,
        last=places[-1] if places else None,
        next=places[-1] if places and (end < len(found) or asked.before is not None) else None,
        previous=places[0] if places and start > 0 else None,
    )
