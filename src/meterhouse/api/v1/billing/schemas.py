"""v1 schemas of invoices."""

from typing import Annotated, Any, Literal

from pydantic import Field

from meterhouse.api.v1.billing.lines import InvoiceLine
from meterhouse.api.v1.billing.parts import (
    AppReference,
    BillingInvoiceCustomerExtendedDetails,
    BillingParty,
    BillingProfileAppReferences,
    BillingWorkflow,
    InvoiceTotals,
    InvoiceWorkflowSettings,
)
from meterhouse.api.v1.subscription_schemas import Period
from meterhouse.api.wire import CurrencyCode, Instant, JSONNumber, Numeric, Opt, Ulid, V1Model
from meterhouse.billing.invoices.views import InvoiceView, IssueView

InvoiceStatus = Literal[
    "gathering",
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


class InvoiceAvailableActionDetails(V1Model):
    """Where an action leads when nothing goes wrong."""

    resulting_state: str


class InvoiceAvailableActionInvoiceDetails(V1Model):
    """Says that something on a gathering invoice can be billed now."""


class InvoiceAvailableActions(V1Model):
    """What can be done with an invoice now."""

    advance: Opt[InvoiceAvailableActionDetails] = None
    approve: Opt[InvoiceAvailableActionDetails] = None
    delete: Opt[InvoiceAvailableActionDetails] = None
    retry: Opt[InvoiceAvailableActionDetails] = None
    snapshot_quantities: Opt[InvoiceAvailableActionDetails] = None
    void: Opt[InvoiceAvailableActionDetails] = None
    invoice: Opt[InvoiceAvailableActionInvoiceDetails] = None


class InvoiceStatusDetails(V1Model):
    """The state of an invoice in full."""

    immutable: bool
    failed: bool
    extended_status: str
    available_actions: InvoiceAvailableActions

    @classmethod
    def of(cls, view: InvoiceView) -> "InvoiceStatusDetails":
        """Show the state."""
        actions: dict[str, Any] = {
            action: InvoiceAvailableActionDetails(resulting_state=state.value)
            for action, state in view.flags.actions.items()
        }
        if view.can_invoice:
            actions["invoice"] = InvoiceAvailableActionInvoiceDetails()
        return cls(
            immutable=view.flags.immutable,
            failed=view.flags.failed,
            extended_status=view.state.value,
            available_actions=InvoiceAvailableActions(**actions),
        )


class ValidationIssue(V1Model):
    """A problem with an invoice."""

    id: Ulid
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    severity: Literal["critical", "warning"]
    field: Opt[str] = Field(None, description="JSON pointer into the invoice.")
    code: Opt[str] = None
    component: str
    message: str
    metadata: Opt[dict[str, Any]] = None

    @classmethod
    def of(cls, issue: IssueView) -> "ValidationIssue":
        """Show an issue."""
        return cls(
            id=issue.id,
            created_at=issue.created_at,
            updated_at=issue.updated_at,
            severity=issue.severity,
            field=issue.path,
            code=issue.code,
            component=issue.component,
            message=issue.message,
            metadata=dict(issue.attributes) or None,
        )


class InvoiceAppExternalIds(V1Model):
    """What apps call an invoice."""

    invoicing: Opt[str] = None
    tax: Opt[str] = None
    payment: Opt[str] = None


class PaymentDueDate(V1Model):
    """When how much is due."""

    due_at: Instant
    notes: Opt[str] = None
    amount: Numeric
    percent: Opt[JSONNumber] = None
    currency: Opt[CurrencyCode] = None


class PaymentTermDueDate(V1Model):
    """Payment by a date."""

    type: Literal["due_date"]
    detail: Opt[str] = None
    notes: Opt[str] = None
    due_at: list[PaymentDueDate]


class InvoicePaymentTerms(V1Model):
    """How the invoice is to be paid."""

    terms: Opt[PaymentTermDueDate] = None


class CreditNoteOriginalInvoiceRef(V1Model):
    """The invoice that a credit note corrects."""

    type: Literal["credit_note_original_invoice"]
    reason: Opt[str] = None
    description: Opt[str] = None
    issued_at: Opt[Instant] = None
    number: Opt[str] = None
    url: str


class Invoice(V1Model):
    """An invoice."""

    id: Ulid
    description: Opt[str] = None
    metadata: Opt[dict[str, str]] = None
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    type: Literal["standard", "credit_note", "gathering"]
    supplier: BillingParty
    customer: BillingInvoiceCustomerExtendedDetails
    number: str
    currency: CurrencyCode
    preceding: Opt[list[CreditNoteOriginalInvoiceRef]] = None
    totals: InvoiceTotals
    status: InvoiceStatus
    status_details: InvoiceStatusDetails
    issued_at: Opt[Instant] = None
    draft_until: Opt[Instant] = None
    quantity_snapshoted_at: Opt[Instant] = Field(None, alias="quantitySnapshotedAt")
    collection_at: Opt[Instant] = Field(None, description="When the wait for late usage ends.")
    due_at: Opt[Instant] = None
    period: Opt[Period] = None
    voided_at: Opt[Instant] = None
    sent_to_customer_at: Opt[Instant] = None
    workflow: Opt[InvoiceWorkflowSettings] = None
    lines: Opt[list[InvoiceLine]] = None
    payment: Opt[InvoicePaymentTerms] = None
    validation_issues: Opt[list[ValidationIssue]] = None
    external_ids: Opt[InvoiceAppExternalIds] = None

    @classmethod
    def of(cls, view: InvoiceView) -> "Invoice":
        """Show an invoice."""
        return cls(
            id=view.id,
            description=view.description,
            metadata=dict(view.metadata) or None,
            created_at=view.created_at,
            updated_at=view.updated_at,
            deleted_at=view.deleted_at,
            type=view.kind,
            supplier=BillingParty.of(view.supplier),
            customer=BillingInvoiceCustomerExtendedDetails.of(view.customer),
            number=view.number,
            currency=view.currency,
            totals=InvoiceTotals.of(view.totals),
            status=view.state.short,
            status_details=InvoiceStatusDetails.of(view),
            issued_at=view.issued_at,
            draft_until=view.draft_until,
            quantity_snapshoted_at=view.quantity_snapshotted_at,
            collection_at=view.collection_at or view.created_at,
            due_at=view.due_at,
            period=Period.of(view.period) if view.period else None,
            voided_at=view.voided_at,
            sent_to_customer_at=view.sent_to_customer_at,
            workflow=_workflow(view),
            lines=None if view.lines is None else [InvoiceLine.of(view, line) for line in view.lines],
            payment=_payment(view),
            validation_issues=[ValidationIssue.of(issue) for issue in view.issues] or None,
            external_ids=InvoiceAppExternalIds.model_validate(view.external_ids) if view.external_ids else None,
        )


def _payment(view: InvoiceView) -> InvoicePaymentTerms | None:
    if view.due_at is None:
        return None
    due = PaymentDueDate(due_at=view.due_at, amount=view.totals.total, currency=view.currency)
    return InvoicePaymentTerms(terms=PaymentTermDueDate(type="due_date", due_at=[due]))


def _workflow(view: InvoiceView) -> InvoiceWorkflowSettings | None:
    if view.workflow is None or view.profile_id is None:
        return None
    app = AppReference(id=view.app_id) if view.app_id else None
    return InvoiceWorkflowSettings(
        apps=BillingProfileAppReferences(tax=app, invoicing=app, payment=app) if app else None,
        source_billing_profile_id=view.profile_id,
        workflow=BillingWorkflow.of(view.workflow),
    )


class InvoicePendingLinesActionFiltersInput(V1Model):
    """Which pending lines to bill."""

    line_ids: Annotated[
        list[Ulid] | None, Field(description="Exactly these lines; everything billable when absent.")
    ] = None


class InvoicePendingLinesActionInput(V1Model):
    """A request to bill pending lines."""

    filters: InvoicePendingLinesActionFiltersInput | None = None
    as_of: Annotated[Instant | None, Field(description="Bill up to this moment; now when absent.")] = None
    customer_id: Ulid
    progressive_billing_override: Annotated[
        bool | None, Field(description="Whether to bill part of an unfinished period; the profile decides when absent.")
    ] = None
