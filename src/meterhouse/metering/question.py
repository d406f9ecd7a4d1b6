"""What can be asked of a meter (metering sections 8 and 10)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from meterhouse.metering.filters import Filter
from meterhouse.metering.meter import Meter
from meterhouse.metering.sql import Supposed

SUBJECT = "subject"
CUSTOMER = "customer_id"


class Window(StrEnum):
    """The size of a window of time, in the calendar of the query's zone."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class MeterQuery:
    """What to ask of a meter.

    Attributes:
        start, end: bounds of the event time, start included, end not; cut to the second. None does not bound.
        subjects: count only these and split by subject; None does neither, an empty list only splits.
        customers: by customer id, the subjects that count as this customer (section 13); count only these and split by
            customer. A subject of several customers counts for the first. None does neither.
        group_by: dimensions to split by, besides the words `subject` and `customer_id`; names may repeat.
        filters: conditions by dimension; a dimension may be filtered without being split by.
        stored_before: count only what was stored strictly before this instant.
        supposed: corrections to answer as if they were made.
    """

    meter: Meter
    start: datetime | None = None
    end: datetime | None = None
    window: Window | None = None
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    subjects: Sequence[str] | None = None
    customers: Mapping[str, Sequence[str]] | None = None
    group_by: Sequence[str] = ()
    filters: Mapping[str, Filter] = field(default_factory=dict)
    stored_before: datetime | None = None
    supposed: Supposed | None = None

    def groups(self) -> tuple[str, ...]:
        """Return what the answer is split by, in order, with what filters imply (section 10.3), each name once."""
        implied = [SUBJECT] if self.subjects is not None else []
        implied += [CUSTOMER] if self.customers else []
        return tuple(dict.fromkeys([*implied, *self.group_by]))

    def dimensions(self) -> list[str]:
        """Return the dimensions among the groups."""
        return [name for name in self.groups() if name not in (SUBJECT, CUSTOMER)]

    def shows_range(self) -> bool:
        """Tell whether the first and the last event stand in for a bound that was not given."""
        return self.window is None and (self.start is None or self.end is None)
