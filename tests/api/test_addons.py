"""Add-ons over HTTP, v1 and v3 (catalog sections 4, 7 and 8)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from meterhouse.kernel.db import Database
from meterhouse.metering.meters import Meter
from tests.catalog.conftest import meter
from tests.catalog.http import client_of

__all__ = ["meter"]

V1, V3 = "/api/v1", "/api/v3/openmeter"
SUPPORT = {
    "type": "flat_fee",
    "key": "support",
    "name": "Support",
    "billingCadence": "P1M",
    "price": {"type": "flat", "amount": "10"},
}
CALLS = {
    "type": "usage_based",
    "key": "api_calls",
    "name": "Calls",
    "featureKey": "api_calls",
    "billingCadence": "P1M",
    "price": {"type": "unit", "amount": "0.5"},
}
V3_SUPPORT = {"key": "support", "name": "Support", "billing_cadence": "P1M", "price": {"type": "flat", "amount": "10"}}


@pytest.fixture
async def client(db: Database, meter: Meter) -> AsyncIterator[httpx.AsyncClient]:
    """A client, and a metered feature `api_calls`."""
    async with client_of(db) as client:
        await client.post(f"{V1}/features", json={"key": "api_calls", "name": "API calls", "meterSlug": "calls"})
        yield client


def body(*cards: dict[str, Any], **members: Any) -> dict[str, Any]:
    """Write an add-on for v1."""
    given = {"key": "extra", "name": "Extra", "currency": "USD", "instanceType": "single"}
    return {**given, "rateCards": list(cards) or [SUPPORT], **members}


async def create(client: httpx.AsyncClient, *cards: dict[str, Any], **members: Any) -> Any:
    """Create an add-on by v1."""
    answer = await client.post(f"{V1}/addons", json=body(*cards, **members))
    assert answer.status_code == 201, answer.text
    return answer.json()


def codes(answer: httpx.Response) -> list[str]:
    """Return the codes of what refused a request."""
    assert answer.status_code == 400, answer.text
    return [one.get("code", "") for one in answer.json()["extensions"]["validationErrors"]]


async def test_the_life_of_an_addon(client: httpx.AsyncClient) -> None:
    made = await create(client, metadata={"team": "a"}, description="More")
    assert (made["version"], made["status"], made["instanceType"]) == (1, "draft", "single")
    assert made["rateCards"] == [{**SUPPORT, "price": {"type": "flat", "amount": "10", "paymentTerm": "in_advance"}}]
    assert "validationErrors" not in made
    path = f"{V1}/addons/{made['id']}"
    again = await client.post(f"{V1}/addons", json=body())
    assert (again.status_code, "only a single draft version" in again.json()["detail"]) == (400, True)
    changed = await client.put(path, json={"name": "New", "instanceType": "multiple", "rateCards": [CALLS]})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["metadata"], changed.json()["description"]) == ({"team": "a"}, "More")
    assert codes(await client.post(path + "/publish")) == ["addon_invalid_ratecard_price_for_multi_instance"]
    assert codes(await client.post(path + "/archive")) == ["addon_invalid_status"]
    await client.put(path, json={"name": "New", "instanceType": "multiple", "rateCards": [SUPPORT]})
    published = (await client.post(path + "/publish")).json()
    assert (published["status"], published["effectiveFrom"]) == ("active", published["updatedAt"])
    assert codes(await client.post(path + "/publish")) == ["addon_invalid_status_for_publish"]
    update = {"name": "New", "instanceType": "single", "rateCards": [SUPPORT]}
    assert codes(await client.put(path, json=update)) == ["addon_invalid_status"]
    assert codes(await client.delete(path)) == ["addon_invalid_status"]
    second = await create(client)
    assert second["version"] == 2
    assert (await client.get(f"{V1}/addons/extra")).json()["id"] == made["id"]
    assert (await client.get(f"{V1}/addons/extra?includeLatest=true")).json()["id"] == second["id"]
    after = (await client.post(f"{V1}/addons/{second['id']}/publish")).json()
    archived = (await client.get(path)).json()
    assert (archived["status"], archived["effectiveTo"]) == ("archived", after["effectiveFrom"])
    assert (await client.delete(path)).status_code == (await client.delete(path)).status_code == 204
    deleted = (await client.get(path)).json()
    assert deleted["deletedAt"] == deleted["updatedAt"]
    for step in ("publish", "archive"):
        refused = await client.post(f"{path}/{step}")
        assert (refused.status_code, "add-on is deleted [deleted_at=" in refused.json()["detail"]) == (400, True)
    assert (await client.post(f"{V1}/addons/{second['id']}/archive")).json()["status"] == "archived"
    assert (await client.get(f"{V1}/addons/extra")).status_code == 404


async def test_both_versions_show_one_addon(client: httpx.AsyncClient) -> None:
    made = await create(client, SUPPORT, CALLS, metadata={"team": "a", "not a label": "x"})
    shown = (await client.get(f"{V3}/addons/{made['id']}")).json()
    assert (shown["instance_type"], shown["labels"], shown["status"]) == ("single", {"team": "a"}, "draft")
    flat, unit = shown["rate_cards"]
    assert (flat["price"], flat["payment_term"]) == ({"type": "flat", "amount": "10"}, "in_advance")
    assert (unit["price"], unit["billing_cadence"]) == ({"type": "unit", "amount": "0.5"}, "P1M")
    content = {"name": "New", "instance_type": "single", "rate_cards": [flat, unit]}
    changed = (await client.put(f"{V3}/addons/{made['id']}", json=content)).json()
    # Labels are cleared when they are left out of a v3 replacement, and only there.
    assert (changed["rate_cards"], changed["labels"]) == ([flat, unit], {})
    assert (await client.get(f"{V1}/addons/{made['id']}")).json()["rateCards"] == made["rateCards"]


async def test_a_v3_addon(client: httpx.AsyncClient) -> None:
    feature = (await client.get(f"{V1}/features/api_calls")).json()["id"]
    unit = {**V3_SUPPORT, "key": "api_calls", "feature": {"id": feature}, "price": {"type": "unit", "amount": "1"}}
    given = {"key": "extra", "name": "Extra", "currency": "USD", "instance_type": "single"}
    made = await client.post(f"{V3}/addons", json={**given, "rate_cards": [V3_SUPPORT, unit], "labels": {"a": "b"}})
    assert made.status_code == 201, made.text
    shown = (await client.get(f"{V1}/addons/{made.json()['id']}")).json()
    assert shown["metadata"] == {"a": "b"}
    flat, by_usage = shown["rateCards"]
    # A card that recurs is one by usage in an add-on, and v3 charges in arrears unless told otherwise.
    assert (flat["type"], flat["price"]["paymentTerm"]) == ("usage_based", "in_arrears")
    assert (by_usage["type"], by_usage["featureKey"]) == ("usage_based", "api_calls")
    path = f"{V3}/addons/{made.json()['id']}"
    assert (await client.post(path + "/publish")).json()["status"] == "active"
    assert (await client.post(path + "/archive")).json()["status"] == "archived"
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).json()["deleted_at"]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"rate_cards": [{**V3_SUPPORT, "billing_cadence": "P"}]}, 400),
        ({"rate_cards": [{**V3_SUPPORT, "billing_cadence": "PT"}]}, 400),
        ({"rate_cards": [{"key": "a", "name": "A", "price": {"type": "unit", "amount": "1"}}]}, 400),
        (
            {"rate_cards": [{"key": "a", "name": "A", "price": {"type": "volume", "tiers": [{"flat_price": None}]}}]},
            400,
        ),
        ({"rate_cards": [{**V3_SUPPORT, "price": {"type": "flat", "amount": "-1"}}]}, 400),
        ({"rate_cards": [{**V3_SUPPORT, "feature": {"id": "01JNX8T0000000000000000001"}}]}, 400),
        ({"rate_cards": [{**V3_SUPPORT, "tax_config": {"code": {"id": "01JNX8T0000000000000000001"}}}]}, 400),
        ({"rate_cards": [{**V3_SUPPORT, "currency": "CREDITS"}]}, 400),
        ({"currency": "CREDITS"}, 400),
        ({"currency": "usd"}, 400),
        ({"instance_type": "several"}, 400),
        ({"labels": {"_a": "b"}}, 400),
        ({"status": "active"}, 400),
        ({"rate_cards": []}, 201),
    ],
)
async def test_what_a_v3_addon_may_be(client: httpx.AsyncClient, members: dict[str, Any], expected: int) -> None:
    given = {"key": "extra", "name": "Extra", "currency": "USD", "instance_type": "single", "rate_cards": [V3_SUPPORT]}
    answer = await client.post(f"{V3}/addons", json={**given, **members})
    assert answer.status_code == expected, answer.text


async def test_what_v1_cannot_show(client: httpx.AsyncClient) -> None:
    feature = (await client.get(f"{V1}/features/api_calls")).json()["id"]
    converted = {
        **V3_SUPPORT,
        "key": "api_calls",
        "feature": {"id": feature},
        "price": {"type": "unit", "amount": "1"},
        "unit_config": {"operation": "divide", "conversion_factor": "1000", "rounding": "ceiling"},
    }
    given = {"key": "big", "name": "Big", "currency": "USD", "instance_type": "single", "rate_cards": [converted]}
    made = (await client.post(f"{V3}/addons", json=given)).json()
    seen = await create(client)
    path = f"{V1}/addons/{made['id']}"
    content = {"name": "New", "instanceType": "single", "rateCards": [SUPPORT]}
    refusals = [
        await client.get(path),
        await client.put(path, json=content),
        await client.post(path + "/publish"),
        await client.post(path + "/archive"),
    ]
    assert [codes(one) for one in refusals] == [["unit_config_not_representable"]] * 4
    listed = (await client.get(f"{V1}/addons")).json()
    assert (listed["totalCount"], [one["id"] for one in listed["items"]]) == (1, [seen["id"]])
    assert (await client.get(f"{V3}/addons")).json()["meta"]["page"]["total"] == 2
    assert (await client.delete(path)).status_code == 204


async def test_lists(client: httpx.AsyncClient) -> None:
    first, second = await create(client, key="a", name="Beta"), await create(client, key="b", name="Alpha")
    third = await create(client, key="c", currency="EUR")
    await client.post(f"{V1}/addons/{first['id']}/publish")
    await client.delete(f"{V1}/addons/{third['id']}")

    async def by_v1(query: str) -> list[str]:
        return [one["key"] for one in (await client.get(f"{V1}/addons?{query}")).json()["items"]]

    async def by_v3(query: str) -> list[str]:
        answer = await client.get(f"{V3}/addons?{query}")
        return [one["key"] for one in answer.json()["data"]]

    assert await by_v1("") == ["b", "a"]
    assert await by_v1("includeDeleted=true&currency=EUR") == ["c"]
    # All filters must hold, unlike those of plans.
    assert await by_v1(f"key=a&id={second['id']}") == []
    assert await by_v1("keyVersion[a]=1&keyVersion[b]=2") == ["a"]
    assert await by_v1("status=active") == ["a"]
    assert await by_v1("status=draft&status=active&orderBy=key") == ["a", "b"]
    assert await by_v3("") == ["a", "b"]
    assert await by_v3("sort=name") == ["b", "a"]
    assert await by_v3(f"filter[id]={second['id']}") == ["b"]
    assert await by_v3("filter[status][oeq]=draft,active&sort=key desc") == ["b", "a"]
    assert await by_v3("filter[name][contains]=ALPHA") == ["b"]
    for query in ("filter[status][neq]=draft", "filter[status]=gone", "sort=currency", "filter[price]=1"):
        assert (await client.get(f"{V3}/addons?{query}")).status_code == 400, query


async def test_publishing_at_once_has_one_winner(client: httpx.AsyncClient) -> None:
    made = await create(client)
    answers = await asyncio.gather(*(client.post(f"{V3}/addons/{made['id']}/publish") for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400, 400]


async def test_names_of_nothing(client: httpx.AsyncClient) -> None:
    for path in (
        f"{V1}/addons/01JNX8T0000000000000000001",
        f"{V3}/addons/01JNX8T0000000000000000001",
        f"{V3}/addons/x",
    ):
        asked = [await client.get(path), await client.delete(path), await client.post(path + "/publish")]
        assert [answer.status_code for answer in asked] == [404, 404, 404], path
