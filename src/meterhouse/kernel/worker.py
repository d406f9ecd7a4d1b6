"""Runs queued jobs: takes one, runs its handler, deletes it or puts it back for a later attempt.

A worker holds a job by a lease that it renews while the handler runs. When the process dies, the lease runs out and
another worker takes the job. A failing job is tried again with growing waits and is kept, with its error, once it has
used up its attempts.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
import structlog
from sqlalchemy import ColumnElement, delete, exists, func, or_, select, update
from sqlalchemy.engine import make_url

from meterhouse.kernel.db import Database
from meterhouse.kernel.jobs import CHANNEL, JobHandler
from meterhouse.kernel.models import JobRow

log = structlog.get_logger(__name__)

CONCURRENCY = 4  # jobs at once in a process: less than half of the connection pool, so that requests find connections
LEASE = timedelta(seconds=30)  # how long a job of a dead process waits; renewed three times in that span
MAX_ATTEMPTS = 16  # with the waits below about an hour and a half: longer than a restart or a failover takes
FIRST_RETRY = timedelta(seconds=1)
LAST_RETRY = timedelta(minutes=15)
POLL_SECONDS = 1.0  # finds retries and lapsed leases, for which no notification comes
SETTLE_SECONDS = 0.02  # how often `drain` looks whether another worker is done with its job
RECONNECT_SECONDS = 1.0  # until notifications work again, polling finds the jobs


@dataclass(frozen=True, slots=True)
class _Claim:
    """A job that this worker holds, as its `attempt`-th holder."""

    id: str
    name: str
    payload: Mapping[str, str]
    attempt: int


class JobWorker:
    """Runs the jobs for which there are `handlers`; several workers, in one process or many, share the queue."""

    def __init__(self, db: Database, handlers: Sequence[JobHandler]) -> None:
        self._db = db
        self._handlers = {handler.name: handler for handler in handlers}
        if len(self._handlers) != len(handlers):
            raise ValueError("two job handlers have the same name")
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Run jobs as they come, until cancelled; a job that is running then goes back into the queue."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            for _ in range(CONCURRENCY):
                tasks.create_task(self._work())

    async def drain(self) -> None:
        """Run all jobs that are ready, and wait for those that other workers run, until neither is left.

        Jobs that wait for another attempt are left alone.
        """
        while await self._run_next() or await self._busy():
            pass

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            try:
                found = await self._run_next()
            except Exception as error:  # a database that is away for a moment must not end the worker
                log.error("job queue cannot be read", exc_info=error)
                found = False
            if not found:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)

    async def _listen(self) -> None:
        url = make_url(self._db.url).set(drivername="postgresql").render_as_string(hide_password=False)
        while True:
            try:
                connection = await asyncpg.connect(url)
                closed = asyncio.Event()
                try:
                    connection.add_termination_listener(lambda *_, closed=closed: closed.set())
                    await connection.add_listener(CHANNEL, lambda *_: self._wake.set())
                    self._wake.set()
                    await closed.wait()
                finally:
                    await connection.close(timeout=RECONNECT_SECONDS)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("job notifications are interrupted", error=str(error))
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _run_next(self) -> bool:
        claim = await self._claim()
        if claim is None:
            return False
        try:
            async with self._renewing(claim):
                await self._handlers[claim.name].run(claim.payload)
        except asyncio.CancelledError:
            await self._put_back(claim)
            raise
        except Exception as error:  # noqa: BLE001 - one failing job must not end the worker; it is kept, logged and tried again
            await self._failed(claim, error)
        else:
            await self._done(claim)
        return True

    async def _claim(self) -> _Claim | None:
        now = func.clock_timestamp()
        ready = (
            select(JobRow.id)
            .where(JobRow.failed_at.is_(None), JobRow.ready_at <= now, JobRow.name.in_(self._handlers))
            .order_by(JobRow.ready_at, JobRow.id)
            .limit(1)
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
        statement = (
            update(JobRow)
            .where(JobRow.id == ready)
            .values(claimed_at=now, ready_at=now + LEASE, attempts=JobRow.attempts + 1)
            .returning(JobRow.id, JobRow.name, JobRow.payload, JobRow.attempts)
        )
        async with self._db.write() as session:
            row = (await session.execute(statement)).first()
        return None if row is None else _Claim(row.id, row.name, row.payload, row.attempts)

    @asynccontextmanager
    async def _renewing(self, claim: _Claim) -> AsyncIterator[None]:
        task = asyncio.create_task(self._renew(claim))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _renew(self, claim: _Claim) -> None:
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 3)
            try:
                await self._change(claim, ready_at=func.clock_timestamp() + LEASE)
            except Exception as error:  # the next renewal may work; a lapsed lease only repeats the job
                log.warning("job lease could not be renewed", job=claim.name, id=claim.id, exc_info=error)

    async def _done(self, claim: _Claim) -> None:
        async with self._db.write() as session:
            await session.execute(delete(JobRow).where(*_held(claim)))

    async def _put_back(self, claim: _Claim) -> None:
        await self._change(claim, claimed_at=None, ready_at=func.clock_timestamp())

    async def _failed(self, claim: _Claim, error: Exception) -> None:
        give_up = claim.attempt >= MAX_ATTEMPTS
        log.error("job failed", job=claim.name, id=claim.id, attempt=claim.attempt, given_up=give_up, exc_info=error)
        if give_up:
            await self._change(claim, claimed_at=None, last_error=repr(error), failed_at=func.clock_timestamp())
        else:
            wait = min(FIRST_RETRY * 2 ** (claim.attempt - 1), LAST_RETRY)
            ready_at = func.clock_timestamp() + wait
            await self._change(claim, claimed_at=None, last_error=repr(error), ready_at=ready_at)

    async def _change(self, claim: _Claim, **values: object) -> None:
        async with self._db.write() as session:
            await session.execute(update(JobRow).where(*_held(claim)).values(**values))

    async def _busy(self) -> bool:
        pending = or_(JobRow.claimed_at.is_not(None), JobRow.ready_at <= func.clock_timestamp())
        async with self._db.read() as session:
            found = await session.scalar(
                select(exists().where(JobRow.failed_at.is_(None), JobRow.name.in_(self._handlers), pending))
            )
        if found:
            await asyncio.sleep(SETTLE_SECONDS)
        return bool(found)


def _held(claim: _Claim) -> tuple[ColumnElement[bool], ...]:
    # Every claim counts the attempts up, so a worker whose lease lapsed finds nothing under its own number.
    return JobRow.id == claim.id, JobRow.attempts == claim.attempt
