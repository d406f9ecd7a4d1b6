"""Entitlements over HTTP: v1, v2 and v3 on real engines (entitlements sections 2 to 14)."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from meterhouse.metering import meters
from meterhouse.metering.meter import MeterUpdate
from tests.api.answers import Documents
from tests.entitlements.conftest import NS, Tenant, at

METERED = {
    "type": "metered",
    "featureKey": "api_calls",
    "usagePeriod": {"interval": "MONTH", "anchor": "2025-03-01T00:00:30Z"},
}
GRANT = {"amount": 100, "effectiveAt": "2025-03-01T00:00:40Z"}
ACCESS = "/api/v1/customers/acme/access"


async def test_the_life_of_a_metered_entitlement(tenant: Tenant) -> None:
    made = await tenant.call("POST", "", {**METERED, "metadata": {"a": "b"}}, status=201)
    assert made == {
        "id": made["id"],
        "type": "metered",
        "featureKey": "api_calls",
        "featureId": made["featureId"],
        "customerId": tenant.customer.id,
        "customerKey": "acme",
        "createdAt": "2025-03-01T00:00:00Z",
        "updatedAt": "2025-03-01T00:00:00Z",
        "activeFrom": "2025-03-01T00:00:00Z",
        "metadata": {"a": "b"},
        "isSoftLimit": False,
        "preserveOverageAtReset": False,
        "lastReset": "2025-03-01T00:00:00Z",
        "measureUsageFrom": "2025-03-01T00:00:00Z",
        "usagePeriod": {"interval": "MONTH", "anchor": "2025-03-01T00:00:00Z", "intervalISO": "P1M"},
        "currentUsagePeriod": {"from": "2025-03-01T00:00:00Z", "to": "2025-04-01T00:00:00Z"},
    }
    grant = await tenant.call("POST", "/api_calls/grants", GRANT, status=201)
    assert grant == {
        "id": grant["id"],
        "entitlementId": made["id"],
        "amount": 100,
        "priority": 0,
        "effectiveAt": "2025-03-01T00:00:00Z",
        "minRolloverAmount": 0,
        "maxRolloverAmount": 100,
        "createdAt": "2025-03-01T00:00:00Z",
        "updatedAt": "2025-03-01T00:00:00Z",
    }
    await tenant.use("2025-03-01T10", "30.5")
    tenant.clock.at = at("2025-03-01T12:00:10")
    value = await tenant.call("GET", "/api_calls/value")
    numbers = {"hasAccess": True, "balance": 69.5, "usage": 30.5, "overage": 0, "totalAvailableGrantAmount": 100}
    assert value == {**numbers, "grantBalances": {grant["id"]: 69.5}}
    assert await tenant.call("GET", f"/{made['id'].lower()}/value") == value
    assert await tenant.call("GET", "/api/v1/customers/acme/entitlements/api_calls/value") == numbers
    early = {"time": "2025-03-01T00:00:00Z"}
    assert (await tenant.call("GET", "/api/v1/customers/acme/entitlements/api_calls/value", params=early))["usage"] == 0
    assert await tenant.call("GET", ACCESS) == {"entitlements": {"api_calls": value}}
    await tenant.call("POST", "/api_calls/reset", {"preserveOverage": True}, status=204)
    assert (await tenant.call("GET", "/api_calls/value"))["usage"] == 0
    assert (await tenant.call("GET", "/api_calls"))["lastReset"] == "2025-03-01T12:00:00Z"
    await tenant.call("DELETE", f"/{made['id']}", status=204)
    await tenant.call("DELETE", f"/{made['id']}", status=404)
    assert await tenant.call("GET", "/api_calls/value") == {"hasAccess": False}
    assert await tenant.call("GET", ACCESS) == {"entitlements": {}}
    await tenant.call("GET", f"/api/v2/entitlements/{made['id']}", status=404)


async def test_static_and_boolean(tenant: Tenant) -> None:
    config = '{"seats": 5}'
    made = await tenant.call("POST", "", {"type": "static", "featureKey": "badge", "config": config}, status=201)
    assert (made["config"], "usagePeriod" in made) == (config, False)
    assert await tenant.call("GET", "/badge/value") == {"hasAccess": True, "config": config}
    body = {"type": "boolean", "featureKey": "seats", "usagePeriod": {"interval": "P7D"}}
    made = await tenant.call("POST", "", body, status=201)
    assert made["usagePeriod"]["interval"] == made["usagePeriod"]["intervalISO"] == "P7D"
    assert await tenant.call("GET", "/seats/value") == {"hasAccess": True}
    access = await tenant.call("GET", f"/api/v3/openmeter/customers/{tenant.customer.id}/entitlement-access")
    assert access["data"] == [
        {"type": "static", "feature_key": "badge", "has_access": True, "config": config},
        {"type": "boolean", "feature_key": "seats", "has_access": True},
    ]


WRONG: list[tuple[dict[str, Any], int]] = [
    ({"type": "metered", "usagePeriod": {"interval": "DAY"}}, 400),
    ({"type": "metered", "featureKey": "api_calls"}, 400),
    ({**METERED, "featureKey": "nope"}, 404),
    ({**METERED, "featureKey": "badge"}, 400),
    ({**METERED, "config": "{}"}, 400),
    ({**METERED, "issueAfterResetPriority": 3}, 400),
    ({**METERED, "issue": {"amount": 5}, "grants": [GRANT]}, 400),
    ({**METERED, "grants": [{**GRANT, "amount": 0}]}, 400),
    ({**METERED, "grants": [{**GRANT, "effectiveAt": "2025-02-28T23:59:00Z"}]}, 400),
    ({**METERED, "measureUsageFrom": "1500-01-01T00:00:00Z"}, 400),
    ({**METERED, "measureUsageFrom": "SOMETIME"}, 400),
    ({"type": "static", "featureKey": "badge"}, 400),
    ({"type": "static", "featureKey": "badge", "config": "{"}, 400),
    ({"type": "static", "featureKey": "badge", "config": "NaN"}, 400),
    ({"type": "boolean", "featureKey": "badge", "config": "{}"}, 400),
    ({"type": "boolean", "featureKey": "badge", "isSoftLimit": True}, 400),
    ({"type": "boolean", "featureKey": "badge", "measureUsageFrom": "NOW"}, 400),
    *(
        ({**METERED, "usagePeriod": {"interval": interval}}, 400)
        for interval in ("PT59M", "P0D", "P-1M", "-P1M", "fortnight", "PT3601S", "P9999Y", "P1M-1D", "P\u0661M")
    ),
    ({**METERED, "usagePeriod": {"interval": "DAY", "anchor": "9999-12-31T00:00:00Z"}}, 400),
    ({"type": "static", "featureKey": "badge", "config": r'{"a": "\u0000"}'}, 400),
]


async def test_what_cannot_be_created(tenant: Tenant) -> None:
    for body, status in WRONG:
        problem = await tenant.call("POST", "", body, status=status)
        if status == 400:
            issues = problem["extensions"]["validationErrors"]
            assert all(issue["field"].startswith("$") and issue["message"] for issue in issues), problem
    assert (await tenant.call("GET", ""))["totalCount"] == 0
    (issue,) = (await tenant.call("POST", "", WRONG[7][0], status=400))["extensions"]["validationErrors"]
    assert (issue["code"], issue["field"]) == ("grant_amount_must_be_positive", "$.grants[0].amount")
    (issue,) = (await tenant.call("POST", "", WRONG[15][0], status=400))["extensions"]["validationErrors"]
    assert (issue["code"], issue["field"]) == ("member_of_another_type", "$.isSoftLimit")


async def test_one_at_a_time(tenant: Tenant) -> None:
    """Of two requests at once one wins, and the other is told of it."""
    answers = await asyncio.gather(
        *(tenant.http.post("/api/v2/customers/acme/entitlements", json=METERED) for _ in range(3))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    (made,) = (answer.json() for answer in answers if answer.status_code == 201)
    refused = [answer.json()["extensions"] for answer in answers if answer.status_code == 409]
    assert refused == [{"conflictingEntityId": made["id"]}] * 2
    # By the key of the feature, so an archived feature's successor meets it too.
    await tenant.call("DELETE", "/api/v1/features/api_calls", status=204)
    await tenant.call(
        "POST", "/api/v1/features", {"key": "api_calls", "name": "new", "meterSlug": "api_calls"}, status=201
    )
    await tenant.call("POST", "", METERED, status=409)


async def test_issued_and_given_grants(tenant: Tenant) -> None:
    tenant.clock.at = at("2025-03-20T08:15:42")
    issuing = {**METERED, "issue": {"amount": 7}, "measureUsageFrom": "2025-01-10T00:00:00Z"}
    made = await tenant.call("POST", "", issuing, status=201)
    assert (made["issue"], made["issueAfterReset"]) == ({"amount": 7, "priority": 1}, 7)
    assert "issueAfterResetPriority" not in made
    (grant,) = (await tenant.call("GET", "/api_calls/grants"))["items"]
    assert (grant["effectiveAt"], grant["priority"]) == ("2025-03-01T00:00:00Z", 1)
    assert (grant["minRolloverAmount"], grant["maxRolloverAmount"]) == (7, 7)
    assert grant["annotations"] == {"issueAfterReset": True}
    tenant.clock.at += timedelta(seconds=1)
    recurring = {
        **GRANT,
        "effectiveAt": "2025-03-20T08:20:00Z",
        "expiration": {"duration": "MONTH", "count": 1},
        "recurrence": {"interval": "week"},
    }
    replaced = await tenant.call("PUT", "/api_calls/override", {**METERED, "grants": [recurring]}, status=201)
    (grant,) = (await tenant.call("GET", f"/{replaced['id']}/grants"))["items"]
    assert (grant["expiresAt"], grant["nextRecurrence"]) == ("2025-04-20T08:20:00Z", "2025-03-20T08:20:00Z")
    assert grant["recurrence"] == {"interval": "WEEK", "anchor": "2025-03-20T08:20:00Z", "intervalISO": "P1W"}
    old = await tenant.call("GET", f"/api/v2/entitlements/{made['id']}")
    assert old["activeTo"] == replaced["activeFrom"] == "2025-03-20T08:15:43Z"
    tenant.clock.at += timedelta(seconds=1)
    await tenant.call("PUT", f"/{made['id']}/override", METERED, status=400)
    await tenant.call("PUT", "/api_calls/override", {**METERED, "featureKey": "users"}, status=400)
    await tenant.call("PUT", "/users/override", {**METERED, "featureKey": "users"}, status=404)


async def test_grants_of_v1_expire(tenant: Tenant) -> None:
    await tenant.call("POST", "", {**METERED, "issueAfterReset": 5, "issueAfterResetPriority": 9}, status=201)
    (grant,) = await tenant.call("GET", "/api/v1/grants")
    assert grant["expiration"] == {"duration": "YEAR", "count": 100}
    assert (grant["expiresAt"], grant["priority"]) == ("2125-03-01T00:00:00Z", 9)
    future = {"at": "2025-03-01T00:01:00Z"}
    await tenant.call("DELETE", f"/api/v1/grants/{grant['id']}", status=400, params=future)
    await tenant.call("DELETE", f"/api/v1/grants/{grant['id']}", status=204)
    await tenant.call("DELETE", f"/api/v1/grants/{grant['id']}", status=400)
    await tenant.call("DELETE", "/api/v1/grants/nope", status=404)
    (voided,) = (await tenant.call("GET", "/api/v2/grants"))["items"]
    assert voided["voidedAt"] == "2025-03-01T00:00:00Z"
    assert "expiration" not in voided


async def test_lists(tenant: Tenant) -> None:
    await tenant.call("POST", "/api/v1/customers", {"name": "Beta", "key": "beta"}, status=201)
    for customer, key in (("acme", "api_calls"), ("acme", "users"), ("beta", "users")):
        body = {**METERED, "featureKey": key, "grants": [GRANT]}
        await tenant.call("POST", f"/api/v2/customers/{customer}/entitlements", body, status=201)
        tenant.clock.at += timedelta(seconds=1)

    async def keys(path: str, **params: Any) -> Any:
        found = await tenant.call("GET", path, params=params)
        items = found if isinstance(found, list) else found["items"]
        return [item.get("featureKey") or item["amount"] for item in items]

    assert await keys("/api/v1/entitlements") == ["api_calls", "users", "users"]
    assert await keys("/api/v1/entitlements", subject="acme-1", order="DESC") == ["users", "api_calls"]
    assert await keys("/api/v1/entitlements", subject="acme") == []  # a key is no subject key
    assert await keys("/api/v1/entitlements", offset=1, limit=1) == ["users"]
    assert await keys("/api/v2/entitlements", feature="users") == ["users", "users"]
    assert await keys("/api/v2/entitlements", customerKeys="beta") == ["users"]
    assert await keys("/api/v2/entitlements", customerKeys="nobody") == []
    assert await keys("/api/v2/entitlements", customerIds=tenant.customer.id, entitlementType="boolean") == []
    assert await keys("/api/v1/grants", feature="users") == [100, 100]
    assert await keys("/api/v2/grants", customer="beta") == [100]
    await tenant.call("GET", "/api/v2/grants", params={"customer": "nobody"}, status=404)
    first = (await tenant.call("GET", "/api/v1/entitlements"))[0]
    assert (first["subjectKey"], first["isUnlimited"]) == ("acme-1", False)

    def frame(page: Any) -> Any:
        return page["page"], page["pageSize"], page["totalCount"], len(page["items"])

    call, grants = tenant.call, "/api_calls/grants"
    assert frame(await call("GET", "/api/v1/entitlements", params={"pageSize": 2})) == (1, 2, 3, 2)
    assert frame(await call("GET", "/api/v2/entitlements", params={"limit": 1})) == (1, 100, 3, 3)
    assert frame(await call("GET", "/api/v2/grants")) == (0, 0, 3, 3)
    assert frame(await call("GET", "/api/v2/grants", params={"page": 2, "pageSize": 2})) == (2, 2, 3, 1)
    assert frame(await call("GET", grants)) == (1, 100, 1, 1)
    assert frame(await call("GET", grants, params={"limit": 5})) == (0, 0, 1, 1)
    assert frame(await call("GET", "")) == (1, 100, 2, 2)
    for wrong in ({"page": 0}, {"limit": 0}, {"offset": -1}, {"orderBy": "amount"}, {"pageSize": 1001}):
        for path in ("/api/v1/entitlements", "/api/v2/grants"):
            await call("GET", path, params=wrong, status=400)


async def test_history(tenant: Tenant) -> None:
    """The vector of section 13."""
    tenant.clock.at = at("2025-05-01")
    made = await tenant.call(
        "POST",
        "",
        {
            **METERED,
            "grants": [
                {**GRANT, "amount": 500, "effectiveAt": "2025-05-01T00:00:00Z"},
                {**GRANT, "amount": 200, "effectiveAt": "2025-05-01T02:30:00Z"},
            ],
        },
        status=201,
    )
    for time, quantity in (("00:10", 40), ("02:10", 60), ("02:45", 30), ("03:20", 10)):
        await tenant.use(f"2025-05-01T{time}:00", quantity)
    tenant.clock.at = at("2025-05-01T05")
    query = {"windowSize": "HOUR", "from": "2025-05-01T00:00:00Z", "to": "2025-05-01T04:00:00Z"}
    found = await tenant.call("GET", "/api_calls/history", params=query)
    windows = [(one["period"]["from"][11:13], one["usage"], one["balanceAtStart"]) for one in found["windowedHistory"]]
    assert windows == [("00", 40, 500), ("01", 0, 460), ("02", 90, 460), ("03", 10, 570)]
    assert [
        (one["period"]["from"][11:16], one["balanceAtStart"], one["usage"], one["balanceAtEnd"], one["overage"])
        for one in found["burndownHistory"]
    ] == [("00:00", 500, 100, 400, 0), ("02:30", 600, 40, 560, 0)]
    first, second = found["burndownHistory"][1]["grantUsages"]
    assert (first["usage"], second["usage"]) == (40, 0)

    query = {"windowSize": "DAY", "windowTimeZone": "Asia/Kolkata"}
    # There the day began before measuring did.
    assert (await tenant.call("GET", f"/{made['id']}/history", params=query))["windowedHistory"] == []
    for field, wrong in (
        ("windowTimeZone", {"windowSize": "DAY", "windowTimeZone": "Nowhere/City"}),
        ("windowSize", {"windowSize": "WEEK"}),
        ("from", {"windowSize": "HOUR", "from": "2025-04-30T23:00:00Z"}),
        ("from", {"windowSize": "HOUR", "from": "1800-01-01T00:00:00Z"}),
        ("to", {"windowSize": "HOUR", "from": "2025-05-01T04:00:00Z", "to": "2025-05-01T03:00:00Z"}),
        ("from", {"windowSize": "MINUTE", "to": "2025-05-09T00:00:00Z"}),
    ):
        for path in ("/api_calls/history", f"/api/v1/subjects/acme-1/entitlements/{made['id']}/history"):
            refused = await tenant.call("GET", path, params=wrong, status=400)
            assert [one["field"] for one in refused["extensions"]["validationErrors"]] == [f"$.{field}"], wrong
    refused = await tenant.call("GET", "/api_calls/value", params={"time": "9999-12-31T23:59:59Z"}, status=400)
    assert [one["field"] for one in refused["extensions"]["validationErrors"]] == ["$.time"]


async def test_access_of_many(tenant: Tenant) -> None:
    for index, key in enumerate(("beta", "gamma")):
        tenant.clock.at = at("2025-03-02") + timedelta(hours=index)
        await tenant.call("POST", "/api/v1/customers", {"name": key, "key": key}, status=201)
    grant = {**GRANT, "effectiveAt": "2025-03-02T01:00:00Z"}
    await tenant.call("POST", "", {**METERED, "grants": [grant]}, status=201)
    await tenant.call("POST", "/api/v2/customers/beta/entitlements", METERED, status=201)
    path = "/api/v3/openmeter/entitlement-access/query"
    body = {
        "customer": {"keys": ["gamma", "nobody", "acme-1", "beta", "acme"]},
        "feature": {"keys": ["api_calls", "nothing"]},
    }
    whole = await tenant.call("POST", path, body)
    assert [(one["customer"]["key"], one["matched"]) for one in whole["data"]] == [
        ("acme", ["acme-1", "acme"]),
        ("beta", ["beta"]),
        ("gamma", ["gamma"]),
    ]
    assert [one["features"]["api_calls"].get("reason", {}).get("code") for one in whole["data"]] == [
        None,
        "usage_limit_reached",
        "feature_unavailable",
    ]
    assert whole["data"][0]["features"]["nothing"]["reason"]["code"] == "feature_not_found"
    assert [(one["customer"], one["code"]) for one in whole["errors"]] == [("nobody", "customer_not_found")]
    assert (whole["meta"]["page"]["next"], whole["meta"]["page"]["previous"]) == (None, None)
    first = await tenant.call("POST", path, body, params={"page[size]": 2})
    rest = await tenant.call("POST", path, body, params={"page[after]": first["meta"]["page"]["next"]})
    assert [one["customer"]["key"] for one in rest["data"]] == ["gamma"]
    before = {"page[before]": rest["meta"]["page"]["previous"], "page[size]": 1}
    back = await tenant.call("POST", path, body, params=before)
    assert [one["customer"]["key"] for one in back["data"]] == ["beta"]
    assert back["meta"]["page"]["next"] is not None
    everything = await tenant.call("POST", path, {"customer": {"keys": ["acme", ""]}})
    assert list(everything["data"][0]["features"]) == ["api_calls", "badge", "seats", "users"]
    for wrong in ({"page[size]": 101}, {"page[after]": "x"}, {"page[after]": "x", "page[before]": "y"}, {"page[x]": 1}):
        await tenant.call("POST", path, body, params=wrong, status=400)
    await tenant.call("POST", path, {"customer": {"keys": []}}, status=400)


async def test_what_an_entitlement_keeps(tenant: Tenant) -> None:
    made = await tenant.call("POST", "", METERED, status=201)
    problem = await tenant.call("DELETE", "/api/v1/customers/acme", status=409)
    assert "api_calls" in problem["detail"]
    await tenant.call("DELETE", "/api/v1/features/api_calls", status=204)
    await tenant.call("DELETE", "/api/v1/meters/api_calls", status=409)
    assert (await tenant.call("GET", "/api_calls/value"))["balance"] == 0
    await tenant.call("DELETE", f"/{made['id']}", status=204)
    await tenant.call("DELETE", "/api/v1/meters/api_calls", status=204)
    await tenant.call("DELETE", "/api/v1/customers/acme", status=204)
    customer = tenant.customer.id
    await tenant.call("GET", f"/api/v1/customers/{customer}/access", status=412)
    await tenant.call("GET", f"/api/v2/customers/{customer}/entitlements/api_calls/value", status=412)
    await tenant.call("POST", f"/api/v2/customers/{customer}/entitlements", METERED, status=412)
    await tenant.call("GET", f"/api/v3/openmeter/customers/{customer}/entitlement-access", status=412)
    assert (await tenant.call("GET", "/api/v2/grants", params={"customer": customer}))["items"] == []
    await tenant.call("GET", "/api/v1/customers/nobody/access", status=404)


async def test_the_dimensions_that_an_entitlement_is_measured_by(tenant: Tenant) -> None:
    path = "/api/v1/meters/api_calls"
    await tenant.call("PUT", path, {"groupBy": {"zone": "$.zone", "kind": "$.kind"}})
    await tenant.call("DELETE", "/api/v1/features/api_calls", status=204)
    filtered = {"key": "api_calls", "name": "Calls", "meterSlug": "api_calls", "meterGroupByFilters": {"zone": "north"}}
    await tenant.call("POST", "/api/v1/features", filtered, status=201)
    made = await tenant.call("POST", "", METERED, status=201)
    # An entitlement outlives the life of its feature.
    await tenant.call("DELETE", "/api/v1/features/api_calls", status=204)
    await tenant.call("PUT", path, {"groupBy": {"kind": "$.kind"}}, status=409)
    await tenant.call("PUT", path, {"groupBy": {"zone": "$.zone"}})
    assert (await tenant.call("GET", "/api_calls/value"))["usage"] == 0
    # However it came to be, what is missing is said.
    async with tenant.house.db.write() as session:
        meter = await meters.find_by_key(session, NS, "api_calls")
        assert meter is not None
        await meters.update(session, NS, meter.id, MeterUpdate())
    tenant.clock.at += timedelta(hours=1)
    problem = await tenant.call("GET", "/api_calls/value", status=400)
    assert "no dimension zone" in problem["detail"]
    await tenant.call("DELETE", f"/{made['id']}", status=204)


async def test_other_customers_entitlements_are_not_found(tenant: Tenant) -> None:
    made = await tenant.call("POST", "", METERED, status=201)
    await tenant.call("POST", "/api/v1/customers", {"name": "Beta", "key": "beta"}, status=201)
    other = f"/api/v2/customers/beta/entitlements/{made['id']}"
    assert await tenant.call("GET", f"{other}/value") == {"hasAccess": False}
    for method, path, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("POST", "/grants", GRANT),
        ("POST", "/reset", {}),
    ):
        await tenant.call(method, other + path, body, status=404)


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2300-01-01T00:00:00Z"])
async def test_far_away_instants(tenant: Tenant, time: str) -> None:
    hourly = {**METERED, "usagePeriod": {"interval": "PT1H"}, "grants": [GRANT]}
    await tenant.call("POST", "", hourly, status=201)
    for version in ("v1", "v2"):
        path = f"/api/{version}/customers/acme/entitlements/api_calls/value"
        # Before it began there was none.
        status = 200 if time.startswith("0001") else 400
        await tenant.call("GET", path, params={"time": time}, status=status)
    await tenant.call("POST", "/api_calls/grants", {**GRANT, "effectiveAt": time}, status=400)
    await tenant.call("POST", "/api_calls/reset", {"effectiveAt": time}, status=400)


async def test_answers_are_as_documented(tenant: Tenant) -> None:
    documents = Documents()
    faults: list[str] = []

    async def check(response: Any) -> None:
        await response.aread()
        faults.extend(f"{response.request.url}: {fault}" for fault in documents.faults(response))

    tenant.http.event_hooks["response"] = [check]
    made = await tenant.call("POST", "", {**METERED, "grants": [GRANT], "isSoftLimit": True}, status=201)
    await tenant.call("POST", "", {"type": "static", "featureKey": "badge", "config": "1"}, status=201)
    await tenant.call("POST", "", METERED, status=409)
    tenant.clock.at = at("2025-03-01T10")
    for path in (
        "/api_calls/value",
        "/api_calls/history?windowSize=HOUR",
        "/api_calls/grants",
        "",
        "/badge",
        "/api/v1/entitlements",
        "/api/v1/entitlements?page=1",
        f"/api/v1/entitlements/{made['id']}",
        f"/api/v2/entitlements/{made['id']}",
        "/api/v2/entitlements",
        "/api/v1/grants",
        "/api/v1/grants?page=1",
        "/api/v2/grants",
        ACCESS,
        f"/api/v3/openmeter/customers/{tenant.customer.id}/entitlement-access",
    ):
        await tenant.call("GET", path)
    await tenant.call("POST", "/api/v3/openmeter/entitlement-access/query", {"customer": {"keys": ["acme", "x"]}})
    assert faults == []


async def test_by_subject(tenant: Tenant) -> None:
    """The same entitlements, addressed by any subject of the customer."""
    call, path = tenant.call, "/api/v1/subjects/acme-1/entitlements"
    made = await call("POST", path, {**METERED, "isUnlimited": True}, status=201)
    assert (made["subjectKey"], made["isUnlimited"], "customerId" in made) == ("acme-1", False, False)
    await call("POST", f"{path}/api_calls/grants", GRANT, status=400)
    expiring = {**GRANT, "expiration": {"duration": "DAY", "count": 30}}
    grant = await call("POST", f"{path}/api_calls/grants", expiring, status=201)
    assert (grant["maxRolloverAmount"], grant["expiresAt"]) == (0, "2025-03-31T00:00:00Z")
    assert await call("GET", f"{path}/{made['id']}/grants") == [grant]
    tenant.clock.at = at("2025-03-01T10")
    value = await call("GET", f"{path}/api_calls/value")
    assert (value["balance"], "grantBalances" in value) == (100, False)
    assert [one["id"] for one in await call("GET", path)] == [made["id"]]
    assert (await call("GET", f"{path}/{made['id']}"))["id"] == made["id"]
    history = await call("GET", f"{path}/{made['id']}/history", params={"windowSize": "HOUR"})
    assert [one["balanceAtStart"] for one in history["windowedHistory"]] == [100] * 10
    await call("POST", f"{path}/{made['id']}/reset", {}, status=204)
    assert (await call("GET", f"{path}/api_calls/value"))["balance"] == 0
    replaced = await call("PUT", f"{path}/api_calls/override", METERED, status=201)
    await call("GET", f"{path}/users/value", status=404)
    await call("GET", f"{path}/api_calls", status=400)
    await call("DELETE", f"{path}/{replaced['id']}", status=204)
    assert await call("GET", path) == []
    await call("GET", "/api/v1/subjects/nobody/entitlements", status=404)
    await call("POST", "/api/v1/subjects", [{"key": "alone"}])
    alone = (await call("GET", "/api/v1/subjects/alone"))["id"]
    await call("GET", f"/api/v1/subjects/{alone}/entitlements", status=404)
    await call("DELETE", "/api/v1/subjects/alone", status=204)
    await call("GET", f"/api/v1/subjects/{alone}/entitlements", status=412)
