"""Tables of charges and their runs."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.billing.charges.states import Kind, Status
from meterhouse.kernel.db import Base, JSONObject, SoftDelete, Timestamps
from meterhouse.kernel.precision import exact


def _one_of(column: str, values: list[str]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


RUN_TYPES = ["final_realization", "partial_invoice", "invalid_due_to_unsupported_credit_note"]


class ChargeRow(Timestamps, SoftDelete, Base):
    """A charge. Intent columns hold the base layer, the system's; `override` is the user's full replacement of it.

    `deleted_at` is set when the effective layer is deleted, `base_deleted_at` when the system deleted its own. A
    reference is free again as soon as the base is deleted.
    """

    __tablename__ = "charges"
    __table_args__ = (
        Index(
            "uq_charges_unique_reference_id",
            "namespace",
            "customer_id",
            "unique_reference_id",
            unique=True,
            postgresql_where=text("base_deleted_at IS NULL"),
        ),
        Index("ix_charges_namespace_customer_id", "namespace", "customer_id", "created_at", "id"),
        Index(
            "ix_charges_namespace_subscription_id",
            "namespace",
            "subscription_id",
            postgresql_where=text("subscription_id IS NOT NULL"),
        ),
        # Every reading of a live balance asks for these, and few of a customer's charges are unfinished.
        Index(
            "ix_charges_unfinished",
            "namespace",
            "customer_id",
            postgresql_where=text("status NOT IN ('final', 'deleted')"),
        ),
        Index("ix_charges_due", "advance_after", postgresql_where=text("advance_after IS NOT NULL")),
        CheckConstraint(_one_of("kind", list(Kind)), "kind"),
        CheckConstraint(_one_of("status", list(Status)), "status"),
        CheckConstraint(_one_of("managed_by", ["subscription", "manual", "system"]), "managed_by"),
        CheckConstraint(_one_of("settlement_mode", ["credit_then_invoice", "credit_only"]), "settlement_mode"),
        CheckConstraint("kind = 'flat_fee' OR feature_key IS NOT NULL", "usage_has_feature"),
        CheckConstraint("(kind = 'flat_fee') = (amount_after_proration IS NOT NULL)", "flat_has_amount"),
        CheckConstraint("service_start <= service_end", "service_period"),
        CheckConstraint("kind = 'flat_fee' OR service_start < service_end", "usage_period_not_empty"),
        CheckConstraint("(status = 'deleted') = (deleted_at IS NOT NULL)", "deleted_at"),
        CheckConstraint("status NOT IN ('final', 'deleted') OR advance_after IS NULL", "finished_waits_for_nothing"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    namespace: Mapped[str]
    customer_id: Mapped[str]
    kind: Mapped[str]
    currency: Mapped[str]
    managed_by: Mapped[str]
    settlement_mode: Mapped[str]
    unique_reference_id: Mapped[str | None]
    subscription_id: Mapped[str | None]
    subscription_phase_id: Mapped[str | None]
    subscription_item_id: Mapped[str | None]
    feature_key: Mapped[str | None]
    feature_id: Mapped[str | None]
    tax_config: Mapped[JSONObject | None] = mapped_column(JSONB(none_as_null=True))

    name: Mapped[str]
    description: Mapped[str | None]
    # Plain `metadata` is SQLAlchemy's own attribute, hence the longer name in Python only.
    metadata_: Mapped[dict[str, str]] = mapped_column("metadata")
    price: Mapped[JSONObject]
    discounts: Mapped[JSONObject]
    unit_conversion: Mapped[JSONObject | None] = mapped_column(JSONB(none_as_null=True))
    prorate: Mapped[bool]
    service_start: Mapped[datetime]
    service_end: Mapped[datetime]
    full_service_start: Mapped[datetime]
    full_service_end: Mapped[datetime]
    billing_start: Mapped[datetime]
    billing_end: Mapped[datetime]
    invoice_at: Mapped[datetime]
    base_deleted_at: Mapped[datetime | None]
    override: Mapped[JSONObject | None] = mapped_column(JSONB(none_as_null=True))

    status: Mapped[str]
    advance_after: Mapped[datetime | None]
    current_run_id: Mapped[str | None]
    amount_after_proration: Mapped[Decimal | None]
    # Why the last advance failed, since when, how often in a row, and when to try again.
    last_error: Mapped[str | None]
    error_at: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(default=0)
    retry_after: Mapped[datetime | None]


class ChargeRunRow(Timestamps, SoftDelete, Base):
    """One realization of a charge.

    `metered_pre_line_quantity` counts from the charge's start to the end of the run before, `metered_quantity` from
    there to `service_period_to`; `quantity` and `pre_line_quantity` are what the line shows of them. `details` include
    the credits. `sealed_at` marks an immutable run. `voided_at` takes a run without a line back, `deleted_at` one whose
    line is gone.
    """

    __tablename__ = "charge_runs"
    __table_args__ = (
        Index("ix_charge_runs_charge_id", "charge_id"),
        Index(
            "uq_charge_runs_line_id",
            "line_id",
            unique=True,
            postgresql_where=text("deleted_at IS NULL AND voided_at IS NULL AND line_id IS NOT NULL"),
        ),
        CheckConstraint(_one_of("type", RUN_TYPES), "type"),
        CheckConstraint(_one_of("payment", ["none", "authorized", "settled"]), "payment"),
        CheckConstraint("(line_id IS NULL) = (invoice_id IS NULL)", "line_on_invoice"),
        CheckConstraint("NOT no_money_needed OR payment = 'none'", "no_payment_of_nothing"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    namespace: Mapped[str]
    charge_id: Mapped[str] = mapped_column(ForeignKey("charges.id"))
    type: Mapped[str]
    service_period_from: Mapped[datetime]
    service_period_to: Mapped[datetime]
    stored_at_lt: Mapped[datetime | None]
    line_id: Mapped[str | None]
    invoice_id: Mapped[str | None]

    metered_quantity: Mapped[Decimal | None]
    metered_pre_line_quantity: Mapped[Decimal | None]
    quantity: Mapped[Decimal]
    pre_line_quantity: Mapped[Decimal | None]
    usage_discount: Mapped[JSONObject | None] = mapped_column(JSONB(none_as_null=True))
    details: Mapped[list[Any]]
    credits_applied: Mapped[list[Any]]
    warnings: Mapped[list[str]]

    amount: Mapped[Decimal]
    charges_total: Mapped[Decimal]
    discounts_total: Mapped[Decimal]
    credits_total: Mapped[Decimal]
    taxes_inclusive_total: Mapped[Decimal]
    taxes_exclusive_total: Mapped[Decimal]
    taxes_total: Mapped[Decimal]
    total: Mapped[Decimal]

    no_money_needed: Mapped[bool] = mapped_column(default=False)
    payment: Mapped[str] = mapped_column(default="none")
    sealed_at: Mapped[datetime | None]
    voided_at: Mapped[datetime | None]

    @property
    @exact
    def metered_cumulative(self) -> Decimal | None:
        """What the meter counted from the charge's start to the end of this run; None for a flat fee."""
        if self.metered_quantity is None or self.metered_pre_line_quantity is None:
            return None
        return self.metered_pre_line_quantity + self.metered_quantity
