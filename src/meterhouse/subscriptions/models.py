"""Tables of subscriptions. What intervals follow from them is computed by `timeline`, never stored twice."""

from datetime import datetime, timedelta

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.customers.models import CustomerRow
from meterhouse.kernel import clock
from meterhouse.kernel.db import Base, JSONObject, SoftDelete, Timestamps
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.textranges import only

_LIVE = text("deleted_at IS NULL")
ONE_AT_A_TIME = "ex_subscriptions_one_per_customer_at_a_time"

# What answers can show: a single row beyond it would make every list fail that it is in.
_KEY = "key ~ '^[a-z0-9]+(_[a-z0-9]+)*$' AND char_length(key) <= 64"


def _texts(name: str = "name", description: str = "description") -> CheckConstraint:
    check = f"char_length({name}) BETWEEN 1 AND 256 AND char_length({description}) <= 1024"
    return CheckConstraint(check, name="texts_can_be_shown")


class SubscriptionRow(Timestamps, SoftDelete, Base):
    """A subscription: when it runs, in which currency, and on which billing rhythm."""

    __tablename__ = "subscriptions"
    __table_args__ = (
        ExcludeConstraint(
            (only("customer_id"), "&&"),
            (text("tstzrange(active_from, active_to)"), "&&"),
            where=_LIVE,
            using="gist",
            name=ONE_AT_A_TIME,
        ),
        Index("ix_subscriptions_namespace_customer_id", "namespace", "customer_id"),
        Index("ix_subscriptions_namespace_plan_key", "namespace", "plan_key"),
        # One for each order of the list: it pages through them, and counts, without looking at the table.
        Index("ix_subscriptions_live_id", "namespace", "id", postgresql_where=_LIVE),
        Index("ix_subscriptions_live_active_from", "namespace", "active_from", "id", postgresql_where=_LIVE),
        Index("ix_subscriptions_live_active_to", "namespace", "active_to", "id", postgresql_where=_LIVE),
        CheckConstraint("active_to >= active_from", name="active_period"),
        CheckConstraint("settlement_mode IN ('credit_then_invoice', 'credit_only')", name="settlement_mode"),
        CheckConstraint("cost_basis_mode IN ('dynamic', 'pinned')", name="cost_basis_mode"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_fiat"),
        CheckConstraint("num_nulls(plan_id, plan_key, plan_version) IN (0, 3)", name="plan_reference_whole"),
        _texts(),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    customer_id: Mapped[str] = mapped_column(ForeignKey(CustomerRow.id))
    plan_id: Mapped[str | None]
    plan_key: Mapped[str | None]
    plan_version: Mapped[int | None]
    name: Mapped[str]
    description: Mapped[str | None]
    labels: Mapped[dict[str, str]] = mapped_column("metadata")
    annotations: Mapped[JSONObject]
    currency: Mapped[str]
    settlement_mode: Mapped[str]
    cost_basis_mode: Mapped[str] = mapped_column(server_default="dynamic")
    pro_rating_enabled: Mapped[bool]
    billing_cadence: Mapped[str]
    billing_anchor: Mapped[datetime]
    active_from: Mapped[datetime]
    active_to: Mapped[datetime | None]

    def touch(self) -> None:
        """Note a change. No two changes have the same `updated_at`, for billing tells by it which one it followed."""
        self.updated_at = max(clock.now(), self.updated_at + timedelta(microseconds=1))


class SubscriptionPhaseRow(SoftDelete, Base):
    """A phase from `active_from` until the next one starts. Rows are replaced, never changed."""

    __tablename__ = "subscription_phases"
    __table_args__ = (
        Index("uq_subscription_phases_live_key", "subscription_id", "key", unique=True, postgresql_where=_LIVE),
        Index("ix_subscription_phases_subscription_id", "subscription_id"),
        CheckConstraint(_KEY, name="key_can_be_shown"),
        _texts(),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    subscription_id: Mapped[str] = mapped_column(ForeignKey(SubscriptionRow.id))
    key: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]
    labels: Mapped[dict[str, str]] = mapped_column("metadata")
    active_from: Mapped[datetime]
    sort_hint: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)


class SubscriptionItemRow(SoftDelete, Base):
    """One version of an item. The overrides are ISO 8601 durations from the phase's start; null: the phase's bound.

    Rows are replaced, never changed, so a cancellation that is taken back restores every interval.
    """

    __tablename__ = "subscription_items"
    __table_args__ = (
        Index("uq_subscription_items_live_version", "phase_id", "key", "version", unique=True, postgresql_where=_LIVE),
        Index("ix_subscription_items_subscription_id", "subscription_id"),
        Index("ix_subscription_items_namespace_feature_key", "namespace", "feature_key", postgresql_where=_LIVE),
        CheckConstraint("version >= 0", name="version_from_zero"),
        CheckConstraint(_KEY, name="key_can_be_shown"),
        _texts("rate_card ->> 'name'", "rate_card ->> 'description'"),
        CheckConstraint(
            "rate_card -> 'price' ->> 'type' IS NULL OR rate_card -> 'price' ->> 'type' = 'flat' "
            "OR feature_key IS NOT NULL",
            name="usage_price_has_feature",
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    subscription_id: Mapped[str] = mapped_column(ForeignKey(SubscriptionRow.id))
    phase_id: Mapped[str] = mapped_column(ForeignKey(SubscriptionPhaseRow.id))
    key: Mapped[str]
    version: Mapped[int]
    feature_key: Mapped[str | None]
    rate_card: Mapped[JSONObject]
    active_from_override: Mapped[str | None]
    active_to_override: Mapped[str | None]
    annotations: Mapped[JSONObject]
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
