"""The whole HTTP application on a metering house."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from meterhouse.api.app import create_app
from meterhouse.api.services import Services
from meterhouse.metering.corrections import Corrections
from meterhouse.metering.listing import StoredEvents
from tests.metering.conftest import NS, House

MAX_BODY = 1_000_000


@asynccontextmanager
async def client_of(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of everything that the server serves."""
    services = Services(
        db=house.db,
        namespace=NS,
        event_log=house.log,
        meter_queries=house.queries,
        stored_events=StoredEvents(house.clickhouse),
        corrections=Corrections(house.db, house.clickhouse, house.queries, house.log),
    )
    transport = httpx.ASGITransport(create_app(services, max_body_bytes=MAX_BODY), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
