"""What apps know of customers over v1, and the billing settings of customers over v3 (customers section 8)."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from meterhouse.apps.app import AppType
from meterhouse.apps.customer_data import KINDS, CustomInvoicingData, SandboxData
from meterhouse.apps.models import AppRow, CustomerDataRow
from meterhouse.kernel.db import Database
from tests.billing_profiles.conftest import (
    UNKNOWN,
    default_profile,
    http,
    new_customer,
    new_profile,
    profiles,
    sent,
)

__all__ = ["http", "profiles"]

V1, V3 = "/api/v1/customers", "/api/v3/openmeter/customers"
GOLDEN = Path(__file__).parent.parent / "customers" / "golden" / "app_data.json"


@pytest.fixture
async def ours(db: Database) -> str:
    """A custom invoicing app; returns its id."""
    async with db.write() as session:
        app = AppRow(namespace="acme", type="custom_invoicing", name="Ours")
        session.add(app)
        await session.flush()
        return app.id


async def billed_by(http: httpx.AsyncClient, app: str, **members: Any) -> dict[str, Any]:
    """Make a profile on an app."""
    return await new_profile(http, apps={"tax": app, "invoicing": app, "payment": app}, **members)


def test_the_stored_form_of_app_data_keeps_parsing() -> None:
    stored = json.loads(GOLDEN.read_text())
    values = {kind: KINDS[AppType(kind)].model_validate(data) for kind, data in stored.items()}
    assert values == {"sandbox": SandboxData(), "custom_invoicing": CustomInvoicingData(metadata={"account": "4711"})}
    assert {kind: value.model_dump(mode="json") for kind, value in values.items()} == stored


async def test_app_data_of_a_customer(http: httpx.AsyncClient, db: Database, ours: str) -> None:
    customer = await new_customer(http, "acme")
    sandbox = (await default_profile(http))["apps"]["payment"]["id"]
    path = f"{V1}/acme/apps"
    (only,) = (await sent(http, "GET", path))["items"]
    assert (only["id"], only["type"], only["app"]["name"]) == (sandbox, "sandbox", "Sandbox")
    items = [{"type": "sandbox"}, {"id": ours, "type": "custom_invoicing", "metadata": {"account": "4711"}}]
    written = await sent(http, "PUT", path, items)
    external = {"id": ours, "type": "custom_invoicing", "metadata": {"account": "4711"}}
    assert written == [only, external]
    listed = await sent(http, "GET", f"{V1}/{customer}/apps")
    assert sorted(one["id"] for one in listed["items"]) == sorted([sandbox, ours])
    assert listed["totalCount"] == 2
    assert (await sent(http, "GET", f"{path}?type=custom_invoicing"))["items"] == [external]
    assert (await sent(http, "GET", f"{path}?type=stripe"))["items"] == []
    await sent(http, "PUT", path, [{"id": ours, "type": "custom_invoicing"}])
    assert (await sent(http, "GET", f"{path}?type=custom_invoicing"))["items"] == [
        {"id": ours, "type": "custom_invoicing"}
    ]
    for app in (ours, ours, sandbox):
        await sent(http, "DELETE", f"{path}/{app}", status=204)
    assert (await sent(http, "GET", path))["items"] == [only]
    await sent(http, "DELETE", f"{path}/{UNKNOWN}", status=404)


async def test_data_without_an_app_is_for_the_one_that_bills(http: httpx.AsyncClient, ours: str) -> None:
    customer = await new_customer(http, "acme")
    item = {"type": "custom_invoicing", "metadata": {"a": "b"}}
    await sent(http, "PUT", f"{V1}/acme/apps", [{"type": "sandbox"}, item], status=412)
    profile = await billed_by(http, ours)
    await sent(http, "PUT", f"/api/v1/billing/customers/{customer}", {"billingProfileId": profile["id"]})
    assert await sent(http, "PUT", f"{V1}/acme/apps", [item]) == [{**item, "id": ours}]
    await sent(http, "PUT", f"{V1}/acme/apps", [{"type": "sandbox"}], status=412)


async def test_refused_app_data_leaves_nothing(http: httpx.AsyncClient, db: Database, ours: str) -> None:
    await new_customer(http, "acme")
    right = {"id": ours, "type": "custom_invoicing", "metadata": {"a": "b"}}
    for wrong, status in (
        ({"id": ours, "type": "sandbox"}, 400),
        ({"id": UNKNOWN, "type": "sandbox"}, 404),
        ({"id": "nope", "type": "sandbox"}, 400),
        ({"type": "stripe", "stripeCustomerId": "cus_1"}, 412),
        ({"id": ours, "type": "stripe", "stripeCustomerId": "cus_1"}, 400),
        ({"type": "stripe"}, 400),
        ({"id": ours}, 400),
        ({"id": ours, "type": "custom_invoicing", "metadata": {"a": 1}}, 400),
        ({"id": ours, "type": "custom_invoicing", "metadata": {"a": "\x00"}}, 400),
    ):
        await sent(http, "PUT", f"{V1}/acme/apps", [right, wrong], status=status)
    async with db.read() as session:
        assert (await session.scalars(select(CustomerDataRow))).all() == []


async def test_a_deleted_customer_has_no_app_data(http: httpx.AsyncClient, db: Database, ours: str) -> None:
    customer = await new_customer(http, "acme")
    await sent(http, "PUT", f"{V1}/acme/apps", [{"id": ours, "type": "custom_invoicing"}])
    await sent(http, "DELETE", f"{V1}/{customer}", status=204)
    for method, path, body in (
        ("GET", "apps", None),
        ("PUT", "apps", [{"type": "sandbox"}]),
        ("DELETE", f"apps/{ours}", None),
    ):
        await sent(http, method, f"{V1}/{customer}/{path}", body, status=412)
    await sent(http, "GET", f"{V1}/acme/apps", status=404)
    for method, path, body in (("GET", "", None), ("PUT", "", {}), ("PUT", "/app-data", {})):
        await sent(http, method, f"{V3}/{customer}/billing{path}", body, status=410)
        for unknown in (UNKNOWN, "acme"):
            await sent(http, method, f"{V3}/{unknown}/billing{path}", body, status=404)
    deleted = await sent(http, "GET", f"{V1}/{customer}")
    async with db.read() as session:
        (row,) = (await session.scalars(select(CustomerDataRow))).all()
    assert row.deleted_at is not None
    assert deleted["deletedAt"].startswith(f"{row.deleted_at:%Y-%m-%dT%H:%M:%S}")


async def test_billing_settings_of_a_customer(http: httpx.AsyncClient, ours: str) -> None:
    default = (await default_profile(http))["id"]
    customer = await new_customer(http, "acme")
    path = f"{V3}/{customer}/billing"
    on_sandbox = {"billing_profile": {"id": default}, "app_data": {}}
    assert await sent(http, "GET", path) == on_sandbox
    external = {"external_invoicing": {"labels": {"account": "4711"}}}
    stripe = {"stripe": {"customer_id": "cus_1"}}
    assert await sent(http, "PUT", path, {"app_data": {**external, **stripe}}) == on_sandbox
    assert await sent(http, "PUT", f"{path}/app-data", external) == {}
    profile = (await billed_by(http, ours))["id"]
    body = {"billing_profile": {"id": profile}, "app_data": {**external, **stripe}}
    pinned = {"billing_profile": {"id": profile}, "app_data": external}
    assert await sent(http, "PUT", path, body) == pinned
    assert await sent(http, "GET", path) == pinned
    assert await sent(http, "PUT", path, {}) == pinned
    other = {"external_invoicing": {"labels": {"account": "4712"}}}
    assert await sent(http, "PUT", path, {"app_data": other}) == {**pinned, "app_data": other}
    assert await sent(http, "PUT", f"{path}/app-data", external) == external
    assert await sent(http, "GET", path) == pinned


async def test_refused_billing_settings(http: httpx.AsyncClient, ours: str) -> None:
    customer = await new_customer(http, "acme")
    before = await sent(http, "GET", f"{V3}/{customer}/billing")
    profile = (await billed_by(http, ours))["id"]
    labels = {"external_invoicing": {"labels": {"kong": "x"}}}
    for body, status in (
        ({"billing_profile": {"id": UNKNOWN}}, 404),
        ({"billing_profile": {"id": "nope"}}, 400),
        ({"billing_profile": {}}, 400),
        ({"unknown": 1}, 400),
        ({"app_data": {"sandbox": {}}}, 400),
        ({"billing_profile": {"id": profile}, "app_data": labels}, 400),
    ):
        await sent(http, "PUT", f"{V3}/{customer}/billing", body, status=status)
    # The last one was refused for its labels, and so the pin did not stay either.
    assert await sent(http, "GET", f"{V3}/{customer}/billing") == before
