"""Portal tokens and progress of meter queries"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "portal_tokens",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("allowed_meters", postgresql.ARRAY(sa.String()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("invalidated_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("subject <> ''", name=op.f("ck_portal_tokens_subject_not_empty")),
        sa.CheckConstraint("cardinality(allowed_meters) > 0", name=op.f("ck_portal_tokens_allowed_meters_not_empty")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portal_tokens")),
    )
    op.create_index("ix_portal_tokens_expires_at", "portal_tokens", ["expires_at"], unique=False)
    op.create_index(
        "ix_portal_tokens_namespace_created_at_id", "portal_tokens", ["namespace", "created_at", "id"], unique=False
    )
    op.create_index("ix_portal_tokens_namespace_subject", "portal_tokens", ["namespace", "subject"], unique=False)
    op.create_table(
        "query_progress",
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("mark", sa.String(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("total >= 0", name=op.f("ck_query_progress_total_not_negative")),
        sa.PrimaryKeyConstraint("namespace", "client_id", name=op.f("pk_query_progress")),
    )
    op.create_index("ix_query_progress_updated_at", "query_progress", ["updated_at"], unique=False)


def downgrade() -> None:
    op.drop_table("query_progress")
    op.drop_table("portal_tokens")
