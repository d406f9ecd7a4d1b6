"""v1 customers."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field, StringConstraints

from meterhouse.api import fields
from meterhouse.api.deps import Namespace, Read, ServicesDep, Write
from meterhouse.api.paging import V1Page, V1Paging
from meterhouse.api.problems import errors
from meterhouse.api.v1.address import Address
from meterhouse.api.v1.names import CustomerIdOrKey
from meterhouse.api.v1.subscription_schemas import Subscription
from meterhouse.api.wire import CurrencyCode, Description, Email, ExternalKey, Name, Opt, Ulid, V1Model, V1Resource
from meterhouse.customers import customer as values
from meterhouse.customers import service
from meterhouse.customers.customer import UNSET, CustomerChanges, NewCustomer
from meterhouse.kernel.conditions import Condition, Sort, contains, equals
from meterhouse.kernel.db import ReadSession
from meterhouse.subscriptions import service as subscriptions
from meterhouse.subscriptions.views import SubscriptionView

router = APIRouter(tags=["Customers"])

CustomerExpand = Literal["subscriptions"]
Expand = Annotated[
    list[CustomerExpand] | None, Query(description="What to show in full; subscriptions when it is left out.")
]
_FIELD_NAMES = {"$.usage_attribution.subject_keys": "$.usageAttribution.subjectKeys"}
_SORT_FIELDS = {"id": "id", "name": "name", "createdAt": "created_at"}


class CustomerUsageAttribution(V1Model):
    """Which event subjects count as usage of a customer, beside its key."""

    subject_keys: list[Annotated[str, StringConstraints(min_length=1)]] = Field(
        description="Subjects of events. One subject belongs to one customer at most."
    )


class _CustomerInput(V1Model):
    name: Name
    description: Opt[Description] = None
    metadata: Opt[dict[str, str]] = None
    key: Opt[ExternalKey] = Field(None, description="Your own name for the customer, unique while it exists.")
    usage_attribution: Opt[CustomerUsageAttribution] = None
    primary_email: Opt[Email] = None
    currency: Opt[CurrencyCode] = Field(None, description="Currency of the customer's invoices, by ISO 4217.")
    billing_address: Opt[Address] = None

    def subject_keys(self) -> tuple[str, ...]:
        return tuple(self.usage_attribution.subject_keys) if self.usage_attribution else ()


class CustomerCreate(_CustomerInput):
    """A customer to create. It needs a key or at least one subject key."""

    def to_value(self) -> NewCustomer:
        """Read the customer."""
        return NewCustomer(
            name=self.name,
            key=self.key,
            subject_keys=self.subject_keys(),
            currency=self.currency,
            primary_email=self.primary_email,
            billing_address=self.billing_address.to_value() if self.billing_address else None,
            description=self.description,
            metadata=self.metadata or {},
        )


class CustomerReplaceUpdate(_CustomerInput):
    """The new state of a customer. E-mail, currency and parts of the address stay when left out; null clears them."""

    def to_value(self) -> CustomerChanges:
        """Read the change."""
        given = self.model_fields_set
        address = self.billing_address
        return CustomerChanges(
            name=self.name,
            key=self.key,
            subject_keys=self.subject_keys(),
            description=self.description,
            metadata=self.metadata or {},
            billing_address=address.given() if address else None,
            primary_email=self.primary_email if "primary_email" in given else UNSET,
            currency=self.currency if "currency" in given else UNSET,
        )


class Customer(V1Resource):
    """A customer."""

    key: Opt[ExternalKey] = None
    usage_attribution: Opt[CustomerUsageAttribution] = None
    primary_email: Opt[str] = None
    currency: Opt[CurrencyCode] = None
    billing_address: Opt[Address] = None
    current_subscription_id: Opt[Ulid] = Field(None, description="The running subscription that started first.")
    subscriptions: Opt[list[Subscription]] = Field(None, description="The subscriptions that run now.")
    annotations: Opt[dict[str, Any]] = None

    @classmethod
    def of(cls, customer: values.Customer) -> "Customer":
        """Show a customer without its subscriptions."""
        keys = list(customer.subject_keys)
        return cls(
            id=customer.id,
            name=customer.name,
            description=customer.description,
            metadata=customer.metadata or None,
            created_at=customer.created_at,
            updated_at=customer.updated_at,
            deleted_at=customer.deleted_at,
            key=customer.key,
            usage_attribution=CustomerUsageAttribution(subject_keys=keys) if keys else None,
            primary_email=customer.primary_email,
            currency=customer.currency,
            billing_address=customer.billing_address and Address.of(customer.billing_address),
            annotations=customer.annotations or None,
        )


async def _with_subscriptions(
    session: ReadSession, namespace: str, customers: list[values.Customer], *, show: bool, current: bool
) -> list[Customer]:
    shown = [Customer.of(customer) for customer in customers]
    if not (show or current):
        return shown
    running: dict[str, list[SubscriptionView]] = {}
    for view in await subscriptions.running_of(session, namespace, [customer.id for customer in customers]):
        running.setdefault(view.customer_id, []).append(view)
    for customer in shown:
        views = running.get(customer.id, [])
        if current and views:
            customer.current_subscription_id = min(views, key=lambda view: (view.active_from, view.id)).id
        if show:
            customer.subscriptions = [Subscription.of(view) for view in views]
    return shown


@router.post(
    "/api/v1/customers",
    operation_id="createCustomer",
    summary="Create a customer",
    status_code=201,
    responses=errors("v1", 400, 401, 403, 409, 412, 500, 503),
)
async def create_customer(
    body: CustomerCreate, session: Write, namespace: Namespace, services: ServicesDep
) -> Customer:
    """Create a customer."""
    with fields.named(_FIELD_NAMES):
        return Customer.of(await service.create(session, namespace, body.to_value(), services.customer_guards))


@router.get(
    "/api/v1/customers",
    operation_id="listCustomers",
    summary="List customers",
    responses=errors("v1", 400, 401, 403, 412, 500, 503),
)
async def list_customers(
    session: Read,
    namespace: Namespace,
    page: V1Paging,
    order: Literal["ASC", "DESC"] = "ASC",
    order_by: Annotated[Literal["id", "name", "createdAt"], Query(alias="orderBy")] = "name",
    include_deleted: Annotated[bool, Query(alias="includeDeleted", description="Show deleted ones too.")] = False,
    key: Annotated[str | None, Query(description="Part of the key, in any case.")] = None,
    name: Annotated[str | None, Query(description="Part of the name, in any case.")] = None,
    primary_email: Annotated[str | None, Query(alias="primaryEmail", description="Part of the e-mail.")] = None,
    subject: Annotated[str | None, Query(description="Part of a subject key, in any case.")] = None,
    plan_key: Annotated[
        str | None, Query(alias="planKey", description="Key of the plan of a subscription that runs now.")
    ] = None,
    expand: Expand = None,
) -> V1Page[Customer]:
    """List customers, by name unless asked otherwise."""
    chosen = service.CustomerFilter(
        key=_part(key),
        name=_part(name),
        primary_email=_part(primary_email),
        subject=_part(subject),
        among=() if plan_key is None else (subscriptions.customers_on_plan(namespace, equals(plan_key)),),
        include_deleted=include_deleted,
    )
    sorts = [Sort(_SORT_FIELDS[order_by], order == "DESC")]
    found = await service.list_customers(session, namespace, chosen, sorts=sorts, page=page)
    show = expand is None or "subscriptions" in expand
    items = await _with_subscriptions(session, namespace, list(found.items), show=show, current=True)
    return V1Page.of(found, items)


def _part(text: str | None) -> Condition | None:
    return None if text is None else contains(text)


@router.get(
    "/api/v1/customers/{customerIdOrKey}",
    operation_id="getCustomer",
    summary="Get a customer",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_customer(
    id_or_key: CustomerIdOrKey,
    session: Read,
    namespace: Namespace,
    expand: Expand = None,
) -> Customer:
    """Get a customer by id, deleted ones included, or by key."""
    customer = await service.get_by_id_or_key(session, namespace, id_or_key)
    show = expand is None or "subscriptions" in expand
    return (await _with_subscriptions(session, namespace, [customer], show=show, current=show))[0]


@router.put(
    "/api/v1/customers/{customerIdOrKey}",
    operation_id="updateCustomer",
    summary="Replace a customer",
    responses=errors("v1", 400, 401, 403, 404, 409, 412, 500, 503),
)
async def update_customer(
    id_or_key: CustomerIdOrKey,
    body: CustomerReplaceUpdate,
    session: Write,
    namespace: Namespace,
    services: ServicesDep,
) -> Customer:
    """Replace a customer."""
    customer = await service.get_by_id_or_key(session, namespace, id_or_key)
    with fields.named(_FIELD_NAMES):
        changed = await service.update(session, namespace, customer.id, body.to_value(), services.customer_guards)
    return Customer.of(changed)


@router.delete(
    "/api/v1/customers/{customerIdOrKey}",
    operation_id="deleteCustomer",
    summary="Delete a customer",
    status_code=204,
    response_class=Response,
    responses=errors("v1", 400, 401, 403, 404, 409, 412, 500, 503),
)
async def delete_customer(
    id_or_key: CustomerIdOrKey,
    session: Write,
    namespace: Namespace,
    services: ServicesDep,
) -> None:
    """Delete a customer that has nothing running and no open invoice."""
    customer = await service.get_by_id_or_key(session, namespace, id_or_key)
    await service.delete(session, namespace, customer.id, services.customer_guards)
