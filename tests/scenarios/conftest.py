"""One served process on a simulated clock for the stories of a module."""

from collections.abc import Iterator

import pytest

from tests.scenarios.served import Server, served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve from an empty data directory; the clock stands at 15 January 2025, midnight UTC."""
    with served(tmp_path_factory.mktemp("meterhouse"), test_clock="2025-01-15T00:00:00Z") as running:
        yield running
