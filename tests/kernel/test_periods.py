"""Vectors of subscriptions sections 2.1 to 2.3 and catalog section 3.6."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.kernel.periods import Duration, Period, Recurrence


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC) if "T" in text else datetime.fromisoformat(text + "T00:00Z")


@pytest.mark.parametrize(
    ("start", "duration", "result"),
    [
        ("2025-01-31T00:00Z", "P1M", "2025-02-28T00:00Z"),
        ("2024-01-31T00:00Z", "P1M", "2024-02-29T00:00Z"),
        ("2025-01-31T00:00Z", "P13M", "2026-02-28T00:00Z"),
        ("2024-02-29T00:00Z", "P1Y2M", "2025-04-28T00:00Z"),
        ("2024-02-29T00:00Z", "P14M", "2025-04-29T00:00Z"),
        ("2025-01-31T00:00Z", "P1M1D", "2025-03-01T00:00Z"),
        ("2025-08-31T22:00Z", "P6MT3H", "2026-03-01T01:00Z"),
        ("2025-03-31T00:00Z", "-P1M", "2025-02-28T00:00Z"),
        ("2025-10-31T12:00Z", "P1M1W", "2025-12-07T12:00Z"),
        ("2025-05-30T06:00Z", "-P3M1D", "2025-02-27T06:00Z"),
    ],
)
def test_instant_plus_duration(start: str, duration: str, result: str) -> None:
    assert Duration.parse(duration).add_to(at(start)) == at(result)


@pytest.mark.parametrize(
    ("anchor", "interval", "instant", "n", "start", "end"),
    [
        ("2025-01-31T15:00Z", "P1M", "2025-02-10T00:00Z", 0, "2025-01-31T15:00Z", "2025-02-28T15:00Z"),
        ("2025-01-31T15:00Z", "P1M", "2025-02-28T15:00Z", 1, "2025-02-28T15:00Z", "2025-03-31T15:00Z"),
        ("2025-01-31T15:00Z", "P1M", "2025-04-30T14:59:59Z", 2, "2025-03-31T15:00Z", "2025-04-30T15:00Z"),
        ("2025-03-31T00:00Z", "P1M", "2025-02-28T00:00Z", -1, "2025-02-28T00:00Z", "2025-03-31T00:00Z"),
        ("2025-03-31T00:00Z", "P1M", "2025-01-15T00:00Z", -3, "2024-12-31T00:00Z", "2025-01-31T00:00Z"),
        ("2024-02-29T08:00Z", "P1Y", "2026-05-01T00:00Z", 2, "2026-02-28T08:00Z", "2027-02-28T08:00Z"),
        ("2024-02-29T08:00Z", "P1Y", "2028-03-01T00:00Z", 4, "2028-02-29T08:00Z", "2029-02-28T08:00Z"),
        ("2025-01-30T12:00Z", "P3M", "2025-08-01T00:00Z", 2, "2025-07-30T12:00Z", "2025-10-30T12:00Z"),
        ("2025-06-04T09:30Z", "P2W", "2025-05-30T00:00Z", -1, "2025-05-21T09:30Z", "2025-06-04T09:30Z"),
        ("2025-01-15T10:20:30Z", "P1D", "2025-01-20T10:20:29Z", 4, "2025-01-19T10:20:30Z", "2025-01-20T10:20:30Z"),
        ("2024-11-30T00:00Z", "P1M", "2025-03-01T00:00Z", 3, "2025-02-28T00:00Z", "2025-03-30T00:00Z"),
        ("2025-05-15T00:00Z", "P1M", "2025-03-20T12:00Z", -2, "2025-03-15T00:00Z", "2025-04-15T00:00Z"),
    ],
)
def test_period_at(anchor: str, interval: str, instant: str, n: int, start: str, end: str) -> None:
    recurrence = Recurrence(Duration.parse(interval), at(anchor))
    assert recurrence.index_at(at(instant)) == n
    assert recurrence.period_at(at(instant)) == Period(at(start), at(end))


@pytest.mark.parametrize(
    ("plan", "card", "aligned"),
    [
        ("P1M", "P1M", True), ("P1M", "P3M", True), ("P1M", "P1D", True), ("P1M", "P1W", False), ("P4W", "P1M", False),
        ("P4W", "P2W", True), ("P6M", "P4M", False), ("P12M", "P1Y", True), ("P1M", "PT24H", False),
        ("P1M", "PT1H", True), ("P1W", "P7D", True), ("P1Y", "P1W", False), ("P3M", "P2M", False),
        ("P1M", "P30D", False),
    ],
)  # fmt: skip
def test_cadence_alignment(plan: str, card: str, aligned: bool) -> None:
    assert Duration.parse(plan).aligns_with(Duration.parse(card)) is aligned


@pytest.mark.parametrize(
    ("big", "small", "divides"),
    [("P1Y", "P365D", False), ("P1Y", "P5M", False), ("P1D", "PT8H", False), ("P1Y", "PT1H", True)],
)
def test_divisibility(big: str, small: str, divides: bool) -> None:
    assert Duration.parse(big).divisible_by(Duration.parse(small)) is divides


@pytest.mark.parametrize("text", ["P1Y2M3W4DT5H6M7.5S", "P7D", "P1W", "PT60M", "P14M", "-P1M", "-P1DT2H"])
def test_text_keeps_its_units(text: str) -> None:
    assert str(Duration.parse(text)) == text


@pytest.mark.parametrize("text", ["", "P", "PT", "P1", "1M", "P1H", "P1MT", "P1.5M"])
def test_bad_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        Duration.parse(text)


_instants = st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))  # noqa: DTZ001
_cadences = st.sampled_from(["P1M", "P3M", "P1Y", "P1W", "P1D", "PT1H", "P1MT5H"]).map(Duration.parse)


@given(anchor=_instants, instant=_instants, interval=_cadences)
def test_the_period_contains_its_instant(anchor: datetime, instant: datetime, interval: Duration) -> None:
    period = Recurrence(interval, anchor).period_at(instant)
    assert period.start <= instant < period.end
    assert period.end - period.start >= timedelta(hours=1)
