"""What the tables of versions and of their rate cards have in common."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.schema import SchemaItem

from meterhouse.catalog.models import FeatureRow
from meterhouse.kernel.db import Base, SoftDelete, Timestamps


class VersionRow(Timestamps, SoftDelete, Base):
    """A version. The status is not stored: it follows from the two instants and the clock."""

    __abstract__ = True

    id: Mapped[str] = mapped_column(primary_key=True)
    namespace: Mapped[str]
    key: Mapped[str]
    version: Mapped[int]
    name: Mapped[str]
    description: Mapped[str | None]
    metadata_: Mapped[dict[str, str]] = mapped_column("metadata")
    currency: Mapped[str]
    effective_from: Mapped[datetime | None]
    effective_to: Mapped[datetime | None]


def version_rules(table: str) -> tuple[SchemaItem, ...]:
    """Return the constraints of a table of versions."""
    published = "effective_from IS NOT NULL AND effective_to IS NULL AND deleted_at IS NULL"
    draft = "effective_from IS NULL AND deleted_at IS NULL"
    return (
        # Deleted versions count too: a version number is never used again.
        UniqueConstraint("namespace", "key", "version", name=f"uq_{table}_version"),
        Index(f"uq_{table}_draft", "namespace", "key", unique=True, postgresql_where=text(draft)),
        Index(f"uq_{table}_open_ended", "namespace", "key", unique=True, postgresql_where=text(published)),
        # The order of lists.
        Index(f"ix_{table}_namespace_id", "namespace", "id", postgresql_include=["deleted_at"]),
        CheckConstraint("version >= 1", "version"),
        CheckConstraint("effective_to IS NULL OR effective_from <= effective_to", "effective_order"),
        CheckConstraint("effective_from IS NOT NULL OR effective_to IS NULL", "effective_to_needs_from"),
    )


class RateCardRow(Base):
    """A rate card: the value as JSON (`catalog.ratecards.RateCard`), beside it what is constrained and searched."""

    __abstract__ = True

    id: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    key: Mapped[str]
    feature_key: Mapped[str | None]
    feature_id: Mapped[str | None] = mapped_column(ForeignKey(FeatureRow.id))
    card: Mapped[dict[str, Any]] = mapped_column(JSONB())


def rate_card_rules(table: str, holder: str) -> tuple[SchemaItem, ...]:
    """Return the constraints of a table of rate cards; `holder` is the column that names what holds a card."""
    return (
        UniqueConstraint(holder, "key", name=f"uq_{table}_key"),
        UniqueConstraint(holder, "feature_key", name=f"uq_{table}_feature_key"),
        CheckConstraint("(feature_id IS NULL) = (feature_key IS NULL)", "feature"),
        Index(f"ix_{table}_feature_id", "feature_id"),
        Index(f"ix_{table}_feature_key", "feature_key"),
    )
