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
from meterhouse.apps.customer_data import CustomInvoicingData, DataInput
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
    profile = await profiles.merged(session, customer.namespace, customer.id)
    linked = await customer_data.find(session, customer, profile.app_id)
    external = None
    if linked is not None and isinstance(linked.data, CustomInvoicingData):
        external = ShownAppCustomerDataExternalInvoicing(labels=labels_of(linked.data.metadata))
    return BillingCustomerData(
        billing_profile=BillingProfileReference(id=profile.id),
        app_data=BillingAppCustomerData(external_invoicing=external),
    )


async def _store(
    session: WriteSession, customer: Customer, given: UpsertAppCustomerDataRequest | None, profiles: Profiles
) -> None:
    """Keep what is meant for the app that bills the customer."""
    external = None if given is None else given.external_invoicing
    if external is None:
        return
    data = CustomInvoicingData(metadata=metadata_of(external.labels))
    profile = await profiles.merged(session, customer.namespace, customer.id)
    app = await customer_data.installed(session, customer.namespace, profile.app_id)
    if app.type is data.app_type:
        await customer_data.write(session, customer, [DataInput(data, app.id)], profiles)


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
    await _store(session, customer, body.app_data, profiles)
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
    await _store(session, customer, body, profiles)
    return (await _shown(session, customer, profiles)).app_data or BillingAppCustomerData()
