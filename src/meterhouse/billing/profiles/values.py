"""Profiles as values, and the merge of a profile with a customer's override (billing sections 2.1 and 3.1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Literal

from meterhouse.catalog.prices import TaxConfig
from meterhouse.customers.customer import Address, Customer
from meterhouse.kernel.periods import Duration, Recurrence

ProrationMode = Literal["bill_actual_period", "bill_full_period"]
CollectionMethod = Literal["charge_automatically", "send_invoice"]


@dataclass(frozen=True, slots=True)
class Alignment:
    """When pending lines are collected: at the ticks of a recurrence, or each at its own moment (no recurrence)."""

    anchored: Recurrence | None = None


@dataclass(frozen=True, slots=True)
class Workflow:
    """How invoices of a profile go their way; the defaults are those of a new profile.

    Attributes:
        collection_alignment: honoured by the automatic collector only.
        collection_interval: how long after the end of a metered charge usage that is stored late still counts.
        auto_advance: False leaves a draft to a human's approval.
        draft_period: extra wait before automatic approval.
        due_after: from the issue of an invoice to its due date.
        progressive_billing: whether part of an unfinished service period can be billed on request.
        subscription_end_proration_mode: whether a subscription that ends within a period owes that period in full.
        tax_enabled, tax_enforced: ask the app to calculate tax; and refuse to issue without it.
    """

    collection_alignment: Alignment = Alignment()
    collection_interval: Duration = Duration(hours=1)  # noqa: RUF009 - immutable
    auto_advance: bool = True
    draft_period: Duration = Duration()  # noqa: RUF009 - immutable
    due_after: Duration = Duration(days=30)  # noqa: RUF009 - immutable
    progressive_billing: bool = True
    subscription_end_proration_mode: ProrationMode = "bill_actual_period"
    default_tax_config: TaxConfig | None = None
    collection_method: CollectionMethod = "charge_automatically"
    tax_enabled: bool = True
    tax_enforced: bool = False

    @property
    def collection_ticks(self) -> Recurrence | None:
        """Return the recurrence at which pending lines are collected, None where each has its own moment."""
        return self.collection_alignment.anchored


@dataclass(frozen=True, slots=True)
class WorkflowOverride:
    """What a customer has different; None leaves the profile's value.

    Tax, proration mode and apps are not here: they always come from the profile.
    """

    collection_alignment: Alignment | None = None
    collection_interval: Duration | None = None
    auto_advance: bool | None = None
    draft_period: Duration | None = None
    due_after: Duration | None = None
    progressive_billing: bool | None = None
    default_tax_config: TaxConfig | None = None
    collection_method: CollectionMethod | None = None

    def applied_to(self, workflow: Workflow) -> Workflow:
        """Return the workflow with every given value in the place of the profile's."""
        given = {part.name: getattr(self, part.name) for part in fields(self)}
        return replace(workflow, **{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True, slots=True)
class Supplier:
    """Who sends the invoices. Name and the address's country are required."""

    name: str
    address: Address
    key: str | None = None
    tax_id: str | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """A billing profile, alone or merged with a customer's override.

    Attributes:
        id, app_id: empty for the built-in profile of a namespace in which nothing is stored yet; only reading
            without writing can meet it.
        app_id: the one app for tax, invoicing and payment.
        default: whether customers without a pinned profile follow it.
    """

    id: str
    namespace: str
    name: str
    default: bool
    app_id: str
    supplier: Supplier
    workflow: Workflow
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None


def built_in(namespace: str, app_id: str = "") -> Profile:
    """Return the profile that a namespace starts with (billing section 2.2)."""
    return Profile(
        id="",
        namespace=namespace,
        name="openmeter-sandbox",
        default=True,
        app_id=app_id,
        supplier=Supplier(name="OpenMeter", address=Address(country="US")),
        workflow=Workflow(),
    )


@dataclass(frozen=True, slots=True)
class ProfileInput:
    """What a profile is made from, or replaced by; its apps are chosen once (`AppChoice`)."""

    name: str
    supplier: Supplier
    workflow: Workflow
    default: bool
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AppChoice:
    """The apps of a profile; only one app for everything is possible."""

    tax: str
    invoicing: str
    payment: str


@dataclass(frozen=True, slots=True)
class Override:
    """What ties a customer to a profile; `profile_id` None follows the default one."""

    customer_id: str
    profile_id: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class CustomerProfile:
    """How a customer is billed: the profile with the override applied, and the override where there is one."""

    customer: Customer
    profile: Profile
    override: Override | None
