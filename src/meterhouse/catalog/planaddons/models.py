"""Table of plan add-ons."""

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.catalog.addons.models import AddonRow
from meterhouse.catalog.plans.models import PlanRow
from meterhouse.kernel.db import Base, JSONObject, SoftDelete, Timestamps


class PlanAddonRow(Timestamps, SoftDelete, Base):
    """The assignment of an add-on version to a plan version."""

    __tablename__ = "plan_addons"
    __table_args__ = (
        Index("uq_plan_addons_live", "plan_id", "addon_id", unique=True, postgresql_where=text("deleted_at IS NULL")),
        Index("ix_plan_addons_addon_id", "addon_id"),
        Index("ix_plan_addons_namespace_plan_id", "namespace", "plan_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    namespace: Mapped[str]
    plan_id: Mapped[str] = mapped_column(ForeignKey(PlanRow.id))
    addon_id: Mapped[str] = mapped_column(ForeignKey(AddonRow.id))
    # No foreign key: an update of the plan replaces its phases, and a name that became wrong is an issue to repair.
    from_plan_phase: Mapped[str]
    max_quantity: Mapped[int | None]
    name: Mapped[str | None]
    description: Mapped[str | None]
    metadata_: Mapped[dict[str, str]] = mapped_column("metadata")
    annotations: Mapped[JSONObject]
