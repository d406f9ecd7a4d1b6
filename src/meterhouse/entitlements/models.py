"""Tables of entitlements, their grants, their manual resets, and the cache of what runs of the engine came to."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB, ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.catalog.models import FeatureRow
from meterhouse.customers.models import CustomerRow
from meterhouse.kernel.db import Base, JSONObject, SoftDelete, Timestamps
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.textranges import only

_LIVE = text("deleted_at IS NULL")
ONE_AT_A_TIME = "ex_entitlements_one_per_customer_and_feature_at_a_time"
_METERED = "measure_usage_from, is_soft_limit, preserve_overage_at_reset"


class EntitlementRow(Timestamps, SoftDelete, Base):
    """What a customer may use, in [active_from, active_to). Which columns are set follows from the type.

    Attributes:
        feature_key: of the feature at that time; what there is one of is by key, also over archived features.
        usage_period_anchor: the original one; later ones stand with the manual resets.
        revision: counts what changes its past: grants that come or end, resets. A snapshot of an older one is void.
        subscription_id: of the subscription that manages it.
    """

    __tablename__ = "entitlements"
    __table_args__ = (
        ExcludeConstraint(
            (only("customer_id"), "&&"),
            (only("feature_key"), "&&"),
            (text("tstzrange(active_from, active_to)"), "&&"),
            where=_LIVE,
            using="gist",
            name=ONE_AT_A_TIME,
        ),
        Index("ix_entitlements_namespace_customer_id_feature_key", "namespace", "customer_id", "feature_key"),
        Index("ix_entitlements_live_created_at", "namespace", "created_at", "id", postgresql_where=_LIVE),
        Index("ix_entitlements_live_updated_at", "namespace", "updated_at", "id", postgresql_where=_LIVE),
        Index("ix_entitlements_live_feature_id", "feature_id", postgresql_where=_LIVE),
        Index("ix_entitlements_live_subscription_id", "subscription_id", postgresql_where=_LIVE),
        CheckConstraint("type IN ('metered', 'static', 'boolean')", name="type"),
        CheckConstraint("active_to >= active_from", name="active_period"),
        CheckConstraint(
            f"num_nonnulls({_METERED}) = CASE WHEN type = 'metered' THEN 3 ELSE 0 END", name="metered_columns"
        ),
        CheckConstraint("type <> 'metered' OR usage_period_interval IS NOT NULL", name="metered_has_usage_period"),
        CheckConstraint(
            "type = 'metered' OR num_nonnulls(issue_after_reset, issue_after_reset_priority, unit_config) = 0",
            name="only_metered_issues",
        ),
        CheckConstraint("(config IS NOT NULL) = (type = 'static')", name="static_has_config"),
        CheckConstraint("num_nulls(usage_period_interval, usage_period_anchor) IN (0, 2)", name="usage_period_whole"),
        CheckConstraint("issue_after_reset >= 0", name="issue_not_negative"),
        CheckConstraint("issue_after_reset_priority BETWEEN 0 AND 255", name="issue_priority"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    type: Mapped[str]
    customer_id: Mapped[str] = mapped_column(ForeignKey(CustomerRow.id))
    feature_id: Mapped[str] = mapped_column(ForeignKey(FeatureRow.id))
    feature_key: Mapped[str]
    active_from: Mapped[datetime]
    active_to: Mapped[datetime | None]
    labels: Mapped[dict[str, str]] = mapped_column("metadata")
    annotations: Mapped[JSONObject]
    subscription_id: Mapped[str | None]
    usage_period_interval: Mapped[str | None]
    usage_period_anchor: Mapped[datetime | None]
    measure_usage_from: Mapped[datetime | None]
    issue_after_reset: Mapped[Decimal | None]
    issue_after_reset_priority: Mapped[int | None]
    is_soft_limit: Mapped[bool | None]
    preserve_overage_at_reset: Mapped[bool | None]
    config: Mapped[str | None]
    unit_config: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    revision: Mapped[int] = mapped_column(default=0)


class GrantRow(Timestamps, SoftDelete, Base):
    """An amount that usage burns down. Nothing of it changes but its end: voiding, or deletion with its entitlement.

    Attributes:
        effective_at, voided_at: whole minutes.
        expires_at: `effective_at` and the expiration, kept because grants are sorted by it.
    """

    __tablename__ = "entitlement_grants"
    __table_args__ = (
        Index("ix_entitlement_grants_entitlement_id", "entitlement_id"),
        Index("ix_entitlement_grants_live_effective_at", "namespace", "effective_at", "id", postgresql_where=_LIVE),
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint("priority BETWEEN 0 AND 255", name="priority"),
        CheckConstraint("num_nulls(expiration_count, expiration_unit, expires_at) IN (0, 3)", name="expiration_whole"),
        CheckConstraint("expiration_unit IN ('HOUR', 'DAY', 'WEEK', 'MONTH', 'YEAR')", name="expiration_unit"),
        CheckConstraint("num_nulls(recurrence_interval, recurrence_anchor) IN (0, 2)", name="recurrence_whole"),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    entitlement_id: Mapped[str] = mapped_column(ForeignKey(EntitlementRow.id))
    amount: Mapped[Decimal]
    priority: Mapped[int]
    effective_at: Mapped[datetime]
    expiration_count: Mapped[int | None]
    expiration_unit: Mapped[str | None]
    expires_at: Mapped[datetime | None]
    rollover_min: Mapped[Decimal]
    rollover_max: Mapped[Decimal]
    recurrence_interval: Mapped[str | None]
    recurrence_anchor: Mapped[datetime | None]
    voided_at: Mapped[datetime | None]
    labels: Mapped[dict[str, str]] = mapped_column("metadata")
    annotations: Mapped[JSONObject]


class UsageResetRow(Base):
    """A manual reset.

    Attributes:
        reset_at: when the usage period was cut, a whole minute.
        anchor: what usage periods are counted from afterwards.
    """

    __tablename__ = "entitlement_usage_resets"
    __table_args__ = (
        Index("uq_entitlement_usage_resets_entitlement_id_reset_at", "entitlement_id", "reset_at", unique=True),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    entitlement_id: Mapped[str] = mapped_column(ForeignKey(EntitlementRow.id))
    reset_at: Mapped[datetime]
    anchor: Mapped[datetime]
    preserve_overage: Mapped[bool]
    created_at: Mapped[datetime]


class BalanceSnapshotRow(Base):
    """What a run of the engine entered an instant with: a cache, which may be emptied at any time.

    Attributes:
        at: the instant, a whole minute.
        balances: decimals by grant.
        usage, burnt: of the usage period until then.
        basis: digest of what the usage was measured by: meter, filters, conversion, subjects of the customer.
        counted_from, late_events, voids_version: what was stored when it was measured; see `metering.marks`.
    """

    __tablename__ = "entitlement_balance_snapshots"
    __table_args__ = (Index("uq_entitlement_balance_snapshots_entitlement_id_at", "entitlement_id", "at", unique=True),)

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    namespace: Mapped[str]
    entitlement_id: Mapped[str] = mapped_column(ForeignKey(EntitlementRow.id))
    at: Mapped[datetime]
    balances: Mapped[dict[str, str]]
    overage: Mapped[Decimal]
    usage: Mapped[Decimal]
    burnt: Mapped[Decimal]
    basis: Mapped[str]
    counted_from: Mapped[datetime]
    late_events: Mapped[int] = mapped_column(BigInteger())
    voids_version: Mapped[int] = mapped_column(BigInteger())
    created_at: Mapped[datetime]
