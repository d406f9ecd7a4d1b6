"""Subscriptions over HTTP (v1)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from meterhouse.api.app import create_app
from meterhouse.api.services import Services
from meterhouse.catalog.ratecards import MeteredEntitlementTemplate
from meterhouse.customers.customer import Customer
from meterhouse.kernel import clock
from meterhouse.kernel.clock import FrozenClock
from meterhouse.kernel.db import Database
from meterhouse.kernel.periods import Duration
from meterhouse.subscriptions import service
from tests.catalog.builders import flat_card, phase, unit_card
from tests.subscriptions.conftest import Publish, at, customer, metered, publish

__all__ = ["customer", "metered", "publish"]

PATH = "/api/v1/subscriptions"
UNKNOWN = "01JNX8T0000000000000000001"


@pytest.fixture
def synced() -> list[tuple[str, datetime | None]]:
    """What billing was told: ids of subscriptions and up to when."""
    return []


@pytest.fixture
async def client(db: Database, synced: list[tuple[str, datetime | None]]) -> AsyncIterator[httpx.AsyncClient]:
    async def changed(namespace: str, subscription_id: str, as_of: datetime | None) -> None:
        async with db.read() as session:
            # It is called after the commit, so the change can be seen from outside.
            await service.load(session, namespace, subscription_id, include_deleted=True)
        synced.append((subscription_id, as_of))

    app = create_app(Services(db=db, namespace="default", subscription_changed=changed), max_body_bytes=1_000_000)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture
def time() -> Iterator[FrozenClock]:
    with clock.frozen(at("2025-03-10T08")) as frozen:
        yield frozen


@pytest.fixture(autouse=True)
async def sold(time: FrozenClock, publish: Publish, customer: Customer) -> None:
    """A plan of two phases and a customer."""
    await publish(
        phase(flat_card(price=None), unit_card(), key="trial", duration="P2W"), phase(unit_card(), key="full")
    )


async def subscribe(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post(PATH, json={"customerKey": "acme", "plan": {"key": "ws_pro"}, **body})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_create_answers_the_plain_subscription(
    client: httpx.AsyncClient, synced: list[tuple[str, datetime | None]], customer: Customer
) -> None:
    created = await subscribe(client, metadata={"a": "b"})
    assert created["status"] == "active"
    assert created["activeFrom"] == "2025-03-10T08:00:00Z"
    assert "activeTo" not in created
    assert created["customerId"] == customer.id
    assert (created["plan"]["key"], created["plan"]["version"]) == ("ws_pro", 1)
    assert created["currency"] == "USD"
    assert created["billingCadence"] == "P1M"
    assert created["billingAnchor"] == "2025-03-10T08:00:00Z"
    assert created["settlementMode"] == "credit_then_invoice"
    assert created["proRatingConfig"] == {"enabled": True, "mode": "prorate_prices"}
    assert (created["costBasisMode"], created["costBasisPins"]) == ("dynamic", [])
    assert created["alignment"] == {"billablesMustAlign": True}
    assert created["metadata"] == {"a": "b"}
    assert "phases" not in created
    assert "annotations" not in created
    assert synced == [(created["id"], None)]


async def test_the_cost_basis_mode_is_kept(client: httpx.AsyncClient) -> None:
    body = {"customerKey": "acme", "plan": {"key": "ws_pro"}, "costBasisMode": "pinned"}
    refused = await client.post(PATH, json={**body, "settlementMode": "credit_only"})
    assert refused.status_code == 400
    assert refused.json()["extensions"]["validationErrors"][0]["field"] == "$.costBasisMode"
    created = (await client.post(PATH, json=body)).json()
    assert created["costBasisMode"] == "pinned"
    changed = await client.post(f"{PATH}/{created['id']}/change", json={"timing": "immediate", "plan": body["plan"]})
    assert (changed.json()["current"]["costBasisMode"], changed.json()["next"]["costBasisMode"]) == (
        "pinned",
        "dynamic",
    )


async def test_get_shows_the_whole_schedule(client: httpx.AsyncClient, time: FrozenClock) -> None:
    created = await subscribe(client, billingAnchor="2025-01-01T01:00:00+01:00")
    shown = (await client.get(f"{PATH}/{created['id']}")).json()
    period = {"from": "2025-03-10T08:00:00Z", "to": "2025-03-24T08:00:00Z"}
    assert shown["alignment"] == {"billablesMustAlign": True, "currentAlignedBillingPeriod": period}
    trial, full = shown["phases"]
    assert (trial["key"], trial["activeFrom"], trial["activeTo"]) == ("trial", *period.values())
    assert "activeTo" not in full
    usage, seats = trial["items"]
    assert (usage["key"], usage["currency"], usage["billingCadence"]) == ("api_calls", "USD", "P1M")
    assert usage["price"] == {"type": "unit", "amount": "0.1"}
    assert usage["included"]["feature"]["key"] == "api_calls"
    assert (seats["key"], seats["price"]) == ("seats", None)
    assert "included" not in seats
    assert list(trial["itemTimelines"]) == ["api_calls", "seats"]
    assert trial["itemTimelines"]["api_calls"] == [usage]
    assert usage["createdAt"] == "2025-03-10T08:00:00Z"
    assert (await client.get(f"{PATH}/{created['id']}?at=2025-03-10T08:00:00Z")).status_code == 501
    assert (await client.get(f"{PATH}/{UNKNOWN}")).status_code == 404
    assert (await client.get(f"{PATH}/nope")).status_code == 400


async def test_an_item_shows_the_entitlement_it_gives(client: httpx.AsyncClient, publish: Publish) -> None:
    template = MeteredEntitlementTemplate(issue_after_reset=Decimal(100), usage_period=Duration(months=1))
    calls = unit_card(entitlement_template=template)
    await publish(phase(calls, key="trial", duration="P2W"), phase(calls, key="full"), when=at("2025-03-09"))
    created = await subscribe(client)
    trial, full = (await client.get(f"{PATH}/{created['id']}")).json()["phases"]
    given = [phase["items"][0]["included"]["entitlement"] for phase in (trial, full)]
    assert [(one["activeFrom"], one.get("activeTo")) for one in given] == [
        ("2025-03-10T08:00:00Z", "2025-03-24T08:00:00Z"),
        ("2025-03-24T08:00:00Z", None),
    ]
    for one in given:
        assert (one["type"], one["featureKey"], one["issueAfterReset"]) == ("metered", "api_calls", 100)
        assert one["annotations"] == {"subscription.id": created["id"]}
    assert given[0]["id"] != given[1]["id"]


async def test_cancel_and_take_it_back(
    client: httpx.AsyncClient, time: FrozenClock, synced: list[tuple[str, datetime | None]]
) -> None:
    created = await subscribe(client)
    path = f"{PATH}/{created['id']}"
    canceled = await client.post(f"{path}/cancel", json={"timing": "next_billing_cycle"})
    assert canceled.status_code == 200
    assert (canceled.json()["status"], canceled.json()["activeTo"]) == ("canceled", "2025-03-24T08:00:00Z")
    assert synced[-1] == (created["id"], at("2025-03-24T08"))
    assert (await client.post(f"{path}/cancel", json={})).status_code == 403
    resumed = await client.post(f"{path}/unschedule-cancelation")
    assert (resumed.status_code, resumed.json()["status"]) == (200, "active")
    assert "activeTo" not in resumed.json()
    assert synced[-1] == (created["id"], None)
    assert (await client.post(f"{path}/unschedule-cancelation")).status_code == 403
    for timing in ("whenever", "2025-04-01T00:00:00Z", 5):
        assert (await client.post(f"{path}/cancel", json={"timing": timing})).status_code == 400, timing
    time.at = at("2025-03-12")
    ended = await client.post(f"{path}/cancel", json={})
    assert (ended.json()["status"], ended.json()["activeTo"]) == ("inactive", "2025-03-12T00:00:00Z")
    assert (await client.delete(path)).status_code == 403


async def test_delete_a_scheduled_one(client: httpx.AsyncClient, synced: list[tuple[str, datetime | None]]) -> None:
    created = await subscribe(client, timing="2025-06-01T00:00:00Z")
    assert created["status"] == "scheduled"
    assert (await client.delete(f"{PATH}/{created['id']}")).status_code == 204
    assert synced[-1] == (created["id"], None)
    assert (await client.delete(f"{PATH}/{created['id']}")).status_code == 404
    assert (await client.get(f"{PATH}/{created['id']}")).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"customerKey": "acme"}, 400),
        ({"plan": {"key": "ws_pro"}}, 400),
        ({"customerKey": "nobody", "plan": {"key": "ws_pro"}}, 404),
        ({"customerKey": "acme", "plan": {"key": "unknown"}}, 404),
        ({"customerKey": "acme", "plan": {"key": "ws_pro", "version": 7}}, 400),
        ({"customerKey": "acme", "plan": {"key": "ws_pro", "version": 10**14}}, 400),
        ({"customerKey": "acme", "plan": {"key": "ws_pro"}, "timing": "next_billing_cycle"}, 400),
        ({"customerKey": "acme", "plan": {"key": "ws_pro"}, "timing": "2025-03-10T07:00:00Z"}, 400),
        ({"customerKey": "acme", "plan": {"key": "ws_pro"}, "timing": "9999-12-31T23:59:59Z"}, 400),
        ({"customerKey": "acme", "plan": {"key": "ws_pro"}, "startingPhase": "gold"}, 400),
        ({"customerKey": "acme", "plan": {"key": "ws_pro"}, "settlementMode": "free"}, 400),
        ({"customerId": UNKNOWN, "customerKey": "acme", "plan": {"key": "ws_pro"}}, 404),
        ({"customerKey": "acme", "customPlan": {"name": "x"}}, 400),
    ],
)
async def test_refused_creations(client: httpx.AsyncClient, body: dict[str, Any], status: int) -> None:
    answer = await client.post(PATH, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


CUSTOM = {
    "name": "Bespoke",
    "currency": "USD",
    "billingCadence": "P1M",
    "settlementMode": "credit_only",
    "phases": [
        {
            "key": "only",
            "name": "Only",
            "duration": None,
            "rateCards": [
                {
                    "type": "usage_based",
                    "key": "api_calls",
                    "name": "Calls",
                    "featureKey": "api_calls",
                    "billingCadence": "P1M",
                    "price": {"type": "unit", "amount": "0.5"},
                }
            ],
        }
    ],
}


async def test_a_custom_plan(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, json={"customerKey": "acme", "customPlan": CUSTOM})
    assert answer.status_code == 201, answer.text
    assert (answer.json()["name"], answer.json()["settlementMode"]) == ("Bespoke", "credit_only")
    assert "plan" not in answer.json()


async def test_issues_of_a_custom_plan_are_listed(client: httpx.AsyncClient) -> None:
    card = {**CUSTOM["phases"][0]["rateCards"][0], "billingCadence": "P1W"}  # type: ignore[index]
    plan = {**CUSTOM, "phases": [{**CUSTOM["phases"][0], "rateCards": [card]}]}  # type: ignore[dict-item]
    answer = await client.post(PATH, json={"customerKey": "acme", "customPlan": plan})
    assert answer.status_code == 400
    issues = answer.json()["extensions"]["validationErrors"]
    assert [issue["code"] for issue in issues] == ["rate_card_billing_cadence_unaligned"]


async def test_simultaneous_creates_give_one_201(client: httpx.AsyncClient) -> None:
    body = {"customerKey": "acme", "plan": {"key": "ws_pro"}}
    answers = await asyncio.gather(*(client.post(PATH, json=body) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
    refused = next(answer.json() for answer in answers if answer.status_code == 409)
    codes = [issue["code"] for issue in refused["extensions"]["validationErrors"]]
    assert codes == ["only_single_subscription_allowed_per_customer_at_a_time"] * 2


async def test_subscriptions_of_a_customer(client: httpx.AsyncClient, time: FrozenClock, customer: Customer) -> None:
    first = await subscribe(client)
    await client.post(f"{PATH}/{first['id']}/cancel", json={"timing": "next_billing_cycle"})
    second = await subscribe(client, timing="2025-03-24T08:00:00Z")
    path = "/api/v1/customers/acme/subscriptions"

    async def ids(query: str = "") -> list[str]:
        answer = await client.get(path + query)
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()["items"]]

    whole = (await client.get(path)).json()
    assert (whole["page"], whole["pageSize"], whole["totalCount"]) == (0, 0, 2)
    assert await ids() == [second["id"], first["id"]]
    assert await ids("?order=ASC") == [first["id"], second["id"]]
    assert await ids("?status=canceled&status=active") == [first["id"]]
    assert await ids("?status=scheduled") == [second["id"]]
    assert await ids("?page=2&pageSize=1") == [first["id"]]
    assert (await client.get(path + "?status=paused")).status_code == 400
    assert (await client.get("/api/v1/customers/nobody/subscriptions")).status_code == 404

    shown = (await client.get("/api/v1/customers/acme")).json()
    assert shown["currentSubscriptionId"] == first["id"]
    assert [item["id"] for item in shown["subscriptions"]] == [first["id"]]
    assert shown["currency"] == "USD"
    assert "currentSubscriptionId" not in (await client.get("/api/v1/customers/acme?expand=")).json()
    listed = (await client.get("/api/v1/customers?planKey=ws_pro")).json()["items"]
    assert [item["currentSubscriptionId"] for item in listed] == [first["id"]]
    third = (await client.get("/api/v3/openmeter/customers?filter[plan_key]=ws_pro")).json()
    assert [item["id"] for item in third["data"]] == [customer.id]
    assert (await client.delete("/api/v1/customers/acme")).status_code == 400
    await client.delete(f"{PATH}/{second['id']}")
    time.at = at("2025-04-01")
    assert (await client.get("/api/v1/customers/acme")).json()["subscriptions"] == []
    assert (await client.delete("/api/v1/customers/acme")).status_code == 204
    answer = await client.post(PATH, json={"customerId": customer.id, "plan": {"key": "ws_pro"}})
    assert answer.status_code == 412
