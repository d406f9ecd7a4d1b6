"""v3 customers. They are addressed by id only."""

from dataclasses import asdict
from typing import Annotated

import structlog
from fastapi import APIRouter, Path, Request, Response
from pydantic import Field, StringConstraints

from meterhouse.api.deps import Namespace, Read, ServicesDep, Write
from meterhouse.api.filters import FieldKind, list_parameters, parse_filters, parse_sort
from meterhouse.api.labels import Labels, ShownLabels, labels_of, metadata_of
from meterhouse.api.paging import V3Page, V3Paging
from meterhouse.api.problems import errors
from meterhouse.api.wire import CurrencyCode, Description, Email, ExternalKey, Instant, Name, Opt, Ulid, V3Model
from meterhouse.billing.profiles import repository as profiles
from meterhouse.customers import customer as values
from meterhouse.customers import service
from meterhouse.customers.customer import UNSET, CustomerChanges, NewCustomer
from meterhouse.customers.service import CustomerDeleted, CustomerFilter
from meterhouse.kernel.errors import Gone, NotFound
from meterhouse.subscriptions import service as subscriptions

log = structlog.get_logger(__name__)

router = APIRouter(tags=["OpenMeter Customers"])

_PATH = "/api/v3/openmeter/customers"
_ONE = _PATH + "/{customerId}"
_FIELDS = {
    "key": FieldKind.STRING,
    "name": FieldKind.STRING,
    "primary_email": FieldKind.STRING,
    "usage_attribution_subject_key": FieldKind.STRING,
    "plan_key": FieldKind.STRING,
    "billing_profile_id": FieldKind.ULID,
}
_SORT_FIELDS = ("id", "name", "created_at")

CustomerId = Annotated[Ulid, Path(alias="customerId", description="The id of a customer.")]
CountryCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]


class Address(V3Model):
    """A postal address."""

    country: Opt[CountryCode] = Field(None, description="Country code of ISO 3166-1, two letters.")
    postal_code: Opt[str] = None
    state: Opt[str] = Field(None, description="State, province or region.")
    city: Opt[str] = None
    line1: Opt[str] = Field(None, description="First line, such as street and number.")
    line2: Opt[str] = Field(None, description="Second line.")
    phone_number: Opt[str] = None

    def given(self) -> dict[str, str | None]:
        """Return the parts that the request named, null ones included."""
        return {part: getattr(self, part) for part in self.model_fields_set}


class BillingCustomerUsageAttribution(V3Model):
    """Which event subjects count as usage of a customer, beside its key."""

    subject_keys: list[Annotated[str, StringConstraints(min_length=1)]] = Field(
        description="Subjects of events. One subject belongs to one customer at most."
    )


class _CustomerInput(V3Model):
    name: Name
    description: Opt[Description] = None
    labels: Opt[Labels] = None
    usage_attribution: Opt[BillingCustomerUsageAttribution] = None
    primary_email: Opt[Email] = None
    currency: Opt[CurrencyCode] = Field(None, description="Currency of the customer's invoices, by ISO 4217.")
    billing_address: Opt[Address] = None

    def subject_keys(self) -> tuple[str, ...]:
        return tuple(self.usage_attribution.subject_keys) if self.usage_attribution else ()


class CreateCustomerRequest(_CustomerInput):
    """A customer to create."""

    key: ExternalKey = Field(description="Your own name for the customer, unique while it exists.")

    def to_value(self) -> NewCustomer:
        """Read the customer."""
        address = self.billing_address
        return NewCustomer(
            name=self.name,
            key=self.key,
            subject_keys=self.subject_keys(),
            currency=self.currency,
            primary_email=self.primary_email,
            billing_address=values.Address(**address.model_dump()) if address else None,
            description=self.description,
            metadata=metadata_of(self.labels),
        )


class UpsertCustomerRequest(_CustomerInput):
    """The new state of a customer. E-mail, currency and parts of the address stay when left out; null clears them."""

    def to_value(self, stored: values.Customer) -> CustomerChanges:
        """Read what changes of a customer. The key stays."""
        given = self.model_fields_set
        return CustomerChanges(
            name=self.name,
            key=UNSET,
            subject_keys=self.subject_keys(),
            description=self.description,
            metadata=metadata_of(self.labels, stored.metadata, stored.annotations),
            billing_address=self.billing_address.given() if self.billing_address else None,
            primary_email=self.primary_email if "primary_email" in given else UNSET,
            currency=self.currency if "currency" in given else UNSET,
        )


class BillingCustomer(V3Model):
    """A customer."""

    id: Ulid
    name: Name
    description: Opt[Description] = None
    labels: ShownLabels
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    key: str = Field(description="Empty for a customer that was created without one.")
    usage_attribution: Opt[BillingCustomerUsageAttribution] = None
    primary_email: Opt[str] = None
    currency: Opt[CurrencyCode] = None
    billing_address: Opt[Address] = None

    @classmethod
    def of(cls, customer: values.Customer) -> "BillingCustomer":
        """Show a customer."""
        keys = list(customer.subject_keys)
        return cls(
            id=customer.id,
            name=customer.name,
            description=customer.description,
            labels=labels_of(customer.metadata, customer.annotations),
            created_at=customer.created_at,
            updated_at=customer.updated_at,
            deleted_at=customer.deleted_at,
            key=customer.key or "",
            usage_attribution=BillingCustomerUsageAttribution(subject_keys=keys) if keys else None,
            primary_email=customer.primary_email,
            currency=customer.currency,
            billing_address=Address(**asdict(customer.billing_address)) if customer.billing_address else None,
        )


@router.post(
    _PATH,
    operation_id="createCustomer",
    summary="Create a customer",
    status_code=201,
    responses=errors("v3", 400, 401, 403, 409),
)
async def create_customer(
    body: CreateCustomerRequest, session: Write, namespace: Namespace, services: ServicesDep
) -> BillingCustomer:
    """Create a customer."""
    return BillingCustomer.of(await service.create(session, namespace, body.to_value(), services.customer_guards))


@router.get(
    _PATH,
    operation_id="listCustomers",
    summary="List customers",
    responses=errors("v3", 400, 401, 403),
    openapi_extra=list_parameters(_FIELDS, _SORT_FIELDS),
)
async def list_customers(
    request: Request, session: Read, namespace: Namespace, page: V3Paging
) -> V3Page[BillingCustomer]:
    """List the customers that are not deleted, by name unless asked otherwise."""
    given = parse_filters(request, _FIELDS)
    among = []
    if (plan_key := given.get("plan_key")) is not None:
        among.append(subscriptions.customers_on_plan(namespace, plan_key))
    if (profile_id := given.get("billing_profile_id")) is not None:
        among.append(profiles.customers_on(namespace, profile_id))
    chosen = CustomerFilter(
        key=given.get("key"),
        name=given.get("name"),
        primary_email=given.get("primary_email"),
        subject=given.get("usage_attribution_subject_key"),
        among=tuple(among),
    )
    sorts = parse_sort(request, _SORT_FIELDS, service.BY_NAME)
    found = await service.list_customers(session, namespace, chosen, sorts=sorts, page=page)
    return V3Page.of(found, [BillingCustomer.of(customer) for customer in found.items])


@router.get(
    _ONE,
    operation_id="getCustomer",
    summary="Get a customer",
    responses=errors("v3", 400, 401, 403, 404),
)
async def get_customer(customer_id: CustomerId, session: Read, namespace: Namespace) -> BillingCustomer:
    """Get a customer, deleted ones included."""
    return BillingCustomer.of(await service.get(session, namespace, customer_id))


@router.put(
    _ONE,
    operation_id="updateCustomer",
    summary="Replace a customer",
    responses=errors("v3", 400, 401, 403, 404, 409, 410),
)
async def update_customer(
    customer_id: CustomerId,
    body: UpsertCustomerRequest,
    session: Write,
    namespace: Namespace,
    services: ServicesDep,
) -> BillingCustomer:
    """Replace everything about a customer but its key."""
    try:
        changes = body.to_value(await service.get(session, namespace, customer_id))
        changed = await service.update(session, namespace, customer_id, changes, services.customer_guards)
    except CustomerDeleted as error:
        raise Gone(error.message) from error
    return BillingCustomer.of(changed)


@router.delete(
    _ONE,
    operation_id="deleteCustomer",
    summary="Delete a customer",
    status_code=204,
    response_class=Response,
    responses=errors("v3", 400, 401, 403, 404, 409),
)
async def delete_customer(customer_id: CustomerId, session: Write, namespace: Namespace, services: ServicesDep) -> None:
    """Delete a customer that has nothing running and no open invoice. One that is not there counts as deleted."""
    try:
        await service.delete(session, namespace, customer_id, services.customer_guards)
    except (CustomerDeleted, NotFound) as error:
        log.info("nothing to delete", customer_id=customer_id, reason=error.message)
