"""The queue: at least once, in the causing transaction, retried, deduplicated without losing a cause."""

import asyncio
from collections.abc import Mapping

import pytest
from sqlalchemy import func, select, update

from meterhouse.kernel import worker
from meterhouse.kernel.db import Database
from meterhouse.kernel.jobs import JobHandler, enqueue
from meterhouse.kernel.models import JobRow
from meterhouse.kernel.worker import JobWorker


class Recorder:
    """A handler that remembers its payloads and fails as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.seen: list[Mapping[str, str]] = []
        self.failures = failures

    async def run(self, payload: Mapping[str, str]) -> None:
        self.seen.append(payload)
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the far side is away")

    @property
    def handler(self) -> JobHandler:
        return JobHandler("work", self.run)


async def rows(db: Database) -> list[JobRow]:
    async with db.read() as session:
        return list(await session.scalars(select(JobRow).order_by(JobRow.id)))


async def test_a_job_runs_with_its_payload_and_is_gone(db: Database) -> None:
    recorder = Recorder()
    async with db.write() as session:
        await enqueue(session, "work", {"id": "1"})
        await enqueue(session, "work", {"id": "2"})
    await JobWorker(db, [recorder.handler]).drain()
    assert recorder.seen == [{"id": "1"}, {"id": "2"}]
    assert await rows(db) == []


async def test_a_job_of_a_rolled_back_transaction_never_exists(db: Database) -> None:
    async with db.write() as session:
        await enqueue(session, "work", {})
        await session.rollback()
    assert await rows(db) == []


async def test_a_waiting_job_absorbs_equal_causes(db: Database) -> None:
    recorder = Recorder()
    for _ in range(3):
        async with db.write() as session:
            await enqueue(session, "work", {}, dedupe_key="k")
            await enqueue(session, "work", {}, dedupe_key="k")
    await JobWorker(db, [recorder.handler]).drain()
    assert len(recorder.seen) == 1


async def test_a_running_job_does_not_absorb_a_new_cause(db: Database) -> None:
    started, finish = asyncio.Event(), asyncio.Event()
    runs = 0

    async def run(_: Mapping[str, str]) -> None:
        nonlocal runs
        runs += 1
        started.set()
        await finish.wait()

    jobs = JobWorker(db, [JobHandler("work", run)])
    async with db.write() as session:
        await enqueue(session, "work", {}, dedupe_key="k")
    draining = asyncio.create_task(jobs.drain())
    await started.wait()
    async with db.write() as session:
        await enqueue(session, "work", {}, dedupe_key="k")
    finish.set()
    await draining
    assert runs == 2


async def test_an_absorbing_job_is_held_back_until_the_new_cause_has_committed(db: Database) -> None:
    recorder = Recorder()
    jobs = JobWorker(db, [recorder.handler])
    async with db.write() as session:
        await enqueue(session, "work", {}, dedupe_key="k")
    async with db.write() as session:
        await enqueue(session, "work", {}, dedupe_key="k")
        assert not await jobs._run_next()
    await jobs.drain()
    assert len(recorder.seen) == 1


async def test_a_failing_job_waits_keeps_its_error_and_is_tried_again(db: Database) -> None:
    recorder = Recorder(failures=1)
    jobs = JobWorker(db, [recorder.handler])
    async with db.write() as session:
        await enqueue(session, "work", {})
    await jobs.drain()
    [row] = await rows(db)
    assert (row.attempts, row.claimed_at, row.failed_at) == (1, None, None)
    assert row.last_error == "RuntimeError('the far side is away')"
    async with db.write() as session:
        await session.execute(update(JobRow).values(ready_at=func.clock_timestamp()))
    await jobs.drain()
    assert len(recorder.seen) == 2
    assert await rows(db) == []


async def test_a_job_that_always_fails_is_given_up_and_kept(db: Database) -> None:
    recorder = Recorder(failures=1000)
    jobs = JobWorker(db, [recorder.handler])
    async with db.write() as session:
        await enqueue(session, "work", {})
    for _ in range(worker.MAX_ATTEMPTS + 2):
        async with db.write() as session:
            await session.execute(update(JobRow).values(ready_at=func.clock_timestamp()))
        await jobs.drain()
    [row] = await rows(db)
    assert row.failed_at is not None
    assert len(recorder.seen) == worker.MAX_ATTEMPTS


async def test_the_job_of_a_dead_worker_is_taken_over_when_its_lease_lapses(db: Database) -> None:
    recorder = Recorder()
    async with db.write() as session:
        await enqueue(session, "work", {"id": "1"})
    dead = await JobWorker(db, [recorder.handler])._claim()
    assert dead is not None
    assert not await JobWorker(db, [recorder.handler])._run_next()
    async with db.write() as session:
        await session.execute(update(JobRow).values(ready_at=func.clock_timestamp()))
    await JobWorker(db, [recorder.handler]).drain()
    assert recorder.seen == [{"id": "1"}]


async def test_a_running_worker_takes_a_job_at_once_and_puts_it_back_when_stopped(db: Database) -> None:
    started = asyncio.Event()

    async def run(_: Mapping[str, str]) -> None:
        started.set()
        await asyncio.sleep(60)

    running = asyncio.create_task(JobWorker(db, [JobHandler("work", run)]).run())
    await asyncio.sleep(0.2)
    async with db.write() as session:
        await enqueue(session, "work", {})
    await asyncio.wait_for(started.wait(), 0.5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    [row] = await rows(db)
    assert row.claimed_at is None
