"""The grain of time of the engine: whole minutes (entitlements, rule 4)."""

from datetime import datetime, timedelta

MINUTE = timedelta(minutes=1)


def floored(instant: datetime) -> datetime:
    """Return `instant` cut down to the minute: what takes effect, and what is counted from."""
    return instant.replace(second=0, microsecond=0)


def ceiled(instant: datetime) -> datetime:
    """Return the first full minute that is not before `instant`: when a value is read."""
    down = floored(instant)
    return down if down == instant else down + MINUTE
