"""Add-ons of subscriptions over HTTP, in both APIs."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from meterhouse.api.app import create_app
from meterhouse.api.services import Services
from meterhouse.catalog.addons import Addon, InstanceType
from meterhouse.catalog.prices import FlatPrice, UnitConversion
from meterhouse.kernel import clock
from meterhouse.kernel.clock import FrozenClock
from meterhouse.kernel.db import Database
from meterhouse.subscriptions.views import SubscriptionView
from tests.catalog.builders import flat_card, phase, unit_card
from tests.subscriptions.conftest import Subscribe, at, customer, metered, subscribe
from tests.subscriptions.offers import addon, plan_with

__all__ = ["customer", "metered", "subscribe"]

UNKNOWN = "01JNX8T0000000000000000001"


@pytest.fixture
def synced() -> list[str]:
    """The subscriptions that billing was told of."""
    return []


@pytest.fixture
async def client(db: Database, synced: list[str]) -> AsyncIterator[httpx.AsyncClient]:
    async def changed(namespace: str, subscription_id: str, as_of: object) -> None:
        synced.append(subscription_id)

    app = create_app(Services(db=db, namespace="default", subscription_changed=changed), max_body_bytes=1_000_000)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture
async def offered(db: Database, metered: None) -> dict[str, Addon]:
    """Two add-ons of seats, one in any quantity, one that converts units; and a third that no plan offers."""
    thirty = flat_card(price=FlatPrice(amount=Decimal(30)))
    conversion = UnitConversion(operation="divide", conversion_factor=Decimal(1000), rounding="ceiling")
    made = {
        "seats": await addon(db, "extra_seats", thirty, flat_card("support")),
        "calls": await addon(
            db, "extra_calls", unit_card(unit_conversion=conversion), instance_type=InstanceType.SINGLE
        ),
        "stranger": await addon(db, "stranger", thirty),
    }
    plan = phase(flat_card(price=FlatPrice(amount=Decimal(100))), unit_card(price=None))
    await plan_with(db, [plan], made["seats"], made["calls"])
    return made


@pytest.fixture
async def sold(offered: dict[str, Addon], subscribe: Subscribe) -> SubscriptionView:
    return await subscribe("2025-04-01")


@pytest.fixture(autouse=True)
def time(sold: SubscriptionView) -> Iterator[FrozenClock]:
    with clock.frozen(at("2025-04-10")) as frozen:
        yield frozen


def v1(sold: SubscriptionView) -> str:
    return f"/api/v1/subscriptions/{sold.id}/addons"


def v3(sold: SubscriptionView) -> str:
    return f"/api/v3/openmeter/subscriptions/{sold.id}/addons"


def extension(sold: SubscriptionView) -> str:
    return f"/api/v3/meterhouse/subscriptions/{sold.id}/addons"


def wish(bought: Addon, quantity: Any = 2, timing: Any = "immediate", **members: Any) -> dict[str, Any]:
    return {"addon": {"id": bought.id}, "quantity": quantity, "timing": timing, **members}


async def test_v1_takes_raises_and_drops(
    client: httpx.AsyncClient, sold: SubscriptionView, offered: dict[str, Addon], synced: list[str], time: FrozenClock
) -> None:
    seats = offered["seats"]
    answer = await client.post(v1(sold), json=wish(seats, name="mine", metadata={"a": "b"}))
    assert answer.status_code == 201, answer.text
    made = answer.json()
    day = "2025-04-10T00:00:00Z"
    ids = [[one] for card in made["rateCards"] for one in card["affectedSubscriptionItemIds"]]
    assert len(ids) == 2
    assert made == {
        "id": made["id"],
        "name": "The extra_seats",
        "metadata": {"a": "b"},
        "createdAt": day,
        "updatedAt": day,
        "subscriptionId": sold.id,
        "addon": {"id": seats.id, "key": "extra_seats", "version": 1, "instanceType": "multiple"},
        "activeFrom": day,
        "quantity": 2,
        "quantityAt": day,
        "timeline": [{"activeFrom": day, "quantity": 2}],
        "rateCards": [
            {"rateCard": card["rateCard"], "affectedSubscriptionItemIds": affected}
            for card, affected in zip(made["rateCards"], ids, strict=True)
        ],
    }
    assert made["rateCards"][0]["rateCard"]["price"] == {"type": "flat", "amount": "30", "paymentTerm": "in_advance"}
    shown = (await client.get(f"/api/v1/subscriptions/{sold.id}")).json()["phases"][0]
    assert {item["key"]: item["price"] and item["price"]["amount"] for item in shown["items"]} == {
        "api_calls": None,
        "seats": "160",
        "support": "20",
    }
    one = f"{v1(sold)}/{made['id']}"
    raised = await client.patch(one, json={"quantity": 3, "timing": "2025-04-20T10:00:00+02:00", "name": "x"})
    assert raised.status_code == 200, raised.text
    assert (raised.json()["quantity"], raised.json()["name"]) == (2, "The extra_seats")
    # The same add-on again only changes how many there are, and may take it away.
    dropped = await client.post(v1(sold), json=wish(seats, 0, "next_billing_cycle", name="mine"))
    assert dropped.status_code == 201
    assert dropped.json()["timeline"] == [
        {"activeFrom": day, "activeTo": "2025-04-20T08:00:00Z", "quantity": 2},
        {"activeFrom": "2025-04-20T08:00:00Z", "activeTo": "2025-05-01T00:00:00Z", "quantity": 3},
        {"activeFrom": "2025-05-01T00:00:00Z", "quantity": 0},
    ]
    assert synced == [sold.id] * 3
    time.at = at("2025-05-02")
    now = (await client.get(one)).json()
    assert (now["quantity"], now["quantityAt"]) == (0, "2025-05-02T00:00:00Z")
    assert (await client.get(v1(sold))).json() == [now]


async def test_the_extension_changes_what_only_v3_shows(
    client: httpx.AsyncClient, sold: SubscriptionView, offered: dict[str, Addon], synced: list[str], time: FrozenClock
) -> None:
    made = (await client.post(v3(sold), json=wish(offered["calls"], 1))).json()
    one = f"{extension(sold)}/{made['id']}"
    # Both refusals of the ways that do not go lead here.
    again = await client.post(v3(sold), json=wish(offered["calls"], 1))
    assert (again.status_code, f"PATCH {one} changes its quantity" in again.json()["detail"]) == (409, True)
    change = {"quantity": 0, "timing": "2025-04-20T10:00:00+02:00"}
    refused = await client.patch(f"{v1(sold)}/{made['id']}", json=change)
    assert (refused.status_code, f"PATCH {extension(sold)}/{{" in refused.json()["detail"]) == (400, True)
    synced.clear()
    dropped = await client.patch(one, json=change)
    assert dropped.status_code == 200, dropped.text
    assert dropped.json()["timeline"] == [
        {"active_from": "2025-04-10T00:00:00Z", "active_to": "2025-04-20T08:00:00Z", "quantity": 1},
        {"active_from": "2025-04-20T08:00:00Z", "quantity": 0},
    ]
    assert synced == [sold.id]
    assert (await client.get(f"{v3(sold)}/{made['id']}")).json() == dropped.json()
    seats = (await client.post(v3(sold), json=wish(offered["seats"], 2))).json()
    raised = await client.patch(
        f"{extension(sold)}/{seats['id']}", json={"quantity": 5, "timing": "next_billing_cycle"}
    )
    assert [segment["quantity"] for segment in raised.json()["timeline"]] == [2, 5]
    time.at = at("2025-05-02")
    assert (await client.get(f"{v3(sold)}/{seats['id']}")).json()["quantity"] == 5


async def test_the_extension_refuses_what_is_wrong(
    client: httpx.AsyncClient, sold: SubscriptionView, offered: dict[str, Addon], synced: list[str]
) -> None:
    made = (await client.post(v3(sold), json=wish(offered["seats"], 2))).json()
    synced.clear()
    one, good = f"{extension(sold)}/{made['id']}", {"quantity": 1, "timing": "immediate"}
    wrong = [{"quantity": 1}, {"timing": "immediate"}, {**good, "name": "mine"}]
    wrong += [{**good, **members} for members, _ in HOSTILE if {"quantity", "timing"} & set(members)]
    for body in wrong:
        answer = await client.patch(one, json=body)
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), body
    for path in (one.replace(sold.id, UNKNOWN), f"{extension(sold)}/{UNKNOWN}"):
        assert (await client.patch(path, json=good)).status_code == 404
    assert synced == []
    assert (await client.get(f"{v3(sold)}/{made['id']}")).json() == made
    assert (await client.post(f"/api/v1/subscriptions/{sold.id}/cancel", json={})).status_code == 200
    assert (await client.patch(one, json=good)).status_code == 403


async def test_v3_takes_lists_and_shows(
    client: httpx.AsyncClient, sold: SubscriptionView, offered: dict[str, Addon], synced: list[str]
) -> None:
    assert (await client.get(v3(sold))).json() == {"data": [], "meta": {"page": {"number": 1, "size": 20, "total": 0}}}
    answer = await client.post(v3(sold), json=wish(offered["seats"], 2, "next_billing_cycle", labels={"team": "x"}))
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made == {
        "id": made["id"],
        "labels": {"team": "x"},
        "name": "The extra_seats",
        "created_at": "2025-04-10T00:00:00Z",
        "updated_at": "2025-04-10T00:00:00Z",
        "addon": {"id": offered["seats"].id},
        "quantity": 0,
        "quantity_at": "2025-04-10T00:00:00Z",
        "active_from": "2025-05-01T00:00:00Z",
        "timeline": [{"active_from": "2025-05-01T00:00:00Z", "quantity": 2}],
        "rate_cards": made["rate_cards"],
    }
    assert [len(card["affected_subscription_item_ids"]) for card in made["rate_cards"]] == [1, 1]
    assert made["rate_cards"][0]["rate_card"]["price"] == {"type": "flat", "amount": "30"}
    other = (await client.post(v3(sold), json=wish(offered["calls"], 1))).json()
    assert other["rate_cards"][0]["rate_card"]["unit_config"]["conversion_factor"] == "1000"
    assert synced == [sold.id] * 2
    assert (await client.get(f"{v3(sold)}/{made['id']}")).json() == made
    assert (await client.get(f"{v3(sold)}/{UNKNOWN}")).status_code == 404
    assert (await client.get(f"{v3(sold).replace(sold.id, UNKNOWN)}/{made['id']}")).status_code == 404
    listed = (await client.get(v3(sold), params={"sort": "id desc", "page[size]": 1, "page[number]": 2})).json()
    assert listed == {"data": [made], "meta": {"page": {"number": 2, "size": 1, "total": 2}}}
    assert (await client.get(v3(sold), params={"sort": "quantity"})).status_code == 400
    assert (await client.get(v3(sold).replace(sold.id, UNKNOWN))).status_code == 404
    # v1 shows neither.
    for answer in [await client.get(path) for path in (v1(sold), f"{v1(sold)}/{other['id']}")]:
        assert answer.status_code == 400
        assert codes(answer) == ["unit_config_not_representable"]
    change = {"quantity": 0, "timing": "immediate"}
    assert codes(await client.patch(f"{v1(sold)}/{other['id']}", json=change)) == ["unit_config_not_representable"]
    assert (await client.get(f"{v3(sold)}/{other['id']}")).json() == other


def codes(answer: httpx.Response) -> list[str]:
    return [one["code"] for one in answer.json()["extensions"]["validationErrors"]]


HOSTILE: list[tuple[dict[str, Any], int]] = [
    ({}, 400),
    ({"quantity": -1}, 400),
    ({"quantity": 10**400}, 400),
    ({"quantity": 10**18}, 400),
    ({"quantity": 1.5}, 400),
    ({"quantity": None}, 400),
    ({"timing": "whenever"}, 400),
    ({"timing": "0001-01-01T00:00:00Z"}, 400),
    ({"timing": "9999-12-31T23:59:59Z"}, 400),
    ({"timing": "2025-03-31T23:59:59Z"}, 400),
    ({"timing": 5}, 400),
    ({"timing": None}, 400),
    ({"addon": None}, 400),
    ({"addon": {"id": "nope"}}, 400),
    ({"addon": {"id": UNKNOWN}}, 404),
    ({"name": "\x00"}, 400),
]


async def test_wrong_wishes_are_refused(
    client: httpx.AsyncClient, sold: SubscriptionView, offered: dict[str, Addon]
) -> None:
    good = wish(offered["seats"])
    for members, status in HOSTILE:
        for path, body in ((v1(sold), {**good, "name": "n", **members}), (v3(sold), {**good, **members})):
            answer = await client.post(path, json=body if members else {})
            assert answer.status_code == status, (path, members, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
    assert (await client.get(v3(sold))).json()["data"] == []


async def test_refusals_say_where_and_why(
    client: httpx.AsyncClient, sold: SubscriptionView, offered: dict[str, Addon], time: FrozenClock
) -> None:
    for one, quantity, field in (
        ("stranger", 1, "$.addon.id"),
        ("calls", 2, "$.quantity"),
        ("seats", 1_000_000_001, "$.quantity"),
    ):
        for path in (v1(sold), v3(sold)):
            answer = await client.post(
                path, json=wish(offered[one], quantity, **({"name": "n"} if "v1" in path else {}))
            )
            assert answer.status_code == 400
            assert [issue["field"] for issue in answer.json()["extensions"]["validationErrors"]] == [field]
    assert (await client.post(v1(sold), json=wish(offered["seats"], 0, name="n"))).status_code == 400
    assert (await client.post(v3(sold), json=wish(offered["seats"], 0))).status_code == 400
    made = (await client.post(v3(sold), json=wish(offered["seats"]))).json()
    again = await client.post(v3(sold), json=wish(offered["seats"]))
    assert (again.status_code, made["id"] in again.text) == (409, True)
    one = f"{v1(sold)}/{made['id']}"
    for body in ({}, {"quantity": 1}, {"timing": "immediate"}, {"quantity": -1, "timing": "immediate"}):
        assert (await client.patch(one, json=body)).status_code == 400, body
    change = {"quantity": 1, "timing": "immediate"}
    assert (await client.patch(one.replace(sold.id, UNKNOWN), json=change)).status_code == 404
    assert (await client.patch(f"{v1(sold)}/{UNKNOWN}", json=change)).status_code == 404
    edit = {"timing": "immediate", "customizations": [{"op": "unschedule_edit"}]}
    answer = await client.patch(f"/api/v1/subscriptions/{sold.id}", json=edit)
    assert (answer.status_code, "with addons cannot be edited" in answer.text) == (403, True)
    assert (await client.post(f"/api/v1/subscriptions/{sold.id}/cancel", json={})).status_code == 200
    assert (await client.patch(one, json=change)).status_code == 403
    assert (await client.post(v3(sold), json=wish(offered["calls"], 1))).status_code == 403
    assert (await client.get(one)).status_code == 200


async def test_a_custom_plan_has_no_addons(
    client: httpx.AsyncClient, sold: SubscriptionView, offered: dict[str, Addon]
) -> None:
    cancel = await client.post(f"/api/v1/subscriptions/{sold.id}/cancel", json={})
    assert cancel.status_code == 200
    seats = {"type": "flat_fee", "key": "seats", "name": "Seats", "billingCadence": "P1M", "price": None}
    main = {"key": "main", "name": "Main", "duration": None, "rateCards": [seats]}
    plan = {"name": "Own", "currency": "USD", "billingCadence": "P1M", "phases": [main]}
    made = await client.post("/api/v1/subscriptions", json={"customerKey": "acme", "customPlan": plan})
    assert made.status_code == 201, made.text
    path = f"/api/v3/openmeter/subscriptions/{made.json()['id']}/addons"
    answer = await client.post(path, json=wish(offered["seats"]))
    assert (answer.status_code, "plan of its own" in answer.text) == (400, True)


async def test_many_at_once(client: httpx.AsyncClient, sold: SubscriptionView, offered: dict[str, Addon]) -> None:
    body = wish(offered["seats"])
    answers = await asyncio.gather(*(client.post(v3(sold), json=body) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5
    made = next(answer.json() for answer in answers if answer.status_code == 201)
    one = f"{v1(sold)}/{made['id']}"
    changes = [{"quantity": quantity, "timing": "immediate"} for quantity in range(6)]
    answers = await asyncio.gather(*(client.patch(one, json=change) for change in changes))
    assert {answer.status_code for answer in answers} == {200}
    shown = (await client.get(f"{v3(sold)}/{made['id']}")).json()
    assert len(shown["timeline"]) == 7
    seats = (await client.get(f"/api/v1/subscriptions/{sold.id}")).json()["phases"][0]["items"][1]
    assert Decimal(seats["price"]["amount"]) == 100 + 30 * shown["quantity"]
