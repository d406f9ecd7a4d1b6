"""Plans over HTTP v1 (catalog sections 3, 8 and 9)."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from meterhouse.catalog import plans
from meterhouse.catalog.prices import UnitConversion
from meterhouse.kernel.db import Database
from meterhouse.metering.meters import Meter
from tests.catalog.builders import new_plan, phase, unit_card
from tests.catalog.conftest import NS, meter
from tests.catalog.http import client_of

__all__ = ["meter"]

PLANS, FEATURES = "/api/v1/plans", "/api/v1/features"
FLAT = {
    "type": "flat_fee",
    "key": "seats",
    "name": "Seats",
    "billingCadence": "P1M",
    "price": {"type": "flat", "amount": "10.50"},
}
UNIT = {
    "type": "usage_based",
    "key": "api_calls",
    "name": "API calls",
    "featureKey": "api_calls",
    "billingCadence": "P1M",
    "price": {"type": "unit", "amount": "0.03", "minimumAmount": "20"},
}


@pytest.fixture
async def client(db: Database, meter: Meter) -> AsyncIterator[httpx.AsyncClient]:
    """A client, and a metered feature `api_calls`."""
    async with client_of(db) as client:
        await client.post(FEATURES, json={"key": "api_calls", "name": "API calls", "meterSlug": "calls"})
        yield client


def stage(*cards: dict[str, Any], key: str = "main", duration: str | None = None) -> dict[str, Any]:
    """Write a phase."""
    return {"key": key, "name": key, "duration": duration, "rateCards": list(cards)}


def body(*phases: dict[str, Any], **members: Any) -> dict[str, Any]:
    """Write a plan."""
    given = {"key": "ws_pro", "name": "Pro", "currency": "USD", "billingCadence": "P1M", **members}
    return {**given, "phases": list(phases) or [stage(FLAT)]}


async def create(client: httpx.AsyncClient, *phases: dict[str, Any], **members: Any) -> Any:
    """Create a plan."""
    answer = await client.post(PLANS, json=body(*phases, **members))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_plan_comes_back_as_it_was_written(client: httpx.AsyncClient) -> None:
    cards = [
        {**FLAT, "price": {"type": "flat", "amount": "10.5", "paymentTerm": "in_arrears"}},
        {
            **UNIT,
            "discounts": {"percentage": {"percentage": 12.3}, "usage": {"quantity": "200"}},
            "entitlementTemplate": {
                "type": "metered",
                "isSoftLimit": True,
                "issueAfterReset": 1000,
                "preserveOverageAtReset": False,
                "usagePeriod": "P1M",
            },
        },
        {**FLAT, "key": "setup", "billingCadence": None, "price": None},
    ]
    made = await create(client, stage(*cards), description="For teams", metadata={"tier": "2"})
    assert made["phases"] == [stage(*cards)]
    assert (made["version"], made["status"], made["settlementMode"]) == (1, "draft", "credit_then_invoice")
    assert made["proRatingConfig"] == {"enabled": True, "mode": "prorate_prices"}
    assert "validationErrors" not in made
    assert "effectiveFrom" not in made
    assert (await client.get(f"{PLANS}/{made['id']}")).json() == made
    page = (await client.get(PLANS)).json()
    assert (page["totalCount"], page["pageSize"], page["items"]) == (1, 100, [made])


async def test_every_price_and_template_comes_back(client: httpx.AsyncClient) -> None:
    prices = [
        {"type": "flat", "amount": "1", "paymentTerm": "in_advance"},
        {"type": "unit", "amount": "1", "maximumAmount": "5"},
        {"type": "dynamic"},
        {"type": "dynamic", "multiplier": "1.15"},
        {"type": "package", "amount": "4", "quantityPerPackage": "250"},
        {
            "type": "tiered",
            "mode": "volume",
            "tiers": [
                {
                    "upToAmount": "100",
                    "flatPrice": {"type": "flat", "amount": "5"},
                    "unitPrice": {"type": "unit", "amount": "0.1"},
                },
                {"flatPrice": None, "unitPrice": {"type": "unit", "amount": "0.08"}},
            ],
        },
    ]
    templates = [{"type": "boolean"}, {"type": "static", "config": '{"seats": 3}', "metadata": {"a": "b"}}]
    phases = [
        stage({**UNIT, "price": price}, key=f"price_{number}", duration="P1M") for number, price in enumerate(prices)
    ]
    phases += [stage({**UNIT, "entitlementTemplate": one}, key=f"has_{one['type']}") for one in templates]
    assert (await create(client, *phases))["phases"] == phases


async def test_warnings_are_listed_until_they_are_put_right(client: httpx.AsyncClient) -> None:
    first = await create(client)
    published = await client.post(f"{PLANS}/{first['id']}/publish")
    assert (published.status_code, published.json()["status"]) == (200, "active")

    template = {"type": "metered", "usagePeriod": "P1M"}
    draft = await create(client, stage({**UNIT, "billingCadence": "P1W", "entitlementTemplate": template}))
    codes = ["entitlement_template_issue_after_reset_required", "rate_card_billing_cadence_unaligned"]
    path = f"{PLANS}/{draft['id']}"
    read = (await client.get(path)).json()
    assert [issue["code"] for issue in read["validationErrors"]] == codes
    assert read["validationErrors"][0]["field"] == (
        "$.phases[?(@.key=='main')].ratecards[?(@.key=='api_calls')].entitlementTemplate.issueAfterReset"
    )

    refused = await client.post(f"{path}/publish")
    assert (refused.status_code, refused.json()["detail"]) == (400, "invalid plan")
    listed = refused.json()["extensions"]["validationErrors"]
    assert [(issue["code"], issue["severity"]) for issue in listed] == [(code, "warning") for code in codes]

    fixed = body(stage({**UNIT, "entitlementTemplate": {**template, "issueAfterReset": 5}}))
    answer = await client.put(path, json=fixed)
    assert answer.status_code == 200
    assert "validationErrors" not in answer.json()
    second = (await client.post(f"{path}/publish")).json()
    assert (second["status"], second["version"]) == ("active", 2)
    old = (await client.get(f"{PLANS}/{first['id']}")).json()
    assert (old["status"], old["effectiveTo"]) == ("archived", second["effectiveFrom"])
    assert (await client.get(f"{PLANS}/ws_pro")).json()["id"] == second["id"]


@pytest.mark.parametrize(
    ("card", "code", "segment"),
    [
        ({**UNIT, "key": "calls"}, "rate_card_key_feature_key_mismatch", "ratecards[?(@.key=='calls')].key"),
        ({**UNIT, "key": "x", "featureKey": "x"}, "rate_card_feature_not_found", "rateCards[?(@.key=='x')].featureKey"),
        ({**FLAT, "price": {"type": "flat", "amount": "-1"}}, None, "ratecards[?(@.key=='seats')].price"),
    ],
)
async def test_critical_issues_refuse_a_draft(
    client: httpx.AsyncClient, card: dict[str, Any], code: str | None, segment: str
) -> None:
    answer = await client.post(PLANS, json=body(stage(card)))
    assert (answer.status_code, answer.json()["detail"]) == (400, "invalid plan")
    (issue,) = answer.json()["extensions"]["validationErrors"]
    assert (issue.get("code"), issue["field"]) == (code, f"$.phases[?(@.key=='main')].{segment}")


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"billingCadence": "P7D"}, 400),
        ({"billingCadence": "P"}, 400),
        ({"currency": "XYZ"}, 400),
        ({"currency": "CREDITS"}, 400),
        ({"key": "Ws Pro"}, 400),
        ({"phases": []}, 400),
        ({"phases": [stage({**FLAT, "taxConfig": {"stripe": {"code": "txcd_123"}}})]}, 400),
        ({"phases": [stage({**FLAT, "taxConfig": {"taxCodeId": "01JNX8T0000000000000000001"}})]}, 400),
        ({"phases": [stage({**UNIT, "billingCadence": None})]}, 400),
        ({"phases": [stage({key: value for key, value in FLAT.items() if key != "price"})]}, 400),
    ],
)
async def test_what_cannot_be_saved(client: httpx.AsyncClient, members: dict[str, Any], status: int) -> None:
    assert (await client.post(PLANS, json={**body(), **members})).status_code == status


async def test_status_phrases(client: httpx.AsyncClient) -> None:
    made = await create(client)
    path = f"{PLANS}/{made['id']}"

    async def refusal(method: str, target: str, content: Any = None) -> str:
        answer = await client.request(method, target, json=content)
        assert answer.status_code == 400, answer.text
        detail: str = answer.json()["detail"]
        return detail

    assert "only a single draft version is allowed for Plan" in await refusal("POST", PLANS, body())
    assert "only a single draft version is allowed for Plan" in await refusal("POST", f"{PLANS}/ws_pro/next")
    assert "only Plans in [active] can be archived, but it is in draft state" in await refusal(
        "POST", f"{path}/archive"
    )
    await client.post(f"{path}/publish")
    for method, target, phrase in (
        ("PUT", path, "only Plans in [draft scheduled] can be updated, but it has active state"),
        ("DELETE", path, "only Plans in [archived scheduled draft] can be deleted, but it has active state"),
        ("POST", f"{path}/publish", "only Plans in [draft scheduled] can be published/rescheduled, but it has active"),
    ):
        assert phrase in await refusal(method, target, body() if method == "PUT" else None)
    archived = await client.post(f"{path}/archive")
    assert (archived.status_code, archived.json()["status"]) == (200, "archived")


async def test_deleted_plans_stay_readable_by_id(client: httpx.AsyncClient) -> None:
    made = await create(client)
    path = f"{PLANS}/{made['id']}"
    assert (await client.delete(path)).status_code == 204
    read = (await client.get(path)).json()
    assert "deletedAt" in read
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).json() == read
    assert (await client.put(path, json=body())).status_code == 400
    assert (await client.get(f"{PLANS}/ws_pro", params={"includeLatest": True})).status_code == 404
    assert (await client.get(PLANS)).json()["totalCount"] == 0
    assert (await client.get(PLANS, params={"includeDeleted": True})).json()["totalCount"] == 1


async def test_get_by_key_and_next(client: httpx.AsyncClient) -> None:
    first = await create(client)
    assert (await client.get(f"{PLANS}/ws_pro")).status_code == 404
    latest = await client.get(f"{PLANS}/ws_pro", params={"includeLatest": True})
    assert latest.json()["id"] == first["id"]
    await client.post(f"{PLANS}/{first['id']}/publish")
    copied = await client.post(f"{PLANS}/ws_pro/next")
    assert (copied.status_code, copied.json()["version"], copied.json()["status"]) == (201, 2, "draft")
    assert copied.json()["phases"] == first["phases"]
    assert (await client.post(f"{PLANS}/nothing/next")).status_code == 404
    assert (await client.get(f"{PLANS}/{first['id']}")).json()["status"] == "active"


async def test_a_feature_is_kept_by_an_active_plan(client: httpx.AsyncClient) -> None:
    made = await create(client, stage(UNIT))
    feature = (await client.get(f"{FEATURES}/api_calls")).json()
    await client.post(f"{PLANS}/{made['id']}/publish")
    assert (await client.delete(f"{FEATURES}/api_calls")).status_code == 400
    assert (await client.delete(f"/api/v3/openmeter/features/{feature['id']}")).status_code == 403
    await client.post(f"{PLANS}/{made['id']}/archive")
    await create(client, stage(UNIT))
    assert (await client.delete(f"{FEATURES}/api_calls")).status_code == 204
    again = {"key": "api_calls", "name": "API calls", "meterSlug": "calls"}
    assert (await client.post(FEATURES, json=again)).status_code == 201


async def test_what_v1_cannot_show(client: httpx.AsyncClient, db: Database) -> None:
    conversion = UnitConversion(operation="divide", conversion_factor=Decimal(1000))
    async with db.write() as session:
        made = await plans.create(session, NS, new_plan(phases=[phase(unit_card(unit_conversion=conversion))]))
    path = f"{PLANS}/{made.id}"
    for method, target in (
        ("GET", path),
        ("PUT", path),
        ("POST", f"{path}/publish"),
        ("POST", f"{path}/archive"),
    ):
        answer = await client.request(method, target, json=body() if method == "PUT" else None)
        assert answer.status_code == 400
        (issue,) = answer.json()["extensions"]["validationErrors"]
        assert issue["code"] == "unit_config_not_representable"
    assert (await client.get(PLANS)).json() == {"page": 1, "pageSize": 100, "totalCount": 0, "items": []}
    assert (await client.delete(path)).status_code == 204


async def test_list_filters_and_order(client: httpx.AsyncClient) -> None:
    made = [await create(client, key=key, currency=currency) for key, currency in (("a", "USD"), ("b", "EUR"))]
    await client.post(f"{PLANS}/{made[0]['id']}/publish")

    async def keys(**query: Any) -> list[str]:
        return [plan["key"] for plan in (await client.get(PLANS, params=query)).json()["items"]]

    assert await keys() == ["b", "a"]
    assert await keys(orderBy="key") == ["a", "b"]
    assert await keys(orderBy="id", order="ASC") == ["a", "b"]
    assert await keys(status="active") == ["a"]
    assert await keys(status=["active", "draft"]) == ["b", "a"]
    assert await keys(id=made[0]["id"], currency="EUR") == ["b", "a"]
    assert await keys(**{"keyVersion[a]": 1}) == ["a"]
    assert await keys(**{"keyVersion[a]": 2}) == []
    assert await keys(**{"keyVersion[a][0]": 1}) == ["a"]
    assert await keys(keyVersion="{'a': [1, 2], 'c': [1]}") == ["a"]
    assert await keys(keyVersion='{"b": [1]}', **{"keyVersion[a]": 1}) == ["b", "a"]
    assert (await client.get(PLANS, params={"status": "odd"})).status_code == 400
    wrong = [
        ("keyVersion[a]", "x"),
        ("keyVersion[a]", "9" * 10),
        ("keyVersion", "a"),
        ("keyVersion", '{"\\u0000": [1]}'),
    ]
    for name, value in wrong:
        assert (await client.get(PLANS, params={name: value})).status_code == 400, (name, value)


async def test_creates_of_one_key_at_once(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(client.post(PLANS, json=body()) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [201, 400, 400]
    assert (await client.get(PLANS)).json()["totalCount"] == 1
