"""Invoices over v1 (contract tag Billing)."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from meterhouse.api.app import create_v1
from meterhouse.api.services import Services
from meterhouse.billing.ports import SubscriptionReference
from meterhouse.customers import service as customers
from meterhouse.customers.service import Address, Customer, NewCustomer
from meterhouse.kernel import clock
from meterhouse.kernel.clock import FrozenClock
from meterhouse.kernel.db import Database
from tests.invoices.conftest import NS, World, at, build_world

__all__ = ["build_world"]

INVOICES = "/api/v1/billing/invoices"


@pytest.fixture
def now() -> Any:
    with clock.frozen(at("02-15T00:00")) as frozen:
        yield frozen


@pytest.fixture
async def world(now: FrozenClock, db: Database, build_world: Callable[[Customer], World]) -> World:
    async with db.write() as session:
        customer = await customers.create(
            session,
            NS,
            NewCustomer(name="Acme Rockets", key="acme", subject_keys=("s1",), billing_address=Address(country="DE")),
        )
    return build_world(customer)


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    app = create_v1()
    app.state.services = Services(db=world.db, namespace=NS, invoices=world.invoices)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def bill(http: httpx.AsyncClient, world: World, **body: Any) -> httpx.Response:
    return await http.post(f"{INVOICES}/invoice", json={"customerId": world.customer.id, **body})


async def test_billing_a_fee(http: httpx.AsyncClient, world: World) -> None:
    line_id = await world.flat("f1", "12.50", at("02-15T00:00"))
    answer = await bill(http, world)
    assert answer.status_code == 201
    [invoice] = answer.json()
    assert {name: invoice[name] for name in ("status", "type", "number", "currency", "collectionAt", "dueAt")} == {
        "status": "paid",
        "type": "standard",
        "number": "OM-SANDBOX-ACRO-1",
        "currency": "USD",
        "collectionAt": "2025-02-15T00:00:00Z",
        "dueAt": "2025-03-17T00:00:00Z",
    }
    assert invoice["statusDetails"] == {
        "immutable": True,
        "failed": False,
        "extendedStatus": "paid",
        "availableActions": {},
    }
    assert invoice["totals"] == {
        "amount": "12.5",
        "chargesTotal": "0",
        "discountsTotal": "0",
        "creditsTotal": "0",
        "taxesInclusiveTotal": "0",
        "taxesExclusiveTotal": "0",
        "taxesTotal": "0",
        "total": "12.5",
    }
    assert invoice["customer"] == {
        "id": world.customer.id,
        "key": "acme",
        "name": "Acme Rockets",
        "addresses": [{"country": "DE"}],
        "usageAttribution": {"subjectKeys": ["s1"]},
    }
    assert invoice["workflow"]["workflow"] == {
        "collection": {"alignment": {"type": "subscription"}, "interval": "PT1H"},
        "invoicing": {
            "autoAdvance": True,
            "draftPeriod": "P0D",
            "dueAfter": "P30D",
            "progressiveBilling": True,
            "subscriptionEndProrationMode": "bill_actual_period",
        },
        "payment": {"collectionMethod": "charge_automatically"},
        "tax": {"enabled": True, "enforced": False},
    }
    [line] = invoice["lines"]
    assert (line["id"], line["type"], line["status"], line["managedBy"]) == (line_id, "usage_based", "valid", "manual")
    assert line["price"] == {"type": "flat", "amount": "12.5", "paymentTerm": "in_advance"}
    assert line["invoice"] == {"id": invoice["id"], "number": "OM-SANDBOX-ACRO-1"}
    [child] = line["children"]
    assert (child["type"], child["perUnitAmount"], child["quantity"]) == ("flat_fee", "12.5", "1")


async def test_each_part_of_a_subscription_reference_is_in_its_field(http: httpx.AsyncClient, world: World) -> None:
    await world.usage("c1", at("01-15T00:00"), at("02-15T00:00"))
    world.engine.charges["c1"].subscription = SubscriptionReference(
        "01JJJJJJJJJJJJJJJJJJJJJJJ1", "01JJJJJJJJJJJJJJJJJJJJJJJ2", "01JJJJJJJJJJJJJJJJJJJJJJJ3"
    )
    [invoice] = (await bill(http, world)).json()
    reference = invoice["lines"][0]["subscription"]
    assert [reference[part]["id"][-1] for part in ("subscription", "phase", "item")] == ["1", "2", "3"]


async def test_nothing_to_bill_says_when(http: httpx.AsyncClient, world: World) -> None:
    await world.usage("c1", at("02-15T00:00"), at("03-15T00:00"))
    answer = await bill(http, world, progressiveBillingOverride=False)
    assert answer.status_code == 400
    extensions = answer.json()["extensions"]
    assert extensions["code"] == "invoice_create_no_lines"
    assert extensions["next_billable_at"] == "2025-03-15T00:00:00Z"
    assert [line["reason"] for line in extensions["pending_lines"]] == ["progressive_billing_disabled"]


async def test_a_gathering_invoice_is_priced_on_reading(
    http: httpx.AsyncClient, world: World, now: FrozenClock
) -> None:
    await world.usage("c1", at("02-15T00:00"), at("03-15T00:00"), "1250")
    now.at = at("02-20T00:00")
    [invoice] = (await http.get(INVOICES, params={"statuses": "gathering", "expand": "lines"})).json()["items"]
    assert invoice["type"] == "gathering"
    assert invoice["totals"]["total"] == "25"
    assert invoice["collectionAt"] == "2025-03-15T00:00:00Z"
    assert invoice["statusDetails"]["availableActions"] == {"invoice": {}}
    assert invoice["lines"][0]["quantity"] == "1250"


async def test_actions_and_their_refusals(http: httpx.AsyncClient, world: World, now: FrozenClock) -> None:
    await world.usage("c1", at("01-15T00:00"), at("02-15T00:00"))
    [invoice] = (await bill(http, world)).json()
    one = f"{INVOICES}/{invoice['id']}"
    assert invoice["statusDetails"]["availableActions"] == {
        "delete": {"resultingState": "deleted"},
        "snapshotQuantities": {"resultingState": "draft.waiting_auto_approval"},
    }
    assert (await http.post(f"{one}/advance")).json()["extensions"]["code"] == "invoice_cannot_advance"
    assert (await http.post(f"{one}/retry")).json()["extensions"]["code"] == "invoice_action_not_available"
    snapshot = (await http.post(f"{one}/snapshot-quantities")).json()
    assert snapshot["statusDetails"]["extendedStatus"] == "draft.waiting_auto_approval"
    assert snapshot["quantitySnapshotedAt"] == "2025-02-15T00:00:00Z"
    now.at = at("02-15T01:01")
    assert (await http.post(f"{one}/advance")).json()["status"] == "paid"
    refused = await http.delete(one)
    assert (refused.status_code, refused.json()["extensions"]["code"]) == (400, "invoice_action_not_available")


async def test_deletion(http: httpx.AsyncClient, world: World) -> None:
    await world.usage("c1", at("01-15T00:00"), at("02-15T00:00"))
    [invoice] = (await bill(http, world)).json()
    one = f"{INVOICES}/{invoice['id']}"
    assert (await http.delete(one)).status_code == 204
    deleted = (await http.get(one)).json()
    assert (deleted["status"], deleted["deletedAt"]) == ("deleted", "2025-02-15T00:00:00Z")
    assert len(deleted["lines"]) == 1
    assert (await http.get(INVOICES)).json()["totalCount"] == 0
    assert (await http.get(INVOICES, params={"includeDeleted": True})).json()["totalCount"] == 2
    assert (await http.delete(one)).json()["extensions"]["code"] == "invoice_action_not_available"


async def test_unknown_invoices(http: httpx.AsyncClient) -> None:
    for call in (http.get, http.delete):
        answer = await call(f"{INVOICES}/01JJJJJJJJJJJJJJJJJJJJJJJJ")
        assert answer.status_code == 404
        assert answer.json()["extensions"]["code"] == "invoice_not_found"


async def test_filters_and_order(http: httpx.AsyncClient, world: World, now: FrozenClock) -> None:
    await world.flat("f1", "1", at("02-15T00:00"))
    [first] = (await bill(http, world)).json()
    now.at = at("02-16T00:00")
    await world.flat("f2", "2", at("02-16T00:00"))
    [second] = (await bill(http, world)).json()

    async def ids(**params: Any) -> list[str]:
        answer = await http.get(INVOICES, params=params)
        assert answer.status_code == 200, answer.text
        return [invoice["id"] for invoice in answer.json()["items"]]

    assert await ids() == [first["id"], second["id"]]
    assert await ids(order="DESC", orderBy="issuedAt") == [second["id"], first["id"]]
    assert await ids(issuedAfter="2025-02-16T00:00:00Z") == [second["id"]]
    assert await ids(createdBefore="2025-02-15T00:00:00Z") == [first["id"]]
    assert await ids(periodStartAfter="2025-02-15T00:00:01Z") == [second["id"]]
    assert await ids(statuses="draft") == []
    assert await ids(extendedStatuses="paid", customers=world.customer.id) == [first["id"], second["id"]]
    assert await ids(customers="01JJJJJJJJJJJJJJJJJJJJJJJJ") == []
    assert await ids(page=2, pageSize=1) == [second["id"]]


async def test_lines_are_shown_unless_something_else_is_expanded(http: httpx.AsyncClient, world: World) -> None:
    await world.flat("f1", "1", at("02-15T00:00"))
    [invoice] = (await bill(http, world)).json()
    one = f"{INVOICES}/{invoice['id']}"
    assert "lines" in (await http.get(one)).json()
    assert "lines" not in (await http.get(one, params={"expand": "preceding"})).json()
    assert "lines" not in (await http.get(INVOICES)).json()["items"][0]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"customerId": "nope"},
        {"asOf": "2025-02-15T00:00:01Z"},
        {"filters": {"lineIds": []}},
        {"filters": {"lineIds": ["nope"]}},
    ],
)
async def test_malformed_requests(http: httpx.AsyncClient, world: World, body: dict[str, Any]) -> None:
    answer = await http.post(f"{INVOICES}/invoice", json=({"customerId": world.customer.id} if body else {}) | body)
    assert answer.status_code == 400


async def test_what_is_not_offered(http: httpx.AsyncClient) -> None:
    one = f"{INVOICES}/01JJJJJJJJJJJJJJJJJJJJJJJJ"
    void = {"action": {"percentage": 100, "action": {"type": "discard"}}, "reason": "mistake"}
    assert (await http.post(f"{one}/void", json=void)).status_code == 501
    assert (await http.post(f"{one}/taxes/recalculate")).status_code == 501
