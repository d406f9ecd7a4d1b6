"""Page lists of the catalog by index"""

from collections.abc import Sequence

from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_index(
        "ix_addons_namespace_id", "addons", ["namespace", "id"], unique=False, postgresql_include=["deleted_at"]
    )
    op.create_index(
        "ix_features_namespace_created_at",
        "features",
        ["namespace", "created_at", "id"],
        unique=False,
        postgresql_include=["archived_at"],
    )
    op.create_index(
        "ix_plans_namespace_id", "plans", ["namespace", "id"], unique=False, postgresql_include=["deleted_at"]
    )


def downgrade() -> None:
    op.drop_index("ix_plans_namespace_id", table_name="plans", postgresql_include=["deleted_at"])
    op.drop_index("ix_features_namespace_created_at", table_name="features", postgresql_include=["archived_at"])
    op.drop_index("ix_addons_namespace_id", table_name="addons", postgresql_include=["deleted_at"])
