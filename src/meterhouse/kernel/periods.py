"""Calendar arithmetic: ISO 8601 durations, recurrences and half-open periods (subscriptions section 2).

Calendar units stay calendar units: a month is not 30 days. Years and months are applied first, each clamped to the last
day of the month it lands in; weeks, days and clock units are plain UTC additions.
"""

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import product

_DURATION = re.compile(
    r"(?P<sign>[+-])?P(?:(?P<years>[+-]?\d+)Y)?(?:(?P<months>[+-]?\d+)M)?(?:(?P<weeks>[+-]?\d+)W)?(?:(?P<days>[+-]?\d+)D)?"
    r"(?:T(?:(?P<hours>[+-]?\d+)H)?(?:(?P<minutes>[+-]?\d+)M)?(?:(?P<seconds>[+-]?\d+(?:[.,]\d+)?)S)?)?"
)

# What "divides" must hold for, so that a cadence fits another in every month and across daylight changes.
_MONTH_DAYS = (28, 29, 30, 31)
_DAY_HOURS = (23, 24, 25)


@dataclass(frozen=True, slots=True)
class Duration:
    """An ISO 8601 duration that keeps the units it was written in; P7D and P1W are different values."""

    years: int = 0
    months: int = 0
    weeks: int = 0
    days: int = 0
    hours: int = 0
    minutes: int = 0
    seconds: Decimal = Decimal(0)

    @classmethod
    def parse(cls, text: str) -> "Duration":
        """Parse ISO 8601 text such as `P1M`, `P1DT12H` or `-P2W`.

        Raises:
            ValueError: the text is no duration, or has no part at all (`P`, `PT`).
        """
        match = _DURATION.fullmatch(text)
        if match is None or text.endswith(("P", "T")):
            raise ValueError(f"invalid ISO 8601 duration: {text!r}")
        parts = match.groupdict()
        sign = -1 if parts.pop("sign") == "-" else 1
        seconds = Decimal((parts.pop("seconds") or "0").replace(",", "."))
        return cls(**{unit: sign * int(value or 0) for unit, value in parts.items()}, seconds=sign * seconds)

    @classmethod
    def between(cls, start: datetime, end: datetime) -> "Duration":
        """Return the elapsed time as pure seconds."""
        elapsed = end - start
        micros = (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
        return cls(seconds=Decimal(micros) / 1_000_000)

    def __str__(self) -> str:
        if not self.is_zero() and all(part <= 0 for part in self._parts()):
            return f"-{-self}"
        date = "".join(
            f"{value}{unit}"
            for value, unit in ((self.years, "Y"), (self.months, "M"), (self.weeks, "W"), (self.days, "D"))
            if value
        )
        seconds = format(self.seconds.normalize(), "f")
        clock = "".join(
            f"{value}{unit}"
            for value, unit in ((self.hours, "H"), (self.minutes, "M"), (seconds if self.seconds else 0, "S"))
            if value
        )
        if not date and not clock:
            return "P0D"
        return f"P{date}" + (f"T{clock}" if clock else "")

    def __add__(self, other: "Duration") -> "Duration":
        """Add part by part; months are never turned into days."""
        return Duration(
            self.years + other.years,
            self.months + other.months,
            self.weeks + other.weeks,
            self.days + other.days,
            self.hours + other.hours,
            self.minutes + other.minutes,
            self.seconds + other.seconds,
        )

    def __neg__(self) -> "Duration":
        return self * -1

    def __mul__(self, factor: int) -> "Duration":
        """Multiply every part, without carrying: 14 x P1M is P14M."""
        return Duration(
            self.years * factor,
            self.months * factor,
            self.weeks * factor,
            self.days * factor,
            self.hours * factor,
            self.minutes * factor,
            self.seconds * factor,
        )

    def _parts(self) -> tuple[int, int, int, int, int, int, Decimal]:
        return (self.years, self.months, self.weeks, self.days, self.hours, self.minutes, self.seconds)

    def add_to(self, instant: datetime) -> datetime:
        """Return `instant` moved by this duration, with the clamping rules of subscriptions section 2.1."""
        moved = _add_months(instant, 12 * self.years)
        moved = _add_months(moved, self.months)
        clock = timedelta(weeks=self.weeks, days=self.days, hours=self.hours, minutes=self.minutes)
        return moved + clock + timedelta(microseconds=int(self.seconds * 1_000_000))

    def is_zero(self) -> bool:
        """Tell whether every part is zero."""
        return all(part == 0 for part in self._parts())

    def is_positive(self) -> bool:
        """Tell whether the largest non-zero part is positive."""
        return next((part > 0 for part in self._parts() if part), False)

    def has_mixed_signs(self) -> bool:
        """Tell whether one part is positive and another negative: then the sign of the whole depends on the month."""
        return any(part > 0 for part in self._parts()) and any(part < 0 for part in self._parts())

    def approximate_seconds(self) -> Decimal:
        """Return an average length in seconds; only for estimates that are corrected afterwards."""
        return self._seconds_in(Decimal("30.436875"), Decimal(24))

    def _seconds_in(self, month_days: Decimal | int, day_hours: Decimal | int) -> Decimal:
        days = (12 * self.years + self.months) * Decimal(month_days) + 7 * self.weeks + self.days
        return days * day_hours * 3600 + self.hours * 3600 + self.minutes * 60 + self.seconds

    def divisible_by(self, other: "Duration") -> bool:
        """Tell whether this is a positive whole multiple of `other` for every month and day length (section 2.2)."""
        for month_days, day_hours in product(_MONTH_DAYS, _DAY_HOURS):
            big, small = self._seconds_in(month_days, day_hours), other._seconds_in(month_days, day_hours)
            if small == 0 or big / small < 1 or big % small != 0:
                return False
        return True

    def simplified(self) -> "Duration":
        """Return the duration in months, days and seconds, which cannot be exchanged, to compare P12M with P1Y."""
        return Duration(
            months=12 * self.years + self.months,
            days=7 * self.weeks + self.days,
            seconds=3600 * self.hours + 60 * self.minutes + self.seconds,
        )

    def aligns_with(self, other: "Duration") -> bool:
        """Tell whether two cadences align: equal, or one divides the other (catalog section 3.6)."""
        return self.simplified() == other.simplified() or self.divisible_by(other) or other.divisible_by(self)


def _add_months(instant: datetime, months: int) -> datetime:
    if months == 0:
        return instant
    index = instant.year * 12 + instant.month - 1 + months
    year, month = divmod(index, 12)
    month += 1
    day = min(instant.day, calendar.monthrange(year, month)[1])
    return instant.replace(year=year, month=month, day=day)


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A half-open interval [start, end)."""

    start: datetime
    end: datetime

    def contains(self, instant: datetime) -> bool:
        """Tell whether start <= instant < end."""
        return self.start <= instant < self.end

    def is_empty(self) -> bool:
        """Tell whether the period holds no instant."""
        return self.end <= self.start

    def seconds(self) -> Decimal:
        """Return the length in seconds, exactly."""
        return Duration.between(self.start, self.end).seconds

    def clipped(self, start: datetime | None, end: datetime | None) -> "Period":
        """Return the part inside [start, end); a missing bound does not cut. The result may be empty."""
        low = self.start if start is None else max(self.start, start)
        high = self.end if end is None else min(self.end, end)
        return Period(low, max(low, high))

    def whole_seconds(self) -> "Period":
        """Return the period with both bounds cut down to the second."""
        return Period(self.start.replace(microsecond=0), self.end.replace(microsecond=0))


@dataclass(frozen=True, slots=True)
class Recurrence:
    """Instants `anchor + n x interval` for every whole n. Each is computed from the anchor, so month ends do not drift.

    Raises:
        ValueError: the interval is not positive.
    """

    interval: Duration
    anchor: datetime

    def __post_init__(self) -> None:
        if not self.interval.is_positive():
            raise ValueError(f"recurrence interval must be positive: {self.interval}")

    def occurrence(self, n: int) -> datetime:
        """Return occurrence `n`; negative numbers lie before the anchor."""
        return (self.interval * n).add_to(self.anchor)

    def index_at(self, instant: datetime) -> int:
        """Return the n with occurrence(n) <= instant < occurrence(n + 1)."""
        elapsed = Duration.between(self.anchor, instant).seconds
        n = int(elapsed // self.interval.approximate_seconds())
        while self.occurrence(n) > instant:
            n -= 1
        while self.occurrence(n + 1) <= instant:
            n += 1
        return n

    def period_at(self, instant: datetime) -> Period:
        """Return the pair of neighbouring occurrences around `instant`."""
        n = self.index_at(instant)
        return Period(self.occurrence(n), self.occurrence(n + 1))

    def periods_from(self, instant: datetime) -> Iterator[Period]:
        """Yield the period at `instant` and all that follow, without end."""
        n = self.index_at(instant)
        while True:
            yield Period(self.occurrence(n), self.occurrence(n + 1))
            n += 1
