"""Where the stories play: a served process per module, or servers composed inside the test process."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.settings import Settings
from tests.fixtures.clickhouse import empty, migrated
from tests.fixtures.databases import cloned
from tests.scenarios.served import Server, served
from tests.scenarios.world import World, world

NewWorld = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve from an empty data directory; the clock stands at 15 January 2025, midnight UTC."""
    with served(tmp_path_factory.mktemp("meterhouse"), test_clock="2025-01-15T00:00:00Z") as running:
        yield running


@pytest.fixture(scope="session")
def new_world(
    postgres_server: Path, template_database: str, clickhouse_directory: Path, clickhouse_engine: ClickHouse
) -> NewWorld:
    """Give a way to compose servers in the test process, each on fresh databases, as many as a test needs."""

    @asynccontextmanager
    async def new(settings: Settings | None = None) -> AsyncIterator[World]:
        async with (
            cloned(postgres_server, template_database) as database_url,
            empty(clickhouse_directory, clickhouse_engine) as clickhouse_url,
            migrated(clickhouse_url) as clickhouse,
            world(database_url, clickhouse, settings or Settings()) as made,
        ):
            yield made

    return new
