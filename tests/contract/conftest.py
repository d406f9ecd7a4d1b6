"""One served process for all tests of the contract: they make their own names, so they do not meet."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.served import Server, served

CONFIGURATION = """
portal_token_secret: contract-tests-contract-tests-contract-tests
"""


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve from an empty data directory, with a portal, on real time."""
    directory: Path = tmp_path_factory.mktemp("contract")
    config = directory / "meterhouse.yaml"
    config.write_text(CONFIGURATION)
    with served(directory / "data", config=config) as running:
        yield running


@pytest.fixture(scope="package")
def url(server: Server) -> str:
    """Where the server is."""
    return str(server.http.base_url).rstrip("/")
