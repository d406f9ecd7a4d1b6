"""v3 billing profiles."""

from dataclasses import asdict, replace
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Response
from pydantic import Field, StringConstraints

from meterhouse.api.deps import Namespace, ProfilesDep, Read, Write
from meterhouse.api.labels import Labels, ShownLabels, labels_of, metadata_of
from meterhouse.api.paging import V3Page, V3Paging
from meterhouse.api.problems import errors
from meterhouse.api.v3.customers import Address
from meterhouse.api.v3.invoices.schemas import BillingAppReference, BillingPartyAddresses
from meterhouse.api.v3.prices import BillingTaxConfig
from meterhouse.api.wire import Description, ExternalKey, Instant, Interval, Name, Opt, Ulid, UnsignedDuration, V3Model
from meterhouse.billing.profiles import AppChoice, Profile, ProfileInput, Supplier, Workflow
from meterhouse.billing.profiles.values import Alignment, ProrationMode
from meterhouse.customers import customer
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.periods import Recurrence

router = APIRouter(tags=["OpenMeter Billing Settings"])

_PATH = "/api/v3/openmeter/profiles"
_ONE = _PATH + "/{id}"
_DEFAULTS = Workflow()
OLDEST_FIRST = Sort("created_at")

ProfileId = Annotated[Ulid, Path(alias="id", description="The id of a billing profile.")]


class BillingSupplierTaxIdentity(V3Model):
    """How the tax office knows the supplier."""

    code: Opt[Annotated[str, StringConstraints(min_length=1, max_length=32)]] = None


class BillingParty(V3Model):
    """Who sends the invoices. The name and the country of the address are needed."""

    key: Opt[ExternalKey] = None
    name: Opt[str] = None
    tax_id: Opt[BillingSupplierTaxIdentity] = None
    addresses: Opt[BillingPartyAddresses] = None

    def to_value(self) -> Supplier:
        """Read the supplier."""
        given = self.addresses.billing_address if self.addresses else None
        address = customer.Address(**given.model_dump()) if given else customer.Address()
        tax_id = self.tax_id.code if self.tax_id else None
        return Supplier(name=self.name or "", address=address, key=self.key, tax_id=tax_id)


class ShownBillingParty(BillingParty):
    """Who sends the invoices."""

    id: Opt[str] = None

    @classmethod
    def of(cls, profile: Profile) -> "ShownBillingParty":
        """Show the supplier of a profile."""
        supplier = profile.supplier
        return cls(
            id=profile.id,
            key=supplier.key,
            name=supplier.name,
            tax_id=BillingSupplierTaxIdentity(code=supplier.tax_id) if supplier.tax_id else None,
            addresses=BillingPartyAddresses(billing_address=Address(**asdict(supplier.address))),
        )


class RecurringPeriod(V3Model):
    """The ticks of an anchored collection."""

    anchor: Instant
    interval: Interval


class BillingWorkflowCollectionAlignmentSubscription(V3Model):
    """Each line is collected at its own moment."""

    type: Literal["subscription"]


class BillingWorkflowCollectionAlignmentAnchored(V3Model):
    """Lines are collected at the ticks of a recurrence."""

    type: Literal["anchored"]
    recurring_period: RecurringPeriod


BillingWorkflowCollectionAlignment = Annotated[
    BillingWorkflowCollectionAlignmentSubscription | BillingWorkflowCollectionAlignmentAnchored,
    Field(discriminator="type"),
]


class BillingWorkflowCollectionSettings(V3Model):
    """How usage is collected."""

    alignment: BillingWorkflowCollectionAlignment = BillingWorkflowCollectionAlignmentSubscription(type="subscription")
    interval: UnsignedDuration = Field(
        _DEFAULTS.collection_interval,
        description="How long after a period's end usage that is stored late still counts.",
    )


class BillingWorkflowInvoicingSettings(V3Model):
    """How invoices go their way."""

    auto_advance: bool = Field(_DEFAULTS.auto_advance, description="Without it a draft waits for approval.")
    draft_period: UnsignedDuration = Field(
        _DEFAULTS.draft_period, description="How long a draft waits before it goes on."
    )
    progressive_billing: bool = Field(
        _DEFAULTS.progressive_billing, description="Whether part of an unfinished period can be billed."
    )
    subscription_end_proration_mode: ProrationMode = _DEFAULTS.subscription_end_proration_mode


class BillingWorkflowPaymentChargeAutomaticallySettings(V3Model):
    """The app charges the customer."""

    collection_method: Literal["charge_automatically"]


class BillingWorkflowPaymentSendInvoiceSettings(V3Model):
    """The customer pays the invoice."""

    collection_method: Literal["send_invoice"]
    due_after: UnsignedDuration = Field(
        _DEFAULTS.due_after, description="From the issue of an invoice to its due date."
    )


BillingWorkflowPaymentSettings = Annotated[
    BillingWorkflowPaymentChargeAutomaticallySettings | BillingWorkflowPaymentSendInvoiceSettings,
    Field(discriminator="collection_method"),
]


class BillingWorkflowTaxSettings(V3Model):
    """Whether tax is calculated, and how lines without a tax config are taxed."""

    enabled: bool = _DEFAULTS.tax_enabled
    enforced: bool = Field(_DEFAULTS.tax_enforced, description="Refuse to invoice without tax.")
    default_tax_config: Opt[BillingTaxConfig] = None


class BillingWorkflow(V3Model):
    """How billing works. What a request leaves out has its default."""

    collection: BillingWorkflowCollectionSettings = BillingWorkflowCollectionSettings()
    invoicing: BillingWorkflowInvoicingSettings = BillingWorkflowInvoicingSettings()
    payment: BillingWorkflowPaymentSettings = BillingWorkflowPaymentChargeAutomaticallySettings(
        collection_method="charge_automatically"
    )
    tax: BillingWorkflowTaxSettings = BillingWorkflowTaxSettings()

    @classmethod
    def of(cls, flow: Workflow) -> "BillingWorkflow":
        """Show a workflow."""
        ticks = flow.collection_ticks
        period = {"anchor": ticks.anchor, "interval": ticks.interval} if ticks else None
        alignment = {"type": "anchored", "recurring_period": period} if ticks else {"type": "subscription"}
        due_after = {"due_after": flow.due_after} if flow.collection_method == "send_invoice" else {}
        return cls.model_validate(
            {
                "collection": {"alignment": alignment, "interval": flow.collection_interval},
                "invoicing": {
                    "auto_advance": flow.auto_advance,
                    "draft_period": flow.draft_period,
                    "progressive_billing": flow.progressive_billing,
                    "subscription_end_proration_mode": flow.subscription_end_proration_mode,
                },
                "payment": {"collection_method": flow.collection_method, **due_after},
                "tax": {
                    "enabled": flow.tax_enabled,
                    "enforced": flow.tax_enforced,
                    "default_tax_config": BillingTaxConfig.of(flow.default_tax_config),
                },
            }
        )

    def to_value(self) -> Workflow:
        """Read the workflow."""
        alignment, invoicing, payment, tax = self.collection.alignment, self.invoicing, self.payment, self.tax
        ticks = None
        if isinstance(alignment, BillingWorkflowCollectionAlignmentAnchored):
            ticks = Recurrence(alignment.recurring_period.interval, alignment.recurring_period.anchor)
        due_after = _DEFAULTS.due_after
        if isinstance(payment, BillingWorkflowPaymentSendInvoiceSettings):
            due_after = payment.due_after
        return Workflow(
            collection_alignment=Alignment(ticks),
            collection_interval=self.collection.interval,
            auto_advance=invoicing.auto_advance,
            draft_period=invoicing.draft_period,
            due_after=due_after,
            progressive_billing=invoicing.progressive_billing,
            subscription_end_proration_mode=invoicing.subscription_end_proration_mode,
            default_tax_config=tax.default_tax_config.to_value() if tax.default_tax_config else None,
            collection_method=payment.collection_method,
            tax_enabled=tax.enabled,
            tax_enforced=tax.enforced,
        )


class BillingProfileAppReferences(V3Model):
    """The apps of a profile; all three are the same."""

    tax: BillingAppReference
    invoicing: BillingAppReference
    payment: BillingAppReference


class BillingProfile(V3Model):
    """Who bills, through which app, and how invoices go their way."""

    id: Ulid
    name: Name
    description: Opt[Description] = None
    labels: ShownLabels
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    supplier: ShownBillingParty
    workflow: BillingWorkflow
    apps: BillingProfileAppReferences
    default: bool = Field(description="Whether it bills the customers that are not pinned to another profile.")

    @classmethod
    def of(cls, profile: Profile) -> "BillingProfile":
        """Show a stored profile."""
        app = BillingAppReference(id=profile.app_id)
        return cls.model_validate(
            {
                "id": profile.id,
                "name": profile.name,
                "description": profile.description,
                "labels": labels_of(profile.metadata),
                "created_at": profile.created_at,
                "updated_at": profile.updated_at,
                "deleted_at": profile.deleted_at,
                "supplier": ShownBillingParty.of(profile),
                "workflow": BillingWorkflow.of(profile.workflow),
                "apps": BillingProfileAppReferences(tax=app, invoicing=app, payment=app),
                "default": profile.default,
            }
        )


class UpsertBillingProfileRequest(V3Model):
    """The new state of a profile. Only the proration mode stays as it is when it is left out."""

    name: Name
    description: Opt[Description] = None
    labels: Opt[Labels] = None
    supplier: BillingParty
    workflow: BillingWorkflow
    default: bool = Field(description="Whether it bills the customers that are not pinned to another profile.")

    def to_value(self, stored: Profile | None = None) -> ProfileInput:
        """Read the profile."""
        flow = self.workflow.to_value()
        if stored is not None and "subscription_end_proration_mode" not in self.workflow.invoicing.model_fields_set:
            mode = stored.workflow.subscription_end_proration_mode
            flow = replace(flow, subscription_end_proration_mode=mode)
        return ProfileInput(
            name=self.name,
            supplier=self.supplier.to_value(),
            workflow=flow,
            default=self.default,
            description=self.description,
            metadata=metadata_of(self.labels, stored.metadata if stored else None),
        )


class CreateBillingProfileRequest(UpsertBillingProfileRequest):
    """A profile to create."""

    apps: BillingProfileAppReferences


@router.get(
    _PATH,
    operation_id="listBillingProfiles",
    summary="List billing profiles",
    responses=errors("v3", 400, 401, 403),
)
async def list_billing_profiles(
    session: Write, namespace: Namespace, profiles: ProfilesDep, page: V3Paging
) -> V3Page[BillingProfile]:
    """List billing profiles, oldest first. There is always one, the default."""
    # Looking is a use: the first one makes the namespace's default profile, hence the write session.
    await profiles.default(session, namespace)
    found = await profiles.list_profiles(session, namespace, page, sort=OLDEST_FIRST)
    return V3Page.of(found, [BillingProfile.of(profile) for profile in found.items])


@router.post(
    _PATH,
    operation_id="createBillingProfile",
    summary="Create a billing profile",
    status_code=201,
    responses=errors("v3", 400, 401, 403),
)
async def create_billing_profile(
    body: CreateBillingProfileRequest, session: Write, namespace: Namespace, profiles: ProfilesDep
) -> BillingProfile:
    """Create a billing profile. As the default it takes the place of the present default."""
    apps = AppChoice(body.apps.tax.id, body.apps.invoicing.id, body.apps.payment.id)
    return BillingProfile.of(await profiles.create(session, namespace, body.to_value(), apps))


@router.get(
    _ONE,
    operation_id="getBillingProfile",
    summary="Get a billing profile",
    responses=errors("v3", 400, 401, 403, 404),
)
async def get_billing_profile(
    profile_id: ProfileId, session: Read, namespace: Namespace, profiles: ProfilesDep
) -> BillingProfile:
    """Show a billing profile, also a deleted one."""
    return BillingProfile.of(await profiles.get(session, namespace, profile_id))


@router.put(
    _ONE,
    operation_id="updateBillingProfile",
    summary="Replace a billing profile",
    responses=errors("v3", 400, 401, 403, 404),
)
async def update_billing_profile(
    profile_id: ProfileId,
    body: UpsertBillingProfileRequest,
    session: Write,
    namespace: Namespace,
    profiles: ProfilesDep,
) -> BillingProfile:
    """Replace everything about a billing profile but its apps."""
    stored = await profiles.get(session, namespace, profile_id)
    return BillingProfile.of(await profiles.update(session, namespace, profile_id, body.to_value(stored)))


@router.delete(
    _ONE,
    operation_id="deleteBillingProfile",
    summary="Delete a billing profile",
    status_code=204,
    response_class=Response,
    responses=errors("v3", 400, 401, 403, 404),
)
async def delete_billing_profile(
    profile_id: ProfileId, session: Write, namespace: Namespace, profiles: ProfilesDep
) -> None:
    """Delete a billing profile that is not the default and that no customer is pinned to."""
    await profiles.delete(session, namespace, profile_id)
