"""Runs the work that time has made due: on every tick on real time, on the way to a new instant on simulated time."""

import asyncio
from collections.abc import Sequence

import structlog

from meterhouse.kernel import clock, locks
from meterhouse.kernel.db import Database
from meterhouse.kernel.jobs import DueWork

log = structlog.get_logger(__name__)


async def run_if_due(db: Database, work: DueWork) -> int:
    """Run `work` when something of it is due, unless another process is just doing so; return how many items it did.

    Failures are logged, not raised: the work of the others goes on, and the next tick tries again.
    """
    try:
        due = await work.next_due()
        if due is None or due > clock.now():
            return 0
        async with db.write() as session:
            # Held by this otherwise idle transaction; the work itself opens its own ones.
            if not await locks.try_lock(session, "due_work", work.name):
                return 0
            done = await work.run_due()
    except Exception as error:  # one failing work must not stop the others; the next tick tries again
        log.error("due work failed", work=work.name, exc_info=error)
        return 0
    if done:
        log.info("due work done", work=work.name, items=done)
    return done


async def run_forever(db: Database, works: Sequence[DueWork], tick_seconds: float) -> None:
    """Run what is due every `tick_seconds`, the different works side by side, until cancelled."""
    while True:
        await asyncio.gather(*(run_if_due(db, work) for work in works))
        await asyncio.sleep(tick_seconds)
