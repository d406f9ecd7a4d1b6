"""Invoices as values, for those who read them: the API and invoicing apps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from meterhouse.billing.invoices.flags import Flags
from meterhouse.billing.invoices.snapshots import InvoiceWorkflow, Party
from meterhouse.billing.invoices.states import State
from meterhouse.billing.ports import CreditApplied, LineOrigin
from meterhouse.billing.rating.results import DetailedLine, Totals, UsageDiscountApplied
from meterhouse.kernel.periods import Period


@dataclass(frozen=True, slots=True)
class IssueView:
    """A validation issue of an invoice."""

    id: str
    severity: Literal["critical", "warning"]
    code: str | None
    message: str
    component: str
    path: str | None
    attributes: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class DetailView:
    """A detailed line. `discount_ids` gives the stable id of each amount discount by its child reference."""

    id: str
    detail: DetailedLine
    discount_ids: Mapping[str, str]
    period: Period
    external_ids: Mapping[str, str]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class LineView:
    """A line with its detailed lines in display order."""

    id: str
    invoice_id: str
    run_id: str | None
    origin: LineOrigin
    period: Period
    invoice_at: datetime
    quantity: Decimal | None
    pre_line_quantity: Decimal | None
    metered_quantity: Decimal | None
    metered_pre_line_quantity: Decimal | None
    usage_discount: UsageDiscountApplied | None
    credits_applied: Sequence[CreditApplied]
    totals: Totals
    details: Sequence[DetailView]
    external_ids: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True)
class InvoiceView:
    """An invoice as it stands.

    Attributes:
        lines: None where they were not asked for.
        supplier, workflow, profile_id, app_id: frozen copies; those of the present profile on a gathering invoice.
        can_invoice: whether something on a gathering invoice can be billed now; None for standard invoices.
    """

    id: str
    namespace: str
    kind: Literal["gathering", "standard"]
    state: State
    flags: Flags
    can_invoice: bool | None
    number: str
    currency: str
    customer_id: str
    customer: Party
    supplier: Party
    workflow: InvoiceWorkflow | None
    profile_id: str | None
    app_id: str | None
    app_type: str | None
    description: str | None
    metadata: Mapping[str, str]
    totals: Totals
    period: Period | None
    collection_at: datetime | None
    draft_until: datetime | None
    issued_at: datetime | None
    due_at: datetime | None
    sent_to_customer_at: datetime | None
    quantity_snapshotted_at: datetime | None
    payment_processing_entered_at: datetime | None
    voided_at: datetime | None
    external_ids: Mapping[str, str]
    issues: Sequence[IssueView]
    lines: Sequence[LineView] | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True)
class PendingLines:
    """New pending lines in the order they were asked for, and their gathering invoice as stored."""

    lines: Sequence[LineView]
    invoice: InvoiceView
    is_invoice_new: bool
