"""Customers that come with subjects (customers section 11), over HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from meterhouse.api.app import create_v1
from meterhouse.api.services import Services
from meterhouse.customers.customer import Customer
from meterhouse.customers.guards import Guards
from meterhouse.customers.provisioning import SubjectCustomers, texts
from meterhouse.kernel.db import Database, WriteSession
from meterhouse.kernel.errors import InvalidInput

CUSTOMERS, SUBJECTS = "/api/v1/customers", "/api/v1/subjects"


async def _frozen(_session: WriteSession, before: Customer, after: Customer) -> None:
    if before.metadata.get("frozen"):
        raise InvalidInput("a subscription runs")


GUARDS = Guards(change=(_frozen,))


def services(db: Database, *, ignore_errors: bool = False) -> Services:
    """Make services with the switch on."""
    follower = SubjectCustomers(GUARDS, ignore_errors=ignore_errors)
    return Services(db=db, namespace="acme", subject_follower=follower)


@pytest.fixture
def app(db: Database) -> FastAPI:
    app = create_v1()
    app.state.services = services(db)
    return app


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def sent(http: httpx.AsyncClient, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
    answer = await http.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def shown(http: httpx.AsyncClient, key: str) -> dict[str, Any]:
    """Return what a test looks at of a customer."""
    found = await sent(http, "GET", f"{CUSTOMERS}/{key}?expand=subscriptions")
    keys = found.get("usageAttribution", {}).get("subjectKeys", [])
    return {"name": found["name"], "keys": keys, **{part: found.get(part) for part in ("metadata", "annotations")}}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (True, "true"),
        (False, "false"),
        (1, "1"),
        (1e21, "1000000000000000000000"),
        (0.1, "0.1"),
        (-2.50, "-2.5"),
        ("text", "text"),
        (["a", 1, True, None, [2]], '"a","1","true"'),
        ({"b": 1, "a": "x", "deep": {"c": 1}, "no": None}, '"a"="x","b"="1"'),
        (None, None),
        ("", None),
        ([], None),
        ({}, None),
        ([[1]], None),
    ],
)
def test_metadata_of_subjects_as_text(given: Any, text: str | None) -> None:
    assert texts({"member": given}) == ({} if text is None else {"member": text})


async def test_a_new_subject_brings_a_customer(http: httpx.AsyncClient) -> None:
    long = "x" * 300
    subjects = [
        {"key": "a", "displayName": "Acme", "metadata": {"tier": 1}, "stripeCustomerId": "cus_1"},
        {"key": "b"},
        {"key": long},
    ]
    made = await sent(http, "POST", SUBJECTS, subjects)
    annotations = {"createdBy": "customer.provisioner", "subjectId": made[0]["id"], "stripeCustomerId": "cus_1"}
    assert await shown(http, "a") == {
        "name": "Acme",
        "keys": ["a"],
        "metadata": {"tier": "1"},
        "annotations": annotations,
    }
    assert (await shown(http, "b"))["name"] == "b"
    listed = await sent(http, "GET", f"{CUSTOMERS}?subject={'x' * 256}")
    (customer,) = listed["items"]
    assert (customer["name"], customer.get("key")) == ("x" * 256, None)


async def test_a_held_subject_changes_its_customer(http: httpx.AsyncClient) -> None:
    body = {"key": "acme", "name": "Acme", "usageAttribution": {"subjectKeys": ["a"]}, "metadata": {"kept": "x"}}
    address = {"billingAddress": {"city": "Graz"}, "primaryEmail": "x@acme.test"}
    made = await sent(http, "POST", CUSTOMERS, {**body, **address}, status=201)
    await sent(http, "POST", SUBJECTS, [{"key": "a"}])
    assert (await sent(http, "GET", f"{CUSTOMERS}/acme"))["updatedAt"] == made["updatedAt"]
    await sent(http, "POST", SUBJECTS, [{"key": "a", "displayName": "New", "metadata": {"kept": "y", "more": [1]}}])
    found = await shown(http, "acme")
    assert (found["name"], found["keys"], found["metadata"]) == ("New", ["a"], {"kept": "y", "more": '"1"'})
    assert found["annotations"]["createdBy"] == "customer.provisioner"
    whole = await sent(http, "GET", f"{CUSTOMERS}/acme")
    assert {part: whole[part] for part in address} == address
    await sent(http, "POST", SUBJECTS, [{"key": "acme", "displayName": "By its key"}])
    found = await shown(http, "acme")
    assert (found["name"], found["keys"]) == ("By its key", ["a"])
    assert (await sent(http, "GET", CUSTOMERS))["totalCount"] == 1


async def test_a_deleted_subject_leaves_its_customer(http: httpx.AsyncClient) -> None:
    keys = {"usageAttribution": {"subjectKeys": ["a", "b"]}}
    await sent(http, "POST", CUSTOMERS, {"key": "acme", "name": "Acme", **keys}, status=201)
    await sent(http, "DELETE", f"{SUBJECTS}/a", status=204)
    assert (await shown(http, "acme"))["keys"] == ["b"]
    await sent(http, "PUT", f"{CUSTOMERS}/acme", {"key": "acme", "name": "n", "metadata": {"frozen": "1"}, **keys})
    await sent(http, "DELETE", f"{SUBJECTS}/b", status=400)
    assert (await shown(http, "acme"))["keys"] == ["a", "b"]
    await sent(http, "GET", f"{SUBJECTS}/b")


async def test_errors_may_be_ignored(http: httpx.AsyncClient, app: FastAPI, db: Database) -> None:
    body = {"key": "acme", "name": "Acme", "metadata": {"frozen": "1"}, "usageAttribution": {"subjectKeys": ["a"]}}
    await sent(http, "POST", CUSTOMERS, body, status=201)
    subjects = [{"key": "new"}, {"key": "a", "displayName": "Refused"}, {"key": "other"}]
    await sent(http, "POST", SUBJECTS, subjects, status=400)
    assert [one["key"] for one in await sent(http, "GET", SUBJECTS)] == ["a"]
    app.state.services = services(db, ignore_errors=True)
    await sent(http, "POST", SUBJECTS, subjects)
    assert (await shown(http, "acme"))["name"] == "Acme"
    assert {one["key"] for one in (await sent(http, "GET", CUSTOMERS))["items"]} == {"acme", "new", "other"}
