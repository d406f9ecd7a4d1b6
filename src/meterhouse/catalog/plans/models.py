"""Tables of plans: a version, its phases, their rate cards."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.catalog.models import FeatureRow
from meterhouse.kernel.db import Base, SoftDelete, Timestamps


class PlanRow(Timestamps, SoftDelete, Base):
    """A plan version. The status is not stored: it follows from the two instants and the clock."""

    __tablename__ = "plans"
    __table_args__ = (
        # Deleted versions count too: a version number is never used again.
        UniqueConstraint("namespace", "key", "version", name="uq_plans_version"),
        Index(
            "uq_plans_draft",
            "namespace",
            "key",
            unique=True,
            postgresql_where=text("effective_from IS NULL AND deleted_at IS NULL"),
        ),
        Index(
            "uq_plans_open_ended",
            "namespace",
            "key",
            unique=True,
            postgresql_where=text("effective_from IS NOT NULL AND effective_to IS NULL AND deleted_at IS NULL"),
        ),
        CheckConstraint("version >= 1", "version"),
        CheckConstraint("effective_to IS NULL OR effective_from <= effective_to", "effective_order"),
        CheckConstraint("effective_from IS NOT NULL OR effective_to IS NULL", "effective_to_needs_from"),
        CheckConstraint("settlement_mode IN ('credit_then_invoice', 'credit_only')", "settlement_mode"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    namespace: Mapped[str]
    key: Mapped[str]
    version: Mapped[int]
    name: Mapped[str]
    description: Mapped[str | None]
    metadata_: Mapped[dict[str, str]] = mapped_column("metadata")
    currency: Mapped[str]
    billing_cadence: Mapped[str]
    pro_rating_enabled: Mapped[bool]
    settlement_mode: Mapped[str]
    effective_from: Mapped[datetime | None]
    effective_to: Mapped[datetime | None]


class PlanPhaseRow(Base):
    """A phase. `position` orders the phases of a plan in time, from 0."""

    __tablename__ = "plan_phases"
    __table_args__ = (
        UniqueConstraint("plan_id", "key", name="uq_plan_phases_key"),
        UniqueConstraint("plan_id", "position", name="uq_plan_phases_position"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    plan_id: Mapped[str] = mapped_column(ForeignKey("plans.id", ondelete="CASCADE"))
    position: Mapped[int]
    key: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]
    metadata_: Mapped[dict[str, str]] = mapped_column("metadata")
    duration: Mapped[str | None]


class PlanRateCardRow(Base):
    """A rate card: the value as JSON (`catalog.ratecards.RateCard`), beside it what is constrained and searched."""

    __tablename__ = "plan_rate_cards"
    __table_args__ = (
        UniqueConstraint("phase_id", "key", name="uq_plan_rate_cards_key"),
        UniqueConstraint("phase_id", "feature_key", name="uq_plan_rate_cards_feature_key"),
        CheckConstraint("(feature_id IS NULL) = (feature_key IS NULL)", "feature"),
        Index("ix_plan_rate_cards_feature_id", "feature_id"),
        Index("ix_plan_rate_cards_feature_key", "feature_key"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    phase_id: Mapped[str] = mapped_column(ForeignKey("plan_phases.id", ondelete="CASCADE"))
    position: Mapped[int]
    key: Mapped[str]
    feature_key: Mapped[str | None]
    feature_id: Mapped[str | None] = mapped_column(ForeignKey(FeatureRow.id))
    card: Mapped[dict[str, Any]] = mapped_column(JSONB())
