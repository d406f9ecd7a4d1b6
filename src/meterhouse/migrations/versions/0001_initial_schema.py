"""Initial schema"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # What alembic does not derive from the models: the range type of an exclusion constraint, and sequences.
    op.execute(
        """
DO $$ BEGIN
  CREATE TYPE meterhouse_textrange AS RANGE (subtype = text, collation = "C");
EXCEPTION WHEN duplicate_object THEN NULL;
END $$
        """
    )
    op.execute("CREATE SEQUENCE meter_slot_version")
    op.create_table(
        "apps",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("name <> ''", name=op.f("ck_apps_name_not_empty")),
        sa.CheckConstraint("status IN ('ready', 'unauthorized')", name=op.f("ck_apps_status")),
        sa.CheckConstraint("type IN ('sandbox', 'stripe', 'custom_invoicing')", name=op.f("ck_apps_type")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_apps")),
    )
    op.create_index("ix_apps_namespace_created_at_id", "apps", ["namespace", "created_at", "id"], unique=False)
    op.create_index(
        "uq_apps_live_sandbox",
        "apps",
        ["namespace"],
        unique=True,
        postgresql_where=sa.text("type = 'sandbox' AND deleted_at IS NULL"),
    )
    op.create_table(
        "billing_profiles",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("app_id", sa.String(), nullable=False),
        sa.Column("supplier_key", sa.String(), nullable=True),
        sa.Column("supplier_name", sa.String(), nullable=False),
        sa.Column("supplier_tax_id", sa.String(), nullable=True),
        sa.Column("supplier_address", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("collection_alignment", sa.String(), nullable=False),
        sa.Column("collection_anchor", sa.DateTime(timezone=True), nullable=True),
        sa.Column("collection_anchor_interval", sa.String(), nullable=True),
        sa.Column("collection_interval", sa.String(), nullable=False),
        sa.Column("auto_advance", sa.Boolean(), nullable=False),
        sa.Column("draft_period", sa.String(), nullable=False),
        sa.Column("due_after", sa.String(), nullable=False),
        sa.Column("progressive_billing", sa.Boolean(), nullable=False),
        sa.Column("subscription_end_proration_mode", sa.String(), nullable=False),
        sa.Column("default_tax_config", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("collection_method", sa.String(), nullable=False),
        sa.Column("tax_enabled", sa.Boolean(), nullable=False),
        sa.Column("tax_enforced", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(collection_alignment IS NOT DISTINCT FROM 'anchored') = (collection_anchor IS NOT NULL) AND (collection_anchor IS NULL) = (collection_anchor_interval IS NULL)",
            name=op.f("ck_billing_profiles_anchor_when_anchored"),
        ),
        sa.CheckConstraint(
            "collection_alignment IN ('subscription', 'anchored')",
            name=op.f("ck_billing_profiles_collection_alignment"),
        ),
        sa.CheckConstraint(
            "collection_method IN ('charge_automatically', 'send_invoice')",
            name=op.f("ck_billing_profiles_collection_method"),
        ),
        sa.CheckConstraint(
            "subscription_end_proration_mode IN ('bill_actual_period', 'bill_full_period')",
            name=op.f("ck_billing_profiles_end_proration_mode"),
        ),
        sa.CheckConstraint(
            "supplier_address ->> 'country' IS NOT NULL", name=op.f("ck_billing_profiles_supplier_has_a_country")
        ),
        sa.CheckConstraint("supplier_name <> ''", name=op.f("ck_billing_profiles_supplier_name_not_empty")),
        sa.CheckConstraint("tax_enabled OR NOT tax_enforced", name=op.f("ck_billing_profiles_enforced_tax_is_enabled")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_billing_profiles")),
    )
    op.create_index(
        "ix_billing_profiles_app_id",
        "billing_profiles",
        ["app_id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_billing_profiles_namespace_created_at_id",
        "billing_profiles",
        ["namespace", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "uq_billing_profiles_live_default",
        "billing_profiles",
        ["namespace"],
        unique=True,
        postgresql_where=sa.text("is_default AND deleted_at IS NULL"),
    )
    op.create_table(
        "charges",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("managed_by", sa.String(), nullable=False),
        sa.Column("settlement_mode", sa.String(), nullable=False),
        sa.Column("unique_reference_id", sa.String(), nullable=True),
        sa.Column("subscription_id", sa.String(), nullable=True),
        sa.Column("subscription_phase_id", sa.String(), nullable=True),
        sa.Column("subscription_item_id", sa.String(), nullable=True),
        sa.Column("feature_key", sa.String(), nullable=True),
        sa.Column("feature_id", sa.String(), nullable=True),
        sa.Column("tax_config", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("price", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("discounts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("unit_conversion", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("prorate", sa.Boolean(), nullable=False),
        sa.Column("service_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("service_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("full_service_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("full_service_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("billing_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("billing_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("invoice_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("base_deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("override", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("advance_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("current_run_id", sa.String(), nullable=True),
        sa.Column("amount_after_proration", sa.Numeric(), nullable=True),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.Column("error_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("retry_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(kind = 'flat_fee') = (amount_after_proration IS NOT NULL)", name=op.f("ck_charges_flat_has_amount")
        ),
        sa.CheckConstraint("(status = 'deleted') = (deleted_at IS NOT NULL)", name=op.f("ck_charges_deleted_at")),
        sa.CheckConstraint("kind = 'flat_fee' OR feature_key IS NOT NULL", name=op.f("ck_charges_usage_has_feature")),
        sa.CheckConstraint(
            "kind = 'flat_fee' OR service_start < service_end", name=op.f("ck_charges_usage_period_not_empty")
        ),
        sa.CheckConstraint("kind IN ('flat_fee', 'usage_based')", name=op.f("ck_charges_kind")),
        sa.CheckConstraint("managed_by IN ('subscription', 'manual', 'system')", name=op.f("ck_charges_managed_by")),
        sa.CheckConstraint(
            "settlement_mode IN ('credit_then_invoice', 'credit_only')", name=op.f("ck_charges_settlement_mode")
        ),
        sa.CheckConstraint(
            "status IN ('created', 'active', 'active.realization.started', 'active.realization.waiting_for_collection', 'active.realization.processing', 'active.realization.issuing', 'active.realization.completed', 'active.awaiting_payment_settlement', 'final', 'deleted')",
            name=op.f("ck_charges_status"),
        ),
        sa.CheckConstraint(
            "status NOT IN ('final', 'deleted') OR advance_after IS NULL",
            name=op.f("ck_charges_finished_waits_for_nothing"),
        ),
        sa.CheckConstraint("service_start <= service_end", name=op.f("ck_charges_service_period")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_charges")),
    )
    op.create_index(
        "ix_charges_due",
        "charges",
        ["advance_after"],
        unique=False,
        postgresql_where=sa.text("advance_after IS NOT NULL"),
    )
    op.create_index(
        "ix_charges_namespace_customer_id", "charges", ["namespace", "customer_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_charges_namespace_subscription_id",
        "charges",
        ["namespace", "subscription_id"],
        unique=False,
        postgresql_where=sa.text("subscription_id IS NOT NULL"),
    )
    op.create_index(
        "ix_charges_unfinished",
        "charges",
        ["namespace", "customer_id"],
        unique=False,
        postgresql_where=sa.text("status NOT IN ('final', 'deleted')"),
    )
    op.create_index(
        "uq_charges_unique_reference_id",
        "charges",
        ["namespace", "customer_id", "unique_reference_id"],
        unique=True,
        postgresql_where=sa.text("base_deleted_at IS NULL"),
    )
    op.create_table(
        "customers",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("currency", sa.String(), nullable=True),
        sa.Column("primary_email", sa.String(), nullable=True),
        sa.Column("billing_address", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("annotations", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_customers_currency_fiat")),
        sa.CheckConstraint("key <> ''", name=op.f("ck_customers_key_not_empty")),
        sa.CheckConstraint("name <> ''", name=op.f("ck_customers_name_not_empty")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customers")),
    )
    op.create_index("ix_customers_namespace_name_id", "customers", ["namespace", "name", "id"], unique=False)
    op.create_index(
        "uq_customers_live_key",
        "customers",
        ["namespace", "key"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "event_log",
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("ingested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_event_log")),
    )
    op.create_table(
        "event_log_offsets",
        sa.Column("log_partition", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("log_partition", name=op.f("pk_event_log_offsets")),
    )
    op.create_table(
        "features",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("meter_id", sa.String(), nullable=True),
        sa.Column("meter_key", sa.String(), nullable=True),
        sa.Column("meter_filters", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("unit_cost", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "meter_id IS NOT NULL OR meter_filters = '{}'::jsonb", name=op.f("ck_features_filters_need_a_meter")
        ),
        sa.CheckConstraint("(meter_id IS NULL) = (meter_key IS NULL)", name=op.f("ck_features_meter")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_features")),
    )
    op.create_index("ix_features_namespace_key", "features", ["namespace", "key"], unique=False)
    op.create_index("ix_features_namespace_meter_id", "features", ["namespace", "meter_id"], unique=False)
    op.create_index(
        "uq_features_live_key",
        "features",
        ["namespace", "key"],
        unique=True,
        postgresql_where=sa.text("archived_at IS NULL"),
    )
    op.create_table(
        "invoice_number_counters",
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.CheckConstraint("count > 0", name=op.f("ck_invoice_number_counters_count")),
        sa.PrimaryKeyConstraint("namespace", "scope", name=op.f("pk_invoice_number_counters")),
    )
    op.create_table(
        "invoices",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("customer_name", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("profile_id", sa.String(), nullable=True),
        sa.Column("app_id", sa.String(), nullable=True),
        sa.Column("app_type", sa.String(), nullable=True),
        sa.Column("app_holds", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("customer", postgresql.JSONB(), nullable=True),
        sa.Column("supplier", postgresql.JSONB(), nullable=True),
        sa.Column("workflow", postgresql.JSONB(), nullable=True),
        sa.Column("external_ids", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("collection_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("draft_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_to_customer_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("quantity_snapshotted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("payment_processing_entered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deletion_source", sa.String(), nullable=True),
        sa.Column("work_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("work_failures", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("charges_total", sa.Numeric(), nullable=False),
        sa.Column("discounts_total", sa.Numeric(), nullable=False),
        sa.Column("credits_total", sa.Numeric(), nullable=False),
        sa.Column("taxes_inclusive_total", sa.Numeric(), nullable=False),
        sa.Column("taxes_exclusive_total", sa.Numeric(), nullable=False),
        sa.Column("taxes_total", sa.Numeric(), nullable=False),
        sa.Column("total", sa.Numeric(), nullable=False),
        sa.CheckConstraint("(kind = 'gathering') = (status = 'gathering')", name=op.f("ck_invoices_gathering_status")),
        sa.CheckConstraint("deletion_source IN ('user', 'system')", name=op.f("ck_invoices_deletion_source")),
        sa.CheckConstraint(
            "kind = 'gathering' OR (customer IS NOT NULL AND supplier IS NOT NULL AND workflow IS NOT NULL AND app_id IS NOT NULL AND app_type IS NOT NULL AND profile_id IS NOT NULL)",
            name=op.f("ck_invoices_standard_snapshots"),
        ),
        sa.CheckConstraint("kind IN ('gathering', 'standard')", name=op.f("ck_invoices_kind")),
        sa.CheckConstraint(
            "status IN ('gathering', 'draft.created', 'draft.waiting_for_collection', 'draft.collecting', 'draft.updating', 'draft.validating', 'draft.invalid', 'draft.syncing', 'draft.sync_failed', 'draft.manual_approval_needed', 'draft.waiting_auto_approval', 'draft.ready_to_issue', 'issuing.line_finalization', 'issuing.line_finalization_failed', 'issuing.syncing', 'issuing.failed', 'issuing.charge_booking', 'issuing.charge_booking_failed', 'issued', 'payment_processing.pending', 'payment_processing.booking_authorized', 'payment_processing.booking_authorized_failed', 'payment_processing.authorized', 'payment_processing.booking_settled', 'payment_processing.booking_settled_failed', 'payment_processing.booking_authorized_and_settled', 'payment_processing.booking_authorized_and_settled_failed', 'payment_processing.failed', 'payment_processing.action_required', 'overdue', 'uncollectible', 'paid', 'voided', 'delete.in_progress', 'delete.syncing', 'delete.failed', 'deleted')",
            name=op.f("ck_invoices_status"),
        ),
        sa.CheckConstraint("(period_start IS NULL) = (period_end IS NULL)", name=op.f("ck_invoices_period_whole")),
        sa.CheckConstraint("work_failures >= 0", name=op.f("ck_invoices_work_failures")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoices")),
        sa.UniqueConstraint("id", "kind", name=op.f("uq_invoices_id_kind")),
    )
    op.create_index("ix_invoices_created", "invoices", ["namespace", "created_at", "id"], unique=False)
    op.create_index("ix_invoices_customer", "invoices", ["namespace", "customer_id"], unique=False)
    op.create_index(
        "ix_invoices_work",
        "invoices",
        ["kind", "work_at"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "uq_invoices_live_gathering",
        "invoices",
        ["namespace", "customer_id", "currency"],
        unique=True,
        postgresql_where=sa.text("kind = 'gathering' AND deleted_at IS NULL"),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("dedupe_key", sa.String(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("ready_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("failed_at IS NULL OR claimed_at IS NULL", name=op.f("ck_job_failed_is_not_claimed")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    op.create_index(
        "ix_job_name_dedupe_key",
        "job",
        ["name", "dedupe_key"],
        unique=False,
        postgresql_where=sa.text("dedupe_key IS NOT NULL AND claimed_at IS NULL AND failed_at IS NULL"),
    )
    op.create_index(
        "ix_job_ready_at_id", "job", ["ready_at", "id"], unique=False, postgresql_where=sa.text("failed_at IS NULL")
    )
    op.create_table(
        "ledger_accounts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("account_type", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "account_type IN ('customer_fbo', 'customer_receivable', 'customer_accrued', 'wash', 'earnings', 'brokerage', 'breakage')",
            name=op.f("ck_ledger_accounts_account_type"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_accounts")),
    )
    op.create_index(
        "uq_ledger_accounts_namespace_type",
        "ledger_accounts",
        ["namespace", "account_type"],
        unique=True,
        postgresql_where=sa.text("account_type IN ('wash', 'earnings', 'brokerage', 'breakage')"),
    )
    op.create_table(
        "ledger_transaction_groups",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("operation_key", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_transaction_groups")),
        sa.UniqueConstraint(
            "namespace", "operation_key", name=op.f("uq_ledger_transaction_groups_namespace_operation_key")
        ),
    )
    op.create_table(
        "meter_slots",
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("event_type", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("slot", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('number', 'text', 'dimension')", name=op.f("ck_meter_slots_kind")),
        sa.PrimaryKeyConstraint("namespace", "event_type", "kind", "path", name=op.f("pk_meter_slots")),
        sa.UniqueConstraint("namespace", "event_type", "slot", name="uq_meter_slots_slot"),
    )
    op.create_table(
        "meters",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("event_type", sa.String(), nullable=False),
        sa.Column("aggregation", sa.String(), nullable=False),
        sa.Column("value_property", sa.String(), nullable=True),
        sa.Column("group_by", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("event_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("annotations", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(aggregation = 'count') = (value_property IS NULL)", name=op.f("ck_meters_value_property")),
        sa.CheckConstraint(
            "aggregation IN ('sum', 'count', 'avg', 'min', 'max', 'unique_count', 'latest')",
            name=op.f("ck_meters_aggregation"),
        ),
        sa.CheckConstraint("key <> '' AND event_type <> '' AND name <> ''", name=op.f("ck_meters_not_empty")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meters")),
    )
    op.create_index("ix_meters_namespace_event_type", "meters", ["namespace", "event_type"], unique=False)
    op.create_index(
        "uq_meters_live_key",
        "meters",
        ["namespace", "key"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "plans",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("billing_cadence", sa.String(), nullable=False),
        sa.Column("pro_rating_enabled", sa.Boolean(), nullable=False),
        sa.Column("settlement_mode", sa.String(), nullable=False),
        sa.Column("effective_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("effective_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "settlement_mode IN ('credit_then_invoice', 'credit_only')", name=op.f("ck_plans_settlement_mode")
        ),
        sa.CheckConstraint(
            "effective_from IS NOT NULL OR effective_to IS NULL", name=op.f("ck_plans_effective_to_needs_from")
        ),
        sa.CheckConstraint(
            "effective_to IS NULL OR effective_from <= effective_to", name=op.f("ck_plans_effective_order")
        ),
        sa.CheckConstraint("version >= 1", name=op.f("ck_plans_version")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plans")),
        sa.UniqueConstraint("namespace", "key", "version", name="uq_plans_version"),
    )
    op.create_index(
        "uq_plans_draft",
        "plans",
        ["namespace", "key"],
        unique=True,
        postgresql_where=sa.text("effective_from IS NULL AND deleted_at IS NULL"),
    )
    op.create_index(
        "uq_plans_open_ended",
        "plans",
        ["namespace", "key"],
        unique=True,
        postgresql_where=sa.text("effective_from IS NOT NULL AND effective_to IS NULL AND deleted_at IS NULL"),
    )
    op.create_table(
        "subjects",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("display_name", sa.String(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("stripe_customer_id", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subjects")),
    )
    op.create_index(
        "uq_subjects_live_key",
        "subjects",
        ["namespace", "key"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "tax_codes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("app_mappings", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("managed_by_system", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tax_codes")),
    )
    op.create_index("ix_tax_codes_app_mappings", "tax_codes", ["app_mappings"], unique=False, postgresql_using="gin")
    op.create_index(
        "uq_tax_codes_live_key",
        "tax_codes",
        ["namespace", "key"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "test_clock",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("now", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_test_clock_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_test_clock")),
    )
    op.create_table(
        "billing_customer_overrides",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("profile_id", sa.String(), nullable=True),
        sa.Column("collection_alignment", sa.String(), nullable=True),
        sa.Column("collection_anchor", sa.DateTime(timezone=True), nullable=True),
        sa.Column("collection_anchor_interval", sa.String(), nullable=True),
        sa.Column("collection_interval", sa.String(), nullable=True),
        sa.Column("auto_advance", sa.Boolean(), nullable=True),
        sa.Column("draft_period", sa.String(), nullable=True),
        sa.Column("due_after", sa.String(), nullable=True),
        sa.Column("progressive_billing", sa.Boolean(), nullable=True),
        sa.Column("default_tax_config", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("collection_method", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(collection_alignment IS NOT DISTINCT FROM 'anchored') = (collection_anchor IS NOT NULL) AND (collection_anchor IS NULL) = (collection_anchor_interval IS NULL)",
            name=op.f("ck_billing_customer_overrides_anchor_when_anchored"),
        ),
        sa.CheckConstraint(
            "collection_alignment IN ('subscription', 'anchored')",
            name=op.f("ck_billing_customer_overrides_collection_alignment"),
        ),
        sa.CheckConstraint(
            "collection_method IN ('charge_automatically', 'send_invoice')",
            name=op.f("ck_billing_customer_overrides_collection_method"),
        ),
        sa.ForeignKeyConstraint(
            ["profile_id"],
            ["billing_profiles.id"],
            name=op.f("fk_billing_customer_overrides_profile_id_billing_profiles"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_billing_customer_overrides")),
        sa.UniqueConstraint("namespace", "customer_id", name="uq_billing_customer_overrides_customer"),
    )
    op.create_index(
        "ix_billing_customer_overrides_profile_id",
        "billing_customer_overrides",
        ["profile_id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "charge_runs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("charge_id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("service_period_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("service_period_to", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stored_at_lt", sa.DateTime(timezone=True), nullable=True),
        sa.Column("line_id", sa.String(), nullable=True),
        sa.Column("invoice_id", sa.String(), nullable=True),
        sa.Column("metered_quantity", sa.Numeric(), nullable=True),
        sa.Column("metered_pre_line_quantity", sa.Numeric(), nullable=True),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("pre_line_quantity", sa.Numeric(), nullable=True),
        sa.Column("usage_discount", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("credits_applied", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("warnings", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("charges_total", sa.Numeric(), nullable=False),
        sa.Column("discounts_total", sa.Numeric(), nullable=False),
        sa.Column("credits_total", sa.Numeric(), nullable=False),
        sa.Column("taxes_inclusive_total", sa.Numeric(), nullable=False),
        sa.Column("taxes_exclusive_total", sa.Numeric(), nullable=False),
        sa.Column("taxes_total", sa.Numeric(), nullable=False),
        sa.Column("total", sa.Numeric(), nullable=False),
        sa.Column("no_money_needed", sa.Boolean(), nullable=False),
        sa.Column("payment", sa.String(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "NOT no_money_needed OR payment = 'none'", name=op.f("ck_charge_runs_no_payment_of_nothing")
        ),
        sa.CheckConstraint("payment IN ('none', 'authorized', 'settled')", name=op.f("ck_charge_runs_payment")),
        sa.CheckConstraint(
            "type IN ('final_realization', 'partial_invoice', 'invalid_due_to_unsupported_credit_note')",
            name=op.f("ck_charge_runs_type"),
        ),
        sa.CheckConstraint("(line_id IS NULL) = (invoice_id IS NULL)", name=op.f("ck_charge_runs_line_on_invoice")),
        sa.ForeignKeyConstraint(["charge_id"], ["charges.id"], name=op.f("fk_charge_runs_charge_id_charges")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_charge_runs")),
    )
    op.create_index("ix_charge_runs_charge_id", "charge_runs", ["charge_id"], unique=False)
    op.create_index(
        "uq_charge_runs_line_id",
        "charge_runs",
        ["line_id"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL AND voided_at IS NULL AND line_id IS NOT NULL"),
    )
    op.create_table(
        "credit_grants",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("labels", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("funding_method", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("cost_basis", sa.Numeric(), nullable=False),
        sa.Column("purchase_amount", sa.Numeric(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("features", postgresql.ARRAY(sa.String()), nullable=True),
        sa.Column("tax_code_id", sa.String(), nullable=False),
        sa.Column("tax_behavior", sa.String(), nullable=True),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("granted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("group_id", sa.String(), nullable=True),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(funding_method = 'none') = (purchase_amount IS NULL)", name=op.f("ck_credit_grants_purchase_amount")
        ),
        sa.CheckConstraint(
            "funding_method IN ('none', 'invoice', 'external')", name=op.f("ck_credit_grants_funding_method")
        ),
        sa.CheckConstraint("status = 'created' OR granted_at IS NOT NULL", name=op.f("ck_credit_grants_granted_at")),
        sa.CheckConstraint(
            "status IN ('created', 'active.payment.pending', 'active.payment.authorized', 'final')",
            name=op.f("ck_credit_grants_status"),
        ),
        sa.CheckConstraint("tax_behavior IN ('inclusive', 'exclusive')", name=op.f("ck_credit_grants_tax_behavior")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_credit_grants_amount")),
        sa.CheckConstraint("cost_basis >= 0", name=op.f("ck_credit_grants_cost_basis")),
        sa.CheckConstraint("expires_at > starts_at", name=op.f("ck_credit_grants_expires_at")),
        sa.CheckConstraint("length(key) BETWEEN 1 AND 256", name=op.f("ck_credit_grants_key")),
        sa.CheckConstraint("priority >= 1", name=op.f("ck_credit_grants_priority")),
        sa.CheckConstraint("purchase_amount > 0", name=op.f("ck_credit_grants_purchase_amount_positive")),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["ledger_transaction_groups.id"],
            name=op.f("fk_credit_grants_group_id_ledger_transaction_groups"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_grants")),
    )
    op.create_index(
        "ix_credit_grants_customer", "credit_grants", ["namespace", "customer_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "uq_credit_grants_customer_key",
        "credit_grants",
        ["namespace", "customer_id", "key"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL AND key IS NOT NULL"),
    )
    op.create_table(
        "customer_attributions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("is_key", sa.Boolean(), nullable=False),
        sa.Column("is_subject_key", sa.Boolean(), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("subject <> ''", name=op.f("ck_customer_attributions_subject_not_empty")),
        sa.CheckConstraint("is_key OR is_subject_key", name=op.f("ck_customer_attributions_has_a_role")),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customers.id"], name=op.f("fk_customer_attributions_customer_id_customers")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer_attributions")),
    )
    op.create_index("ix_customer_attributions_customer_id", "customer_attributions", ["customer_id"], unique=False)
    op.create_index(
        "uq_customer_attributions_live_subject",
        "customer_attributions",
        ["namespace", "subject"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "invoice_lines",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("invoice_id", sa.String(), nullable=False),
        sa.Column("invoice_kind", sa.String(), nullable=False),
        sa.Column("charge_id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("engine", sa.String(), nullable=False),
        sa.Column("managed_by", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("price", postgresql.JSONB(), nullable=False),
        sa.Column("feature_key", sa.String(), nullable=True),
        sa.Column("discounts", postgresql.JSONB(), nullable=False),
        sa.Column("unit_conversion", postgresql.JSONB(), nullable=True),
        sa.Column("tax_config", postgresql.JSONB(), nullable=True),
        sa.Column("subscription", postgresql.JSONB(), nullable=True),
        sa.Column("unique_reference_id", sa.String(), nullable=True),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("invoice_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=True),
        sa.Column("pre_line_quantity", sa.Numeric(), nullable=True),
        sa.Column("metered_quantity", sa.Numeric(), nullable=True),
        sa.Column("metered_pre_line_quantity", sa.Numeric(), nullable=True),
        sa.Column("usage_discount", postgresql.JSONB(), nullable=True),
        sa.Column("credits_applied", postgresql.JSONB(), nullable=False),
        sa.Column("collection_closes_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("external_ids", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("charges_total", sa.Numeric(), nullable=False),
        sa.Column("discounts_total", sa.Numeric(), nullable=False),
        sa.Column("credits_total", sa.Numeric(), nullable=False),
        sa.Column("taxes_inclusive_total", sa.Numeric(), nullable=False),
        sa.Column("taxes_exclusive_total", sa.Numeric(), nullable=False),
        sa.Column("taxes_total", sa.Numeric(), nullable=False),
        sa.Column("total", sa.Numeric(), nullable=False),
        sa.CheckConstraint(
            "engine = 'charge_flatfee' OR feature_key IS NOT NULL", name=op.f("ck_invoice_lines_usage_feature")
        ),
        sa.CheckConstraint("engine IN ('charge_usagebased', 'charge_flatfee')", name=op.f("ck_invoice_lines_engine")),
        sa.CheckConstraint(
            "managed_by IN ('subscription', 'manual', 'system')", name=op.f("ck_invoice_lines_managed_by")
        ),
        sa.CheckConstraint("period_start <= period_end", name=op.f("ck_invoice_lines_period_order")),
        sa.ForeignKeyConstraint(
            ["invoice_id", "invoice_kind"],
            ["invoices.id", "invoices.kind"],
            name=op.f("fk_invoice_lines_invoice_id_invoice_kind_invoices"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice_lines")),
    )
    op.create_index("ix_invoice_lines_charge", "invoice_lines", ["namespace", "charge_id"], unique=False)
    op.create_index("ix_invoice_lines_invoice", "invoice_lines", ["invoice_id"], unique=False)
    op.create_index(
        "uq_invoice_lines_live_gathering_charge",
        "invoice_lines",
        ["charge_id"],
        unique=True,
        postgresql_where=sa.text("invoice_kind = 'gathering' AND deleted_at IS NULL"),
    )
    op.create_index(
        "uq_invoice_lines_live_run",
        "invoice_lines",
        ["run_id"],
        unique=True,
        postgresql_where=sa.text("run_id IS NOT NULL AND deleted_at IS NULL"),
    )
    op.create_table(
        "invoice_validation_issues",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("invoice_id", sa.String(), nullable=False),
        sa.Column("identity", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=True),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("component", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("severity IN ('critical', 'warning')", name=op.f("ck_invoice_validation_issues_severity")),
        sa.ForeignKeyConstraint(
            ["invoice_id"], ["invoices.id"], name=op.f("fk_invoice_validation_issues_invoice_id_invoices")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice_validation_issues")),
    )
    op.create_index(
        "uq_invoice_validation_issues_live",
        "invoice_validation_issues",
        ["invoice_id", "identity"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "ledger_customer_accounts",
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("account_type", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.CheckConstraint(
            "account_type IN ('customer_fbo', 'customer_receivable', 'customer_accrued')",
            name=op.f("ck_ledger_customer_accounts_account_type"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["ledger_accounts.id"], name=op.f("fk_ledger_customer_accounts_account_id_ledger_accounts")
        ),
        sa.PrimaryKeyConstraint("namespace", "customer_id", "account_type", name=op.f("pk_ledger_customer_accounts")),
        sa.UniqueConstraint("account_id", name=op.f("uq_ledger_customer_accounts_account_id")),
    )
    op.create_table(
        "ledger_sub_accounts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("route_key", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("cost_basis", sa.Numeric(), nullable=True),
        sa.Column("features", postgresql.ARRAY(sa.String()), nullable=True),
        sa.Column("credit_priority", sa.Integer(), nullable=True),
        sa.Column("tax_code", sa.String(), nullable=True),
        sa.Column("tax_behavior", sa.String(), nullable=True),
        sa.Column("authorization_status", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "authorization_status IN ('open', 'authorized')", name=op.f("ck_ledger_sub_accounts_authorization_status")
        ),
        sa.CheckConstraint(
            "tax_behavior IN ('inclusive', 'exclusive')", name=op.f("ck_ledger_sub_accounts_tax_behavior")
        ),
        sa.CheckConstraint("cardinality(features) > 0", name=op.f("ck_ledger_sub_accounts_features")),
        sa.CheckConstraint("cost_basis >= 0", name=op.f("ck_ledger_sub_accounts_cost_basis")),
        sa.CheckConstraint("credit_priority >= 1", name=op.f("ck_ledger_sub_accounts_credit_priority")),
        sa.CheckConstraint(
            "tax_behavior IS NULL OR tax_code IS NOT NULL", name=op.f("ck_ledger_sub_accounts_tax_behavior_of_code")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["ledger_accounts.id"], name=op.f("fk_ledger_sub_accounts_account_id_ledger_accounts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_sub_accounts")),
        sa.UniqueConstraint(
            "namespace", "account_id", "route_key", name=op.f("uq_ledger_sub_accounts_namespace_account_id_route_key")
        ),
    )
    op.create_table(
        "ledger_transactions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("template_code", sa.String(), nullable=False),
        sa.Column("direction", sa.String(), nullable=False),
        sa.Column("booked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("annotations", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("direction IN ('forward', 'correction')", name=op.f("ck_ledger_transactions_direction")),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["ledger_transaction_groups.id"],
            name=op.f("fk_ledger_transactions_group_id_ledger_transaction_groups"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_transactions")),
    )
    op.create_index(
        "ix_ledger_transactions_cursor",
        "ledger_transactions",
        ["namespace", "booked_at", "created_at", "id"],
        unique=False,
    )
    op.create_index(op.f("ix_ledger_transactions_group_id"), "ledger_transactions", ["group_id"], unique=False)
    op.create_table(
        "organization_default_tax_codes",
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("invoicing_tax_code_id", sa.String(), nullable=False),
        sa.Column("credit_grant_tax_code_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["credit_grant_tax_code_id"],
            ["tax_codes.id"],
            name=op.f("fk_organization_default_tax_codes_credit_grant_tax_code_id_tax_codes"),
        ),
        sa.ForeignKeyConstraint(
            ["invoicing_tax_code_id"],
            ["tax_codes.id"],
            name=op.f("fk_organization_default_tax_codes_invoicing_tax_code_id_tax_codes"),
        ),
        sa.PrimaryKeyConstraint("namespace", name=op.f("pk_organization_default_tax_codes")),
    )
    op.create_table(
        "plan_phases",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("plan_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("duration", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["plan_id"], ["plans.id"], name=op.f("fk_plan_phases_plan_id_plans"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan_phases")),
        sa.UniqueConstraint("plan_id", "key", name="uq_plan_phases_key"),
        sa.UniqueConstraint("plan_id", "position", name="uq_plan_phases_position"),
    )
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("plan_id", sa.String(), nullable=True),
        sa.Column("plan_key", sa.String(), nullable=True),
        sa.Column("plan_version", sa.Integer(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("annotations", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("settlement_mode", sa.String(), nullable=False),
        sa.Column("pro_rating_enabled", sa.Boolean(), nullable=False),
        sa.Column("billing_cadence", sa.String(), nullable=False),
        sa.Column("billing_anchor", sa.DateTime(timezone=True), nullable=False),
        sa.Column("active_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("active_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        postgresql.ExcludeConstraint(
            (sa.text("meterhouse_textrange(customer_id, customer_id, '[]')"), "&&"),
            (sa.text("tstzrange(active_from, active_to)"), "&&"),
            where=sa.text("deleted_at IS NULL"),
            using="gist",
            name="ex_subscriptions_one_per_customer_at_a_time",
        ),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_subscriptions_currency_fiat")),
        sa.CheckConstraint(
            "settlement_mode IN ('credit_then_invoice', 'credit_only')", name=op.f("ck_subscriptions_settlement_mode")
        ),
        sa.CheckConstraint("active_to >= active_from", name=op.f("ck_subscriptions_active_period")),
        sa.CheckConstraint(
            "num_nulls(plan_id, plan_key, plan_version) IN (0, 3)", name=op.f("ck_subscriptions_plan_reference_whole")
        ),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_subscriptions_customer_id_customers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
    )
    op.create_index(
        "ix_subscriptions_namespace_customer_id", "subscriptions", ["namespace", "customer_id"], unique=False
    )
    op.create_index("ix_subscriptions_namespace_plan_key", "subscriptions", ["namespace", "plan_key"], unique=False)
    op.create_table(
        "billing_sync_states",
        sa.Column("subscription_id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("has_billables", sa.Boolean(), nullable=False),
        sa.Column("subscription_version", sa.DateTime(timezone=True), nullable=False),
        sa.Column("synced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_sync_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.Column("error_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("item_errors", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("fingerprints", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(last_error IS NULL) = (attempts = 0)", name=op.f("ck_billing_sync_states_error_counts")),
        sa.CheckConstraint(
            "(last_error IS NULL) = (error_at IS NULL)", name=op.f("ck_billing_sync_states_error_has_its_time")
        ),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_billing_sync_states_attempts_from_zero")),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name=op.f("fk_billing_sync_states_subscription_id_subscriptions")
        ),
        sa.PrimaryKeyConstraint("subscription_id", name=op.f("pk_billing_sync_states")),
    )
    op.create_index(
        "ix_billing_sync_states_due_at",
        "billing_sync_states",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "ix_billing_sync_states_namespace_customer_id",
        "billing_sync_states",
        ["namespace", "customer_id"],
        unique=False,
    )
    op.create_table(
        "credit_breakage_records",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("source_kind", sa.String(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source_charge_id", sa.String(), nullable=False),
        sa.Column("plan_id", sa.String(), nullable=True),
        sa.Column("transaction_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(kind = 'plan') = (plan_id IS NULL)", name=op.f("ck_credit_breakage_records_plan_id")),
        sa.CheckConstraint("kind IN ('plan', 'release', 'reopen')", name=op.f("ck_credit_breakage_records_kind")),
        sa.CheckConstraint(
            "source_kind IN ('credit_purchase', 'usage', 'usage_correction', 'credit_purchase_correction', 'advance_backfill')",
            name=op.f("ck_credit_breakage_records_source_kind"),
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_credit_breakage_records_amount")),
        sa.ForeignKeyConstraint(
            ["plan_id"],
            ["credit_breakage_records.id"],
            name=op.f("fk_credit_breakage_records_plan_id_credit_breakage_records"),
        ),
        sa.ForeignKeyConstraint(
            ["source_charge_id"],
            ["credit_grants.id"],
            name=op.f("fk_credit_breakage_records_source_charge_id_credit_grants"),
        ),
        sa.ForeignKeyConstraint(
            ["transaction_id"],
            ["ledger_transactions.id"],
            name=op.f("fk_credit_breakage_records_transaction_id_ledger_transactions"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_breakage_records")),
    )
    op.create_index(
        "ix_credit_breakage_records_customer",
        "credit_breakage_records",
        ["namespace", "customer_id", "expires_at"],
        unique=False,
    )
    op.create_index(
        "ix_credit_breakage_records_grant", "credit_breakage_records", ["namespace", "source_charge_id"], unique=False
    )
    op.create_index("ix_credit_breakage_records_plan", "credit_breakage_records", ["plan_id"], unique=False)
    op.create_index(
        "uq_credit_breakage_records_plan",
        "credit_breakage_records",
        ["source_charge_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'plan'"),
    )
    op.create_table(
        "credit_voids",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("grant_id", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("booked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_credit_voids_amount")),
        sa.ForeignKeyConstraint(
            ["grant_id"], ["credit_grants.id"], name=op.f("fk_credit_voids_grant_id_credit_grants")
        ),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["ledger_transaction_groups.id"],
            name=op.f("fk_credit_voids_group_id_ledger_transaction_groups"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_voids")),
        sa.UniqueConstraint("grant_id", name=op.f("uq_credit_voids_grant_id")),
    )
    op.create_table(
        "invoice_detailed_lines",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("line_id", sa.String(), nullable=False),
        sa.Column("child_ref", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("category", sa.String(), nullable=False),
        sa.Column("payment_term", sa.String(), nullable=False),
        sa.Column("covers_full_period", sa.Boolean(), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("unit_amount", sa.Numeric(), nullable=False),
        sa.Column("discounts", postgresql.JSONB(), nullable=False),
        sa.Column("discount_ids", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("credits", postgresql.JSONB(), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("external_ids", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("charges_total", sa.Numeric(), nullable=False),
        sa.Column("discounts_total", sa.Numeric(), nullable=False),
        sa.Column("credits_total", sa.Numeric(), nullable=False),
        sa.Column("taxes_inclusive_total", sa.Numeric(), nullable=False),
        sa.Column("taxes_exclusive_total", sa.Numeric(), nullable=False),
        sa.Column("taxes_total", sa.Numeric(), nullable=False),
        sa.Column("total", sa.Numeric(), nullable=False),
        sa.CheckConstraint("category IN ('regular', 'commitment')", name=op.f("ck_invoice_detailed_lines_category")),
        sa.CheckConstraint(
            "payment_term IN ('in_advance', 'in_arrears')", name=op.f("ck_invoice_detailed_lines_payment_term")
        ),
        sa.ForeignKeyConstraint(
            ["line_id"], ["invoice_lines.id"], name=op.f("fk_invoice_detailed_lines_line_id_invoice_lines")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice_detailed_lines")),
    )
    op.create_index(
        "uq_invoice_detailed_lines_live_ref",
        "invoice_detailed_lines",
        ["line_id", "child_ref"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("transaction_id", sa.String(), nullable=False),
        sa.Column("sub_account_id", sa.String(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("identity", sa.String(), nullable=False),
        sa.Column("source_order", sa.Integer(), nullable=True),
        sa.Column("source_charge_id", sa.String(), nullable=True),
        sa.Column("spend_charge_id", sa.String(), nullable=True),
        sa.Column("corrects_entry_id", sa.String(), nullable=True),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_ledger_entries_amount")),
        sa.CheckConstraint("min_scale(amount) <= 4", name=op.f("ck_ledger_entries_amount_precision")),
        sa.ForeignKeyConstraint(
            ["corrects_entry_id"],
            ["ledger_entries.id"],
            name=op.f("fk_ledger_entries_corrects_entry_id_ledger_entries"),
        ),
        sa.ForeignKeyConstraint(
            ["sub_account_id"],
            ["ledger_sub_accounts.id"],
            name=op.f("fk_ledger_entries_sub_account_id_ledger_sub_accounts"),
        ),
        sa.ForeignKeyConstraint(
            ["transaction_id"],
            ["ledger_transactions.id"],
            name=op.f("fk_ledger_entries_transaction_id_ledger_transactions"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entries")),
        sa.UniqueConstraint(
            "transaction_id",
            "sub_account_id",
            "identity",
            name=op.f("uq_ledger_entries_transaction_id_sub_account_id_identity"),
        ),
    )
    op.create_index(op.f("ix_ledger_entries_corrects_entry_id"), "ledger_entries", ["corrects_entry_id"], unique=False)
    op.create_index(
        "ix_ledger_entries_spend",
        "ledger_entries",
        ["spend_charge_id"],
        unique=False,
        postgresql_where=sa.text("spend_charge_id IS NOT NULL"),
    )
    op.create_index(
        "ix_ledger_entries_sub_account", "ledger_entries", ["sub_account_id", "source_charge_id"], unique=False
    )
    op.create_table(
        "plan_rate_cards",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("phase_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("feature_key", sa.String(), nullable=True),
        sa.Column("feature_id", sa.String(), nullable=True),
        sa.Column("card", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("(feature_id IS NULL) = (feature_key IS NULL)", name=op.f("ck_plan_rate_cards_feature")),
        sa.ForeignKeyConstraint(["feature_id"], ["features.id"], name=op.f("fk_plan_rate_cards_feature_id_features")),
        sa.ForeignKeyConstraint(
            ["phase_id"], ["plan_phases.id"], name=op.f("fk_plan_rate_cards_phase_id_plan_phases"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan_rate_cards")),
        sa.UniqueConstraint("phase_id", "feature_key", name="uq_plan_rate_cards_feature_key"),
        sa.UniqueConstraint("phase_id", "key", name="uq_plan_rate_cards_key"),
    )
    op.create_index("ix_plan_rate_cards_feature_id", "plan_rate_cards", ["feature_id"], unique=False)
    op.create_index("ix_plan_rate_cards_feature_key", "plan_rate_cards", ["feature_key"], unique=False)
    op.create_table(
        "subscription_phases",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("subscription_id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("active_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sort_hint", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name=op.f("fk_subscription_phases_subscription_id_subscriptions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription_phases")),
    )
    op.create_index(
        "uq_subscription_phases_live_key",
        "subscription_phases",
        ["subscription_id", "key"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "credit_allocations",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("charge_id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("feature_key", sa.String(), nullable=True),
        sa.Column("tax_code_id", sa.String(), nullable=True),
        sa.Column("tax_behavior", sa.String(), nullable=True),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("transaction_id", sa.String(), nullable=False),
        sa.Column("entry_id", sa.String(), nullable=False),
        sa.Column("sort_hint", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("origin IN ('real_credit', 'advance')", name=op.f("ck_credit_allocations_origin")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_credit_allocations_amount")),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["ledger_entries.id"], name=op.f("fk_credit_allocations_entry_id_ledger_entries")
        ),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["ledger_transaction_groups.id"],
            name=op.f("fk_credit_allocations_group_id_ledger_transaction_groups"),
        ),
        sa.ForeignKeyConstraint(
            ["transaction_id"],
            ["ledger_transactions.id"],
            name=op.f("fk_credit_allocations_transaction_id_ledger_transactions"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_allocations")),
        sa.UniqueConstraint("entry_id", name=op.f("uq_credit_allocations_entry_id")),
        sa.UniqueConstraint("group_id", "sort_hint", name=op.f("uq_credit_allocations_group_id_sort_hint")),
    )
    op.create_index("ix_credit_allocations_run", "credit_allocations", ["namespace", "run_id"], unique=False)
    op.create_table(
        "subscription_items",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("subscription_id", sa.String(), nullable=False),
        sa.Column("phase_id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("feature_key", sa.String(), nullable=True),
        sa.Column("rate_card", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("active_from_override", sa.String(), nullable=True),
        sa.Column("active_to_override", sa.String(), nullable=True),
        sa.Column("annotations", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "rate_card -> 'price' ->> 'type' IS NULL OR rate_card -> 'price' ->> 'type' = 'flat' OR feature_key IS NOT NULL",
            name=op.f("ck_subscription_items_usage_price_has_feature"),
        ),
        sa.CheckConstraint("version >= 0", name=op.f("ck_subscription_items_version_from_zero")),
        sa.ForeignKeyConstraint(
            ["phase_id"], ["subscription_phases.id"], name=op.f("fk_subscription_items_phase_id_subscription_phases")
        ),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name=op.f("fk_subscription_items_subscription_id_subscriptions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription_items")),
    )
    op.create_index(
        "ix_subscription_items_namespace_feature_key",
        "subscription_items",
        ["namespace", "feature_key"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index("ix_subscription_items_subscription_id", "subscription_items", ["subscription_id"], unique=False)
    op.create_index(
        "uq_subscription_items_live_version",
        "subscription_items",
        ["phase_id", "key", "version"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "credit_segments",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("allocation_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("source_state", sa.String(), nullable=True),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("backing_grant_id", sa.String(), nullable=True),
        sa.Column("attribution_id", sa.String(), nullable=True),
        sa.Column("translation_id", sa.String(), nullable=True),
        sa.Column("recognition_id", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(coalesce(source_state, state) = 'advance_backfilled') = (attribution_id IS NOT NULL) AND (attribution_id IS NULL) = (translation_id IS NULL) AND (attribution_id IS NULL) = (backing_grant_id IS NULL)",
            name=op.f("ck_credit_segments_backfilled"),
        ),
        sa.CheckConstraint(
            "(state = 'earnings_recognized') = (recognition_id IS NOT NULL) AND (state = 'earnings_recognized') = (source_state IS NOT NULL)",
            name=op.f("ck_credit_segments_recognized"),
        ),
        sa.CheckConstraint(
            "source_state IN ('real_credit', 'advance_backfilled')", name=op.f("ck_credit_segments_source_state")
        ),
        sa.CheckConstraint(
            "state IN ('real_credit', 'advance_uncovered', 'advance_backfilled', 'earnings_recognized')",
            name=op.f("ck_credit_segments_state"),
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_credit_segments_amount")),
        sa.ForeignKeyConstraint(
            ["allocation_id"],
            ["credit_allocations.id"],
            name=op.f("fk_credit_segments_allocation_id_credit_allocations"),
        ),
        sa.ForeignKeyConstraint(
            ["attribution_id"],
            ["ledger_transactions.id"],
            name=op.f("fk_credit_segments_attribution_id_ledger_transactions"),
        ),
        sa.ForeignKeyConstraint(
            ["backing_grant_id"], ["credit_grants.id"], name=op.f("fk_credit_segments_backing_grant_id_credit_grants")
        ),
        sa.ForeignKeyConstraint(
            ["recognition_id"],
            ["ledger_transactions.id"],
            name=op.f("fk_credit_segments_recognition_id_ledger_transactions"),
        ),
        sa.ForeignKeyConstraint(
            ["translation_id"],
            ["ledger_transactions.id"],
            name=op.f("fk_credit_segments_translation_id_ledger_transactions"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_segments")),
    )
    op.create_index("ix_credit_segments_allocation", "credit_segments", ["allocation_id"], unique=False)
    op.create_index(
        "ix_credit_segments_open",
        "credit_segments",
        ["namespace", "customer_id", "state"],
        unique=False,
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    # The ledger is append-only and balanced, also for whoever writes around the code.
    op.execute(
        """
CREATE OR REPLACE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the ledger is append-only: % on %', TG_OP, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$
        """
    )
    op.execute(
        """
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
    )
    for table in ("ledger_sub_accounts", "ledger_transaction_groups", "ledger_transactions", "ledger_entries"):
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()"
        )
    op.execute(
        "CREATE CONSTRAINT TRIGGER ledger_entries_balanced AFTER INSERT ON ledger_entries "
        "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_check_balanced()"
    )


def downgrade() -> None:
    """There is nothing before the first revision; drop the database instead."""
    raise NotImplementedError
