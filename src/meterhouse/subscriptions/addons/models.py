"""Tables of the add-ons that subscriptions have."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.catalog.addons.models import AddonRow
from meterhouse.kernel import clock
from meterhouse.kernel.db import Base, JSONObject, Timestamps
from meterhouse.kernel.ids import new_id
from meterhouse.subscriptions.models import SubscriptionRow

ONE_PURCHASE = "uq_subscription_addons_subscription_id_addon_id"


class SubscriptionAddonRow(Timestamps, Base):
    """An add-on version that a subscription has, or had: it is never deleted, its quantity becomes 0."""

    __tablename__ = "subscription_addons"
    __table_args__ = (
        Index(ONE_PURCHASE, "subscription_id", "addon_id", unique=True),
        Index("ix_subscription_addons_addon_id", "addon_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    subscription_id: Mapped[str] = mapped_column(ForeignKey(SubscriptionRow.id))
    addon_id: Mapped[str] = mapped_column(ForeignKey(AddonRow.id))
    labels: Mapped[dict[str, str]] = mapped_column("metadata")


class SubscriptionAddonQuantityRow(Base):
    """The quantity from `active_from` on. Rows are only added; of two for the same instant the later made counts."""

    __tablename__ = "subscription_addon_quantities"
    __table_args__ = (
        Index("ix_subscription_addon_quantities_subscription_addon_id", "subscription_addon_id"),
        CheckConstraint("quantity >= 0", name="quantity_not_negative"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    subscription_addon_id: Mapped[str] = mapped_column(ForeignKey(SubscriptionAddonRow.id))
    active_from: Mapped[datetime]
    quantity: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class SubscriptionBaseRow(Base):
    """The items of a subscription as they are without its add-ons, in the form of `baseline`; kept since it has any."""

    __tablename__ = "subscription_bases"

    subscription_id: Mapped[str] = mapped_column(ForeignKey(SubscriptionRow.id), primary_key=True)
    namespace: Mapped[str]
    items: Mapped[JSONObject]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
