"""The meter: a named definition that turns raw events into numbers at query time (metering section 2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Aggregation(StrEnum):
    """How the values of the counted events become one number (metering section 9)."""

    SUM = "sum"
    COUNT = "count"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    UNIQUE_COUNT = "unique_count"
    LATEST = "latest"


class SlotKind(StrEnum):
    """What a slot holds: exact numbers, texts of few different values, or any texts."""

    NUMBER = "number"
    DIMENSION = "dimension"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Slot:
    """A column of the event table that carries what lies at one JSONPath of one event type (design section 6).

    Attributes:
        path: the canonical path.
        column: the column's name.
        version: rows whose `slots_version` is at least this carry it.
    """

    kind: SlotKind
    path: str
    column: str
    version: int


@dataclass(frozen=True, slots=True)
class Meter:
    """A stored meter.

    Attributes:
        key: `slug` in v1; unique among the live meters of a namespace.
        value_property: JSONPath of the value in the event's data; None exactly for COUNT.
        group_by: name of a dimension to its JSONPath.
        event_from: events before this instant never count; None counts all.
        slots: where the event table carries the meter's paths; a path without a slot is read from the JSON text.
    """

    id: str
    namespace: str
    key: str
    name: str
    description: str | None
    event_type: str
    aggregation: Aggregation
    value_property: str | None
    group_by: Mapping[str, str]
    event_from: datetime | None
    metadata: Mapping[str, str]
    annotations: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    slots: Sequence[Slot] = ()


@dataclass(frozen=True, slots=True)
class NewMeter:
    """What a meter is created from. See `Meter`."""

    key: str
    name: str
    event_type: str
    aggregation: Aggregation
    value_property: str | None = None
    group_by: Mapping[str, str] = field(default_factory=dict)
    description: str | None = None
    event_from: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MeterUpdate:
    """What a meter is changed to. Name and description are kept when None; the rest is replaced."""

    name: str | None = None
    description: str | None = None
    group_by: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
