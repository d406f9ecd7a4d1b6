"""Keep records of events that do not count"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "event_voids",
        sa.Column("version", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("event_key", sa.LargeBinary(), nullable=False),
        sa.Column("event_type", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("voided", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("replacement_source", sa.String(), nullable=True),
        sa.Column("replacement_id", sa.String(), nullable=True),
        sa.CheckConstraint("reason <> '' AND actor <> ''", name=op.f("ck_event_voids_explained")),
        sa.CheckConstraint(
            "(replacement_source IS NULL) = (replacement_id IS NULL) AND (voided OR replacement_id IS NULL)",
            name=op.f("ck_event_voids_replacement"),
        ),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_event_voids")),
    )
    op.create_index("ix_event_voids_event", "event_voids", ["event_key", "version"], unique=False)
    op.create_index("ix_event_voids_namespace", "event_voids", ["namespace", "version"], unique=False)
    op.execute(
        """
CREATE OR REPLACE FUNCTION event_voids_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'voids of events are append-only: %', TG_OP USING ERRCODE = 'restrict_violation';
END $$
        """
    )
    op.execute(
        "CREATE TRIGGER event_voids_append_only BEFORE UPDATE OR DELETE ON event_voids "
        "FOR EACH ROW EXECUTE FUNCTION event_voids_refuse_change()"
    )


def downgrade() -> None:
    op.drop_table("event_voids")
    op.execute("DROP FUNCTION event_voids_refuse_change()")
