"""Keep the add-ons of subscriptions"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "subscription_addons",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("subscription_id", sa.String(), nullable=False),
        sa.Column("addon_id", sa.String(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["addon_id"], ["addons.id"], name=op.f("fk_subscription_addons_addon_id_addons")),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name=op.f("fk_subscription_addons_subscription_id_subscriptions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription_addons")),
    )
    op.create_index("ix_subscription_addons_addon_id", "subscription_addons", ["addon_id"], unique=False)
    op.create_index(
        "uq_subscription_addons_subscription_id_addon_id",
        "subscription_addons",
        ["subscription_id", "addon_id"],
        unique=True,
    )
    op.create_table(
        "subscription_bases",
        sa.Column("subscription_id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("items", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name=op.f("fk_subscription_bases_subscription_id_subscriptions")
        ),
        sa.PrimaryKeyConstraint("subscription_id", name=op.f("pk_subscription_bases")),
    )
    op.create_table(
        "subscription_addon_quantities",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("subscription_addon_id", sa.String(), nullable=False),
        sa.Column("active_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("quantity >= 0", name=op.f("ck_subscription_addon_quantities_quantity_not_negative")),
        sa.ForeignKeyConstraint(
            ["subscription_addon_id"],
            ["subscription_addons.id"],
            name=op.f("fk_subscription_addon_quantities_subscription_addon_id_subscription_addons"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription_addon_quantities")),
    )
    op.create_index(
        "ix_subscription_addon_quantities_subscription_addon_id",
        "subscription_addon_quantities",
        ["subscription_addon_id"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index("ix_subscription_addon_quantities_subscription_addon_id", table_name="subscription_addon_quantities")
    op.drop_table("subscription_addon_quantities")
    op.drop_table("subscription_bases")
    op.drop_index("uq_subscription_addons_subscription_id_addon_id", table_name="subscription_addons")
    op.drop_index("ix_subscription_addons_addon_id", table_name="subscription_addons")
    op.drop_table("subscription_addons")
