"""find the phases of subscriptions"""

from collections.abc import Sequence

from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_index("ix_subscription_phases_subscription_id", "subscription_phases", ["subscription_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_subscription_phases_subscription_id", table_name="subscription_phases")
