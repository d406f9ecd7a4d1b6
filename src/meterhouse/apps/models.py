"""Tables of installed apps and of what they know of customers. What else an app stores is in tables of its own."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.customers.models import CustomerRow
from meterhouse.kernel.db import Base, JSONObject, SoftDelete, Timestamps
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


class CustomerDataRow(Timestamps, SoftDelete, Base):
    """What an app knows of a customer, in the form of the app's type (`customer_data`)."""

    __tablename__ = "app_customer_data"
    __table_args__ = (
        Index(
            "uq_app_customer_data_live_customer_app",
            "customer_id",
            "app_id",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    customer_id: Mapped[str] = mapped_column(ForeignKey(CustomerRow.id))
    app_id: Mapped[str] = mapped_column(ForeignKey(AppRow.id))
    data: Mapped[JSONObject]
