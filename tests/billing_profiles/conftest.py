"""Profiles on the real registry of apps, and both APIs on them."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from meterhouse.api.app import create_app
from meterhouse.api.services import Services
from meterhouse.apps import customer_data
from meterhouse.apps.registry import InstalledApps
from meterhouse.billing.profiles import Profiles
from meterhouse.customers.guards import Guards
from meterhouse.kernel.db import Database
from meterhouse.subscriptions.customer_guards import GUARDS

V1 = "/api/v1/billing/profiles"
V3 = "/api/v3/openmeter/profiles"
UNKNOWN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.fixture
def profiles() -> Profiles:
    return Profiles(InstalledApps())


@pytest.fixture
async def http(db: Database, profiles: Profiles) -> AsyncIterator[httpx.AsyncClient]:
    guards = GUARDS + Guards(deleted=(customer_data.delete_with_customer,))
    services = Services(db=db, namespace="acme", profiles=profiles, customer_guards=guards)
    transport = httpx.ASGITransport(app=create_app(services, max_body_bytes=1_000_000), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def sent(http: httpx.AsyncClient, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
    """Send a request that is answered with this status; returns the answer's body."""
    answer = await http.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def default_profile(http: httpx.AsyncClient) -> dict[str, Any]:
    """Return the default profile as v1 shows it."""
    listed = await sent(http, "GET", V1)
    return next(profile for profile in listed["items"] if profile["default"])


async def new_profile(http: httpx.AsyncClient, name: str = "Other", **members: Any) -> dict[str, Any]:
    """Make a profile over v1, on the sandbox."""
    app = (await default_profile(http))["apps"]["payment"]["id"]
    body = {
        "name": name,
        "default": False,
        "supplier": {"name": "Supplier", "addresses": [{"country": "AT"}]},
        "workflow": {},
        "apps": {"tax": app, "invoicing": app, "payment": app},
    }
    return await sent(http, "POST", V1, {**body, **members}, status=201)


async def new_customer(http: httpx.AsyncClient, key: str, **members: Any) -> str:
    """Make a customer; returns its id."""
    body = {"key": key, "name": key, **members}
    return str((await sent(http, "POST", "/api/v1/customers", body, status=201))["id"])
