"""v1 schemas of billing profiles."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from pydantic import Field, StringConstraints

from meterhouse.api.v1.address import Address
from meterhouse.api.v1.app_schemas import SandboxApp
from meterhouse.api.v1.billing.parts import (
    AppReference,
    BillingParty,
    BillingProfileAppReferences,
    BillingWorkflow,
    CollectionAlignmentAnchored,
)
from meterhouse.api.wire import Description, ExternalKey, Instant, Name, Opt, Ulid, V1Model
from meterhouse.apps.app import App
from meterhouse.billing.invoices.freezing import supplier_party, workflow_of
from meterhouse.billing.profiles import AppChoice, Profile, ProfileInput, Supplier, Workflow
from meterhouse.billing.profiles.values import Alignment, ProrationMode
from meterhouse.customers import customer
from meterhouse.kernel.periods import Recurrence

FIELD_NAMES = {
    "$.supplier.addresses.billing_address": "$.supplier.addresses[0]",
    "$.workflow.collection.alignment.recurring_period": "$.workflow.collection.alignment.recurringPeriod",
    "$.workflow.invoicing.draft_period": "$.workflow.invoicing.draftPeriod",
    "$.workflow.payment.due_after": "$.workflow.invoicing.dueAfter",
    "$.workflow.tax.default_tax_config": "$.workflow.invoicing.defaultTaxConfig",
}
"""What the domain calls the fields, and what v1 does."""


class BillingProfileApps(V1Model):
    """The apps of a profile in full; all three are the same."""

    tax: SandboxApp
    invoicing: SandboxApp
    payment: SandboxApp


ProfileApps = BillingProfileApps | BillingProfileAppReferences


def apps_of(profile: Profile, apps: Mapping[str, App]) -> ProfileApps:
    """Show the apps of a profile: in full where `apps` knows them, else by reference."""
    found = apps.get(profile.app_id)
    shown = None if found is None else SandboxApp.of(found)
    if shown is not None:
        return BillingProfileApps(tax=shown, invoicing=shown, payment=shown)
    app = AppReference(id=profile.app_id)
    return BillingProfileAppReferences(tax=app, invoicing=app, payment=app)


class BillingProfile(V1Model):
    """Who bills, through which app, and how invoices go their way."""

    id: Ulid
    name: Name
    description: Opt[Description] = None
    metadata: Opt[dict[str, str]] = None
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    supplier: BillingParty
    workflow: BillingWorkflow
    apps: ProfileApps
    default: bool = Field(description="Whether it bills the customers that are not pinned to another profile.")

    @classmethod
    def of(cls, profile: Profile, apps: Mapping[str, App]) -> "BillingProfile":
        """Show a stored profile."""
        return cls.model_validate(
            {
                "id": profile.id,
                "name": profile.name,
                "description": profile.description,
                "metadata": dict(profile.metadata) or None,
                "created_at": profile.created_at,
                "updated_at": profile.updated_at,
                "deleted_at": profile.deleted_at,
                "supplier": BillingParty.of(supplier_party(profile)),
                "workflow": BillingWorkflow.of(workflow_of(profile)),
                "apps": apps_of(profile, apps),
                "default": profile.default,
            }
        )


class BillingSupplierTaxIdentity(V1Model):
    """How the tax office knows the supplier."""

    code: Opt[Annotated[str, StringConstraints(min_length=1, max_length=32)]] = None


class BillingSupplier(V1Model):
    """Who sends the invoices. The name and the country of the address are needed."""

    key: Opt[ExternalKey] = None
    name: Opt[str] = None
    tax_id: Opt[BillingSupplierTaxIdentity] = None
    addresses: Opt[Annotated[list[Address], Field(max_length=1)]] = None

    def to_value(self) -> Supplier:
        """Read the supplier."""
        address = self.addresses[0].to_value() if self.addresses else customer.Address()
        tax_id = self.tax_id.code if self.tax_id else None
        return Supplier(name=self.name or "", address=address, key=self.key, tax_id=tax_id)


class _ProfileInput(V1Model):
    name: Name
    description: Opt[Description] = None
    metadata: Opt[dict[str, str]] = None
    supplier: BillingSupplier
    workflow: BillingWorkflow
    default: bool = Field(description="Whether it bills the customers that are not pinned to another profile.")

    def _to_value(self, workflow: Workflow) -> ProfileInput:
        return ProfileInput(
            name=self.name,
            supplier=self.supplier.to_value(),
            workflow=workflow,
            default=self.default,
            description=self.description,
            metadata=self.metadata or {},
        )


class BillingProfileAppsCreate(V1Model):
    """The apps of a profile, by their ids; all three must be the same."""

    tax: str
    invoicing: str
    payment: str


class BillingProfileCreate(_ProfileInput):
    """A profile to create."""

    apps: BillingProfileAppsCreate

    def to_value(self) -> tuple[ProfileInput, AppChoice]:
        """Read the profile and its apps."""
        apps = AppChoice(self.apps.tax, self.apps.invoicing, self.apps.payment)
        return self._to_value(_workflow(self.workflow)), apps


class BillingProfileReplaceUpdateWithWorkflow(_ProfileInput):
    """The new state of a profile. What the workflow leaves out has its default again, the proration mode stays."""

    def to_value(self, stored: Profile) -> ProfileInput:
        """Read the profile."""
        flow = _workflow(self.workflow)
        if "subscription_end_proration_mode" not in self.workflow.invoicing.model_fields_set:
            mode: ProrationMode = stored.workflow.subscription_end_proration_mode
            flow = replace(flow, subscription_end_proration_mode=mode)
        return self._to_value(flow)


def _workflow(given: BillingWorkflow) -> Workflow:
    invoicing, tax, alignment = given.invoicing, given.tax, given.collection.alignment
    ticks = None
    if isinstance(alignment, CollectionAlignmentAnchored):
        ticks = Recurrence(alignment.recurring_period.interval, alignment.recurring_period.anchor)
    config = invoicing.default_tax_config
    return Workflow(
        collection_alignment=Alignment(ticks),
        collection_interval=given.collection.interval,
        auto_advance=invoicing.auto_advance,
        draft_period=invoicing.draft_period,
        due_after=invoicing.due_after,
        progressive_billing=invoicing.progressive_billing,
        subscription_end_proration_mode=invoicing.subscription_end_proration_mode,
        default_tax_config=None if config is None else config.to_value(),
        collection_method=given.payment.collection_method,
        tax_enabled=tax.enabled,
        tax_enforced=tax.enforced,
    )
