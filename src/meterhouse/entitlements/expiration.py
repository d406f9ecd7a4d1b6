"""When grants expire: calendar addition that runs over into the next month (entitlements section 4). Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class ExpirationUnit(StrEnum):
    """What the life of a grant is counted in."""

    HOUR = "HOUR"
    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"
    YEAR = "YEAR"


_ELAPSED = {
    ExpirationUnit.HOUR: timedelta(hours=1),
    ExpirationUnit.DAY: timedelta(days=1),
    ExpirationUnit.WEEK: timedelta(weeks=1),
}


@dataclass(frozen=True, slots=True)
class Expiration:
    """How long a grant lives."""

    count: int
    unit: ExpirationUnit

    def after(self, start: datetime) -> datetime:
        """Return the first instant at which a grant that begins at `start` is expired.

        A day that the month does not have is counted on into the next one: a month after the 31st of January is the
        3rd of March. Recurrences clamp instead.
        """
        if self.unit in _ELAPSED:
            return start + self.count * _ELAPSED[self.unit]
        months = self.count if self.unit is ExpirationUnit.MONTH else 12 * self.count
        year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
        return start.replace(year=year, month=month + 1, day=1) + timedelta(days=start.day - 1)
