"""The catalog's routes over a database, for tests of the wire."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import APIRouter, FastAPI
from starlette.types import Receive, Scope, Send

from meterhouse.api import problems
from meterhouse.api.services import Services
from meterhouse.api.v1 import addons, features, info, plan_addons, plans
from meterhouse.api.v3 import addons as v3_addons
from meterhouse.api.v3 import currencies, defaults, llm_cost, taxcodes
from meterhouse.api.v3 import features as v3_features
from meterhouse.api.v3 import plan_addons as v3_plan_addons
from meterhouse.api.v3 import plans as v3_plans
from meterhouse.kernel.db import Database
from tests.catalog.conftest import NS


def _application(version: problems.Version, *routers: APIRouter) -> FastAPI:
    app = FastAPI()
    problems.install(app, version)
    for router in routers:
        app.include_router(router)
    return app


FIRST = _application("v1", addons.router, features.router, info.router, plan_addons.router, plans.router)
THIRD = _application(
    "v3",
    currencies.router,
    defaults.router,
    llm_cost.router,
    taxcodes.router,
    v3_addons.router,
    v3_features.router,
    v3_plan_addons.router,
    v3_plans.router,
)


async def _door(scope: Scope, receive: Receive, send: Send) -> None:
    await (THIRD if scope["path"].startswith("/api/v3/") else FIRST)(scope, receive, send)


@asynccontextmanager
async def client_of(db: Database, **services: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Talk to both API versions without a server."""
    FIRST.state.services = THIRD.state.services = Services(db=db, namespace=NS, **services)
    transport = httpx.ASGITransport(app=_door, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client
