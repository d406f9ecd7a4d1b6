"""v1 routes of the profiles that bill single customers."""

from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from meterhouse.api.deps import Namespace, ProfilesDep, Write
from meterhouse.api.paging import V1Page, V1Paging
from meterhouse.api.problems import errors
from meterhouse.api.v1.billing.parts import BillingParty, BillingWorkflow
from meterhouse.api.v1.billing.profile_schemas import ProfileApps, apps_of
from meterhouse.api.v1.billing.profiles import expanded
from meterhouse.api.v1.customers import Customer
from meterhouse.api.wire import Instant, Opt, Ulid, V1Model
from meterhouse.apps.app import App
from meterhouse.billing.invoices.freezing import supplier_party, workflow_of
from meterhouse.billing.profiles import CustomerProfile, OverrideFilter, Overrides
from meterhouse.kernel.conditions import Sort, contains, equals

router = APIRouter()

PATH = "/api/v1/billing/customers"
_ONE = PATH + "/{customerId}"

_V1_ULID = r"^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$"
CustomerId = Annotated[str, Path(alias="customerId", pattern=_V1_ULID, description="The customer.")]
Expand = Annotated[
    list[Literal["apps", "customer"]] | None, Query(description="What to show in full: the apps, the customer.")
]
OrderBy = Literal["customerId", "customerName", "customerKey", "customerPrimaryEmail", "customerCreatedAt"]
_SORT_FIELDS: Mapping[str, str] = {
    "customerId": "customer_id",
    "customerName": "name",
    "customerKey": "key",
    "customerPrimaryEmail": "primary_email",
    "customerCreatedAt": "created_at",
}


class BillingProfileCustomerOverrideCreate(V1Model):
    """The profile that bills a customer."""

    billing_profile_id: Opt[Annotated[str, Field(pattern=_V1_ULID)]] = Field(
        None, description="The present default profile when absent; the customer stays with it."
    )


class BillingProfileCustomerOverride(V1Model):
    """What ties a customer to a profile."""

    created_at: Instant
    updated_at: Instant
    billing_profile_id: Opt[Ulid] = None
    customer_id: Ulid


class BillingCustomerProfile(V1Model):
    """How a customer is billed in the end."""

    supplier: BillingParty
    workflow: BillingWorkflow
    apps: ProfileApps


class BillingProfileCustomerOverrideWithDetails(V1Model):
    """How a customer is billed, and where that comes from."""

    customer_override: Opt[BillingProfileCustomerOverride] = None
    base_billing_profile_id: Ulid = Field(description="The profile that the customer is billed by.")
    customer_profile: Opt[BillingCustomerProfile] = None
    customer: Opt[Customer] = None

    @classmethod
    def of(
        cls, found: CustomerProfile, apps: Mapping[str, App], *, customer: bool
    ) -> "BillingProfileCustomerOverrideWithDetails":
        """Show how a customer is billed."""
        override = found.override
        return cls(
            customer_override=override
            and BillingProfileCustomerOverride(
                created_at=override.created_at,
                updated_at=override.updated_at,
                billing_profile_id=override.profile_id,
                customer_id=override.customer_id,
            ),
            base_billing_profile_id=found.profile.id,
            customer_profile=BillingCustomerProfile(
                supplier=BillingParty.of(supplier_party(found.profile)),
                workflow=BillingWorkflow.of(workflow_of(found.profile)),
                apps=apps_of(found.profile, apps),
            ),
            customer=Customer.of(found.customer) if customer else None,
        )


@router.get(
    PATH,
    operation_id="listBillingProfileCustomerOverrides",
    summary="List how customers are billed",
    responses=errors("v1", 400, 401, 403, 412, 500, 503),
)
async def list_customer_overrides(
    session: Write,
    namespace: Namespace,
    profiles: ProfilesDep,
    page: V1Paging,
    billing_profile: Annotated[
        list[Annotated[str, Field(pattern=_V1_ULID)]] | None,
        Query(alias="billingProfile", description="Billed by one of these profiles, also as the default."),
    ] = None,
    without_pinned_profile: Annotated[
        bool, Query(alias="customersWithoutPinnedProfile", description="Only those that are pinned to no profile.")
    ] = False,
    include_all_customers: Annotated[
        bool, Query(alias="includeAllCustomers", description="Also customers without an override.")
    ] = False,
    customer_id: Annotated[
        list[Annotated[str, Field(pattern=_V1_ULID)]] | None,
        Query(alias="customerId", description="One of these customers."),
    ] = None,
    customer_name: Annotated[str | None, Query(alias="customerName", description="Part of the name, any case.")] = None,
    customer_key: Annotated[str | None, Query(alias="customerKey", description="The key.")] = None,
    customer_primary_email: Annotated[
        str | None, Query(alias="customerPrimaryEmail", description="Part of the e-mail, any case.")
    ] = None,
    expand: Expand = None,
    order: Literal["ASC", "DESC"] = "DESC",
    order_by: Annotated[OrderBy, Query(alias="orderBy")] = "customerId",
) -> V1Page[BillingProfileCustomerOverrideWithDetails]:
    """List customers with an override, or all, newest first."""
    chosen = OverrideFilter(
        profile_ids=billing_profile,
        unpinned=without_pinned_profile,
        all_customers=include_all_customers,
        customer_ids=customer_id,
        name=None if customer_name is None else contains(customer_name),
        key=None if customer_key is None else equals(customer_key),
        primary_email=None if customer_primary_email is None else contains(customer_primary_email),
    )
    sorts = [Sort(_SORT_FIELDS[order_by], order == "DESC")]
    found = await Overrides(profiles).listed(session, namespace, chosen, sorts=sorts, page=page)
    wanted = expand or ()
    apps = await expanded(session, namespace, [one.profile for one in found.items], expand="apps" in wanted)
    show = BillingProfileCustomerOverrideWithDetails.of
    return V1Page.of(found, [show(one, apps, customer="customer" in wanted) for one in found.items])


@router.get(
    _ONE,
    operation_id="getBillingProfileCustomerOverride",
    summary="Get how a customer is billed",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_customer_override(
    customer_id: CustomerId, session: Write, namespace: Namespace, profiles: ProfilesDep, expand: Expand = None
) -> BillingProfileCustomerOverrideWithDetails:
    """Show how a customer is billed: by the profile it is pinned to, else by the default."""
    found = await Overrides(profiles).get(session, namespace, customer_id)
    wanted = expand or ()
    apps = await expanded(session, namespace, [found.profile], expand="apps" in wanted)
    return BillingProfileCustomerOverrideWithDetails.of(found, apps, customer="customer" in wanted)


@router.put(
    _ONE,
    operation_id="upsertBillingProfileCustomerOverride",
    summary="Pin a customer to a billing profile",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def upsert_customer_override(
    customer_id: CustomerId,
    body: BillingProfileCustomerOverrideCreate,
    session: Write,
    namespace: Namespace,
    profiles: ProfilesDep,
) -> BillingProfileCustomerOverrideWithDetails:
    """Pin a customer to a billing profile, without one to the present default."""
    found = await Overrides(profiles).pin(session, namespace, customer_id, body.billing_profile_id)
    return BillingProfileCustomerOverrideWithDetails.of(found, {}, customer=False)


@router.delete(
    _ONE,
    operation_id="deleteBillingProfileCustomerOverride",
    summary="Let a customer follow the default profile",
    status_code=204,
    response_class=Response,
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def delete_customer_override(
    customer_id: CustomerId, session: Write, namespace: Namespace, profiles: ProfilesDep
) -> None:
    """Delete what a customer has different from the default profile."""
    await Overrides(profiles).release(session, namespace, customer_id)
