"""Marks of what is stored: whether usage that was measured before would still measure the same.

Whoever keeps a measured number keeps the mark that was taken right before. While a new mark says the same, no event of
the measured time has come since, and none was voided or restored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from meterhouse.kernel.periods import Period
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.sql import Bound

# Events that are being stored while a mark is taken carry an instant from before it. None takes nearly as long, even
# where the machine sleeps in between.
STORING_TAKES_AT_MOST = timedelta(days=1)
# Marks of one statement: the engine plans them one after the other, and bounds the size of what it plans.
MARKS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class MarkRequest:
    """What to mark.

    Attributes:
        subjects: whose events; none has none.
        period: event times.
        counted_from: count what was stored at this instant or later: `STORING_TAKES_AT_MOST` before the first mark.
    """

    namespace: str
    event_type: str
    subjects: tuple[str, ...]
    period: Period
    counted_from: datetime


@dataclass(frozen=True, slots=True)
class Mark:
    """How many events were stored from `counted_from` on, and which correction of the event type was the last."""

    late_events: int
    voids_version: int


class UsageMarks:
    """Takes marks in ClickHouse."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def take(self, requests: Sequence[MarkRequest]) -> list[Mark]:
        """Return a mark for each request, out of as few statements as it takes."""
        marks: list[Mark] = []
        for start in range(0, len(requests), MARKS_AT_ONCE):
            bound = Bound()
            asked = requests[start : start + MARKS_AT_ONCE]
            text = " UNION ALL ".join(_text(place, request, bound) for place, request in enumerate(asked))
            rows = await self._clickhouse.query(text, bound.parameters)
            by_place = {place: Mark(late_events, voids_version) for place, late_events, voids_version in rows}
            marks += [by_place[place] for place in range(len(asked))]
        return marks


def _text(place: int, request: MarkRequest, bound: Bound) -> str:
    scope = f"namespace = {bound.text(request.namespace)} AND type = {bound.text(request.event_type)}"
    return (
        f"SELECT {place} AS place, count() AS late,"
        f" (SELECT max(version) FROM om_event_voids WHERE {scope}) AS voids"
        f" FROM om_events WHERE {scope} AND subject IN {bound.texts(request.subjects)}"
        f" AND time >= {bound.instant(request.period.start)} AND time < {bound.instant(request.period.end)}"
        f" AND stored_at >= {bound.instant(request.counted_from)}"
    )
