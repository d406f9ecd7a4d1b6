"""Simulated time stops at every due instant, never goes backwards, and is the same for every process."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from meterhouse.kernel import clock
from meterhouse.kernel.clock import SystemClock
from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import Conflict, InvalidInput
from meterhouse.kernel.jobs import DueWork
from meterhouse.kernel.testclock import SimulatedClock, SimulatedTime

START = datetime(2025, 1, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
async def simulated(database_url: str) -> AsyncIterator[Database]:
    simulated_clock = SimulatedClock(START)
    database = Database(database_url, on_begin=simulated_clock.refresh)
    clock.use(simulated_clock)
    yield database
    clock.use(SystemClock())
    await database.close()


class Every:
    """Work that is due at every full step after the start."""

    def __init__(self, name: str, step: timedelta, story: list[str]) -> None:
        self.name, self.step, self.story = name, step, story
        self.next = START + step

    async def next_due(self) -> datetime:
        return self.next

    async def run_due(self) -> int:
        self.story.append(f"{self.name} {(clock.now() - START) / HOUR:g}")
        self.next += self.step
        return 1

    @property
    def work(self) -> DueWork:
        return DueWork(self.name, self.next_due, self.run_due)


async def nothing() -> None:
    pass


async def test_time_stops_at_each_due_instant_in_order(simulated: Database) -> None:
    story: list[str] = []

    async def events() -> None:
        story.append("events")

    works = [Every("a", 2 * HOUR, story).work, Every("b", 3 * HOUR, story).work]
    time = SimulatedTime(simulated, works, drain_events=events, drain_jobs=nothing)
    await time.start(START)
    reached = await time.advance_to(START + timedelta(hours=6.5))
    assert reached == clock.now() == START + timedelta(hours=6.5)
    assert [line for line in story if line != "events"] == ["a 2", "b 3", "a 4", "a 6", "b 6"]
    assert story[0] == "events", "events are stored at the instant at which they arrived, before time goes on"


async def test_time_never_goes_backwards(simulated: Database) -> None:
    time = SimulatedTime(simulated, [], drain_events=nothing, drain_jobs=nothing)
    await time.start(START)
    assert await time.advance_to(START) == START
    with pytest.raises(InvalidInput):
        await time.advance_to(START - timedelta(microseconds=1))
    await time.start(START - HOUR)
    assert clock.now() == START


async def test_another_process_reads_the_instant_when_its_transaction_begins(
    simulated: Database, database_url: str
) -> None:
    time = SimulatedTime(simulated, [], drain_events=nothing, drain_jobs=nothing)
    await time.start(START)
    other_clock = SimulatedClock(START)
    other = Database(database_url, on_begin=other_clock.refresh)
    await time.advance_to(START + HOUR)
    assert other_clock.now() == START
    async with other.read():
        assert other_clock.now() == START + HOUR
    await other.close()


async def test_work_that_stays_due_is_named(simulated: Database) -> None:
    async def always() -> datetime:
        return START

    async def fail() -> int:
        raise RuntimeError("broken")

    time = SimulatedTime(simulated, [DueWork("broken work", always, fail)], drain_events=nothing, drain_jobs=nothing)
    await time.start(START)
    with pytest.raises(Conflict, match="broken work"):
        await time.advance_to(START + HOUR)
    assert clock.now() == START


@pytest.fixture(autouse=True)
def real_time_afterwards() -> Iterator[None]:
    yield
    clock.use(SystemClock())
