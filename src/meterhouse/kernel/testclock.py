"""Simulated time: a clock that stands still until it is told where to go, for tests of what happens over months.

The instant is kept in Postgres, so that every process of a deployment has the same one and a restart does not lose it.
Going to a target is not a jump: the clock stops at each instant at which work becomes due, and everything that follows
from it is done before time goes on. So a year of billing comes out as if a year had passed.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import structlog
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from meterhouse.kernel import clock, locks
from meterhouse.kernel.db import Database, WriteSession
from meterhouse.kernel.errors import Conflict, InvalidInput
from meterhouse.kernel.jobs import DueWork
from meterhouse.kernel.models import SimulatedInstantRow
from meterhouse.kernel.scheduler import run_if_due

log = structlog.get_logger(__name__)

MAX_ROUNDS = 25  # at one instant; work that follows from work settles in a few, more means that something is stuck


class SimulatedClock:
    """The clock of a process on simulated time: it knows the instant that the last transaction began with."""

    def __init__(self, start: datetime) -> None:
        self._now = clock.as_utc(start)

    def now(self) -> datetime:
        """Return the instant at which the clock stands."""
        return self._now

    async def refresh(self, session: AsyncSession) -> None:
        """Read the instant from Postgres; give this as `on_begin` to `Database`. Never goes backwards."""
        stored = await session.scalar(select(SimulatedInstantRow.now))
        if stored is not None:
            self._now = max(self._now, stored)


class SimulatedTime:
    """Moves the simulated clock and does everything that the passing of time makes due on the way.

    Args:
        db: its `on_begin` is the clock's `refresh`.
        works: what time makes due.
        drain_events: returns when every acknowledged usage event is stored, at the instant at which it arrived.
        drain_jobs: returns when no queued job is ready or running.
    """

    def __init__(
        self,
        db: Database,
        works: Sequence[DueWork],
        *,
        drain_events: Callable[[], Awaitable[None]],
        drain_jobs: Callable[[], Awaitable[None]],
    ) -> None:
        self._db = db
        self._works = works
        self._drain_events = drain_events
        self._drain_jobs = drain_jobs

    async def start(self, at: datetime) -> None:
        """Set the clock on a fresh server; one that was on simulated time before stays where it is, or moves on."""
        await self._set(at)

    async def read(self) -> datetime:
        """Return the instant at which the clock stands, for all processes."""
        async with self._db.read():
            # Beginning a transaction is what makes this process read the instant.
            return clock.now()

    async def advance_to(self, target: datetime) -> datetime:
        """Let time pass until `target` and return the instant reached, when all is settled. One caller at a time.

        Raises:
            InvalidInput: `target` lies before the present.
            Conflict: some work stays due however often it runs; its name is in the message.
        """
        target = clock.as_utc(target)
        async with self._db.write() as guard:
            await locks.lock(guard, "simulated_clock")
            present = await self.read()
            if target < present:
                raise InvalidInput(f"time cannot go backwards: it is {present.isoformat()}")
            await self._settle()
            while (due := await self._next_due()) is not None and due <= target:
                await self._set(due)
                await self._settle()
            await self._set(target)
            await self._settle()
        return clock.now()

    async def _set(self, at: datetime) -> None:
        async with self._db.write() as session:
            await _store(session, at)
        log.info("simulated time", now=(await self.read()).isoformat())

    async def _next_due(self) -> datetime | None:
        return min([due for work in self._works if (due := await work.next_due()) is not None], default=None)

    async def _settle(self) -> None:
        stuck: list[str] = []
        for _ in range(MAX_ROUNDS):
            await self._drain_events()
            await self._drain_jobs()
            stuck = []
            for work in self._works:
                due = await work.next_due()
                if due is not None and due <= clock.now():
                    stuck.append(work.name)
                    await run_if_due(self._db, work)
            if not stuck:
                return
        raise Conflict(f"time stands at {clock.now().isoformat()}: still due after every run: {', '.join(stuck)}")


async def _store(session: WriteSession, at: datetime) -> None:
    row = insert(SimulatedInstantRow).values(id=1, now=at)
    later = SimulatedInstantRow.now < row.excluded.now
    await session.execute(row.on_conflict_do_update(index_elements=["id"], set_={"now": at}, where=later))
