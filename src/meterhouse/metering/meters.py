"""Meters: named definitions that turn raw events into numbers at query time (metering sections 2 and 12)."""

from collections.abc import Mapping
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


@dataclass(frozen=True, slots=True)
class Meter:
    """A stored meter.

    Attributes:
        key: `slug` in v1; unique among the live meters of a namespace.
        value_property: JSONPath of the value in the event's data; None exactly for COUNT.
        group_by: name of a dimension to its JSONPath.
        event_from: events before this instant never count; None counts all.
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
