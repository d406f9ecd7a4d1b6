"""Tables of customer credit. Money itself is in the ledger; these rows say what its entries mean."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import String

from meterhouse.kernel import clock
from meterhouse.kernel.db import Base, SoftDelete, Timestamps
from meterhouse.kernel.ids import new_id


class CreditGrant(Base, Timestamps, SoftDelete):
    """A credit purchase charge. Its status is the charge's detailed status (charges section 5)."""

    __tablename__ = "credit_grants"
    __table_args__ = (
        CheckConstraint("funding_method IN ('none', 'invoice', 'external')", name="funding_method"),
        CheckConstraint(
            "status IN ('created', 'active.payment.pending', 'active.payment.authorized', 'final')", name="status"
        ),
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("priority >= 1", name="priority"),
        CheckConstraint("cost_basis >= 0", name="cost_basis"),
        # Nothing is paid for a promotional grant; every other one has a price.
        CheckConstraint("(funding_method = 'none') = (purchase_amount IS NULL)", name="purchase_amount"),
        CheckConstraint("purchase_amount > 0", name="purchase_amount_positive"),
        CheckConstraint("expires_at > starts_at", name="expires_at"),
        CheckConstraint("status = 'created' OR granted_at IS NOT NULL", name="granted_at"),
        CheckConstraint("tax_behavior IN ('inclusive', 'exclusive')", name="tax_behavior"),
        CheckConstraint("length(key) BETWEEN 1 AND 256", name="key"),
        Index(
            "uq_credit_grants_customer_key",
            "namespace",
            "customer_id",
            "key",
            unique=True,
            postgresql_where=text("deleted_at IS NULL AND key IS NOT NULL"),
        ),
        Index("ix_credit_grants_customer", "namespace", "customer_id", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    customer_id: Mapped[str]
    key: Mapped[str | None]
    name: Mapped[str]
    description: Mapped[str | None]
    labels: Mapped[dict[str, str]]
    funding_method: Mapped[str]
    currency: Mapped[str]
    amount: Mapped[Decimal]
    cost_basis: Mapped[Decimal]
    purchase_amount: Mapped[Decimal | None]
    priority: Mapped[int]
    features: Mapped[list[str] | None] = mapped_column(ARRAY(String))
    tax_code_id: Mapped[str]
    tax_behavior: Mapped[str | None]
    effective_at: Mapped[datetime | None]
    starts_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    status: Mapped[str]
    granted_at: Mapped[datetime | None]
    group_id: Mapped[str | None] = mapped_column(ForeignKey("ledger_transaction_groups.id"))
    voided_at: Mapped[datetime | None]


class CreditAllocation(Base):
    """Credit taken for a run by one ledger entry: the entry that made the customer's credit smaller."""

    __tablename__ = "credit_allocations"
    __table_args__ = (
        CheckConstraint("origin IN ('real_credit', 'advance')", name="origin"),
        CheckConstraint("amount > 0", name="amount"),
        UniqueConstraint("entry_id"),
        UniqueConstraint("group_id", "sort_hint"),
        Index("ix_credit_allocations_run", "namespace", "run_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    customer_id: Mapped[str]
    charge_id: Mapped[str]
    run_id: Mapped[str]
    currency: Mapped[str]
    feature_key: Mapped[str | None]
    tax_code_id: Mapped[str | None]
    tax_behavior: Mapped[str | None]
    origin: Mapped[str]
    amount: Mapped[Decimal]
    group_id: Mapped[str] = mapped_column(ForeignKey("ledger_transaction_groups.id"))
    transaction_id: Mapped[str] = mapped_column(ForeignKey("ledger_transactions.id"))
    entry_id: Mapped[str] = mapped_column(ForeignKey("ledger_entries.id"))
    sort_hint: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class CreditSegment(Base):
    """What a part of an allocation is now (ledger section 6.1). Closed and replaced when that changes; else untouched.

    The transactions named here are those that a correction has to take back.
    """

    __tablename__ = "credit_segments"
    __table_args__ = (
        CheckConstraint(
            "state IN ('real_credit', 'advance_uncovered', 'advance_backfilled', 'earnings_recognized')", name="state"
        ),
        CheckConstraint("source_state IN ('real_credit', 'advance_backfilled')", name="source_state"),
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint(
            "(state = 'earnings_recognized') = (recognition_id IS NOT NULL)"
            " AND (state = 'earnings_recognized') = (source_state IS NOT NULL)",
            name="recognized",
        ),
        CheckConstraint(
            "(coalesce(source_state, state) = 'advance_backfilled') = (attribution_id IS NOT NULL)"
            " AND (attribution_id IS NULL) = (translation_id IS NULL)"
            " AND (attribution_id IS NULL) = (backing_grant_id IS NULL)",
            name="backfilled",
        ),
        Index("ix_credit_segments_allocation", "allocation_id"),
        Index(
            "ix_credit_segments_open", "namespace", "customer_id", "state", postgresql_where=text("closed_at IS NULL")
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    customer_id: Mapped[str]
    allocation_id: Mapped[str] = mapped_column(ForeignKey("credit_allocations.id"))
    state: Mapped[str]
    source_state: Mapped[str | None]
    amount: Mapped[Decimal]
    backing_grant_id: Mapped[str | None] = mapped_column(ForeignKey("credit_grants.id"))
    attribution_id: Mapped[str | None] = mapped_column(ForeignKey("ledger_transactions.id"))
    translation_id: Mapped[str | None] = mapped_column(ForeignKey("ledger_transactions.id"))
    recognition_id: Mapped[str | None] = mapped_column(ForeignKey("ledger_transactions.id"))
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    closed_at: Mapped[datetime | None]


class CreditBreakageRecord(Base):
    """A planned expiry, or a change of one: open = plan - releases + reopens, never negative (ledger section 7)."""

    __tablename__ = "credit_breakage_records"
    __table_args__ = (
        CheckConstraint("kind IN ('plan', 'release', 'reopen')", name="kind"),
        CheckConstraint(
            "source_kind IN ('credit_purchase', 'usage', 'usage_correction', 'credit_purchase_correction',"
            " 'advance_backfill')",
            name="source_kind",
        ),
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("(kind = 'plan') = (plan_id IS NULL)", name="plan_id"),
        Index("ix_credit_breakage_records_grant", "namespace", "source_charge_id"),
        Index("ix_credit_breakage_records_customer", "namespace", "customer_id", "expires_at"),
        Index("ix_credit_breakage_records_plan", "plan_id"),
        # A grant has one expiry.
        Index(
            "uq_credit_breakage_records_plan", "source_charge_id", unique=True, postgresql_where=text("kind = 'plan'")
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    customer_id: Mapped[str]
    kind: Mapped[str]
    source_kind: Mapped[str]
    amount: Mapped[Decimal]
    currency: Mapped[str]
    priority: Mapped[int]
    expires_at: Mapped[datetime]
    source_charge_id: Mapped[str] = mapped_column(ForeignKey("credit_grants.id"))
    plan_id: Mapped[str | None] = mapped_column(ForeignKey("credit_breakage_records.id"))
    transaction_id: Mapped[str] = mapped_column(ForeignKey("ledger_transactions.id"))
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class CreditVoid(Base):
    """What a grant lost when it was voided; `booked_at` is later than `created_at` if it had not taken effect."""

    __tablename__ = "credit_voids"
    __table_args__ = (CheckConstraint("amount > 0", name="amount"), UniqueConstraint("grant_id"))

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    customer_id: Mapped[str]
    grant_id: Mapped[str] = mapped_column(ForeignKey("credit_grants.id"))
    currency: Mapped[str]
    amount: Mapped[Decimal]
    group_id: Mapped[str] = mapped_column(ForeignKey("ledger_transaction_groups.id"))
    booked_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
