"""v3 charges over HTTP (charges sections 9.1 and 9.2)."""

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from meterhouse.api.app import create_v3
from meterhouse.api.services import Services
from meterhouse.billing.ports import SubscriptionReference
from meterhouse.catalog.prices import (
    Discounts,
    DynamicPrice,
    PackagePrice,
    PercentageDiscount,
    SettlementMode,
    UnitPrice,
    UsageDiscount,
)
from meterhouse.customers import service as customers
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.kernel.ids import new_id
from tests.charges.world import NS, World, at, between, flat, unit

FLAT: dict[str, Any] = {
    "type": "flat_fee",
    "name": "Seat",
    "currency": "USD",
    "invoice_at": "2025-05-01T00:00:00Z",
    "service_period": {"from": "2025-05-01T00:00:00Z", "to": "2025-06-01T00:00:00Z"},
    "settlement_mode": "credit_then_invoice",
    "payment_term": "in_advance",
    "proration_configuration": {"mode": "no_proration"},
    "amount_before_proration": {"amount": "30.00", "currency": "USD"},
}
USAGE: dict[str, Any] = {
    "type": "usage_based",
    "name": "Tokens",
    "currency": "USD",
    "invoice_at": "2025-04-01T00:00:00Z",
    "service_period": {"from": "2025-03-01T00:00:00Z", "to": "2025-04-01T00:00:00Z"},
    "settlement_mode": "credit_then_invoice",
    "feature_id": "tokens",
    "price": {"type": "unit", "amount": "0.02"},
}


class Client:
    def __init__(self, http: httpx.AsyncClient, world: World, app: FastAPI) -> None:
        self.http, self.world, self.app = http, world, app

    def path(self, customer_id: str | None = None) -> str:
        return f"/api/v3/openmeter/customers/{customer_id or self.world.customer_id}/charges"

    async def post(self, body: dict[str, Any], *, expect: int = 201) -> dict[str, Any]:
        answer = await self.http.post(self.path(), json=body)
        assert answer.status_code == expect, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def get(self, query: str = "", *, expect: int = 200, customer_id: str | None = None) -> dict[str, Any]:
        answer = await self.http.get(self.path(customer_id) + query)
        assert answer.status_code == expect, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def names(self, query: str) -> list[str]:
        return [charge["name"] for charge in (await self.get(query))["data"]]


@pytest.fixture
async def client(db: Database) -> AsyncIterator[Client]:
    with clock.frozen(at("2-28")) as time:
        world = World(db, time, credits_enabled=True)
        await world.furnish()
        app = create_v3()
        app.state.services = Services(db=db, namespace=NS, charges=world.charges)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            yield Client(http, world, app)


async def test_flat_fee_is_made_and_listed(client: Client) -> None:
    made = await client.post(FLAT)
    assert made["type"] == "flat_fee"
    assert made["status"] == "created"
    assert made["lifecycle_controller"] == "manual"
    assert made["advance_after"] == "2025-05-01T00:00:00Z"
    assert made["billing_period"] == made["full_service_period"] == FLAT["service_period"]
    assert made["amount_after_proration"] == {"amount": "30", "currency": "USD"}
    assert made["price"] == {"type": "flat", "amount": "30"}
    assert made["payment_term"] == "in_advance"
    assert "system_intent" not in made
    assert "totals" not in made
    listed = await client.get()
    assert listed["meta"]["page"] == {"number": 1, "size": 20, "total": 1}
    assert listed["data"] == [made]


async def test_usage_is_made_with_totals(client: Client) -> None:
    made = await client.post({**USAGE, "discounts": {"percentage": 12.5, "usage": "10"}, "labels": {"team": "a"}})
    assert made["feature_key"] == "tokens"
    assert made["totals"]["booked"]["total"] == "0"
    assert "realtime" not in made["totals"]
    assert made["discounts"] == {"percentage": 12.5, "usage": "10"}
    assert made["labels"] == {"team": "a"}
    assert made["tax_config"]["tax_code"]["id"] == made["tax_config"]["tax_code_id"]
    client.world.time.at = at("3-20 12:00:00")
    client.world.events.add("3-10", 1260)
    (shown,) = (await client.get("?expand=real_time_usage"))["data"]
    assert shown["totals"]["realtime"]["discounts_total"] == "3.13"
    assert shown["totals"]["realtime"]["total"] == "21.87"
    assert shown["totals"]["booked"]["total"] == "0"


async def test_every_stored_price_can_be_shown(client: Client) -> None:
    world = client.world
    await world.create(world.intent(PackagePrice(amount=Decimal(4), quantity_per_package=Decimal(250)), name="package"))
    await world.create(world.intent(DynamicPrice(multiplier=Decimal("1.15")), name="dynamic"))
    package, dynamic = (await client.get())["data"]
    assert package["price"] == {"type": "unit", "amount": "4"}
    assert package["unit_config"]["operation"] == "divide"
    assert package["unit_config"]["conversion_factor"] == "250"
    assert package["unit_config"]["rounding"] == "ceiling"
    assert dynamic["price"] == {"type": "unit", "amount": "1"}
    assert dynamic["unit_config"] == {"operation": "multiply", "conversion_factor": "1.15"}


async def test_where_a_charge_comes_from_is_shown(client: Client) -> None:
    world = client.world
    source = SubscriptionReference(new_id(), new_id(), new_id())
    discounts = Discounts(
        percentage=PercentageDiscount(percentage=Decimal(50)), usage=UsageDiscount(quantity=Decimal(3))
    )
    await world.create(
        world.intent(UnitPrice(amount=Decimal(1)), subscription=source, unique_reference_id="x", discounts=discounts)
    )
    (shown,) = (await client.get())["data"]
    assert shown["lifecycle_controller"] == "system"
    assert shown["unique_reference_id"] == "x"
    assert shown["subscription"] == {
        "id": source.subscription_id,
        "phase": {"id": source.phase_id, "item": {"id": source.item_id}},
    }


async def test_status_filter(client: Client) -> None:
    world = client.world
    await world.create(world.intent(flat("1"), between("5-1", "6-1"), name="created"))
    deleted = await world.create(world.intent(flat("1"), between("5-1", "6-1"), name="deleted"))
    active = await world.create(world.intent(unit("1"), name="active"))
    await world.delete(deleted.id)
    await world.advance(active.id, "3-2")
    assert await client.names("") == ["created", "active"]
    assert await client.names("?filter[status][oeq]=active") == ["active"]
    assert await client.names("?filter[status]=created") == ["created"]
    assert await client.names("?filter[status][oeq]=deleted") == ["deleted"]
    assert await client.names("?filter[status][oeq]=deleted,active") == ["deleted", "active"]
    for query in ("[oeq]=open", "[oeq]=", "[neq]=final", "="):
        await client.get(f"?filter[status]{query}", expect=400)


async def test_sorting(client: Client) -> None:
    world = client.world
    for name, period in (("b", between("4-1", "5-1")), ("a", between("3-1", "4-1")), ("c", between("5-1", "6-1"))):
        await world.create(world.intent(unit("1"), period, name=name))
    assert await client.names("?sort=service_period.from") == ["a", "b", "c"]
    assert await client.names("?sort=billing_period.from desc") == ["c", "b", "a"]
    assert await client.names("?sort=id desc") == ["c", "a", "b"]
    assert await client.names("?page[size]=1&page[number]=2") == ["a"]
    await client.get("?sort=name", expect=400)
    assert await client.names("?sort=service_period.from desc,id") == ["c", "b", "a"]


async def test_deleted_by_a_user_shows_the_systems_intent(client: Client) -> None:
    world = client.world
    await world.create(world.intent(flat("62.00"), between("5-1", "6-1")))
    line = next(iter(world.book.lines))
    await world.remove(line, by_user=True)
    (shown,) = (await client.get("?filter[status][oeq]=deleted"))["data"]
    assert shown["lifecycle_controller"] == "manual"
    assert shown["deleted_at"] == "2025-02-28T00:00:00Z"
    assert shown["amount_after_proration"]["amount"] == "62"
    assert shown["system_intent"]["amount_before_proration"] == {"amount": "62", "currency": "USD"}
    assert "deleted_at" not in shown["system_intent"]


@pytest.mark.parametrize(
    "change",
    [
        {"type": "other"},
        {"currency": "XX1"},
        {"currency": "EUR"},
        {"payment_term": "never"},
        {"amount_before_proration": {"amount": "-1", "currency": "USD"}},
        {"service_period": {"from": "2025-06-01T00:00:00Z", "to": "2025-05-01T00:00:00Z"}},
        {"feature_id": "unknown"},
        {"feature_id": "\x00"},
        {"invoice_at": "0001-01-01T00:00:00Z"},
        {"service_period": {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z"}},
        {"tax_config": {"tax_code": {"id": "01JZZZZZZZZZZZZZZZZZZZZZZZ"}}},
        {"unknown": 1},
    ],
)
async def test_refused_fees(client: Client, change: dict[str, Any]) -> None:
    await client.post({**FLAT, **change}, expect=400)


@pytest.mark.parametrize(
    "change",
    [
        {"price": {"type": "free"}},
        {"price": {"type": "flat", "amount": "1"}},
        {"price": {"type": "graduated", "tiers": []}},
        {
            "price": {
                "type": "graduated",
                "tiers": [{"up_to_amount": "1", "unit_price": {"type": "unit", "amount": "1"}}],
            }
        },
        {"service_period": {"from": "2025-05-01T00:00:00Z", "to": "2025-05-01T00:00:00Z"}},
        {"discounts": {"percentage": 101}},
        {"feature_id": None},
    ],
)
async def test_refused_usage(client: Client, change: dict[str, Any]) -> None:
    await client.post({**USAGE, **change}, expect=400)


async def test_a_reference_is_used_once(client: Client) -> None:
    await client.post({**FLAT, "unique_reference_id": "mine"})
    await client.post({**FLAT, "unique_reference_id": "mine"}, expect=409)


async def test_unknown_customers(client: Client) -> None:
    stranger = new_id()
    assert (await client.get(customer_id=stranger))["data"] == []
    answer = await client.http.post(client.path(stranger), json=FLAT)
    assert answer.status_code == 404


async def test_without_credits_it_is_not_served(client: Client) -> None:
    client.app.state.services = replace(client.app.state.services, credits_enabled=False)
    await client.get(expect=501)
    await client.post(FLAT, expect=501)


async def test_codes_of_billing_errors_are_kept(client: Client) -> None:
    body = {**FLAT, "tax_config": {"tax_code": {"id": "01JZZZZZZZZZZZZZZZZZZZZZZZ"}}}
    assert (await client.post(body, expect=400))["extensions"]["code"] == "tax_code_not_found"


async def test_a_wrong_type_is_named(client: Client) -> None:
    for body in ({**FLAT, "type": "other"}, {name: value for name, value in FLAT.items() if name != "type"}):
        problem = await client.post(body, expect=400)
        assert problem["extensions"]["validationErrors"][0]["field"] == "params"


async def test_deeper_faults_are_named(client: Client) -> None:
    body = {**FLAT, "amount_before_proration": {"amount": "-1", "currency": "USD"}}
    problem = await client.post(body, expect=400)
    assert problem["extensions"]["validationErrors"][0]["field"] == "intents"
    assert "must not be negative" in problem["detail"]


async def test_a_deleted_customer_is_charged_nothing_new(client: Client) -> None:
    async with client.world.db.write() as session:
        await customers.delete(session, NS, client.world.customer_id)
    await client.post(FLAT, expect=409)


async def test_credit_only_has_no_pending_line(client: Client) -> None:
    await client.post({**USAGE, "settlement_mode": SettlementMode.CREDIT_ONLY.value})
    assert client.world.book.lines == []


async def test_unknown_expansion(client: Client) -> None:
    await client.get("?expand=everything", expect=400)
