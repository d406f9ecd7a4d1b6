"""Subscriptions over HTTP (v3)."""

from typing import Any

import httpx
import pytest

from meterhouse.catalog import plans
from meterhouse.catalog.prices import UnitConversion
from meterhouse.customers.customer import Customer
from meterhouse.kernel.clock import FrozenClock
from meterhouse.kernel.db import Database
from tests.api.test_subscriptions import client, customer, metered, publish, sold, synced, time
from tests.catalog.builders import new_plan, phase, unit_card
from tests.subscriptions.conftest import Publish, at

__all__ = ["client", "customer", "metered", "publish", "sold", "synced", "time"]

PATH = "/api/v3/openmeter/subscriptions"
UNKNOWN = "01JNX8T0000000000000000001"


async def subscribe(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post(PATH, json={"customer": {"key": "acme"}, "plan": {"key": "ws_pro"}, **body})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_subscription_is_always_shown_whole(
    client: httpx.AsyncClient, customer: Customer, synced: list[Any]
) -> None:
    created = await subscribe(client, labels={"team": "x"}, settlement_mode="credit_only")
    assert (created["name"], created["labels"]) == ("ws_pro v1", {"team": "x"})
    assert (created["customer_id"], created["invoice_currency"]) == (customer.id, "USD")
    assert created["settlement_mode"] == "credit_only"
    assert created["plan"] == {"id": created["plan_id"], "key": "ws_pro", "version": 1}
    assert created["current_period"] == {"from": "2025-03-10T08:00:00Z", "to": "2025-03-24T08:00:00Z"}
    trial, full = created["phases"]
    assert [item["rate_card"]["key"] for item in trial["items"]] == ["api_calls", "seats"]
    usage, seats = (item["rate_card"] for item in trial["items"])
    assert (usage["price"], usage["currency"]) == ({"type": "unit", "amount": "0.1"}, "USD")
    assert usage["feature"]["id"]
    assert seats["price"] == {"type": "free"}
    assert "active_to" not in full
    assert synced == [(created["id"], None)]
    assert (await client.get(f"{PATH}/{created['id']}")).json() == created
    assert (await client.get(f"{PATH}/{UNKNOWN}")).status_code == 404
    assert (await client.get(f"{PATH}/nope")).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"customer": {}, "plan": {"key": "ws_pro"}}, 400),
        ({"customer": {"key": "acme"}, "plan": {}}, 400),
        ({"customer": {"key": "acme"}, "plan": {"id": UNKNOWN}}, 404),
        ({"customer": {"key": "nobody"}, "plan": {"key": "ws_pro"}}, 404),
        ({"customer": {"key": "acme"}, "plan": {"key": "ws_pro"}, "timing": "immediate"}, 400),
        ({"customer": {"key": "acme"}, "plan": {"key": "ws_pro"}, "labels": {"kick": "x"}}, 400),
    ],
)
async def test_refused_creations(client: httpx.AsyncClient, body: dict[str, Any], status: int) -> None:
    answer = await client.post(PATH, json=body)
    assert answer.status_code == status, answer.text


async def test_a_plan_version_by_id(client: httpx.AsyncClient, publish: Publish, time: FrozenClock) -> None:
    first = await subscribe(client)
    await client.post(f"{PATH}/{first['id']}/cancel", json={})
    await publish(phase(unit_card()), when=at("2025-03-01"))
    body = {"customer": {"key": "acme"}, "plan": {"id": first["plan_id"]}}
    archived = await client.post(PATH, json=body)
    assert (archived.status_code, archived.json()["detail"]) == (
        400,
        "validation error: plan is not active: ws_pro version 1",
    )
    time.at = at("2025-03-10T09")
    assert (await subscribe(client))["plan"]["version"] == 2


async def test_a_draft_does_not_stop_the_sale(client: httpx.AsyncClient, db: Database) -> None:
    async with db.write() as session:
        draft = await plans.create(session, "default", new_plan("ws_pro", [phase(unit_card())]))
    assert draft.version == 2
    assert (await subscribe(client))["plan"]["version"] == 1


async def test_cancel_and_take_it_back(client: httpx.AsyncClient, synced: list[Any]) -> None:
    path = f"{PATH}/{(await subscribe(client))['id']}"
    canceled = (await client.post(f"{path}/cancel", json={"timing": "next_billing_cycle"})).json()
    assert (canceled["status"], canceled["active_to"]) == ("canceled", "2025-03-24T08:00:00Z")
    assert synced[-1][1] == at("2025-03-24T08")
    assert (await client.post(f"{path}/cancel", json={})).status_code == 403
    resumed = (await client.post(f"{path}/unschedule-cancelation")).json()
    assert resumed["status"] == "active"
    assert "active_to" not in resumed


async def test_lists(client: httpx.AsyncClient, customer: Customer) -> None:
    first = await subscribe(client)
    await client.post(f"{PATH}/{first['id']}/cancel", json={"timing": "next_billing_cycle"})
    later = {"customerKey": "acme", "plan": {"key": "ws_pro"}, "timing": "2025-03-24T08:00:00Z"}
    second = (await client.post("/api/v1/subscriptions", json=later)).json()

    async def ids(query: str) -> list[str]:
        answer = await client.get(f"{PATH}?{query}")
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()["data"]]

    assert await ids("") == [first["id"], second["id"]]
    assert await ids("sort=active_from+desc") == [second["id"], first["id"]]
    assert await ids("filter[status]=canceled") == [first["id"]]
    assert await ids("filter[status][oeq]=scheduled,active") == [second["id"]]
    assert await ids(f"filter[customer_id]={UNKNOWN}") == []
    assert await ids(f"filter[customer_id]={customer.id}&filter[plan_key]=ws_pro") == [first["id"], second["id"]]
    assert await ids(f"filter[plan_id][neq]={first['plan_id']}") == []
    assert await ids(f"filter[id]={second['id']}") == [second["id"]]
    for wrong in ("filter[status]=paused", "filter[status][neq]=active", "sort=status"):
        assert (await client.get(f"{PATH}?{wrong}")).status_code == 400, wrong


async def test_a_unit_conversion_is_for_v3_only(client: httpx.AsyncClient, publish: Publish) -> None:
    conversion = UnitConversion(operation="divide", conversion_factor=1000)
    await publish(phase(unit_card(unit_conversion=conversion)), key="converted", when=at("2025-02-01"))
    created = await subscribe(client, plan={"key": "converted"})
    shown = created["phases"][0]["items"][0]["rate_card"]["unit_config"]
    assert shown == {"operation": "divide", "conversion_factor": "1000"}
    answer = await client.get(f"/api/v1/subscriptions/{created['id']}")
    assert answer.status_code == 400
    assert answer.json()["extensions"]["validationErrors"][0]["code"] == "unit_config_not_representable"
