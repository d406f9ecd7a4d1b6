"""Tables of metering in Postgres: meters, the slots of the event table, and the embedded event log."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Identity,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Sequence,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from meterhouse.kernel.db import Base, JSONObject, SoftDelete, Timestamps

# Counts slot assignments over all namespaces, so that a version never returns after a slot was given up.
slot_version = Sequence("meter_slot_version", metadata=Base.metadata)


class MeterRow(Timestamps, SoftDelete, Base):
    """A meter (metering section 12)."""

    __tablename__ = "meters"
    __table_args__ = (
        Index(
            "uq_meters_live_key",
            "namespace",
            "key",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index("ix_meters_namespace_event_type", "namespace", "event_type"),
        CheckConstraint(
            "aggregation IN ('sum', 'count', 'avg', 'min', 'max', 'unique_count', 'latest')", name="aggregation"
        ),
        CheckConstraint("(aggregation = 'count') = (value_property IS NULL)", name="value_property"),
        CheckConstraint("key <> '' AND event_type <> '' AND name <> ''", name="not_empty"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    namespace: Mapped[str]
    key: Mapped[str]
    name: Mapped[str]
    description: Mapped[str | None]
    event_type: Mapped[str]
    aggregation: Mapped[str]
    value_property: Mapped[str | None]
    group_by: Mapped[dict[str, str]]
    event_from: Mapped[datetime | None]
    # `metadata` is taken by SQLAlchemy.
    labels: Mapped[dict[str, str]] = mapped_column("metadata")
    annotations: Mapped[JSONObject]


class MeterSlotRow(Base):
    """A column of the event table that holds what lies at one JSONPath of one event type.

    `version` says from which `slots_version` on an event row carries it.
    """

    __tablename__ = "meter_slots"
    __table_args__ = (
        PrimaryKeyConstraint("namespace", "event_type", "kind", "path"),
        UniqueConstraint("namespace", "event_type", "slot", name="uq_meter_slots_slot"),
        CheckConstraint("kind IN ('number', 'text', 'dimension')", name="kind"),
    )

    namespace: Mapped[str]
    event_type: Mapped[str]
    kind: Mapped[str]
    path: Mapped[str]
    slot: Mapped[str]
    version: Mapped[int] = mapped_column(BigInteger)


class EventLogRow(Base):
    """An accepted event that is not yet stored in ClickHouse. Positions rise in order of commit."""

    __tablename__ = "event_log"

    position: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    namespace: Mapped[str]
    ingested_at: Mapped[datetime]
    payload: Mapped[bytes] = mapped_column(LargeBinary)


class EventLogOffsetRow(Base):
    """How far the embedded log is stored: every position below `position` is."""

    __tablename__ = "event_log_offsets"

    log_partition: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(BigInteger)
