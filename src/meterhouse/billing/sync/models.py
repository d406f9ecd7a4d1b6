"""The table of sync states: one row a subscription that was ever synced, or failed to be."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.kernel.db import Base, Timestamps
from meterhouse.subscriptions.models import SubscriptionRow


class SyncStateRow(Timestamps, Base):
    """What is known about the charges of one subscription.

    Attributes:
        has_billables: False also where syncing is pointless: the subscription or its customer is deleted.
        subscription_version: `updated_at` of the subscription when it was last tried; another value means that it was
            changed since.
        synced_at: when a sync last came through, also if single items failed in it.
        next_sync_after: up to when the charges are known; null: they never change again by time.
        due_at: when to sync next without an event; `next_sync_after`, or earlier after a failure.
        attempts: failures in a row.
        last_error: what failed in the last try; null when nothing did. `error_at` says when.
        item_errors: the items that the last sync skipped, `{"reference": ..., "message": ...}` each.
        fingerprints: by identity, digest of the content that each charge was last synced with, unless it keeps it.
    """

    __tablename__ = "billing_sync_states"
    __table_args__ = (
        Index("ix_billing_sync_states_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_billing_sync_states_namespace_customer_id", "namespace", "customer_id"),
        CheckConstraint("attempts >= 0", name="attempts_from_zero"),
        CheckConstraint("(last_error IS NULL) = (error_at IS NULL)", name="error_has_its_time"),
        CheckConstraint("(last_error IS NULL) = (attempts = 0)", name="error_counts"),
    )

    subscription_id: Mapped[str] = mapped_column(ForeignKey(SubscriptionRow.id), primary_key=True)
    namespace: Mapped[str]
    customer_id: Mapped[str]
    has_billables: Mapped[bool] = mapped_column(default=False)
    subscription_version: Mapped[datetime]
    synced_at: Mapped[datetime | None]
    next_sync_after: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    last_error: Mapped[str | None]
    error_at: Mapped[datetime | None]
    item_errors: Mapped[list[Any]] = mapped_column(default=list)
    fingerprints: Mapped[dict[str, str]] = mapped_column(default=dict)
