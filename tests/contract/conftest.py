"""One served process for all tests of the contract that make their own names, so that they do not meet."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.scenarios.served import Server, served

CONFIGURATION = """
portal_token_secret: contract-tests-contract-tests-contract-tests
"""


@contextmanager
def served_with_portal(directory: Path) -> Iterator[Server]:
    """Serve from an empty directory, with a portal, on real time."""
    config = directory / "meterhouse.yaml"
    config.write_text(CONFIGURATION)
    with served(directory / "data", config=config) as running:
        yield running


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that the tests share."""
    with served_with_portal(tmp_path_factory.mktemp("contract")) as running:
        yield running


@pytest.fixture(scope="package")
def url(server: Server) -> str:
    """Where the server is."""
    return str(server.http.base_url).rstrip("/")
