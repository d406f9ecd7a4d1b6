"""Tables of add-ons: a version and its rate cards."""

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.catalog.versions.models import RateCardRow, VersionRow, rate_card_rules, version_rules


class AddonRow(VersionRow):
    """An add-on version."""

    __tablename__ = "addons"
    __table_args__ = (
        *version_rules("addons"),
        CheckConstraint("instance_type IN ('single', 'multiple')", "instance_type"),
    )

    instance_type: Mapped[str]


class AddonRateCardRow(RateCardRow):
    """A rate card of an add-on version."""

    __tablename__ = "addon_rate_cards"
    __table_args__ = rate_card_rules("addon_rate_cards", "addon_id")

    addon_id: Mapped[str] = mapped_column(ForeignKey("addons.id", ondelete="CASCADE"))
