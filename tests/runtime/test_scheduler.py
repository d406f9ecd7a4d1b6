"""The scheduler: only what is due, one process at a time, and one failing work stops no other."""

import asyncio
from datetime import UTC, datetime, timedelta

from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.kernel.jobs import DueWork
from meterhouse.kernel.scheduler import run_forever, run_if_due

NOW = datetime(2025, 1, 15, tzinfo=UTC)


def work(name: str, due: datetime | None, runs: list[str], *, fails: bool = False, takes: float = 0) -> DueWork:
    async def next_due() -> datetime | None:
        return due

    async def run_due() -> int:
        runs.append(name)
        await asyncio.sleep(takes)
        if fails:
            raise RuntimeError("broken")
        return 3

    return DueWork(name, next_due, run_due)


async def test_only_what_is_due_runs(db: Database) -> None:
    runs: list[str] = []
    with clock.frozen(NOW):
        assert await run_if_due(db, work("due", NOW, runs)) == 3
        assert await run_if_due(db, work("later", NOW + timedelta(microseconds=1), runs)) == 0
        assert await run_if_due(db, work("never", None, runs)) == 0
    assert runs == ["due"]


async def test_two_workers_do_not_run_the_same_work_at_once(db: Database) -> None:
    runs: list[str] = []
    slow = work("slow", NOW, runs, takes=0.2)
    done = await asyncio.gather(run_if_due(db, slow), run_if_due(db, slow))
    assert sorted(done) == [0, 3]
    assert runs == ["slow"]


async def test_failing_work_stops_no_other_and_is_tried_again(db: Database) -> None:
    runs: list[str] = []
    works = [work("broken", NOW, runs, fails=True), work("fine", NOW, runs)]
    ticking = asyncio.create_task(run_forever(db, works, 0.01))
    while runs.count("fine") < 2 or runs.count("broken") < 2:
        assert not ticking.done()
        await asyncio.sleep(0.01)
    ticking.cancel()
