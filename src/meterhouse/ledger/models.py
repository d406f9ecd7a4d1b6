"""Tables of the ledger. Postings are append-only and balanced, and the database itself refuses anything else."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import DDL, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, event, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.kernel import clock
from meterhouse.kernel.db import Base
from meterhouse.kernel.ids import new_id

_CUSTOMER_TYPES = "'customer_fbo', 'customer_receivable', 'customer_accrued'"
_NAMESPACE_TYPES = "'wash', 'earnings', 'brokerage', 'breakage'"


class LedgerAccount(Base):
    """An account of a customer or of the namespace. Operators query this table by its name."""

    __tablename__ = "ledger_accounts"
    __table_args__ = (
        CheckConstraint(f"account_type IN ({_CUSTOMER_TYPES}, {_NAMESPACE_TYPES})", name="account_type"),
        # A namespace has exactly one account of each of its own types; customers' accounts are counted below.
        Index(
            "uq_ledger_accounts_namespace_type",
            "namespace",
            "account_type",
            unique=True,
            postgresql_where=text(f"account_type IN ({_NAMESPACE_TYPES})"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    account_type: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class LedgerCustomerAccount(Base):
    """Which account of each type belongs to a customer: exactly one."""

    __tablename__ = "ledger_customer_accounts"
    __table_args__ = (
        CheckConstraint(f"account_type IN ({_CUSTOMER_TYPES})", name="account_type"),
        UniqueConstraint("account_id"),
    )

    namespace: Mapped[str] = mapped_column(primary_key=True)
    customer_id: Mapped[str] = mapped_column(primary_key=True)
    account_type: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("ledger_accounts.id"))


class LedgerSubAccount(Base):
    """A posting address: an account and a route. Made at first use, never changed."""

    __tablename__ = "ledger_sub_accounts"
    __table_args__ = (
        UniqueConstraint("namespace", "account_id", "route_key"),
        CheckConstraint("cost_basis >= 0", name="cost_basis"),
        CheckConstraint("credit_priority >= 1", name="credit_priority"),
        CheckConstraint("cardinality(features) > 0", name="features"),
        CheckConstraint("tax_behavior IN ('inclusive', 'exclusive')", name="tax_behavior"),
        CheckConstraint("tax_behavior IS NULL OR tax_code IS NOT NULL", name="tax_behavior_of_code"),
        CheckConstraint("authorization_status IN ('open', 'authorized')", name="authorization_status"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    account_id: Mapped[str] = mapped_column(ForeignKey("ledger_accounts.id"))
    route_key: Mapped[str]
    currency: Mapped[str]
    cost_basis: Mapped[Decimal | None]
    features: Mapped[list[str] | None] = mapped_column(ARRAY(String))
    credit_priority: Mapped[int | None]
    tax_code: Mapped[str | None]
    tax_behavior: Mapped[str | None]
    authorization_status: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class LedgerTransactionGroup(Base):
    """Transactions of one business step. The operation key names the step, so it cannot be booked twice."""

    __tablename__ = "ledger_transaction_groups"
    __table_args__ = (UniqueConstraint("namespace", "operation_key"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    namespace: Mapped[str]
    operation_key: Mapped[str]
    created_at: Mapped[datetime]


class LedgerTransaction(Base):
    """A balanced movement. `booked_at` is when it counts, `created_at` when it was written."""

    __tablename__ = "ledger_transactions"
    __table_args__ = (
        CheckConstraint("direction IN ('forward', 'correction')", name="direction"),
        Index("ix_ledger_transactions_cursor", "namespace", "booked_at", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    namespace: Mapped[str]
    group_id: Mapped[str] = mapped_column(ForeignKey("ledger_transaction_groups.id"), index=True)
    template_code: Mapped[str]
    direction: Mapped[str]
    booked_at: Mapped[datetime]
    created_at: Mapped[datetime]
    annotations: Mapped[dict[str, str]]


class LedgerEntry(Base):
    """One leg of a transaction.

    `source_charge_id` is the credit purchase that funded the value, `spend_charge_id` the charge that consumed it.
    """

    __tablename__ = "ledger_entries"
    __table_args__ = (
        UniqueConstraint("transaction_id", "sub_account_id", "identity"),
        Index("ix_ledger_entries_sub_account", "sub_account_id", "source_charge_id"),
        Index("ix_ledger_entries_spend", "spend_charge_id", postgresql_where=text("spend_charge_id IS NOT NULL")),
        CheckConstraint("amount <> 0", name="amount"),
        # No currency has more decimals; the exact digits per currency are checked before writing.
        CheckConstraint("min_scale(amount) <= 4", name="amount_precision"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    namespace: Mapped[str]
    transaction_id: Mapped[str] = mapped_column(ForeignKey("ledger_transactions.id"))
    sub_account_id: Mapped[str] = mapped_column(ForeignKey("ledger_sub_accounts.id"))
    amount: Mapped[Decimal]
    identity: Mapped[str]
    source_order: Mapped[int | None]
    source_charge_id: Mapped[str | None]
    spend_charge_id: Mapped[str | None]
    corrects_entry_id: Mapped[str | None] = mapped_column(ForeignKey("ledger_entries.id"), index=True)


_REFUSE_CHANGE = """
CREATE OR REPLACE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the ledger is append-only: % on %', TG_OP, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$
"""

_CHECK_BALANCED = """
CREATE OR REPLACE FUNCTION ledger_check_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT 1 FROM ledger_entries e JOIN ledger_sub_accounts s ON s.id = e.sub_account_id
    WHERE e.transaction_id = NEW.transaction_id GROUP BY s.currency HAVING sum(e.amount) <> 0
  ) THEN
    RAISE EXCEPTION 'ledger transaction % is not balanced', NEW.transaction_id USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$
"""

_TRIGGERS = (
    *(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()"
        for table in ("ledger_sub_accounts", "ledger_transaction_groups", "ledger_transactions", "ledger_entries")
    ),
    # Checked at commit, when all legs are there.
    "CREATE CONSTRAINT TRIGGER ledger_entries_balanced AFTER INSERT ON ledger_entries "
    "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_check_balanced()",
)

# The statements that a migration must carry over too; they are no part of what alembic compares.
TRIGGER_STATEMENTS = (_REFUSE_CHANGE, _CHECK_BALANCED, *_TRIGGERS)

for _statement in TRIGGER_STATEMENTS:
    event.listen(Base.metadata, "after_create", DDL(_statement.replace("%", "%%")))  # type: ignore[no-untyped-call]
