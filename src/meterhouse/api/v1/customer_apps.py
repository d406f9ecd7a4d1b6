"""v1 routes of what apps know of a customer (customers section 8)."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from meterhouse.api.deps import Namespace, ProfilesDep, Write
from meterhouse.api.paging import V1Page, V1Paging
from meterhouse.api.problems import errors
from meterhouse.api.v1.app_schemas import SandboxApp
from meterhouse.api.v1.names import CustomerIdOrKey
from meterhouse.api.wire import Opt, V1Model
from meterhouse.apps import customer_data
from meterhouse.apps.app import AppType
from meterhouse.apps.customer_data import CustomInvoicingData, DataInput, Linked, SandboxData, StripeData
from meterhouse.customers import service as customers

router = APIRouter(tags=["Customers"])

PATH = "/api/v1/customers/{customerIdOrKey}/apps"
MAX_ITEMS = 100  # far more apps than a namespace has

_APP_ID = r"^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$"
AppId = Annotated[
    Opt[Annotated[str, Field(pattern=_APP_ID)]],
    Field(description="The app; without it the app of that type that bills the customer."),
]


class SandboxCustomerAppDataCreateOrUpdateItem(V1Model):
    """The sandbox needs to know nothing of a customer."""

    id: AppId = None
    type: Literal["sandbox"]

    def to_value(self) -> DataInput:
        """Read the data."""
        return DataInput(SandboxData(), self.id)


class CustomInvoicingCustomerAppDataCreateOrUpdateItem(V1Model):
    """What an outside system wants to find with the customer."""

    id: AppId = None
    type: Literal["custom_invoicing"]
    metadata: Opt[dict[str, str]] = None

    def to_value(self) -> DataInput:
        """Read the data."""
        return DataInput(CustomInvoicingData(metadata=self.metadata or {}), self.id)


class StripeCustomerAppDataCreateOrUpdateItem(V1Model):
    """The customer of Stripe that stands for the customer."""

    id: AppId = None
    type: Literal["stripe"]
    stripe_customer_id: str
    stripe_default_payment_method_id: Opt[str] = None

    def to_value(self) -> DataInput:
        """Read the data."""
        data = StripeData(
            customer_id=self.stripe_customer_id, default_payment_method_id=self.stripe_default_payment_method_id
        )
        return DataInput(data, self.id)


CustomerAppDataCreateOrUpdateItem = Annotated[
    SandboxCustomerAppDataCreateOrUpdateItem
    | CustomInvoicingCustomerAppDataCreateOrUpdateItem
    | StripeCustomerAppDataCreateOrUpdateItem,
    Field(discriminator="type"),
]


class SandboxCustomerAppData(V1Model):
    """What the sandbox knows of a customer: nothing."""

    app: Opt[SandboxApp] = None
    id: Opt[str] = None
    type: Literal["sandbox"]


class CustomInvoicingCustomerAppData(V1Model):
    """What a custom invoicing app knows of a customer."""

    id: Opt[str] = None
    type: Literal["custom_invoicing"]
    metadata: Opt[dict[str, str]] = None


CustomerAppData = Annotated[SandboxCustomerAppData | CustomInvoicingCustomerAppData, Field(discriminator="type")]


def _shown(linked: Linked) -> SandboxCustomerAppData | CustomInvoicingCustomerAppData:
    if isinstance(linked.data, CustomInvoicingData):
        metadata = dict(linked.data.metadata) or None
        return CustomInvoicingCustomerAppData(id=linked.app.id, type="custom_invoicing", metadata=metadata)
    return SandboxCustomerAppData(app=SandboxApp.of(linked.app), id=linked.app.id, type="sandbox")


@router.get(
    PATH,
    operation_id="listCustomerAppData",
    summary="List what apps know of a customer",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def list_customer_app_data(
    id_or_key: CustomerIdOrKey,
    session: Write,
    namespace: Namespace,
    profiles: ProfilesDep,
    page: V1Paging,
    app_type: Annotated[
        Literal["stripe", "sandbox", "custom_invoicing"] | None, Query(alias="type", description="Apps of this type.")
    ] = None,
) -> V1Page[CustomerAppData]:
    """List the apps that know a customer, with what they know."""
    customer = await customers.get_live(session, namespace, id_or_key)
    # Looking is a use: the first one installs the sandbox, hence the write session.
    await profiles.default(session, namespace)
    wanted = None if app_type is None else AppType(app_type)
    found = await customer_data.listed(session, customer, page, app_type=wanted)
    return V1Page.of(found, [_shown(linked) for linked in found.items])


@router.put(
    PATH,
    operation_id="upsertCustomerAppData",
    summary="Tell apps about a customer",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def upsert_customer_app_data(
    id_or_key: CustomerIdOrKey,
    body: Annotated[list[CustomerAppDataCreateOrUpdateItem], Field(max_length=MAX_ITEMS)],
    session: Write,
    namespace: Namespace,
    profiles: ProfilesDep,
) -> list[CustomerAppData]:
    """Replace what apps know of a customer, all or nothing."""
    found = await customers.get_live(session, namespace, id_or_key)
    customer = await customers.hold_live(session, namespace, found.id)
    items = [item.to_value() for item in body]
    written = await customer_data.write(session, customer, items, profiles)
    return [_shown(linked) for linked in written]


@router.delete(
    PATH + "/{appId}",
    operation_id="deleteCustomerAppData",
    summary="Let an app forget a customer",
    status_code=204,
    response_class=Response,
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def delete_customer_app_data(
    id_or_key: CustomerIdOrKey,
    app_id: Annotated[str, Path(alias="appId", pattern=_APP_ID, description="The app.")],
    session: Write,
    namespace: Namespace,
) -> None:
    """Delete what an app knows of a customer."""
    found = await customers.get_live(session, namespace, id_or_key)
    customer = await customers.hold_live(session, namespace, found.id)
    await customer_data.forget(session, customer, app_id)
