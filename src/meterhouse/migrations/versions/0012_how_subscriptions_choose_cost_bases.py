"""how subscriptions choose cost bases"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("cost_basis_mode", sa.String(), server_default="dynamic", nullable=False))
    op.create_check_constraint("cost_basis_mode", "subscriptions", "cost_basis_mode IN ('dynamic', 'pinned')")


def downgrade() -> None:
    op.drop_column("subscriptions", "cost_basis_mode")
