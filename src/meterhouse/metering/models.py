"""Tables of metering in Postgres: meters, slots of the event table, voids of events, and the embedded event log."""

from datetime import datetime

from sqlalchemy import (
    DDL,
    BigInteger,
    CheckConstraint,
    Identity,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Sequence,
    UniqueConstraint,
    event,
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


class EventVoidRow(Base):
    """A record that a stored event stopped counting, or counts again. The latest record of an event is its state.

    Records are only ever added; versions rise in order of commit within a namespace. `event_key` is the hash of
    namespace, source and id (`keys.event_key`): texts of any length could not be indexed. An event that was replaced
    names the event that stands for it.
    """

    __tablename__ = "event_voids"
    __table_args__ = (
        Index("ix_event_voids_event", "event_key", "version"),
        Index("ix_event_voids_namespace", "namespace", "version"),
        CheckConstraint("reason <> '' AND actor <> ''", name="explained"),
        CheckConstraint(
            "(replacement_source IS NULL) = (replacement_id IS NULL) AND (voided OR replacement_id IS NULL)",
            name="replacement",
        ),
    )

    version: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    namespace: Mapped[str]
    event_key: Mapped[bytes] = mapped_column(LargeBinary)
    event_type: Mapped[str]
    source: Mapped[str]
    event_id: Mapped[str]
    voided: Mapped[bool]
    recorded_at: Mapped[datetime]
    reason: Mapped[str]
    actor: Mapped[str]
    replacement_source: Mapped[str | None]
    replacement_id: Mapped[str | None]


_REFUSE_CHANGE = """
CREATE OR REPLACE FUNCTION event_voids_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'voids of events are append-only: %', TG_OP USING ERRCODE = 'restrict_violation';
END $$
"""

# A migration carries these over by hand; they are no part of what alembic compares.
TRIGGER_STATEMENTS = (
    _REFUSE_CHANGE,
    "CREATE TRIGGER event_voids_append_only BEFORE UPDATE OR DELETE ON event_voids "
    "FOR EACH ROW EXECUTE FUNCTION event_voids_refuse_change()",
)

for _statement in TRIGGER_STATEMENTS:
    event.listen(Base.metadata, "after_create", DDL(_statement.replace("%", "%%")))  # type: ignore[no-untyped-call]


class EventDeadLetterRow(Base):
    """A record of the event log that could not be stored, kept as it was read.

    A record that is read again after a crash is not put down twice: its place and its bytes are the same.

    Attributes:
        payload_digest: hash of `payload`; beside the place, because a log that was made anew counts from 0 again.
        created_at: when the sink put it aside.
    """

    __tablename__ = "event_dead_letters"
    __table_args__ = (
        UniqueConstraint("log_partition", "log_position", "payload_digest", name="uq_event_dead_letters_place"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    log_partition: Mapped[int]
    log_position: Mapped[int] = mapped_column(BigInteger)
    namespace: Mapped[str]
    ingested_at: Mapped[datetime]
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    payload_digest: Mapped[bytes] = mapped_column(LargeBinary)
    reason: Mapped[str]
    created_at: Mapped[datetime]
