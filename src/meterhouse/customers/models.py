"""Tables of customers, the strings that attribute usage to them, and subjects."""

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.kernel.db import Base, JSONObject, SoftDelete, Timestamps
from meterhouse.kernel.ids import new_id

_LIVE = text("deleted_at IS NULL")

UNIQUE_INDEXES = frozenset({"uq_customers_live_key", "uq_customer_attributions_live_subject"})
"""The indexes that two simultaneous requests for one key meet at."""


def _order(*columns: str) -> Index:
    """Make the index that a list sorted by these columns walks.

    It knows who is deleted, so passing over rows, and counting them, never looks at the table itself.
    """
    name = f"ix_customers_namespace_{'_'.join(columns)}"
    return Index(name, "namespace", *columns, postgresql_include=["deleted_at"])


class CustomerRow(Timestamps, SoftDelete, Base):
    """A customer. The key frees itself with deletion, the id never."""

    __tablename__ = "customers"
    __table_args__ = (
        Index("uq_customers_live_key", "namespace", "key", unique=True, postgresql_where=_LIVE),
        *(_order(*columns) for columns in (("id",), ("name", "id"), ("created_at", "id"), ("primary_email", "id"))),
        CheckConstraint("key <> ''", name="key_not_empty"),
        CheckConstraint("name <> ''", name="name_not_empty"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_fiat"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    key: Mapped[str | None]
    name: Mapped[str]
    description: Mapped[str | None]
    currency: Mapped[str | None]
    primary_email: Mapped[str | None]
    billing_address: Mapped[dict[str, str] | None]
    labels: Mapped[dict[str, str]] = mapped_column("metadata")
    annotations: Mapped[JSONObject]


class AttributionRow(SoftDelete, Base):
    """A string of event subjects that belongs to a customer: its key, one of its subject keys, or both.

    One table for both makes the rule "a string attributes to one customer at most" an index, not a check.
    """

    __tablename__ = "customer_attributions"
    __table_args__ = (
        Index("uq_customer_attributions_live_subject", "namespace", "subject", unique=True, postgresql_where=_LIVE),
        Index("ix_customer_attributions_customer_id", "customer_id"),
        CheckConstraint("subject <> ''", name="subject_not_empty"),
        CheckConstraint("is_key OR is_subject_key", name="has_a_role"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    customer_id: Mapped[str] = mapped_column(ForeignKey(CustomerRow.id))
    subject: Mapped[str]
    is_key: Mapped[bool]
    is_subject_key: Mapped[bool]


class SubjectRow(Timestamps, SoftDelete, Base):
    """A subject of events as an object of its own (customers section 10). Deleting it deletes no usage."""

    __tablename__ = "subjects"
    __table_args__ = (Index("uq_subjects_live_key", "namespace", "key", unique=True, postgresql_where=_LIVE),)

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    key: Mapped[str]
    display_name: Mapped[str | None] = mapped_column(default=None)
    attributes: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)
    stripe_customer_id: Mapped[str | None] = mapped_column(default=None)
