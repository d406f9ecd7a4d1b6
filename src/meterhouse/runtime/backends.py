"""Postgres and ClickHouse, embedded or by URL, with their schemas up to date."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from meterhouse import engines, migrate
from meterhouse.kernel import clock
from meterhouse.kernel.clock import SystemClock
from meterhouse.kernel.db import Database
from meterhouse.kernel.testclock import SimulatedClock
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.settings import Settings

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Backends:
    """What everything else is built on; both are closed by whoever opened them."""

    db: Database
    clickhouse: ClickHouse

    async def ping_postgres(self) -> None:
        """Raise when Postgres does not answer."""
        async with self.db.read():
            pass  # beginning a transaction is a round trip

    async def ping_clickhouse(self) -> None:
        """Raise when ClickHouse does not answer."""
        await self.clickhouse.query("SELECT 1")


@asynccontextmanager
async def running(settings: Settings, progress: Progress) -> AsyncIterator[Backends]:
    """Start or reach both backends, migrate them where the settings say so, and set the process's clock.

    Raises:
        EngineError: an embedded engine does not start or its directory is in use, or Postgres cannot be reached.
        Unavailable: ClickHouse cannot be reached.
    """
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(running_postgres(settings, progress))
        if settings.clickhouse_url is None:
            progress(f"Starting ClickHouse in {settings.data_dir / 'clickhouse'}")
            clickhouse = ClickHouse(await asyncio.to_thread(_embedded_url, settings.data_dir))
        else:
            clickhouse = ClickHouse(settings.clickhouse_url, cluster=settings.clickhouse_cluster)
        stack.push_async_callback(clickhouse.close)
        if settings.auto_migrate:
            await clickhouse.migrate()
        yield Backends(db, clickhouse)


@asynccontextmanager
async def running_postgres(settings: Settings, progress: Progress) -> AsyncIterator[Database]:
    """Start or reach Postgres alone, for what needs no usage; the rest as in `running`.

    Raises:
        EngineError: an embedded engine does not start or its directory is in use, or Postgres cannot be reached.
    """
    async with AsyncExitStack() as stack:
        if settings.embedded:
            stack.enter_context(engines.owning(settings.data_dir))
        if settings.database_url is None:
            progress(f"Starting Postgres in {settings.data_dir / 'postgres'}")
            url = await stack.enter_async_context(engines.postgres(settings.data_dir))
        else:
            url = settings.database_url
        db = _database(settings, url)
        stack.push_async_callback(db.close)
        await _reach(db)
        if settings.auto_migrate:
            progress("Bringing the Postgres schema up to date")
            await migrate.upgrade(url)
        yield db


def _database(settings: Settings, url: str) -> Database:
    if settings.test_clock is None:
        clock.use(SystemClock())
        return Database(url, pool_size=settings.database_pool_size)
    simulated = SimulatedClock(settings.test_clock)
    clock.use(simulated)
    return Database(url, pool_size=settings.database_pool_size, on_begin=simulated.refresh)


async def _reach(db: Database) -> None:
    try:
        async with db.engine.connect():
            pass
    except (OSError, DBAPIError) as error:
        shown = make_url(db.url).render_as_string(hide_password=True)
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise engines.EngineError(f"Postgres cannot be reached at {shown}: {reason}") from error


def _embedded_url(data_dir: Path) -> str:
    directory = data_dir.resolve() / "clickhouse"
    directory.mkdir(exist_ok=True)
    return f"chdb://{quote(str(directory))}"
