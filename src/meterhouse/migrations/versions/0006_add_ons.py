"""Keep add-ons and which of them go with a plan"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "addons",
        sa.Column("instance_type", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("effective_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("effective_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("instance_type IN ('single', 'multiple')", name=op.f("ck_addons_instance_type")),
        sa.CheckConstraint(
            "effective_from IS NOT NULL OR effective_to IS NULL", name=op.f("ck_addons_effective_to_needs_from")
        ),
        sa.CheckConstraint(
            "effective_to IS NULL OR effective_from <= effective_to", name=op.f("ck_addons_effective_order")
        ),
        sa.CheckConstraint("version >= 1", name=op.f("ck_addons_version")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_addons")),
        sa.UniqueConstraint("namespace", "key", "version", name="uq_addons_version"),
    )
    op.create_index(
        "uq_addons_draft",
        "addons",
        ["namespace", "key"],
        unique=True,
        postgresql_where=sa.text("effective_from IS NULL AND deleted_at IS NULL"),
    )
    op.create_index(
        "uq_addons_open_ended",
        "addons",
        ["namespace", "key"],
        unique=True,
        postgresql_where=sa.text("effective_from IS NOT NULL AND effective_to IS NULL AND deleted_at IS NULL"),
    )
    op.create_table(
        "addon_rate_cards",
        sa.Column("addon_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("feature_key", sa.String(), nullable=True),
        sa.Column("feature_id", sa.String(), nullable=True),
        sa.Column("card", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("(feature_id IS NULL) = (feature_key IS NULL)", name=op.f("ck_addon_rate_cards_feature")),
        sa.ForeignKeyConstraint(
            ["addon_id"], ["addons.id"], name=op.f("fk_addon_rate_cards_addon_id_addons"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["feature_id"], ["features.id"], name=op.f("fk_addon_rate_cards_feature_id_features")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_addon_rate_cards")),
        sa.UniqueConstraint("addon_id", "feature_key", name="uq_addon_rate_cards_feature_key"),
        sa.UniqueConstraint("addon_id", "key", name="uq_addon_rate_cards_key"),
    )
    op.create_index("ix_addon_rate_cards_feature_id", "addon_rate_cards", ["feature_id"], unique=False)
    op.create_index("ix_addon_rate_cards_feature_key", "addon_rate_cards", ["feature_key"], unique=False)
    op.create_table(
        "plan_addons",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("plan_id", sa.String(), nullable=False),
        sa.Column("addon_id", sa.String(), nullable=False),
        sa.Column("from_plan_phase", sa.String(), nullable=False),
        sa.Column("max_quantity", sa.Integer(), nullable=True),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("annotations", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["addon_id"], ["addons.id"], name=op.f("fk_plan_addons_addon_id_addons")),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_plan_addons_plan_id_plans")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan_addons")),
    )
    op.create_index("ix_plan_addons_addon_id", "plan_addons", ["addon_id"], unique=False)
    op.create_index("ix_plan_addons_namespace_plan_id", "plan_addons", ["namespace", "plan_id"], unique=False)
    op.create_index(
        "uq_plan_addons_live",
        "plan_addons",
        ["plan_id", "addon_id"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("plan_addons")
    op.drop_table("addon_rate_cards")
    op.drop_table("addons")
