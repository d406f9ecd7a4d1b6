"""v3 schemas of invoices."""

from typing import Any, Literal

from pydantic import Field

from meterhouse.api.labels import ShownLabels, labels_of
from meterhouse.api.v3.customers import Address, BillingCustomerUsageAttribution
from meterhouse.api.v3.invoices.lines import BillingInvoiceLine
from meterhouse.api.v3.references import BillingTotals, ClosedPeriod
from meterhouse.api.wire import CurrencyCode, Instant, Opt, Ulid, UnsignedDuration, V3Model
from meterhouse.billing.invoices.snapshots import InvoiceWorkflow, Party
from meterhouse.billing.invoices.views import InvoiceView, IssueView
from meterhouse.kernel.periods import Period

Status = Literal[
    "draft",
    "issuing",
    "issued",
    "payment_processing",
    "overdue",
    "paid",
    "uncollectible",
    "voided",
    "delete",
    "deleted",
]


class BillingPartyTaxIdentity(V3Model):
    """How the tax office knows a party."""

    code: Opt[str] = None


class BillingPartyAddresses(V3Model):
    """The addresses of a party."""

    billing_address: Address


class BillingSupplier(V3Model):
    """Who sends the invoice."""

    id: Opt[str] = None
    name: Opt[str] = None
    tax_id: Opt[BillingPartyTaxIdentity] = None
    addresses: Opt[BillingPartyAddresses] = None

    @classmethod
    def of(cls, party: Party) -> "BillingSupplier":
        """Show a supplier."""
        address = _address(party)
        return cls(
            id=party.id,
            name=party.name or None,
            tax_id=BillingPartyTaxIdentity(code=party.tax_id) if party.tax_id else None,
            addresses=BillingPartyAddresses(billing_address=address) if address else None,
        )


class BillingInvoiceCustomer(V3Model):
    """The customer as it was when the invoice was made."""

    id: Ulid
    key: Opt[str] = None
    name: str
    usage_attribution: Opt[BillingCustomerUsageAttribution] = None
    billing_address: Opt[Address] = None

    @classmethod
    def of(cls, view: InvoiceView) -> "BillingInvoiceCustomer":
        """Show the customer."""
        party = view.customer
        keys = list(party.subject_keys)
        return cls(
            id=view.customer_id,
            key=party.key,
            name=party.name,
            usage_attribution=BillingCustomerUsageAttribution(subject_keys=keys) if keys else None,
            billing_address=_address(party),
        )


def _address(party: Party) -> Address | None:
    return Address(**party.address.model_dump()) if party.address else None


class BillingInvoiceValidationIssue(V3Model):
    """A problem with an invoice."""

    code: str
    message: str
    attributes: Opt[dict[str, Any]] = None
    severity: Literal["critical", "warning"]
    field: Opt[str] = Field(None, description="JSON pointer into the invoice.")

    @classmethod
    def of(cls, issue: IssueView) -> "BillingInvoiceValidationIssue":
        """Show an issue."""
        return cls(
            code=issue.code or "unknown",
            message=issue.message,
            attributes={"component": issue.component, **issue.attributes},
            severity=issue.severity,
            field=issue.path,
        )


class BillingInvoiceExternalReferences(V3Model):
    """What apps call an invoice."""

    invoicing_id: Opt[str] = None
    payment_id: Opt[str] = None


class BillingInvoiceAvailableActionDetails(V3Model):
    """Where an action leads when nothing goes wrong."""

    resulting_state: str


class BillingInvoiceAvailableActions(V3Model):
    """What can be done with an invoice now."""

    advance: Opt[BillingInvoiceAvailableActionDetails] = None
    approve: Opt[BillingInvoiceAvailableActionDetails] = None
    delete: Opt[BillingInvoiceAvailableActionDetails] = None
    retry: Opt[BillingInvoiceAvailableActionDetails] = None
    snapshot_quantities: Opt[BillingInvoiceAvailableActionDetails] = None


class BillingInvoiceStatusDetails(V3Model):
    """The state of an invoice in full."""

    immutable: bool
    failed: bool
    extended_status: str
    available_actions: BillingInvoiceAvailableActions


class BillingAppReference(V3Model):
    """Names an app."""

    id: Ulid


class BillingInvoiceWorkflowAppsReferences(V3Model):
    """The apps that serve an invoice; all three are the same."""

    tax: BillingAppReference
    invoicing: BillingAppReference
    payment: BillingAppReference


class BillingProfileReference(V3Model):
    """Names a billing profile."""

    id: Ulid


class BillingInvoiceWorkflowInvoicingSettings(V3Model):
    """How the invoice goes its way."""

    auto_advance: bool
    draft_period: UnsignedDuration
    due_after: UnsignedDuration


class BillingInvoiceWorkflowPaymentSettings(V3Model):
    """How the invoice is paid; `due_after` with `send_invoice` only."""

    collection_method: Literal["charge_automatically", "send_invoice"]
    due_after: Opt[UnsignedDuration] = None


class BillingInvoiceWorkflow(V3Model):
    """The workflow of an invoice."""

    invoicing: BillingInvoiceWorkflowInvoicingSettings
    payment: BillingInvoiceWorkflowPaymentSettings

    @classmethod
    def of(cls, flow: InvoiceWorkflow) -> "BillingInvoiceWorkflow":
        """Show a workflow."""
        sends = flow.collection_method == "send_invoice"
        return cls(
            invoicing=BillingInvoiceWorkflowInvoicingSettings(
                auto_advance=flow.auto_advance, draft_period=flow.draft_period, due_after=flow.due_after
            ),
            payment=BillingInvoiceWorkflowPaymentSettings(
                collection_method=flow.collection_method, due_after=flow.due_after if sends else None
            ),
        )


class BillingInvoiceWorkflowSettings(V3Model):
    """The workflow of an invoice, copied from the billing profile."""

    apps: Opt[BillingInvoiceWorkflowAppsReferences] = None
    source_billing_profile: BillingProfileReference
    workflow: BillingInvoiceWorkflow


class BillingInvoice(V3Model):
    """An invoice."""

    id: Ulid
    type: Literal["standard"]
    description: Opt[str] = None
    labels: Opt[ShownLabels] = None
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    number: str
    currency: CurrencyCode
    supplier: BillingSupplier
    customer: BillingInvoiceCustomer
    totals: BillingTotals
    service_period: ClosedPeriod
    validation_issues: Opt[list[BillingInvoiceValidationIssue]] = None
    external_references: Opt[BillingInvoiceExternalReferences] = None
    status: Status
    status_details: BillingInvoiceStatusDetails
    issued_at: Opt[Instant] = None
    draft_until: Opt[Instant] = None
    quantity_snapshotted_at: Opt[Instant] = None
    collection_at: Opt[Instant] = Field(None, description="When the wait for late usage ends.")
    due_at: Opt[Instant] = None
    sent_to_customer_at: Opt[Instant] = None
    workflow: BillingInvoiceWorkflowSettings
    lines: Opt[list[BillingInvoiceLine]] = None

    @classmethod
    def of(cls, view: InvoiceView) -> "BillingInvoice":
        """Show a standard invoice. One without lines has the empty period of its creation."""
        ids = view.external_ids
        return cls(
            id=view.id,
            type="standard",
            description=view.description,
            labels=labels_of(view.metadata) or None,
            created_at=view.created_at,
            updated_at=view.updated_at,
            deleted_at=view.deleted_at,
            number=view.number,
            currency=view.currency,
            supplier=BillingSupplier.of(view.supplier),
            customer=BillingInvoiceCustomer.of(view),
            totals=BillingTotals.of(view.totals),
            service_period=ClosedPeriod.of(view.period or Period(view.created_at, view.created_at)),
            validation_issues=[BillingInvoiceValidationIssue.of(issue) for issue in view.issues] or None,
            external_references=BillingInvoiceExternalReferences(
                invoicing_id=ids.get("invoicing"), payment_id=ids.get("payment")
            )
            if ids
            else None,
            status=view.state.short,
            status_details=_status_details(view),
            issued_at=view.issued_at,
            draft_until=view.draft_until,
            quantity_snapshotted_at=view.quantity_snapshotted_at,
            collection_at=view.collection_at or view.created_at,
            due_at=view.due_at,
            sent_to_customer_at=view.sent_to_customer_at,
            workflow=_workflow(view),
            lines=None if view.lines is None else [BillingInvoiceLine.of(line) for line in view.lines],
        )


def _status_details(view: InvoiceView) -> BillingInvoiceStatusDetails:
    actions = {
        action: BillingInvoiceAvailableActionDetails(resulting_state=state.value)
        for action, state in view.flags.actions.items()
    }
    return BillingInvoiceStatusDetails(
        immutable=view.flags.immutable,
        failed=view.flags.failed,
        extended_status=view.state.value,
        available_actions=BillingInvoiceAvailableActions(**actions),
    )


def _workflow(view: InvoiceView) -> BillingInvoiceWorkflowSettings:
    if view.workflow is None or view.profile_id is None or view.app_id is None:
        raise TypeError("only standard invoices are shown in v3")
    app = BillingAppReference(id=view.app_id)
    return BillingInvoiceWorkflowSettings(
        apps=BillingInvoiceWorkflowAppsReferences(tax=app, invoicing=app, payment=app),
        source_billing_profile=BillingProfileReference(id=view.profile_id),
        workflow=BillingInvoiceWorkflow.of(view.workflow),
    )
