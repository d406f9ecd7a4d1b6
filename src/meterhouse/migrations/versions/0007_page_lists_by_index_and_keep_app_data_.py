"""page lists by index and keep app data of customers"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_NAMES = "ix_customers_namespace_name_id"
_CUSTOMER_ORDERS = (("id",), ("created_at", "id"), ("primary_email", "id"))
_SUBSCRIPTION_ORDERS = (("id",), ("active_from", "id"), ("active_to", "id"))
_LIVE = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "app_customer_data",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("app_id", sa.String(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], name=op.f("fk_app_customer_data_app_id_apps")),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customers.id"], name=op.f("fk_app_customer_data_customer_id_customers")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app_customer_data")),
    )
    op.create_index(
        "uq_app_customer_data_live_customer_app",
        "app_customer_data",
        ["customer_id", "app_id"],
        unique=True,
        postgresql_where=_LIVE,
    )
    for columns in _CUSTOMER_ORDERS:
        op.create_index(
            f"ix_customers_namespace_{'_'.join(columns)}",
            "customers",
            ["namespace", *columns],
            postgresql_include=["deleted_at"],
        )
    op.drop_index(_NAMES, table_name="customers")
    op.create_index(_NAMES, "customers", ["namespace", "name", "id"], postgresql_include=["deleted_at"])
    for columns in _SUBSCRIPTION_ORDERS:
        op.create_index(
            f"ix_subscriptions_live_{columns[0]}", "subscriptions", ["namespace", *columns], postgresql_where=_LIVE
        )


def downgrade() -> None:
    for columns in _SUBSCRIPTION_ORDERS:
        op.drop_index(f"ix_subscriptions_live_{columns[0]}", table_name="subscriptions")
    op.drop_index(_NAMES, table_name="customers")
    op.create_index(_NAMES, "customers", ["namespace", "name", "id"])
    for columns in _CUSTOMER_ORDERS:
        op.drop_index(f"ix_customers_namespace_{'_'.join(columns)}", table_name="customers")
    op.drop_table("app_customer_data")
