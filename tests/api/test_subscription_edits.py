"""Editing, changing, migrating and restoring subscriptions over HTTP (v1)."""

import asyncio
from datetime import datetime
from typing import Any

import httpx
import pytest

from meterhouse.catalog.prices import UnitConversion
from meterhouse.kernel.clock import FrozenClock
from tests.api.test_subscriptions import (
    CUSTOM,
    PATH,
    UNKNOWN,
    client,
    customer,
    metered,
    publish,
    sold,
    subscribe,
    synced,
    time,
)
from tests.catalog.builders import flat_card, phase, unit_card
from tests.subscriptions.conftest import Publish, at

__all__ = ["client", "customer", "metered", "publish", "sold", "synced", "time"]

# The plan `ws_pro` has the phase `trial` for two weeks from 10 March 08:00 and then `full`, which is open-ended.
Synced = list[tuple[str, datetime | None]]


def fee(key: str = "support", amount: str = "9.50", cadence: str | None = "P1M") -> dict[str, Any]:
    price = {"type": "flat", "amount": amount, "paymentTerm": "in_advance"}
    return {"type": "flat_fee", "key": key, "name": key, "billingCadence": cadence, "price": price}


def added(phase_key: str, **card: Any) -> dict[str, Any]:
    return {"op": "add_item", "phaseKey": phase_key, "rateCard": fee(**card)}


def promo(start: str | None = "P1M", **more: Any) -> dict[str, Any]:
    return {"op": "add_phase", "phase": {"key": "promo", "name": "Promotion", "startAfter": start, **more}}


async def edit(client: httpx.AsyncClient, subscription: str, *operations: Any, **members: Any) -> httpx.Response:
    return await client.patch(f"{PATH}/{subscription}", json={"customizations": list(operations), **members})


async def shape(client: httpx.AsyncClient, subscription: str) -> list[tuple[str, str, dict[str, list[str]]]]:
    """Return key and start of each phase, and of each item the starts of its versions."""
    shown = (await client.get(f"{PATH}/{subscription}")).json()
    return [
        (
            one["key"],
            one["activeFrom"].removesuffix("T08:00:00Z"),
            {key: [item["activeFrom"][5:10] for item in items] for key, items in one["itemTimelines"].items()},
        )
        for one in shown["phases"]
    ]


BOTH: dict[str, list[str]] = {"api_calls": ["03-10"], "seats": ["03-10"]}
FULL: dict[str, list[str]] = {"api_calls": ["03-24"]}


@pytest.mark.parametrize(
    ("operations", "timing", "expected"),
    [
        (
            [added("trial"), added("trial", key="seats")],
            "immediate",
            [
                ("trial", "2025-03-10", {"api_calls": ["03-10"], "seats": ["03-10", "03-12"], "support": ["03-12"]}),
                ("full", "2025-03-24", FULL),
            ],
        ),
        (
            [added("full")],
            None,
            [("trial", "2025-03-10", BOTH), ("full", "2025-03-24", {**FULL, "support": ["03-24"]})],
        ),
        (
            [{"op": "remove_item", "phaseKey": "full", "itemKey": "api_calls"}, added("full")],
            None,
            [("trial", "2025-03-10", BOTH), ("full", "2025-03-24", {"support": ["03-24"]})],
        ),
        (
            [promo("P1W", duration="P1W"), added("promo")],
            None,
            [
                ("trial", "2025-03-10", BOTH),
                ("promo", "2025-03-17", {"support": ["03-17"]}),
                ("full", "2025-03-24", FULL),
            ],
        ),
        (
            [promo("P1M", discounts={"percentage": {"percentage": 10}}, description="x"), added("promo")],
            None,
            [
                ("trial", "2025-03-10", BOTH),
                ("full", "2025-03-24", FULL),
                ("promo", "2025-04-10", {"support": ["04-10"]}),
            ],
        ),
        ([{"op": "remove_phase", "phaseKey": "full", "shift": "next"}], None, [("trial", "2025-03-10", BOTH)]),
        (
            [{"op": "stretch_phase", "phaseKey": "trial", "extendBy": "P1M"}],
            None,
            [("trial", "2025-03-10", BOTH), ("full", "2025-04-24", {"api_calls": ["04-24"]})],
        ),
        (
            [{"op": "stretch_phase", "phaseKey": "trial", "extendBy": "-P1W"}],
            None,
            [("trial", "2025-03-10", BOTH), ("full", "2025-03-17", {"api_calls": ["03-17"]})],
        ),
        ([{"op": "unschedule_edit"}], None, [("trial", "2025-03-10", BOTH), ("full", "2025-03-24", FULL)]),
    ],
)
async def test_every_patch(
    client: httpx.AsyncClient,
    time: FrozenClock,
    synced: Synced,
    operations: list[Any],
    timing: str | None,
    expected: list[Any],
) -> None:
    subscription = (await subscribe(client))["id"]
    time.at = at("2025-03-12T08")
    answer = await edit(client, subscription, *operations, **({"timing": timing} if timing else {}))
    assert answer.status_code == 200, answer.text
    assert (answer.json()["id"], answer.json()["status"]) == (subscription, "active")
    assert answer.json()["updatedAt"] == "2025-03-12T08:00:00Z"
    assert "phases" not in answer.json()
    assert await shape(client, subscription) == expected
    assert synced[-1] == (subscription, None)


async def test_versions_of_one_second_show_their_own_entitlements(client: httpx.AsyncClient, time: FrozenClock) -> None:
    def calls(amount: int | None) -> dict[str, Any]:
        template = {"type": "metered", "issueAfterReset": amount, "usagePeriod": "P1M"}
        card = {"type": "usage_based", "key": "api_calls", "name": "Calls", "featureKey": "api_calls"}
        more = {"entitlementTemplate": template} if amount is not None else {}
        return {
            "op": "add_item",
            "phaseKey": "trial",
            "rateCard": {**card, "billingCadence": "P1M", "price": None, **more},
        }

    subscription = (await subscribe(client))["id"]
    for moment, amount in (("00.2", 1000), ("00.4", None), ("00.6", 2000), ("00.8", 3000)):
        time.at = at(f"2025-03-12T08:00:{moment}")
        assert (await edit(client, subscription, calls(amount))).status_code == 200
    trial = (await client.get(f"{PATH}/{subscription}")).json()["phases"][0]

    def shown(item: dict[str, Any]) -> Any:
        entitlement = item["included"].get("entitlement")
        if entitlement is None:
            return None
        assert (entitlement["activeFrom"], entitlement.get("activeTo")) == (item["activeFrom"], item.get("activeTo"))
        return entitlement["issueAfterReset"]

    assert [shown(item) for item in trial["itemTimelines"]["api_calls"]] == [None, 1000, None, 2000, 3000]
    assert [shown(item) for item in trial["items"] if item["key"] == "api_calls"] == [3000]


async def test_the_next_billing_cycle(client: httpx.AsyncClient, time: FrozenClock) -> None:
    subscription = (await subscribe(client))["id"]
    remove = {"op": "remove_item", "phaseKey": "full", "itemKey": "api_calls"}
    assert (await edit(client, subscription, remove, timing="next_billing_cycle")).status_code == 400
    time.at = at("2025-04-01")
    answer = await edit(client, subscription, remove, added("full"), timing="next_billing_cycle")
    assert answer.status_code == 200, answer.text
    shown = (await client.get(f"{PATH}/{subscription}")).json()["phases"][1]
    assert [item["key"] for item in shown["items"]] == ["api_calls"]
    assert shown["itemTimelines"]["api_calls"][0]["activeTo"] == "2025-04-10T08:00:00Z"
    assert shown["itemTimelines"]["support"][0]["activeFrom"] == "2025-04-10T08:00:00Z"
    time.at = at("2025-04-10T08")
    shown = (await client.get(f"{PATH}/{subscription}")).json()["phases"][1]
    assert [item["key"] for item in shown["items"]] == ["support"]


@pytest.mark.parametrize(
    ("operation", "status", "field"),
    [
        (added("gold"), 400, "$.customizations[0].phaseKey"),
        (added("full", key="api_calls"), 403, "$.customizations[0].rateCard.key"),
        (
            {"op": "remove_item", "phaseKey": "trial", "itemKey": "nothing"},
            400,
            "$.customizations[0].itemKey",
        ),
        (
            {"op": "remove_item", "phaseKey": "full", "itemKey": "api_calls"},
            400,
            "$.phases[?(@.key=='full')].itemsByKey",
        ),
        (promo(None), 403, "$.customizations[0].phase.startAfter"),
        (promo("P1W"), 400, "$.customizations[0].phase.duration"),
        (promo("P1M"), 400, "$.phases[?(@.key=='promo')].itemsByKey"),
        ({"op": "remove_phase", "phaseKey": "trial", "shift": "prev"}, 403, "$.customizations[0].phaseKey"),
        ({"op": "stretch_phase", "phaseKey": "trial", "extendBy": "PT0S"}, 400, "$.customizations[0].extendBy"),
        ({"op": "stretch_phase", "phaseKey": "trial", "extendBy": "-P2W"}, 409, "$.customizations[0].extendBy"),
        ({"op": "stretch_phase", "phaseKey": "trial", "extendBy": "P9999Y"}, 400, "$.customizations[0].extendBy"),
        (added("full", amount="-1"), 400, "$.phases[?(@.key=='full')].items.support.price"),
        (added("full", cadence="P1W"), 400, "$.phases[?(@.key=='full')].itemsByKey.support[0].billingCadence"),
    ],
)
async def test_refused_patches(
    client: httpx.AsyncClient, time: FrozenClock, operation: Any, status: int, field: str
) -> None:
    subscription = (await subscribe(client))["id"]
    before = await shape(client, subscription)
    time.at = at("2025-03-12T08")
    answer = await edit(client, subscription, operation)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert [issue["field"] for issue in answer.json()["extensions"]["validationErrors"]] == [field]
    assert await shape(client, subscription) == before


@pytest.mark.parametrize(("name", "status"), [("", 400), ("x", 200), ("x" * 256, 200), ("x" * 257, 400)])
async def test_what_is_stored_can_be_shown(client: httpx.AsyncClient, name: str, status: int) -> None:
    """Otherwise one phase would keep every page of the tenant's subscriptions from being answered."""
    subscription = (await subscribe(client))["id"]
    wish = promo("P1M")
    wish["phase"]["name"] = name
    answer = await edit(client, subscription, wish, added("promo"))
    assert answer.status_code == status, answer.text
    if status == 400:
        assert [issue["field"] for issue in answer.json()["extensions"]["validationErrors"]] == [
            "$.customizations[0].phase.name"
        ]
    else:
        shown = (await client.get(f"{PATH}/{subscription}")).json()["phases"]
        assert [one["name"] for one in shown][-1] == name
    v3 = "/api/v3/openmeter/subscriptions"
    assert (await client.get(f"{PATH}/{subscription}")).status_code == 200
    assert (await client.get(f"{v3}/{subscription}")).status_code == 200
    assert [one["id"] for one in (await client.get(v3)).json()["data"]] == [subscription]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"customizations": []},
        {"customizations": [{"op": "unschedule_edit"}] * 101},
        {"customizations": [{"op": "paint"}]},
        {"customizations": [{"op": "add_item", "phaseKey": "trial"}]},
        {"customizations": [{"op": "stretch_phase", "phaseKey": "trial", "extendBy": "soon"}]},
        {"customizations": [{"op": "remove_phase", "phaseKey": "full", "shift": "away"}]},
        {"customizations": [{"op": "unschedule_edit"}], "timing": "2025-03-24T08:00:00Z"},
        {"customizations": [{"op": "unschedule_edit"}], "timing": "soon"},
    ],
)
async def test_refused_bodies(client: httpx.AsyncClient, body: Any) -> None:
    subscription = (await subscribe(client))["id"]
    answer = await client.patch(f"{PATH}/{subscription}", json=body)
    assert answer.status_code == 400, answer.text


async def test_who_can_be_edited(client: httpx.AsyncClient) -> None:
    assert (await edit(client, UNKNOWN, {"op": "unschedule_edit"})).status_code == 404
    subscription = (await subscribe(client))["id"]
    await client.post(f"{PATH}/{subscription}/cancel", json={"timing": "next_billing_cycle"})
    for path, body in (
        ("", {"customizations": [{"op": "unschedule_edit"}]}),
        ("/change", {"timing": "immediate", "plan": {"key": "ws_pro"}}),
        ("/migrate", {}),
    ):
        answer = await client.request("POST" if path else "PATCH", f"{PATH}/{subscription}{path}", json=body)
        assert (answer.status_code, answer.json()["detail"][:27]) == (403, "forbidden error: transition"), path


async def test_edits_at_once_never_fail(client: httpx.AsyncClient) -> None:
    subscription = (await subscribe(client))["id"]
    operations = [added("trial"), {"op": "remove_item", "phaseKey": "trial", "itemKey": "support"}, added("full")] * 4
    answers = await asyncio.gather(*(edit(client, subscription, one) for one in operations))
    assert {answer.status_code for answer in answers} <= {200, 400, 403, 409}
    assert any(answer.status_code == 200 for answer in answers)
    assert (await client.get(f"{PATH}/{subscription}")).status_code == 200


async def test_change_and_restore(
    client: httpx.AsyncClient, time: FrozenClock, synced: Synced, publish: Publish
) -> None:
    await publish(phase(flat_card()), key="team", when=at("2025-02-01"))
    before = (await subscribe(client, metadata={"a": "b"}))["id"]
    time.at = at("2025-03-26T08")
    body = {"timing": "next_billing_cycle", "plan": {"key": "team"}, "name": "Team", "startingPhase": "main"}
    answer = await client.post(f"{PATH}/{before}/change", json=body)
    assert answer.status_code == 200, answer.text
    current, following = answer.json()["current"], answer.json()["next"]
    assert (current["id"], current["status"], current["activeTo"]) == (before, "canceled", "2025-04-10T08:00:00Z")
    assert (following["status"], following["activeFrom"]) == ("scheduled", "2025-04-10T08:00:00Z")
    assert (following["name"], following["billingAnchor"]) == ("Team", "2025-03-10T08:00:00Z")
    assert "metadata" not in following
    assert [one["key"] for one in following["phases"]] == ["main"]
    assert current["annotations"] == {"subscription.superseding.id": following["id"]}
    assert following["annotations"] == {"subscription.previous.id": before}
    assert synced[-2:] == [(before, at("2025-04-10T08")), (following["id"], None)]
    assert (await client.post(f"{PATH}/{before}/unschedule-cancelation")).status_code == 409
    restored = await client.post(f"{PATH}/{before}/restore")
    assert (restored.status_code, restored.json()["status"]) == (200, "active")
    assert "annotations" not in restored.json()
    assert synced[-2:] == [(following["id"], None), (before, None)]
    assert (await client.get(f"{PATH}/{following['id']}")).status_code == 404
    assert (await client.post(f"{PATH}/{before}/restore")).status_code == 403


async def test_change_to_a_custom_plan(client: httpx.AsyncClient) -> None:
    before = (await subscribe(client))["id"]
    body = {"timing": "immediate", "customPlan": CUSTOM, "billingAnchor": "2025-03-01T00:00:00Z"}
    answer = await client.post(f"{PATH}/{before}/change", json=body)
    assert answer.status_code == 200, answer.text
    following = answer.json()["next"]
    assert (following["name"], following["billingAnchor"]) == ("Bespoke", "2025-03-01T00:00:00Z")
    assert "plan" not in following
    answer = await client.post(f"{PATH}/{following['id']}/migrate", json={})
    assert answer.status_code == 400
    assert answer.json()["extensions"]["validationErrors"][0]["field"] == "$.targetVersion"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"plan": {"key": "ws_pro"}}, 400),
        ({"timing": "immediate"}, 400),
        ({"timing": "immediate", "plan": {"key": "unknown"}}, 404),
        ({"timing": "immediate", "plan": {"key": "ws_pro", "version": 3}}, 400),
        ({"timing": "immediate", "plan": {"key": "ws_pro"}, "startingPhase": "gold"}, 400),
        ({"timing": "2025-03-11T00:00:00Z", "plan": {"key": "ws_pro"}}, 400),
        ({"timing": "immediate", "plan": {"key": "converted"}}, 400),
    ],
)
async def test_refused_changes(client: httpx.AsyncClient, publish: Publish, body: Any, status: int) -> None:
    conversion = UnitConversion(operation="divide", conversion_factor=1000)
    await publish(phase(unit_card(unit_conversion=conversion)), key="converted", when=at("2025-02-01"))
    before = (await subscribe(client))["id"]
    answer = await client.post(f"{PATH}/{before}/change", json=body)
    assert answer.status_code == status, answer.text
    assert (await client.get(f"{PATH}/{before}")).json()["status"] == "active"


async def test_migrate(client: httpx.AsyncClient, time: FrozenClock, publish: Publish) -> None:
    before = (await subscribe(client, name="Mine", metadata={"a": "b"}))["id"]
    path = f"{PATH}/{before}/migrate"
    assert (await client.post(path, json={})).status_code == 400
    await publish(phase(flat_card(), key="two"), when=at("2025-03-11"))
    time.at = at("2025-03-12")
    for body, status in (
        ({"targetVersion": 0}, 400),
        ({"targetVersion": 1}, 400),
        ({"targetVersion": 9}, 404),
        ({"targetVersion": 10**14}, 400),
        ({"startingPhase": "gold"}, 400),
    ):
        assert (await client.post(path, json=body)).status_code == status, body
    answer = await client.post(path, json={"targetVersion": 2})
    assert answer.status_code == 200, answer.text
    assert answer.json()["current"]["status"] == "inactive"
    following = answer.json()["next"]
    assert (following["plan"]["version"], following["name"], following["metadata"]) == (2, "Mine", {"a": "b"})
    assert [one["key"] for one in following["phases"]] == ["two"]


async def test_change_in_v3(client: httpx.AsyncClient, publish: Publish, customer: Any, synced: Synced) -> None:
    await publish(phase(flat_card()), key="team", when=at("2025-02-01"))
    v3 = "/api/v3/openmeter/subscriptions"
    made = await client.post(v3, json={"customer": {"key": "acme"}, "plan": {"key": "ws_pro"}, "labels": {"team": "x"}})
    before = made.json()["id"]
    body = {"customer": {"id": customer.id}, "plan": {"key": "team"}, "timing": "immediate"}
    for wrong, status in (
        ({"timing": "soon"}, 400),
        ({"customer": {"key": "nobody"}}, 404),
        ({"plan": {}}, 400),
        ({"plan": {"id": UNKNOWN}}, 404),
        ({"startingPhase": "main"}, 400),
    ):
        assert (await client.post(f"{v3}/{before}/change", json={**body, **wrong})).status_code == status, wrong
    other = await client.post("/api/v1/customers", json={"key": "other", "name": "Other"})
    wrong = {**body, "customer": {"id": other.json()["id"]}}
    assert (await client.post(f"{v3}/{before}/change", json=wrong)).status_code == 400
    answer = await client.post(f"{v3}/{before}/change", json={**body, "customer": {}})
    assert answer.status_code == 200, answer.text
    current, following = answer.json()["current"], answer.json()["next"]
    assert (current["id"], current["status"], current["active_to"]) == (before, "inactive", "2025-03-10T08:00:00Z")
    assert (following["name"], following["labels"], following["plan"]["key"]) == ("ws_pro v1", {"team": "x"}, "team")
    assert [one["key"] for one in following["phases"]] == ["main"]
    assert synced[-1] == (following["id"], None)
    assert (await client.post(f"{v3}/{before}/change", json=body)).status_code == 403
