"""Tables of plan migrations."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.kernel import clock
from meterhouse.kernel.db import Base, JSONObject
from meterhouse.kernel.ids import new_id

ONE_AT_A_TIME = "uq_plan_migrations_unfinished"


class PlanMigrationRow(Base):
    """A migration from one version of a plan to another. Of real ones, a version has one at a time."""

    __tablename__ = "plan_migrations"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'running', 'completed', 'canceled')", name="status"),
        CheckConstraint("timing IN ('immediate', 'next_billing_cycle')", name="timing"),
        CheckConstraint("(status = 'completed') = (completed_at IS NOT NULL)", name="completion_has_its_time"),
        CheckConstraint("(status = 'canceled') = (canceled_at IS NOT NULL)", name="cancellation_has_its_time"),
        CheckConstraint("plan_version < target_version", name="goes_forward"),
        Index(
            ONE_AT_A_TIME,
            "plan_id",
            unique=True,
            postgresql_where=text("NOT dry_run AND status IN ('pending', 'running')"),
        ),
        Index("ix_plan_migrations_namespace_plan_id", "namespace", "plan_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    plan_key: Mapped[str]
    plan_id: Mapped[str]
    plan_version: Mapped[int]
    target_id: Mapped[str]
    target_version: Mapped[int]
    timing: Mapped[str]
    starting_phase: Mapped[str | None]
    dry_run: Mapped[bool]
    status: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    canceled_at: Mapped[datetime | None]


class MigratedSubscriptionRow(Base):
    """One subscription of a migration. It is finished in the transaction that migrates it."""

    __tablename__ = "plan_migration_subscriptions"
    __table_args__ = (
        CheckConstraint("outcome IN ('pending', 'previewed', 'migrated', 'failed')", name="outcome"),
        CheckConstraint("(outcome = 'pending') = (finished_at IS NULL)", name="end_has_its_time"),
        CheckConstraint("(outcome = 'migrated') = (next_subscription_id IS NOT NULL)", name="migrated_has_successor"),
        CheckConstraint("(outcome = 'failed') = (failure IS NOT NULL)", name="failure_has_reason"),
        CheckConstraint("(outcome = 'previewed') = (forecast IS NOT NULL)", name="preview_has_forecast"),
        Index("ix_plan_migration_subscriptions_outcome", "migration_id", "outcome", "subscription_id"),
    )

    migration_id: Mapped[str] = mapped_column(ForeignKey(PlanMigrationRow.id), primary_key=True)
    subscription_id: Mapped[str] = mapped_column(primary_key=True)
    customer_id: Mapped[str]
    outcome: Mapped[str]
    next_subscription_id: Mapped[str | None]
    failure: Mapped[JSONObject | None]
    forecast: Mapped[JSONObject | None]
    dropped_addons: Mapped[list[str]] = mapped_column(ARRAY(String), server_default="{}")
    finished_at: Mapped[datetime | None]
