"""The table of installed apps. What only one type of app stores is in tables of that app."""

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.kernel.db import Base, SoftDelete, Timestamps
from meterhouse.kernel.ids import new_id


class AppRow(Timestamps, SoftDelete, Base):
    """An installed app; uninstalling it is a soft deletion. `unauthorized`: the provider refused the key."""

    __tablename__ = "apps"
    __table_args__ = (
        Index(
            "uq_apps_live_sandbox",
            "namespace",
            unique=True,
            postgresql_where=text("type = 'sandbox' AND deleted_at IS NULL"),
        ),
        Index("ix_apps_namespace_created_at_id", "namespace", "created_at", "id"),
        CheckConstraint("type IN ('sandbox', 'stripe', 'custom_invoicing')", name="type"),
        CheckConstraint("status IN ('ready', 'unauthorized')", name="status"),
        CheckConstraint("name <> ''", name="name_not_empty"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    type: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]
    # Plain `metadata` is SQLAlchemy's own attribute, hence the longer name in Python only.
    metadata_: Mapped[dict[str, str]] = mapped_column("metadata", default=dict)
    status: Mapped[str] = mapped_column(default="ready")
