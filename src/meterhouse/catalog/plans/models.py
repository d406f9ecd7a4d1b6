"""Tables of plans: a version, its phases, their rate cards."""

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.catalog.versions.models import RateCardRow, VersionRow, rate_card_rules, version_rules
from meterhouse.kernel.db import Base


class PlanRow(VersionRow):
    """A plan version."""

    __tablename__ = "plans"
    __table_args__ = (
        *version_rules("plans"),
        CheckConstraint("settlement_mode IN ('credit_then_invoice', 'credit_only')", "settlement_mode"),
    )

    billing_cadence: Mapped[str]
    pro_rating_enabled: Mapped[bool]
    settlement_mode: Mapped[str]


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


class PlanRateCardRow(RateCardRow):
    """A rate card of a phase."""

    __tablename__ = "plan_rate_cards"
    __table_args__ = rate_card_rules("plan_rate_cards", "phase_id")

    phase_id: Mapped[str] = mapped_column(ForeignKey("plan_phases.id", ondelete="CASCADE"))
