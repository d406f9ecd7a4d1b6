"""Background work: jobs that follow from a transaction, and work that time makes due.

A job is enqueued in the transaction that causes it, so it exists exactly when its cause does. Jobs run at least once;
every handler is idempotent and reads the present state instead of trusting its payload.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class JobHandler:
    """What to do for jobs of one name. `run` opens its own transactions and gets the payload as it was enqueued."""

    name: str
    run: Callable[[Mapping[str, str]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class DueWork:
    """Work that the passing of time makes due.

    The scheduler calls `run_due` on every tick; the simulated clock asks `next_due` to stop at each due instant on its
    way. After `run_due` at instant t, `next_due` must lie after t, or be None.

    Attributes:
        name: shown in logs.
        next_due: the earliest instant at which something becomes due, in the past if something is due already.
        run_due: do (or enqueue, item by item) all that is due at `clock.now()`; one failing item must not stop the
            others. Returns how many items there were.
    """

    name: str
    next_due: Callable[[], Awaitable[datetime | None]]
    run_due: Callable[[], Awaitable[int]]
