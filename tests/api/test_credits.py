"""v3 customer credit over HTTP (ledger section 10)."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI

from meterhouse.api.app import create_v3
from meterhouse.api.services import Services
from meterhouse.billing.charges.service import Charges
from meterhouse.catalog.prices import SettlementMode
from meterhouse.credits.balances import OutstandingCharge
from meterhouse.customers import service as customers
from meterhouse.customers.customer import NewCustomer
from meterhouse.kernel import clock
from meterhouse.kernel.clock import FrozenClock
from meterhouse.kernel.db import Database
from meterhouse.kernel.ids import new_id
from tests.credits.conftest import NS, START, Story, day

GIFT: dict[str, Any] = {"name": "Welcome", "funding_method": "none", "currency": "USD", "amount": "100.00"}
PAID: dict[str, Any] = {
    **GIFT,
    "funding_method": "external",
    "purchase": {"currency": "USD", "per_unit_cost_basis": "0.75"},
}


class OneCharge:
    """Charges of which one is outstanding."""

    async def outstanding(self, *_: object) -> Sequence[OutstandingCharge]:
        return [OutstandingCharge("c", "USD", "tokens", SettlementMode.CREDIT_THEN_INVOICE, Decimal("25.00"))]


class Client:
    def __init__(self, http: httpx.AsyncClient, story: Story, time: FrozenClock, app: FastAPI) -> None:
        self.http, self.story, self.time, self.app = http, story, time, app

    async def ask(self, method: str, path: str, expect: int, body: Any = None, customer: str | None = None) -> Any:
        url = f"/api/v3/openmeter/customers/{customer or self.story.customer_id}/credits{path}"
        answer = await self.http.request(method, url, **({} if body is None else {"json": body}))
        assert answer.status_code == expect, answer.text
        return answer.json()

    async def get(self, path: str, expect: int = 200, **more: Any) -> Any:
        return await self.ask("GET", path, expect, **more)

    async def post(self, path: str, body: Any = None, expect: int = 201, **more: Any) -> Any:
        return await self.ask("POST", path, expect, body, **more)


@pytest.fixture
async def client(db: Database) -> AsyncIterator[Client]:
    with clock.frozen(START) as time:
        async with db.write() as session:
            customer = await customers.create(session, NS, NewCustomer(name="Ada", key="ada"))
        app = create_v3()
        app.state.services = Services(db=db, namespace=NS, charges=cast("Charges", OneCharge()))
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            yield Client(http, Story(db, customer.id), time, app)


async def test_a_gift_as_it_is_answered_read_and_listed(client: Client) -> None:
    made = await client.post(
        "/grants",
        {
            **GIFT,
            "description": "A gift.",
            "labels": {"team": "growth"},
            "filters": {"features": ["tokens", "images"]},
            "tax_config": {"behavior": "inclusive"},
            "effective_at": "2025-06-01T02:00:00+02:00",
            "expires_after": "P1M",
            "key": "june",
        },
    )
    tax_code = made["tax_config"].pop("tax_code")
    assert tax_code["id"]
    assert made == {
        "id": made["id"],
        "name": "Welcome",
        "description": "A gift.",
        "labels": {"team": "growth"},
        "created_at": "2025-06-01T00:00:00Z",
        "updated_at": "2025-06-01T00:00:00Z",
        "funding_method": "none",
        "currency": "USD",
        "amount": "100",
        "tax_config": {"behavior": "inclusive"},
        "filters": {"features": ["images", "tokens"]},
        "priority": 10,
        "effective_at": "2025-06-01T00:00:00Z",
        "key": "june",
        "expires_at": "2025-07-01T00:00:00Z",
        "status": "active",
    }
    made["tax_config"]["tax_code"] = tax_code
    assert await client.get(f"/grants/{made['id']}") == made
    assert await client.get("/grants") == {"data": [made], "meta": {"page": {"number": 1, "size": 20, "total": 1}}}
    assert (await client.get("/grants?filter[key]=june"))["data"] == [made]
    assert (await client.get("/grants?filter[key][eq]=may"))["data"] == []
    assert (await client.get("/grants?filter[status]=active&filter[currency]=USD"))["data"] == [made]
    client.time.at = day(7, 1)
    assert (await client.get("/grants?filter[status]=expired"))["data"][0]["status"] == "expired"


async def test_a_paid_grant_and_its_settlement(client: Client) -> None:
    made = await client.post("/grants", {**PAID, "amount": "200"})
    assert made["purchase"] == {
        "currency": "USD",
        "per_unit_cost_basis": "0.75",
        "amount": "150",
        "availability_policy": "on_creation",
        "settlement_status": "pending",
    }
    settlement = f"/grants/{made['id']}/settlement/external"
    assert "key" not in made
    assert "effective_at" not in made
    refused = await client.post(settlement, {"status": "pending"}, 400)
    issue = refused["extensions"]["validationErrors"][0]
    assert issue["code"] == "credit_grant_external_settlement_status_invalid"
    paid = await client.post(settlement, {"status": "authorized"}, 200)
    assert paid["purchase"]["settlement_status"] == "authorized"
    await client.post(settlement, {"status": "authorized"}, 412)
    paid = await client.post(settlement, {"status": "settled"}, 200)
    assert paid["purchase"]["settlement_status"] == "settled"
    await client.post(settlement, {"status": "settled"}, 412)
    await client.post(settlement, {"status": "paid"}, 400)
    await client.post(f"/grants/{new_id()}/settlement/external", {"status": "settled"}, 404)
    gift = await client.post("/grants", GIFT)
    refused = await client.post(f"/grants/{gift['id']}/settlement/external", {"status": "settled"}, 400)
    issue = refused["extensions"]["validationErrors"][0]
    assert issue["code"] == "credit_grant_external_settlement_not_supported"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"amount": "0"}, 400),
        ({"amount": "-1"}, 400),
        ({"amount": "1e3"}, 400),
        ({"amount": "9" * 400}, 400),
        ({"amount": 5}, 400),
        ({"currency": "ABC"}, 400),
        ({"currency": "TOKENS"}, 400),
        ({"priority": 0}, 400),
        ({"priority": 1001}, 400),
        ({"purchase": {"currency": "USD"}}, 400),
        ({"funding_method": "external"}, 400),
        ({"funding_method": "gift"}, 400),
        ({"funding_method": "invoice", "purchase": {"currency": "USD"}}, 501),
        ({**PAID, "purchase": {"currency": "EUR"}}, 400),
        ({**PAID, "purchase": {"currency": "USD", "availability_policy": "on_payment"}}, 400),
        ({"expires_after": "P0D"}, 400),
        ({"expires_after": "-P1D"}, 400),
        ({"expires_after": "P99999Y"}, 400),
        ({"expires_after": "P1X"}, 400),
        ({"expires_after": "P" + "9" * 30 + "D"}, 400),
        ({"expires_after": "PT" + "9" * 30 + "S"}, 400),
        ({"effective_at": "yesterday"}, 400),
        ({"effective_at": "9999-12-31T23:59:59Z", "expires_after": "P1D"}, 400),
        ({"filters": {"features": ["a", "a"]}}, 400),
        ({"filters": {"features": ["A B"]}}, 400),
        ({"tax_config": {"tax_code": {"id": "01J00000000000000000000001"}}}, 400),
        ({"tax_config": {"behavior": "none"}}, 400),
        ({"labels": {"kong-x": "y"}}, 400),
        ({"key": ""}, 400),
        ({"name": ""}, 400),
        ({"name": "a\u0000b"}, 400),
        ({"key": "a\u0000b"}, 400),
        ({"voided_at": "2025-01-01T00:00:00Z"}, 400),
    ],
)
async def test_refused_grants(client: Client, changes: dict[str, Any], status: int) -> None:
    await client.post("/grants", {**GIFT, **changes}, status)
    assert (await client.get("/grants"))["data"] == []


async def test_unknown_customers_and_grants(client: Client) -> None:
    stranger, grant = new_id(), await client.post("/grants", GIFT)
    await client.post("/grants", GIFT, 404, customer=stranger)
    for path in ("/grants", "/balance", "/transactions", f"/grants/{grant['id']}"):
        await client.get(path, 404, customer=stranger)
    await client.get(f"/grants/{new_id()}", 404)
    await client.get("/grants/nope", 404)
    await client.post(f"/grants/{new_id()}/void", None, 404)


async def test_a_second_grant_with_a_key_is_a_conflict(client: Client) -> None:
    made = await client.post("/grants", {**GIFT, "key": "june"})
    refused = await client.post("/grants", {**GIFT, "key": "june"}, 409)
    assert made["id"] in refused["detail"]


async def test_the_balance(client: Client) -> None:
    assert await client.get("/balance") == {"retrieved_at": "2025-06-01T00:00:00Z", "balances": []}
    await client.post("/grants", {**GIFT, "amount": "10.00"})
    await client.post("/grants", {**GIFT, "amount": "30.00", "filters": {"features": ["storage"]}})
    await client.post("/grants", {**GIFT, "amount": "7", "effective_at": "2025-07-01T00:00:00Z"})
    client.time.at = day(6, 2)
    usd = {"currency": "USD", "settled": "40", "pending": "7", "live": "30"}
    assert await client.get("/balance") == {"retrieved_at": "2025-06-02T00:00:00Z", "balances": [usd]}
    past = await client.get("/balance?timestamp=2025-05-31T23:59:59.5Z")
    nothing = {"currency": "USD", "settled": "0", "pending": "0", "live": "0"}
    assert past == {"retrieved_at": "2025-05-31T23:59:59.5Z", "balances": [nothing]}
    assert (await client.get("/balance?filter[currency]=EUR"))["balances"] == [{**nothing, "currency": "EUR"}]
    both = await client.get("/balance?filter[currency][oeq]=USD,EUR")
    assert [one["currency"] for one in both["balances"]] == ["EUR", "USD"]
    for query, settled, live in (
        ("filter[feature_key]=storage", "40", "40"),
        ("filter[feature_key][oeq]=tokens", "10", "0"),
        ("filter[feature_key][exists]=false", "10", "10"),
    ):
        found = (await client.get(f"/balance?{query}"))["balances"][0]
        assert (found["settled"], found["live"]) == (settled, live), query


@pytest.mark.parametrize(
    "path",
    [
        "/balance?filter[currency][neq]=USD",
        "/balance?filter[feature_key][neq]=a",
        "/balance?filter[feature_key][oeq]=a,b",
        "/balance?filter[feature_key][exists]=true",
        "/balance?filter[feature_key]=",
        "/balance?filter[nope]=a",
        "/grants?filter[status]=gone",
        "/grants?filter[currency]=dollars",
        "/grants?page[number]=0",
        "/transactions?page[size]=0",
        "/transactions?page[size]=x",
        "/transactions?page[number]=1",
        "/transactions?page[after]=nope",
        "/transactions?page[after]=eyJhIjoxfQ==",
        "/transactions?page[after]=bnVsbA==",
        "/transactions?page[after]=YQ==&page[before]=YQ==",
        "/transactions?filter[type]=adjusted",
        "/transactions?filter[feature_key][contains]=a",
    ],
)
async def test_refused_queries(client: Client, path: str) -> None:
    await client.get(path, 400)


@pytest.mark.parametrize("text", ["yesterday", "2025-06-01", "1748736000", "0001-01-01T00:00:00%2B14:00"])
async def test_a_wrong_timestamp_is_named_before_the_customer_is_looked_for(client: Client, text: str) -> None:
    refused = await client.get(f"/balance?timestamp={text}", 400, customer=new_id())
    assert "timestamp" in refused["detail"]


async def test_transactions_page_by_page(client: Client) -> None:
    grant = await client.post("/grants", {**GIFT, "amount": "25.00", "description": "d", "expires_after": "P30D"})
    client.time.at = day(6, 5)
    await client.story.collect("9.00", charge="c", name="Tokens", labels={"feature_id": "f"})
    client.time.at = day(7, 2)
    first = await client.get("/transactions?page[size]=2")
    expired, consumed = first["data"]
    assert (expired["type"], expired["amount"], expired["name"]) == ("expired", "-16", "Expired credits")
    assert consumed == {
        "id": consumed["id"],
        "name": "Tokens",
        "labels": {"charge_id": "c", "feature_id": "f"},
        "created_at": "2025-06-05T00:00:00Z",
        "booked_at": "2025-06-05T00:00:00Z",
        "type": "consumed",
        "currency": "USD",
        "amount": "-9",
        "available_balance": {"before": "25", "after": "16"},
    }
    page = first["meta"]["page"]
    assert (page["size"], page["previous"]) == (2, None)
    second = await client.get(f"/transactions?page[size]=2&page[after]={page['next'].replace('+', '%2B')}")
    assert second["data"] == [
        {
            "id": grant["id"],
            "name": "Welcome",
            "description": "d",
            "labels": {"charge_id": grant["id"]},
            "created_at": "2025-06-01T00:00:00Z",
            "booked_at": "2025-06-01T00:00:00Z",
            "type": "funded",
            "currency": "USD",
            "amount": "25",
            "available_balance": {"before": "0", "after": "25"},
        }
    ]
    previous = second["meta"]["page"]["previous"].replace("+", "%2B")
    assert second["meta"]["page"]["next"] is None
    assert (await client.get(f"/transactions?page[size]=2&page[before]={previous}"))["data"] == first["data"]
    assert (await client.get("/transactions?filter[type]=consumed"))["data"] == [consumed]
    assert (await client.get("/transactions?filter[currency]=EUR"))["data"] == []


async def test_voiding(client: Client) -> None:
    grant = await client.post("/grants", {**GIFT, "amount": "80"})
    await client.story.collect("30.00")
    void = f"/grants/{grant['id']}/void"
    refused = await client.post(void, {"payment_adjustment": "refund"}, 400)
    issue = refused["extensions"]["validationErrors"][0]
    assert issue["code"] == "credit_grant_void_payment_adjustment_invalid"
    client.time.at = day(6, 3)
    voided = await client.post(void, None, 200)
    assert (voided["status"], voided["voided_at"]) == ("voided", "2025-06-03T00:00:00Z")
    client.time.at = day(6, 4)
    assert await client.post(void, {}, 200) == voided
    assert await client.get(f"/grants/{grant['id']}") == voided
    rows = (await client.get("/transactions"))["data"]
    assert [(row["type"], row["amount"]) for row in rows] == [("voided", "-50"), ("consumed", "-30"), ("funded", "80")]
    used = await client.post("/grants", {**GIFT, "amount": "5"})
    await client.story.collect("5.00")
    await client.post(f"/grants/{used['id']}/void", {}, 409)


async def test_adjustments_are_not_offered(client: Client) -> None:
    await client.post("/adjustments", {"name": "x", "currency": "USD", "amount": "1"}, 501)


async def test_a_server_without_credits_says_so(client: Client) -> None:
    client.app.state.services = replace(client.app.state.services, credits_enabled=False)
    await client.get("/balance", 501)
    await client.post("/grants", GIFT, 501)
