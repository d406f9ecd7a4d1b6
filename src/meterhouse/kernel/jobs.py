"""Background work: jobs that follow from a transaction, and work that time makes due.

A job is enqueued in the transaction that causes it, so it exists exactly when its cause does. Jobs run at least once;
every handler is idempotent and reads the present state instead of trusting its payload.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text, update

from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.models import JobRow

CHANNEL = "meterhouse_job"


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


async def enqueue(
    session: WriteSession, name: str, payload: Mapping[str, str], *, dedupe_key: str | None = None
) -> None:
    """Let the handler `name` run with `payload` once this transaction has committed.

    With a `dedupe_key`, nothing is added where a job of the same name and key is still waiting. That job is then held
    back until this transaction ends, so it runs after what happened here and sees it. A job that is already running
    never counts: it may have read the state from before.
    """
    if dedupe_key is None or not await _bring_forward(session, name, dedupe_key):
        session.add(JobRow(name=name, payload=dict(payload), dedupe_key=dedupe_key))
        await session.flush()
    await session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})


async def _bring_forward(session: WriteSession, name: str, dedupe_key: str) -> bool:
    waiting = (
        select(JobRow.id)
        .where(JobRow.name == name, JobRow.dedupe_key == dedupe_key)
        .where(JobRow.claimed_at.is_(None), JobRow.failed_at.is_(None))
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    found = await session.execute(
        update(JobRow)
        .where(JobRow.id == waiting)
        .values(ready_at=func.least(JobRow.ready_at, func.clock_timestamp()))
        .returning(JobRow.id)
        .execution_options(synchronize_session=False)
    )
    return found.first() is not None
