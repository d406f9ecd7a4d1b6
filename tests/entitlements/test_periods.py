"""Usage periods and expirations against the tables of entitlements sections 4 and 5."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse.entitlements.expiration import Expiration, ExpirationUnit
from meterhouse.entitlements.minutes import ceiled, floored
from meterhouse.entitlements.periods import Stretch, UsagePeriods
from meterhouse.kernel.periods import Duration, Period, Recurrence

MONTH = Duration(months=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


MEASURED = Stretch(at("2025-01-10"), Recurrence(MONTH, at("2025-01-31")))
RESET = at("2025-03-10T08:30")


@pytest.mark.parametrize(
    ("instant", "anchor_after_reset", "period"),
    [
        ("2025-01-05", None, ("2025-01-10", "2025-01-31")),
        ("2025-01-20", None, ("2025-01-10", "2025-01-31")),
        ("2025-01-31", None, ("2025-01-31", "2025-02-28")),
        ("2025-03-30", None, ("2025-02-28", "2025-03-31")),
        ("2025-03-05", at("2025-01-31"), ("2025-02-28", "2025-03-10T08:30")),
        ("2025-03-20", at("2025-01-31"), ("2025-03-10T08:30", "2025-03-31")),
        ("2025-03-20", RESET, ("2025-03-10T08:30", "2025-04-10T08:30")),
    ],
)
def test_current_period(instant: str, anchor_after_reset: datetime | None, period: tuple[str, str]) -> None:
    later = (Stretch(RESET, Recurrence(MONTH, anchor_after_reset)),) if anchor_after_reset else ()
    assert UsagePeriods((MEASURED, *later)).current(at(instant)) == Period(*map(at, period))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(1, 24 * 60), max_size=3, unique=True),
    st.integers(3, 90),
    st.integers(-50, 50),
    st.integers(0, 24 * 40),
    st.integers(0, 24 * 40),
)
def test_boundaries_are_where_periods_follow_each_other(
    resets: list[int], every: int, anchor: int, after: int, until: int
) -> None:
    start = at("2025-01-01")

    def hour(n: int) -> datetime:
        return start + timedelta(hours=n)

    stretches = [Stretch(start, Recurrence(Duration(hours=every), hour(anchor)))]
    stretches += [Stretch(hour(n), Recurrence(Duration(hours=every), hour(n + anchor))) for n in sorted(resets)]
    periods = UsagePeriods(tuple(stretches))
    walked = []
    instant = periods.current(hour(after)).end
    while instant <= hour(until):
        walked.append(instant)
        instant = periods.current(instant).end
    assert list(periods.boundaries(hour(after), hour(until))) == walked[::-1]


@pytest.mark.parametrize(
    ("start", "count", "unit", "end"),
    [
        ("2025-01-31T10:00", 1, "MONTH", "2025-03-03T10:00"),
        ("2024-01-31T10:00", 1, "MONTH", "2024-03-02T10:00"),
        ("2025-03-31T10:00", 1, "MONTH", "2025-05-01T10:00"),
        ("2024-02-29T10:00", 1, "YEAR", "2025-03-01T10:00"),
        ("2025-11-30T10:00", 3, "MONTH", "2026-03-02T10:00"),
        ("2025-01-31T10:00", 5, "HOUR", "2025-01-31T15:00"),
        ("2025-01-31T10:00", 2, "WEEK", "2025-02-14T10:00"),
    ],
)
def test_expiration_runs_over_into_the_next_month(start: str, count: int, unit: str, end: str) -> None:
    assert Expiration(count, ExpirationUnit(unit)).after(at(start)) == at(end)


def test_minutes() -> None:
    instant = at("2025-03-01T10:00:20.5")
    assert (floored(instant), ceiled(instant)) == (at("2025-03-01T10:00"), at("2025-03-01T10:01"))
    assert ceiled(at("2025-03-01T10:01")) == at("2025-03-01T10:01")
