"""Tables of billing profiles and of what single customers have different."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.kernel.db import Base, JSONObject, SoftDelete, Timestamps
from meterhouse.kernel.ids import new_id

_LIVE = text("deleted_at IS NULL")


def _workflow_checks() -> tuple[CheckConstraint, ...]:
    return (
        CheckConstraint("collection_alignment IN ('subscription', 'anchored')", name="collection_alignment"),
        CheckConstraint(
            "(collection_alignment IS NOT DISTINCT FROM 'anchored') = (collection_anchor IS NOT NULL)"
            " AND (collection_anchor IS NULL) = (collection_anchor_interval IS NULL)",
            name="anchor_when_anchored",
        ),
        CheckConstraint("collection_method IN ('charge_automatically', 'send_invoice')", name="collection_method"),
    )


class ProfileRow(Timestamps, SoftDelete, Base):
    """A billing profile. Durations are ISO 8601 text, which keeps calendar units."""

    __tablename__ = "billing_profiles"
    __table_args__ = (
        Index(
            "uq_billing_profiles_live_default",
            "namespace",
            unique=True,
            postgresql_where=text("is_default AND deleted_at IS NULL"),
        ),
        Index("ix_billing_profiles_namespace_created_at_id", "namespace", "created_at", "id"),
        Index("ix_billing_profiles_app_id", "app_id", postgresql_where=_LIVE),
        CheckConstraint("supplier_name <> ''", name="supplier_name_not_empty"),
        CheckConstraint("supplier_address ->> 'country' IS NOT NULL", name="supplier_has_a_country"),
        CheckConstraint(
            "subscription_end_proration_mode IN ('bill_actual_period', 'bill_full_period')", name="end_proration_mode"
        ),
        CheckConstraint("tax_enabled OR NOT tax_enforced", name="enforced_tax_is_enabled"),
        *_workflow_checks(),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]
    # Plain `metadata` is SQLAlchemy's own attribute, hence the longer name in Python only.
    metadata_: Mapped[dict[str, str]] = mapped_column("metadata", default=dict)
    is_default: Mapped[bool]
    app_id: Mapped[str]

    supplier_key: Mapped[str | None]
    supplier_name: Mapped[str]
    supplier_tax_id: Mapped[str | None]
    supplier_address: Mapped[dict[str, str]]

    collection_alignment: Mapped[str]
    collection_anchor: Mapped[datetime | None]
    collection_anchor_interval: Mapped[str | None]
    collection_interval: Mapped[str]
    auto_advance: Mapped[bool]
    draft_period: Mapped[str]
    due_after: Mapped[str]
    progressive_billing: Mapped[bool]
    subscription_end_proration_mode: Mapped[str]
    default_tax_config: Mapped[JSONObject | None] = mapped_column(JSONB(none_as_null=True))
    collection_method: Mapped[str]
    tax_enabled: Mapped[bool]
    tax_enforced: Mapped[bool]


class OverrideRow(Timestamps, SoftDelete, Base):
    """What a customer has different: a pinned profile (None: the default), and workflow settings (None: the profile's).

    There is one row a customer for ever; a deleted one is revived.
    """

    __tablename__ = "billing_customer_overrides"
    __table_args__ = (
        UniqueConstraint("namespace", "customer_id", name="uq_billing_customer_overrides_customer"),
        Index("ix_billing_customer_overrides_profile_id", "profile_id", postgresql_where=_LIVE),
        *_workflow_checks(),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    customer_id: Mapped[str]
    profile_id: Mapped[str | None] = mapped_column(ForeignKey(ProfileRow.id))

    collection_alignment: Mapped[str | None]
    collection_anchor: Mapped[datetime | None]
    collection_anchor_interval: Mapped[str | None]
    collection_interval: Mapped[str | None]
    auto_advance: Mapped[bool | None]
    draft_period: Mapped[str | None]
    due_after: Mapped[str | None]
    progressive_billing: Mapped[bool | None]
    default_tax_config: Mapped[JSONObject | None] = mapped_column(JSONB(none_as_null=True))
    collection_method: Mapped[str | None]


OVERRIDE_SETTINGS = (
    "collection_alignment",
    "collection_anchor",
    "collection_anchor_interval",
    "collection_interval",
    "auto_advance",
    "draft_period",
    "due_after",
    "progressive_billing",
    "default_tax_config",
    "collection_method",
)
"""The columns of an override beside the profile it pins to."""
