"""What the domain refuses names the field as the client sent it, in either API (api-conventions section 3.1)."""

from typing import Any

import httpx

from tests.scenarios.conftest import new_world
from tests.scenarios.world import World

__all__ = ["new_world"]

V3 = "/api/v3/openmeter"
UNKNOWN = "01JNX8T0000000000000000001"
LLM = {"type": "llm", "provider": "a", "model": "b", "tokenType": "input"}
FEATURE = {"key": "f", "name": "F"}
FILTERED = {**FEATURE, "meterSlug": "tokens", "meterGroupByFilters": {"zone": "a"}}
CARD = {
    "type": "flat_fee",
    "key": "fee",
    "name": "Fee",
    "billingCadence": "P1M",
    "price": None,
    "taxConfig": {"taxCodeId": UNKNOWN},
}
PLAN = {
    "key": "p",
    "name": "P",
    "currency": "USD",
    "billingCadence": "P1M",
    "phases": [{"key": "main", "name": "Main", "duration": None, "rateCards": [CARD]}],
}
FAR = "9999-12-31T23:59:59Z"


def _cases(meter: str) -> list[tuple[str, dict[str, Any], str]]:
    """Return what is sent where, and the field that the answer names."""
    v1, v3 = "/api/v1/features", f"{V3}/features"
    meter3 = {"id": meter, "filters": {"zone": {"eq": "a"}}}
    subscription = {"customerKey": "acme", "plan": {"key": "pro"}}
    subscription3 = {"customer": {"key": "acme"}, "plan": {"key": "pro"}}
    return [
        (v1, {**FEATURE, "key": UNKNOWN.lower()}, "$.key"),
        (v1, FILTERED, "$.meterGroupByFilters.zone"),
        (v1, {**FILTERED, "advancedMeterGroupByFilters": {"zone": {"$eq": "a"}}}, "$.advancedMeterGroupByFilters.zone"),
        (v1, {**FILTERED, "meterSlug": None}, "$.meterSlug"),
        (v1, {**FEATURE, "unitCost": {"type": "manual", "amount": "-1"}}, "$.unitCost.amount"),
        (v1, {**FEATURE, "unitCost": LLM}, "$.meterSlug"),
        (v1, {**FEATURE, "meterSlug": "tokens", "unitCost": {**LLM, "tokenType": None}}, "$.unitCost.tokenType"),
        (v1, {**FEATURE, "meterSlug": "tokens", "unitCost": {**LLM, "model": None, "modelProperty": "m"}},
         "$.unitCost.modelProperty"),
        (v3, {**FEATURE, "meter": meter3}, "$.meter.filters.zone"),
        (v3, {**FEATURE, "unit_cost": {"type": "manual", "amount": "-1"}}, "$.unit_cost.amount"),
        ("/api/v1/customers", {"name": "n"}, "$.key"),
        ("/api/v1/customers", {"name": "n", "key": "k", "currency": "ZZZ"}, "$.currency"),
        (f"{V3}/customers", {"name": "n", "key": "k", "currency": "ZZZ"}, "$.currency"),
        ("/api/v1/plans", PLAN, "$.phases[?(@.key=='main')].rateCards[?(@.key=='fee')].taxConfig.taxCodeId"),
        ("/api/v1/subscriptions", {"plan": {"key": "pro"}}, "$.customerId"),
        ("/api/v1/subscriptions", {**subscription, "timing": "2025-01-01T00:00:00Z"}, "$.timing"),
        ("/api/v1/subscriptions", {**subscription, "timing": FAR}, "$.timing"),
        ("/api/v1/subscriptions", {**subscription, "timing": "next_billing_cycle"}, "$.timing"),
        ("/api/v1/subscriptions", {**subscription, "billingAnchor": FAR}, "$.billingAnchor"),
        ("/api/v1/subscriptions", {**subscription, "startingPhase": "x"}, "$.startingPhase"),
        ("/api/v1/subscriptions", {**subscription, "plan": {"key": "pro", "version": 2}}, "$.plan.version"),
        (f"{V3}/subscriptions", {**subscription3, "customer": {}}, "$.customer"),
        (f"{V3}/subscriptions", {**subscription3, "plan": {}}, "$.plan"),
        (f"{V3}/subscriptions", {**subscription3, "billing_anchor": "0001-01-01T00:00:00Z"}, "$.billing_anchor"),
    ]  # fmt: skip


async def _fields(http: httpx.AsyncClient, method: str, path: str, body: dict[str, Any]) -> list[str]:
    answer = await http.request(method, path, json=body)
    assert answer.status_code == 400, (path, body, answer.text)
    return [one.get("field") for one in answer.json()["extensions"]["validationErrors"]]


async def _made(world: World) -> tuple[str, str]:
    await world.catalog()
    customer = await world.customer()
    (meter,) = await world.call("GET", "/api/v1/meters")
    return customer, meter["id"]


async def test_refusals_name_the_field(new_world: Any) -> None:
    async with new_world() as world:
        customer, meter = await _made(world)
        for path, body, field in _cases(meter):
            assert await _fields(world.http, "POST", path, body) == [field], (path, body)
        subscription = await world.subscribe(customer)
        for path in (f"/api/v1/subscriptions/{subscription}/cancel", f"{V3}/subscriptions/{subscription}/cancel"):
            for timing in ("2025-01-20T00:00:00Z", "2025-01-01T00:00:00Z", FAR):
                assert await _fields(world.http, "POST", path, {"timing": timing}) == ["$.timing"]
        for path, body, field in (
            ("/api/v1/customers/acme", {"name": "n", "key": "acme"}, "$.usageAttribution.subjectKeys"),
            (f"{V3}/customers/{customer}", {"name": "n"}, "$.usage_attribution.subject_keys"),
        ):
            assert await _fields(world.http, "PUT", path, body) == [field]


WRONG_BODIES: list[tuple[str, str, dict[str, Any], str]] = [
    ("PATCH", "/api/v1/subscriptions/{id}", {"customizations": [], "timing": "x"}, "$.timing"),
    ("POST", "/api/v1/subscriptions/{id}/cancel", {"timing": {"x": 1}}, "$.timing"),
    ("POST", "/api/v1/subscriptions/{id}/change", {"plan": {"key": "pro"}}, "$.timing"),
    ("POST", "/api/v1/subscriptions/{id}/change", {"plan": {"key": "pro"}, "timing": 5}, "$.timing"),
    ("POST", "/api/v1/subscriptions/{id}/change", {"plan": {}, "timing": "immediate"}, "$.plan.key"),
    ("POST", "/api/v1/subscriptions/{id}/change", {"timing": "immediate"}, "$.plan"),
    (
        "POST",
        "/api/v1/subscriptions/{id}/change",
        {"plan": {"key": "pro"}, "timing": "immediate", "name": "n" * 257},
        "$.name",
    ),
    ("POST", "/api/v1/subscriptions", {"plan": {"key": "pro"}, "startingPhase": ""}, "$.startingPhase"),
    ("POST", "/api/v1/subscriptions", {"customPlan": {}, "timing": ""}, "$.timing"),
    ("POST", V3 + "/subscriptions/{id}/cancel", {"timing": "x"}, "$.timing"),
    ("POST", V3 + "/subscriptions/{id}/change", {"timing": None}, "$.timing"),
]


async def test_refusals_of_schemas_name_the_field_alone(new_world: Any) -> None:
    """Where a member may be one of several things, none of their names is a step to it."""
    async with new_world() as world:
        customer, _ = await _made(world)
        subscription = await world.subscribe(customer)
        for method, path, body, field in WRONG_BODIES:
            fields = await _fields(world.http, method, path.format(id=subscription), body)
            assert fields.count(field) == 1, (path, body, fields)
            assert not [one for one in fields if "[" in one.replace("[0]", "") or " " in one], fields


async def test_digits_of_other_scripts_make_no_duration(new_world: Any) -> None:
    async with new_world() as world:
        assert await _fields(world.http, "POST", "/api/v1/plans", {**PLAN, "billingCadence": "P\u0663M"}) == [
            "$.billingCadence"
        ]
