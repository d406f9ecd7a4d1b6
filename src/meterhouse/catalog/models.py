"""Tables of features and tax codes."""

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.kernel.db import Base, JSONObject, SoftDelete, Timestamps


class FeatureRow(Timestamps, Base):
    """A feature. Never deleted: archiving frees the key, and history keeps resolving by id."""

    __tablename__ = "features"
    __table_args__ = (
        Index("uq_features_live_key", "namespace", "key", unique=True, postgresql_where=text("archived_at IS NULL")),
        Index("ix_features_namespace_key", "namespace", "key"),
        Index("ix_features_namespace_meter_id", "namespace", "meter_id"),
        # The order of v3 lists.
        Index("ix_features_namespace_created_at", "namespace", "created_at", "id", postgresql_include=["archived_at"]),
        CheckConstraint("(meter_id IS NULL) = (meter_key IS NULL)", "meter"),
        CheckConstraint("meter_id IS NOT NULL OR meter_filters = '{}'::jsonb", "filters_need_a_meter"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    namespace: Mapped[str]
    key: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]
    # Plain `metadata` is SQLAlchemy's own attribute, hence the longer names in Python only.
    metadata_: Mapped[dict[str, str]] = mapped_column("metadata")
    meter_id: Mapped[str | None]
    # A meter's key never changes, so the copy cannot go stale.
    meter_key: Mapped[str | None]
    meter_filters: Mapped[JSONObject]
    unit_cost: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    archived_at: Mapped[datetime | None]


class TaxCodeRow(Timestamps, SoftDelete, Base):
    """A tax code: what apps call it is in `app_mappings`, app type to the provider's code."""

    __tablename__ = "tax_codes"
    __table_args__ = (
        Index("uq_tax_codes_live_key", "namespace", "key", unique=True, postgresql_where=text("deleted_at IS NULL")),
        Index("ix_tax_codes_app_mappings", "app_mappings", postgresql_using="gin"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    namespace: Mapped[str]
    key: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]
    metadata_: Mapped[dict[str, str]] = mapped_column("metadata")
    app_mappings: Mapped[dict[str, str]]
    managed_by_system: Mapped[bool] = mapped_column(Boolean())


class TaxDefaultsRow(Timestamps, Base):
    """The organization's default tax codes: one row a namespace."""

    __tablename__ = "organization_default_tax_codes"

    namespace: Mapped[str] = mapped_column(primary_key=True)
    invoicing_tax_code_id: Mapped[str] = mapped_column(ForeignKey("tax_codes.id"))
    credit_grant_tax_code_id: Mapped[str] = mapped_column(ForeignKey("tax_codes.id"))
