"""What an app knows of a customer, by the type of the app (customers section 8, apps section 1.3).

The data of each type is a model that reads and writes its stored form; old rows must keep parsing
(`tests/customers/golden`). An app of a type that is not in `KINDS` keeps nothing of customers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from meterhouse.apps import repository
from meterhouse.apps.app import App, AppType
from meterhouse.billing.profiles import Profile, Profiles
from meterhouse.customers.customer import Customer
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import NotFound, PreconditionFailed, invalid
from meterhouse.kernel.pages import Page, PageRequest


class CustomerData(BaseModel):
    """What an app of one type knows of a customer; the base of each type's own."""

    model_config = ConfigDict(frozen=True)

    app_type: ClassVar[AppType]


class SandboxData(CustomerData):
    """The sandbox needs to know nothing."""

    app_type: ClassVar[AppType] = AppType.SANDBOX


class CustomInvoicingData(CustomerData):
    """Whatever the outside system wants to find with the customer."""

    app_type: ClassVar[AppType] = AppType.CUSTOM_INVOICING

    metadata: Mapping[str, str] = {}


class StripeData(CustomerData):
    """The customer of Stripe that stands for ours. No Stripe app can be installed, so none can take it."""

    app_type: ClassVar[AppType] = AppType.STRIPE

    customer_id: str
    default_payment_method_id: str | None = None


KINDS: Mapping[AppType, type[CustomerData]] = {kind.app_type: kind for kind in (SandboxData, CustomInvoicingData)}


@dataclass(frozen=True, slots=True)
class Linked:
    """An app with what it knows of a customer."""

    app: App
    data: CustomerData


@dataclass(frozen=True, slots=True)
class DataInput:
    """Data for an app: the named one, or the one of that type that bills the customer."""

    data: CustomerData
    app_id: str | None = None


async def listed(
    session: ReadSession, customer: Customer, page: PageRequest, *, app_type: AppType | None = None
) -> Page[Linked]:
    """Return the installed apps that know the customer, oldest first. The sandbox knows everyone."""
    rows, total = await repository.linked(session, customer.namespace, customer.id, page, app_type)
    return Page([_linked(App.of(app), stored) for app, stored in rows if app.type in KINDS], total, page)


def _linked(app: App, stored: Mapping[str, Any] | None) -> Linked:
    return Linked(app, KINDS[app.type].model_validate(stored or {}))


async def billing_app(
    session: WriteSession, customer: Customer, profiles: Profiles
) -> tuple[Profile, CustomerData | None]:
    """Return the profile that bills the customer, and what its app knows of the customer."""
    profile, app = await _billed_through(session, customer, profiles)
    row = await repository.customer_data(session, customer.namespace, customer.id, app.id)
    stored = None if row is None else row.data
    return profile, _linked(app, stored).data if app.type in KINDS else None


async def _billed_through(session: WriteSession, customer: Customer, profiles: Profiles) -> tuple[Profile, App]:
    profile = await profiles.merged(session, customer.namespace, customer.id)
    return profile, await installed(session, customer.namespace, profile.app_id)


async def write_to_billing_app(
    session: WriteSession, customer: Customer, given: Sequence[CustomerData], profiles: Profiles
) -> None:
    """Store what is meant for the app that bills the customer; data for apps of other types is passed over."""
    _, app = await _billed_through(session, customer, profiles)
    for data in given:
        if data.app_type is app.type:
            await _store(session, customer, app, data)


async def write(
    session: WriteSession, customer: Customer, given: Sequence[DataInput], profiles: Profiles
) -> list[Linked]:
    """Store data of apps, each replacing what the app knew; all or nothing.

    Raises:
        NotFound: no such app is installed.
        InvalidInput: the named app is of another type than the data.
        PreconditionFailed: no app is named, and the one that bills the customer is of another type.
    """
    written = []
    for one in given:
        app = await _app(session, customer, one, profiles)
        await _store(session, customer, app, one.data)
        written.append(Linked(app, one.data))
    return written


async def _app(session: WriteSession, customer: Customer, given: DataInput, profiles: Profiles) -> App:
    wanted = given.data.app_type
    if given.app_id is not None:
        app = await installed(session, customer.namespace, given.app_id)
        if app.type != wanted:
            raise invalid(f"app {app.id} is of type {app.type}, not {wanted}", field="$.type")
        return app
    _, app = await _billed_through(session, customer, profiles)
    if app.type != wanted:
        raise PreconditionFailed(f"customer {customer.id} is billed through an app of type {app.type}, not {wanted}")
    return app


async def installed(session: ReadSession, namespace: str, app_id: str) -> App:
    """Return an installed app.

    Raises:
        NotFound: there is none of that id.
    """
    row = await repository.installed(session, namespace, app_id)
    if row is None:
        raise NotFound(f"app not found: {app_id}")
    return App.of(row)


async def _store(session: WriteSession, customer: Customer, app: App, data: CustomerData) -> None:
    if not type(data).model_fields:
        return
    await repository.put_customer_data(session, customer.namespace, customer.id, app.id, data.model_dump(mode="json"))


async def forget(session: WriteSession, customer: Customer, app_id: str) -> None:
    """Delete what an app knows of the customer; nothing when it knows nothing.

    Raises:
        NotFound: no such app is installed.
    """
    await installed(session, customer.namespace, app_id)
    await repository.delete_customer_data(session, customer.namespace, customer.id, app_id=app_id)


async def delete_with_customer(session: WriteSession, customer: Customer) -> None:
    """Delete what all apps know of a customer that is deleted (a `DeletionFollower`)."""
    await repository.delete_customer_data(session, customer.namespace, customer.id, at=customer.deleted_at)
