"""The table of issued portal tokens."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import String

from meterhouse.kernel.db import Base


class PortalTokenRow(Base):
    """An issued token, without the token. `allowed_meters` null allows every meter."""

    __tablename__ = "portal_tokens"
    __table_args__ = (
        Index("ix_portal_tokens_namespace_subject", "namespace", "subject"),
        Index("ix_portal_tokens_namespace_created_at_id", "namespace", "created_at", "id"),
        Index("ix_portal_tokens_expires_at", "expires_at"),
        CheckConstraint("subject <> ''", name="subject_not_empty"),
        CheckConstraint("cardinality(allowed_meters) > 0", name="allowed_meters_not_empty"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    namespace: Mapped[str]
    subject: Mapped[str]
    allowed_meters: Mapped[list[str] | None] = mapped_column(ARRAY(String))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    invalidated_at: Mapped[datetime | None]
