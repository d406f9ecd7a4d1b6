"""v3 billing settings of a customer: the profile that bills it, and what that profile's app knows of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import APIRouter

from meterhouse.api.deps import Namespace, ProfilesDep, Write
from meterhouse.api.labels import Labels, ShownLabels, labels_of, metadata_of
from meterhouse.api.problems import errors
from meterhouse.api.v3.customers import CustomerId
from meterhouse.api.v3.invoices.schemas import BillingProfileReference
from meterhouse.api.wire import Opt, V3Model
from meterhouse.apps import customer_data
from meterhouse.apps.customer_data import CustomerData, CustomInvoicingData
from meterhouse.billing.profiles import Overrides, Profiles
from meterhouse.customers import service as customers
from meterhouse.customers.customer import Customer
from meterhouse.customers.service import CustomerDeleted
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import Gone

router = APIRouter(tags=["OpenMeter Customers"])

_PATH = "/api/v3/openmeter/customers/{customerId}/billing"


class BillingAppCustomerDataStripe(V3Model):
    """What Stripe knows of a customer. It is taken only where Stripe bills."""

    customer_id: Opt[str] = None
    default_payment_method_id: Opt[str] = None
    labels: Opt[Labels] = None


class BillingAppCustomerDataExternalInvoicing(V3Model):
    """What an outside system wants to find with the customer. It is taken only where such a system bills."""

    labels: Opt[Labels] = None


class UpsertAppCustomerDataRequest(V3Model):
    """What the app that bills a customer shall know of it; data for apps of other types is passed over."""

    stripe: Opt[BillingAppCustomerDataStripe] = None
    external_invoicing: Opt[BillingAppCustomerDataExternalInvoicing] = None

    def to_values(self) -> list[CustomerData]:
        """Read the data. Nothing can be billed through Stripe, so what is meant for it is left out."""
        external = self.external_invoicing
        return [] if external is None else [CustomInvoicingData(metadata=metadata_of(external.labels))]


class ShownAppCustomerDataStripe(V3Model):
    """What Stripe knows of a customer."""

    customer_id: Opt[str] = None
    default_payment_method_id: Opt[str] = None
    labels: Opt[ShownLabels] = None


class ShownAppCustomerDataExternalInvoicing(V3Model):
    """What an outside system finds with the customer."""

    labels: Opt[ShownLabels] = None


class BillingAppCustomerData(V3Model):
    """What the app that bills a customer knows of it. The sandbox knows nothing."""

    stripe: Opt[ShownAppCustomerDataStripe] = None
    external_invoicing: Opt[ShownAppCustomerDataExternalInvoicing] = None


class UpsertCustomerBillingDataRequest(V3Model):
    """The new billing settings of a customer."""

    billing_profile: Opt[BillingProfileReference] = None
    app_data: Opt[UpsertAppCustomerDataRequest] = None


class BillingCustomerData(V3Model):
    """The billing settings of a customer."""

    billing_profile: Opt[BillingProfileReference] = None
    app_data: Opt[BillingAppCustomerData] = None


@contextmanager
def _gone() -> Iterator[None]:
    try:
        yield
    except CustomerDeleted as error:
        raise Gone(error.message) from error


async def _shown(session: WriteSession, customer: Customer, profiles: Profiles) -> BillingCustomerData:
    profile, data = await customer_data.billing_app(session, customer, profiles)
    external = None
    if isinstance(data, CustomInvoicingData):
        external = ShownAppCustomerDataExternalInvoicing(labels=labels_of(data.metadata))
    return BillingCustomerData(
        billing_profile=BillingProfileReference(id=profile.id),
        app_data=BillingAppCustomerData(external_invoicing=external),
    )


@router.get(
    _PATH,
    operation_id="getCustomerBilling",
    summary="Get the billing settings of a customer",
    responses=errors("v3", 400, 401, 403, 404, 410),
)
async def get_customer_billing(
    customer_id: CustomerId, session: Write, namespace: Namespace, profiles: ProfilesDep
) -> BillingCustomerData:
    """Show which profile bills a customer, and what its app knows of the customer."""
    # Looking is a use: the first one makes the namespace's default profile, hence the write session.
    with _gone():
        customer = await customers.hold_live(session, namespace, customer_id)
    return await _shown(session, customer, profiles)


@router.put(
    _PATH,
    operation_id="updateCustomerBilling",
    summary="Change the billing settings of a customer",
    responses=errors("v3", 400, 401, 403, 404, 410),
)
async def update_customer_billing(
    customer_id: CustomerId,
    body: UpsertCustomerBillingDataRequest,
    session: Write,
    namespace: Namespace,
    profiles: ProfilesDep,
) -> BillingCustomerData:
    """Pin a customer to a profile, if one is given, and tell the app that bills it then about the customer."""
    with _gone():
        customer = await customers.hold_live(session, namespace, customer_id)
    if body.billing_profile is not None:
        await Overrides(profiles).pin(session, namespace, customer.id, body.billing_profile.id)
    if body.app_data is not None:
        await customer_data.write_to_billing_app(session, customer, body.app_data.to_values(), profiles)
    return await _shown(session, customer, profiles)


@router.put(
    _PATH + "/app-data",
    operation_id="updateCustomerBillingAppData",
    summary="Tell the app that bills a customer about it",
    responses=errors("v3", 400, 401, 403, 404, 410),
)
async def update_customer_billing_app_data(
    customer_id: CustomerId,
    body: UpsertAppCustomerDataRequest,
    session: Write,
    namespace: Namespace,
    profiles: ProfilesDep,
) -> BillingAppCustomerData:
    """Replace what the app that bills a customer knows of it."""
    with _gone():
        customer = await customers.hold_live(session, namespace, customer_id)
    await customer_data.write_to_billing_app(session, customer, body.to_values(), profiles)
    return (await _shown(session, customer, profiles)).app_data or BillingAppCustomerData()
