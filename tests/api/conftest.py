"""A client of both APIs over a database, for tests of what holds on every route."""

from collections.abc import AsyncIterator

import httpx
import pytest

from meterhouse.api.app import create_app
from meterhouse.api.services import Services
from meterhouse.kernel.db import Database


@pytest.fixture
async def client(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A failure that nobody foresaw is an answer here, as it is on a server."""
    app = create_app(Services(db=db, namespace="default"), max_body_bytes=1_000_000)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
