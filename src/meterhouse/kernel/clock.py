"""The one source of time.

Every instant in Meterhouse comes from `now()`. Which clock answers is decided once per process by the composition root
(`use`), or for a block of code by `frozen` (tests). Instants are timezone-aware UTC with microseconds at the finest,
because that is what Postgres keeps; they are truncated, never rounded up, so that a written instant is never later
than a reading taken right after it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Anything that can tell the present instant."""

    def now(self) -> datetime:
        """Return the present instant, timezone-aware and in UTC."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """Return the machine's time in UTC (Python's clock already stops at microseconds)."""
        return datetime.now(UTC)


class FrozenClock:
    """A clock that stands still until `at` is assigned."""

    def __init__(self, at: datetime) -> None:
        self.at = as_utc(at)

    def now(self) -> datetime:
        """Return the instant at which the clock stands."""
        return self.at


_process_clock: Clock = SystemClock()
_scoped_clock: ContextVar[Clock | None] = ContextVar("meterhouse_scoped_clock", default=None)


def now() -> datetime:
    """Return the present instant (UTC, microseconds)."""
    return (_scoped_clock.get() or _process_clock).now()


def use(clock: Clock) -> None:
    """Make `clock` the clock of this process."""
    global _process_clock
    _process_clock = clock


@contextmanager
def frozen(at: datetime) -> Iterator[FrozenClock]:
    """Let time stand at `at` inside the block; assign to the yielded clock's `at` to move it."""
    clock = FrozenClock(at)
    token = _scoped_clock.set(clock)
    try:
        yield clock
    finally:
        _scoped_clock.reset(token)


def as_utc(instant: datetime) -> datetime:
    """Return `instant` in UTC.

    Raises:
        ValueError: the instant carries no time zone, so what it means cannot be known.
    """
    if instant.tzinfo is None:
        raise ValueError(f"instant without a time zone: {instant.isoformat()}")
    return instant.astimezone(UTC)


def whole_seconds(instant: datetime) -> datetime:
    """Return `instant` cut down to the second. Billing periods and billing comparisons use whole seconds."""
    return instant.replace(microsecond=0)


def written(at: datetime) -> str:
    """Write an instant in UTC as RFC 3339 does, with a Z."""
    return at.isoformat().replace("+00:00", "Z")
