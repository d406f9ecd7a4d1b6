"""Keep entitlements, their grants and resets"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "entitlements",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("feature_id", sa.String(), nullable=False),
        sa.Column("feature_key", sa.String(), nullable=False),
        sa.Column("active_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("active_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("annotations", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("subscription_id", sa.String(), nullable=True),
        sa.Column("usage_period_interval", sa.String(), nullable=True),
        sa.Column("usage_period_anchor", sa.DateTime(timezone=True), nullable=True),
        sa.Column("measure_usage_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("issue_after_reset", sa.Numeric(), nullable=True),
        sa.Column("issue_after_reset_priority", sa.Integer(), nullable=True),
        sa.Column("is_soft_limit", sa.Boolean(), nullable=True),
        sa.Column("preserve_overage_at_reset", sa.Boolean(), nullable=True),
        sa.Column("config", sa.String(), nullable=True),
        sa.Column("unit_config", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        postgresql.ExcludeConstraint(
            (sa.text("meterhouse_textrange(customer_id, customer_id, '[]')"), "&&"),
            (sa.text("meterhouse_textrange(feature_key, feature_key, '[]')"), "&&"),
            (sa.text("tstzrange(active_from, active_to)"), "&&"),
            where=sa.text("deleted_at IS NULL"),
            using="gist",
            name="ex_entitlements_one_per_customer_and_feature_at_a_time",
        ),
        sa.CheckConstraint("(config IS NOT NULL) = (type = 'static')", name=op.f("ck_entitlements_static_has_config")),
        sa.CheckConstraint(
            "num_nonnulls(measure_usage_from, is_soft_limit, preserve_overage_at_reset) = CASE WHEN type = 'metered' THEN 3 ELSE 0 END",
            name=op.f("ck_entitlements_metered_columns"),
        ),
        sa.CheckConstraint(
            "type <> 'metered' OR usage_period_interval IS NOT NULL",
            name=op.f("ck_entitlements_metered_has_usage_period"),
        ),
        sa.CheckConstraint(
            "type = 'metered' OR num_nonnulls(issue_after_reset, issue_after_reset_priority, unit_config) = 0",
            name=op.f("ck_entitlements_only_metered_issues"),
        ),
        sa.CheckConstraint("type IN ('metered', 'static', 'boolean')", name=op.f("ck_entitlements_type")),
        sa.CheckConstraint("active_to >= active_from", name=op.f("ck_entitlements_active_period")),
        sa.CheckConstraint("issue_after_reset >= 0", name=op.f("ck_entitlements_issue_not_negative")),
        sa.CheckConstraint("issue_after_reset_priority BETWEEN 0 AND 255", name=op.f("ck_entitlements_issue_priority")),
        sa.CheckConstraint(
            "num_nulls(usage_period_interval, usage_period_anchor) IN (0, 2)",
            name=op.f("ck_entitlements_usage_period_whole"),
        ),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_entitlements_customer_id_customers")),
        sa.ForeignKeyConstraint(["feature_id"], ["features.id"], name=op.f("fk_entitlements_feature_id_features")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entitlements")),
    )
    op.create_index(
        "ix_entitlements_live_created_at",
        "entitlements",
        ["namespace", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_entitlements_live_feature_id",
        "entitlements",
        ["feature_id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_entitlements_live_subscription_id",
        "entitlements",
        ["subscription_id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_entitlements_live_updated_at",
        "entitlements",
        ["namespace", "updated_at", "id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_entitlements_namespace_customer_id_feature_key",
        "entitlements",
        ["namespace", "customer_id", "feature_key"],
        unique=False,
    )
    op.create_table(
        "entitlement_balance_snapshots",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("entitlement_id", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("balances", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("overage", sa.Numeric(), nullable=False),
        sa.Column("usage", sa.Numeric(), nullable=False),
        sa.Column("burnt", sa.Numeric(), nullable=False),
        sa.Column("basis", sa.String(), nullable=False),
        sa.Column("counted_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("late_events", sa.BigInteger(), nullable=False),
        sa.Column("voids_version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["entitlement_id"],
            ["entitlements.id"],
            name=op.f("fk_entitlement_balance_snapshots_entitlement_id_entitlements"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entitlement_balance_snapshots")),
    )
    op.create_index(
        "uq_entitlement_balance_snapshots_entitlement_id_at",
        "entitlement_balance_snapshots",
        ["entitlement_id", "at"],
        unique=True,
    )
    op.create_table(
        "entitlement_grants",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("entitlement_id", sa.String(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expiration_count", sa.Integer(), nullable=True),
        sa.Column("expiration_unit", sa.String(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rollover_min", sa.Numeric(), nullable=False),
        sa.Column("rollover_max", sa.Numeric(), nullable=False),
        sa.Column("recurrence_interval", sa.String(), nullable=True),
        sa.Column("recurrence_anchor", sa.DateTime(timezone=True), nullable=True),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("annotations", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "expiration_unit IN ('HOUR', 'DAY', 'WEEK', 'MONTH', 'YEAR')",
            name=op.f("ck_entitlement_grants_expiration_unit"),
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_entitlement_grants_amount_positive")),
        sa.CheckConstraint(
            "num_nulls(expiration_count, expiration_unit, expires_at) IN (0, 3)",
            name=op.f("ck_entitlement_grants_expiration_whole"),
        ),
        sa.CheckConstraint(
            "num_nulls(recurrence_interval, recurrence_anchor) IN (0, 2)",
            name=op.f("ck_entitlement_grants_recurrence_whole"),
        ),
        sa.CheckConstraint("priority BETWEEN 0 AND 255", name=op.f("ck_entitlement_grants_priority")),
        sa.ForeignKeyConstraint(
            ["entitlement_id"], ["entitlements.id"], name=op.f("fk_entitlement_grants_entitlement_id_entitlements")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entitlement_grants")),
    )
    op.create_index("ix_entitlement_grants_entitlement_id", "entitlement_grants", ["entitlement_id"], unique=False)
    op.create_index(
        "ix_entitlement_grants_live_effective_at",
        "entitlement_grants",
        ["namespace", "effective_at", "id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "entitlement_usage_resets",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("entitlement_id", sa.String(), nullable=False),
        sa.Column("reset_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("anchor", sa.DateTime(timezone=True), nullable=False),
        sa.Column("preserve_overage", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["entitlement_id"],
            ["entitlements.id"],
            name=op.f("fk_entitlement_usage_resets_entitlement_id_entitlements"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entitlement_usage_resets")),
    )
    op.create_index(
        "uq_entitlement_usage_resets_entitlement_id_reset_at",
        "entitlement_usage_resets",
        ["entitlement_id", "reset_at"],
        unique=True,
    )


def downgrade() -> None:
    op.drop_index("uq_entitlement_usage_resets_entitlement_id_reset_at", table_name="entitlement_usage_resets")
    op.drop_table("entitlement_usage_resets")
    op.drop_index(
        "ix_entitlement_grants_live_effective_at",
        table_name="entitlement_grants",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.drop_index("ix_entitlement_grants_entitlement_id", table_name="entitlement_grants")
    op.drop_table("entitlement_grants")
    op.drop_index("uq_entitlement_balance_snapshots_entitlement_id_at", table_name="entitlement_balance_snapshots")
    op.drop_table("entitlement_balance_snapshots")
    op.drop_index("ix_entitlements_namespace_customer_id_feature_key", table_name="entitlements")
    op.drop_index(
        "ix_entitlements_live_updated_at", table_name="entitlements", postgresql_where=sa.text("deleted_at IS NULL")
    )
    op.drop_index(
        "ix_entitlements_live_subscription_id",
        table_name="entitlements",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.drop_index(
        "ix_entitlements_live_feature_id", table_name="entitlements", postgresql_where=sa.text("deleted_at IS NULL")
    )
    op.drop_index(
        "ix_entitlements_live_created_at", table_name="entitlements", postgresql_where=sa.text("deleted_at IS NULL")
    )
    op.drop_table("entitlements")
