"""Tables of invoices.

Gathering and standard invoices share a table, because a line moves between them and keeps its id; the columns that only
a standard invoice has are demanded by a check. `kind` is repeated on lines (kept right by the foreign key) so that the
database can hold "one live gathering line per charge".
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.billing.invoices.columns import JSONValue, TotalsColumns
from meterhouse.billing.invoices.snapshots import InvoiceWorkflow, Party
from meterhouse.billing.invoices.states import State
from meterhouse.billing.ports import CreditApplied, SubscriptionReference
from meterhouse.billing.rating.results import AmountDiscount, CreditShare, UsageDiscountApplied
from meterhouse.catalog.prices import Discounts, Price, TaxConfig, UnitConversion
from meterhouse.kernel.db import Base, SoftDelete, Timestamps
from meterhouse.kernel.ids import new_id

GATHERING = "gathering"
STANDARD = "standard"

_LIVE = text("deleted_at IS NULL")
_STATES = ", ".join(f"'{state.value}'" for state in State)


class InvoiceRow(Base, Timestamps, SoftDelete, TotalsColumns):
    """A gathering or standard invoice. `work_at` is when automatic work on it is due (see README)."""

    __tablename__ = "invoices"
    __table_args__ = (
        CheckConstraint(f"kind IN ('{GATHERING}', '{STANDARD}')", name="kind"),
        CheckConstraint(f"status IN ({_STATES})", name="status"),
        CheckConstraint("(kind = 'gathering') = (status = 'gathering')", name="gathering_status"),
        CheckConstraint(
            "kind = 'gathering' OR (customer IS NOT NULL AND supplier IS NOT NULL AND workflow IS NOT NULL"
            " AND app_id IS NOT NULL AND app_type IS NOT NULL AND profile_id IS NOT NULL)",
            name="standard_snapshots",
        ),
        CheckConstraint("deletion_source IN ('user', 'system')", name="deletion_source"),
        CheckConstraint("(period_start IS NULL) = (period_end IS NULL)", name="period_whole"),
        CheckConstraint("work_failures >= 0", name="work_failures"),
        UniqueConstraint("id", "kind"),
        Index(
            "uq_invoices_live_gathering",
            "namespace",
            "customer_id",
            "currency",
            unique=True,
            postgresql_where=text("kind = 'gathering' AND deleted_at IS NULL"),
        ),
        Index("ix_invoices_work", "kind", "work_at", postgresql_where=_LIVE),
        Index("ix_invoices_customer", "namespace", "customer_id"),
        Index("ix_invoices_created", "namespace", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    kind: Mapped[str]
    status: Mapped[str]
    customer_id: Mapped[str]
    customer_name: Mapped[str]
    currency: Mapped[str]
    number: Mapped[str]
    description: Mapped[str | None]
    labels: Mapped[dict[str, str]] = mapped_column("metadata", default=dict)

    profile_id: Mapped[str | None]
    app_id: Mapped[str | None]
    app_type: Mapped[str | None]
    app_holds: Mapped[list[str]] = mapped_column(default=list)
    customer: Mapped[Party | None] = mapped_column(JSONValue(Party))
    supplier: Mapped[Party | None] = mapped_column(JSONValue(Party))
    workflow: Mapped[InvoiceWorkflow | None] = mapped_column(JSONValue(InvoiceWorkflow))
    external_ids: Mapped[dict[str, str]] = mapped_column(default=dict)

    period_start: Mapped[datetime | None]
    period_end: Mapped[datetime | None]
    collection_at: Mapped[datetime | None]
    draft_until: Mapped[datetime | None]
    issued_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    sent_to_customer_at: Mapped[datetime | None]
    quantity_snapshotted_at: Mapped[datetime | None]
    payment_processing_entered_at: Mapped[datetime | None]
    voided_at: Mapped[datetime | None]
    deletion_source: Mapped[str | None]

    work_at: Mapped[datetime | None]
    work_failures: Mapped[int] = mapped_column(default=0)


class InvoiceLineRow(Base, Timestamps, SoftDelete, TotalsColumns):
    """A line: what its charge showed when it was last read. `changed_at` is when it was made or changed as pending."""

    __tablename__ = "invoice_lines"
    __table_args__ = (
        ForeignKeyConstraint(["invoice_id", "invoice_kind"], ["invoices.id", "invoices.kind"]),
        CheckConstraint("engine IN ('charge_usagebased', 'charge_flatfee')", name="engine"),
        CheckConstraint("managed_by IN ('subscription', 'manual', 'system')", name="managed_by"),
        CheckConstraint("period_start <= period_end", name="period_order"),
        CheckConstraint("engine = 'charge_flatfee' OR feature_key IS NOT NULL", name="usage_feature"),
        Index(
            "uq_invoice_lines_live_gathering_charge",
            "charge_id",
            unique=True,
            postgresql_where=text("invoice_kind = 'gathering' AND deleted_at IS NULL"),
        ),
        Index(
            "uq_invoice_lines_live_run",
            "run_id",
            unique=True,
            postgresql_where=text("run_id IS NOT NULL AND deleted_at IS NULL"),
        ),
        Index("ix_invoice_lines_invoice", "invoice_id"),
        Index("ix_invoice_lines_charge", "namespace", "charge_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    invoice_id: Mapped[str]
    invoice_kind: Mapped[str]
    charge_id: Mapped[str]
    run_id: Mapped[str | None]
    engine: Mapped[str]
    managed_by: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]
    labels: Mapped[dict[str, str]] = mapped_column("metadata", default=dict)
    price: Mapped[Price] = mapped_column(JSONValue(Price))
    feature_key: Mapped[str | None]
    discounts: Mapped[Discounts] = mapped_column(JSONValue(Discounts))
    unit_conversion: Mapped[UnitConversion | None] = mapped_column(JSONValue(UnitConversion))
    tax_config: Mapped[TaxConfig | None] = mapped_column(JSONValue(TaxConfig))
    subscription: Mapped[SubscriptionReference | None] = mapped_column(JSONValue(SubscriptionReference))
    unique_reference_id: Mapped[str | None]
    period_start: Mapped[datetime]
    period_end: Mapped[datetime]
    invoice_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    quantity: Mapped[Decimal | None]
    pre_line_quantity: Mapped[Decimal | None]
    metered_quantity: Mapped[Decimal | None]
    metered_pre_line_quantity: Mapped[Decimal | None]
    usage_discount: Mapped[UsageDiscountApplied | None] = mapped_column(JSONValue(UsageDiscountApplied))
    credits_applied: Mapped[tuple[CreditApplied, ...]] = mapped_column(JSONValue(tuple[CreditApplied, ...]), default=())
    collection_closes_at: Mapped[datetime | None]
    external_ids: Mapped[dict[str, str]] = mapped_column(default=dict)


class InvoiceDetailedLineRow(Base, Timestamps, SoftDelete, TotalsColumns):
    """A calculated component of a line. Re-rating finds it again by its child reference and keeps its id."""

    __tablename__ = "invoice_detailed_lines"
    __table_args__ = (
        CheckConstraint("category IN ('regular', 'commitment')", name="category"),
        CheckConstraint("payment_term IN ('in_advance', 'in_arrears')", name="payment_term"),
        Index("uq_invoice_detailed_lines_live_ref", "line_id", "child_ref", unique=True, postgresql_where=_LIVE),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    line_id: Mapped[str] = mapped_column(ForeignKey("invoice_lines.id"))
    child_ref: Mapped[str]
    position: Mapped[int]
    name: Mapped[str]
    category: Mapped[str]
    payment_term: Mapped[str]
    covers_full_period: Mapped[bool]
    quantity: Mapped[Decimal]
    unit_amount: Mapped[Decimal]
    discounts: Mapped[tuple[AmountDiscount, ...]] = mapped_column(JSONValue(tuple[AmountDiscount, ...]))
    discount_ids: Mapped[dict[str, str]] = mapped_column(default=dict)
    credits: Mapped[tuple[CreditShare, ...]] = mapped_column(JSONValue(tuple[CreditShare, ...]))
    period_start: Mapped[datetime]
    period_end: Mapped[datetime]
    external_ids: Mapped[dict[str, str]] = mapped_column(default=dict)


class InvoiceIssueRow(Base, Timestamps, SoftDelete):
    """A validation issue. Equal issues (same identity) of an invoice are one row while they live."""

    __tablename__ = "invoice_validation_issues"
    __table_args__ = (
        CheckConstraint("severity IN ('critical', 'warning')", name="severity"),
        Index("uq_invoice_validation_issues_live", "invoice_id", "identity", unique=True, postgresql_where=_LIVE),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    invoice_id: Mapped[str] = mapped_column(ForeignKey("invoices.id"))
    identity: Mapped[str]
    severity: Mapped[str]
    code: Mapped[str | None]
    message: Mapped[str]
    component: Mapped[str]
    path: Mapped[str | None]
    attributes: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)


class InvoiceNumberCounter(Base):
    """The last number drawn of a scope."""

    __tablename__ = "invoice_number_counters"
    __table_args__ = (CheckConstraint("count > 0", name="count"),)

    namespace: Mapped[str] = mapped_column(primary_key=True)
    scope: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
