"""How a metered entitlement was burnt down: by windows of time, and by segments of the engine (section 13)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from meterhouse.entitlements.burndown import Segment
from meterhouse.entitlements.entitlement import Entitlement
from meterhouse.entitlements.minutes import ceiled, floored
from meterhouse.entitlements.runs import Runs
from meterhouse.entitlements.sources import Source, sources
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import InvalidInput, invalid
from meterhouse.kernel.money import ZERO, total
from meterhouse.kernel.periods import Period
from meterhouse.kernel.precision import exact
from meterhouse.kernel.reach import within_reach
from meterhouse.metering.answer import window_end
from meterhouse.metering.marks import UsageMarks
from meterhouse.metering.query import MeterQueries, MeterQuery, Window
from meterhouse.metering.usage import ClickHouseUsage

# Windows of one answer: a month of minutes would be more than four times as many.
MAX_WINDOWS = 10_000


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Which stretch of the past.

    Attributes:
        start: None: since the last manual reset, or since measuring began.
        end: None: now.
    """

    window: Window
    zone: ZoneInfo
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class WindowBalance:
    """One window of the answer, its bounds in the zone that was asked for."""

    start: datetime
    end: datetime
    usage: Decimal
    balance_at_start: Decimal


@dataclass(frozen=True, slots=True)
class History:
    """The answer, both parts in order of time."""

    windows: tuple[WindowBalance, ...]
    segments: tuple[Segment, ...]


class Histories:
    """Tells how entitlements were burnt down."""

    def __init__(self, queries: MeterQueries, marks: UsageMarks) -> None:
        self._queries = queries
        self._usage = ClickHouseUsage(queries)
        self._runs = Runs(queries, marks)

    async def of(self, session: ReadSession, namespace: str, entitlement: Entitlement, query: HistoryQuery) -> History:
        """Return the history of an entitlement.

        Raises:
            InvalidInput: it is not metered, the time is empty or begins before measuring, or has too many windows.
        """
        metered = entitlement.metered
        if metered is None:
            raise InvalidInput("only metered entitlements have a history of balances")
        asked = _asked(query, metered.periods.start, metered.periods.last_manual_reset)
        windows = _windows(asked, query)
        begin = max(windows[0].start, metered.periods.start)
        found = await sources(session, namespace, [entitlement])
        (run,) = await self._runs.prepare(session, found, [entitlement], begin)
        run.until = asked.end
        await self._runs.begin([run], cuts=(begin,))
        (usages,) = await self._runs.measure([run])
        segments = [
            one for one in run.compute(usages) if one.start > begin or (one.start == begin and not one.is_rollover)
        ]
        source = found[entitlement.id]
        measured = await self._windowed(source, windows, query)
        shown = [window for window in windows if window.start >= begin]
        gaps = await self._gaps(source, shown, segments)
        balances = balances_at_start(shown, segments, measured, gaps)
        return History(
            tuple(
                WindowBalance(
                    window.start.astimezone(query.zone),
                    window.end.astimezone(query.zone),
                    measured.get(window.start, ZERO),
                    balance,
                )
                for window, balance in zip(shown, balances, strict=True)
            ),
            tuple(segments),
        )

    async def _windowed(
        self, source: Source, windows: Sequence[Period], query: HistoryQuery
    ) -> dict[datetime, Decimal]:
        if not source.subjects:
            return {}
        found = await self._queries.usage(
            MeterQuery(
                source.meter,
                windows[0].start,
                windows[-1].end,
                window=query.window,
                zone=query.zone,
                customers={"": source.subjects},
                filters=source.filters,
            )
        )
        return {row.start.astimezone(UTC): source.converted(row.value) for row in found}

    async def _gaps(
        self, source: Source, windows: Sequence[Period], segments: Sequence[Segment]
    ) -> dict[Period, Decimal]:
        """Return the usage between the start of a segment and the first window that begins in it."""
        gaps = [Period(segment.start, window.start) for window, segment in _first_uses(windows, segments)]
        requests = [source.request(gap) for gap in gaps]
        return dict(zip(gaps, map(source.converted, await self._usage.quantities(requests)), strict=True))


def _asked(query: HistoryQuery, measured_from: datetime, default_start: datetime) -> Period:
    start = default_start if query.start is None else floored(within_reach(query.start, "from"))
    end = ceiled(clock.now() if query.end is None else within_reach(query.end, "to"))
    if start < measured_from:
        raise invalid(f"usage is measured since {measured_from.isoformat()}", field="from")
    if end <= start:
        raise invalid("the end must be later than the start", field="to")
    return Period(start, end)


def _windows(asked: Period, query: HistoryQuery) -> list[Period]:
    """Return the windows that the time touches, in UTC."""
    start = _window_start(asked.start, query)
    windows: list[Period] = []
    while start < asked.end:
        end = window_end(start.astimezone(query.zone), query.window).astimezone(UTC)
        windows.append(Period(start, end))
        if len(windows) > MAX_WINDOWS:
            raise invalid(f"there are more than {MAX_WINDOWS} windows; ask for a shorter time", field="from")
        start = end
    return windows


def _window_start(instant: datetime, query: HistoryQuery) -> datetime:
    local = instant.astimezone(query.zone).replace(second=0, microsecond=0)
    match query.window:
        case Window.MINUTE:
            return local.astimezone(UTC)
        case Window.HOUR:
            return local.replace(minute=0).astimezone(UTC)
        case Window.DAY:
            return local.replace(hour=0, minute=0, fold=0).astimezone(UTC)
        case Window.MONTH:
            return local.replace(day=1, hour=0, minute=0, fold=0).astimezone(UTC)


def _first_uses(windows: Sequence[Period], segments: Sequence[Segment]) -> list[tuple[Period, Segment]]:
    """Return each window that is the first to begin in its segment, with the segment."""
    found: list[tuple[Period, Segment]] = []
    place, last = 0, None
    for window in windows:
        while place + 1 < len(segments) and segments[place + 1].start <= window.start:
            place += 1
        if segments[place] is not last:
            last = segments[place]
            found.append((window, last))
    return found


@exact
def balances_at_start(
    windows: Sequence[Period],
    segments: Sequence[Segment],
    measured: Mapping[datetime, Decimal],
    gaps: Mapping[Period, Decimal],
) -> list[Decimal]:
    """Return the balance at the start of each window.

    It is what the segment began with, less what was used in it since; where a grant begins inside a window, the next
    window is the first to show it.

    Args:
        measured: usage by the start of a window.
        gaps: usage from the start of a segment to the start of the first window in it.
    """
    first = dict(_first_uses(windows, segments))
    balances: list[Decimal] = []
    balance, used = ZERO, ZERO
    for window in windows:
        if window in first:
            segment = first[window]
            balance = total(segment.start_balances.values()) - gaps[Period(segment.start, window.start)]
        else:
            balance -= used
        balance, used = max(balance, ZERO), measured.get(window.start, ZERO)
        balances.append(balance)
    return balances
