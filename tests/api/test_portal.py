"""v1 portal over HTTP (metering section 15)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from meterhouse.api.app import create_app
from meterhouse.api.services import Services
from meterhouse.kernel import clock
from meterhouse.metering.meters import Aggregation
from meterhouse.portal.service import Portal
from tests.metering.conftest import NS, House, at, event, house

__all__ = ["house"]

TOKENS = "/api/v1/portal/tokens"
QUERY = "/api/v1/portal/meters/storage/query"
NOW = at("2025-03-01T10:00:00Z")


@asynccontextmanager
async def client_of(house: House, portal: Portal | None) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of the whole server."""
    services = Services(db=house.db, namespace=NS, meter_queries=house.queries, portal=portal)
    transport = httpx.ASGITransport(create_app(services, max_body_bytes=100_000), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server with a portal, whose clock stands still; two subjects have used two meters."""
    with clock.frozen(NOW):
        async with client_of(house, Portal("s" * 32, timedelta(hours=1))) as client:
            group_by = {"tier": "$.tier"}
            await house.meter(Aggregation.SUM, "$.gb", group_by, key="storage")
            await house.meter(Aggregation.COUNT, key="uploads")
            await house.send(
                event("1", "2025-03-01T08:10:00Z", "acme", {"gb": 1, "tier": "hot"}),
                event("2", "2025-03-01T09:20:00Z", "acme", {"gb": 2.5, "tier": "cold"}),
                event("3", "2025-03-01T09:30:00Z", "beta", {"gb": 100, "tier": "hot"}),
            )
            yield client


async def issue(client: httpx.AsyncClient, **members: Any) -> dict[str, Any]:
    """Issue a token for acme."""
    answer = await client.post(TOKENS, json={"subject": "acme", **members})
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def bearer(token: dict[str, Any]) -> dict[str, str]:
    """Return the headers of a token's holder."""
    return {"Authorization": f"Bearer {token['token']}"}


async def test_create_list_invalidate(client: httpx.AsyncClient) -> None:
    made = await issue(client, allowedMeterSlugs=["storage"])
    assert {**made, "id": "", "token": ""} == {
        "id": "",
        "token": "",
        "subject": "acme",
        "expired": False,
        "createdAt": "2025-03-01T10:00:00Z",
        "expiresAt": "2025-03-01T11:00:00Z",
        "allowedMeterSlugs": ["storage"],
    }
    other = await issue(client, subject="beta", expiresAt="2025-03-08T00:00:00+01:00")
    assert (other["allowedMeterSlugs"], other["expiresAt"]) == ([], "2025-03-07T23:00:00Z")
    shown = [{name: value for name, value in token.items() if name != "token"} for token in (other, made)]
    assert (await client.get(TOKENS)).json() == shown
    assert (await client.get(TOKENS, params={"limit": 1})).json() == shown[:1]
    for limit in (0, 101):
        assert (await client.get(TOKENS, params={"limit": limit})).status_code == 400
    answer = await client.post(f"{TOKENS}/invalidate", json={"id": made["id"]})
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await client.get(TOKENS)).json() == shown[:1]
    assert (await client.get(QUERY, headers=bearer(made))).status_code == 401
    assert (await client.get(QUERY, headers=bearer(other))).status_code == 200
    assert (await client.post(f"{TOKENS}/invalidate", json={"subject": "beta"})).status_code == 204
    assert (await client.get(QUERY, headers=bearer(other))).status_code == 401
    assert (await client.post(f"{TOKENS}/invalidate", json={})).status_code == 400


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"allowedMeterSlugs": []}, 400),
        ({"allowedMeterSlugs": ["storage", "nope"]}, 404),
        ({"expiresAt": "2025-03-01T10:00:00Z"}, 400),
        ({"expiresAt": "9999-12-31T23:59:59Z"}, 200),
        ({"subject": ""}, 400),
        ({"subject": None}, 400),
        ({"subject": "\x00"}, 400),
    ],
)
async def test_what_can_be_issued(client: httpx.AsyncClient, members: dict[str, Any], status: int) -> None:
    answer = await client.post(TOKENS, json={"subject": "acme", **members})
    assert answer.status_code == status, answer.text


async def test_the_holder_sees_the_subject_and_nothing_else(client: httpx.AsyncClient) -> None:
    headers = bearer(await issue(client))
    window = {"windowStart": "2025-03-01T08:10:00Z", "windowEnd": "2025-03-01T09:21:00Z"}
    mine = {"value": 3.5, **window, "subject": "acme", "groupBy": {}}
    for params in (
        {},
        {"subject": "beta"},
        {"subject": ["beta", "acme"], "filterCustomerId": "01JNX8T0000000000000000001"},
        {"groupBy": "subject", "clientId": "me"},
    ):
        answer = await client.get(QUERY, params=params, headers=headers)
        assert answer.json() == {"data": [mine]}, params
    params = {"from": "2025-03-01T00:00:00Z", "to": "2025-03-02T00:00:00Z", "windowSize": "HOUR", "groupBy": "tier"}
    rows = (await client.get(QUERY, params=params, headers=headers)).json()["data"]
    assert [(row["windowStart"], row["value"], row["groupBy"]) for row in rows] == [
        ("2025-03-01T08:00:00Z", 1, {"tier": "hot"}),
        ("2025-03-01T09:00:00Z", 2.5, {"tier": "cold"}),
    ]
    for filtered in ({"filterGroupBy[tier]": "cold"}, {"advancedMeterGroupByFilters": '{"tier": {"$eq": "cold"}}'}):
        (row,) = (await client.get(QUERY, params=filtered, headers=headers)).json()["data"]
        assert row["value"] == 2.5
    other = bearer(await issue(client, subject="nobody"))
    assert (await client.get(QUERY, headers=other)).json() == {"data": []}


async def test_csv(client: httpx.AsyncClient) -> None:
    headers = bearer(await issue(client)) | {"Accept": "text/csv"}
    answer = await client.get(QUERY, headers=headers)
    assert answer.headers["content-type"] == "text/csv"
    assert answer.text.splitlines() == [
        "window_start,window_end,subject,value",
        "2025-03-01T08:10:00Z,2025-03-01T09:21:00Z,acme,3.500000",
    ]


async def test_meters_that_the_token_does_not_name(client: httpx.AsyncClient) -> None:
    limited, unlimited = bearer(await issue(client, allowedMeterSlugs=["storage"])), bearer(await issue(client))
    assert (await client.get(QUERY, headers=limited)).status_code == 200
    for slug, headers, status in (
        ("uploads", limited, 401),
        ("nope", limited, 401),
        ("uploads", unlimited, 200),
        ("nope", unlimited, 404),
        ("A-B", unlimited, 400),
    ):
        answer = await client.get(f"/api/v1/portal/meters/{slug}/query", headers=headers)
        assert answer.status_code == status, slug


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer"}, {"Authorization": "Bearer x.y.z"}, {"Authorization": "Basic eDp5"}]
)
async def test_no_token_no_answer(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    # Also where the rest of the request is wrong: who is not let in learns nothing.
    for params in ({}, {"from": "never"}):
        answer = await client.get(QUERY, headers=headers, params=params)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/problem+json"


async def test_pages_of_any_site_may_read_the_query(client: httpx.AsyncClient) -> None:
    origin = {"Origin": "https://shop.example"}
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "Authorization, Content-Type"}
    preflight = await client.options(QUERY, headers=origin | asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://shop.example"
    assert preflight.headers["access-control-allow-credentials"] == "true"
    assert preflight.headers["access-control-allow-methods"] == "GET, OPTIONS"
    allowed = preflight.headers["access-control-allow-headers"]
    assert {"Accept", "Authorization", "Content-Type"} <= set(allowed.split(", "))
    assert preflight.headers["access-control-max-age"] == "1728000"
    for headers, status in ((bearer(await issue(client)), 200), ({}, 401)):
        answer = await client.get(QUERY, headers=headers | origin)
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    for path in (TOKENS, "/api/v1/meters"):
        answer = await client.get(path, headers=origin)
        assert "access-control-allow-origin" not in answer.headers


async def test_without_a_secret_there_is_no_portal(house: House) -> None:
    async with client_of(house, None) as client:
        for answer in (
            await client.post(TOKENS, json={"subject": "acme"}),
            await client.get(TOKENS),
            await client.post(f"{TOKENS}/invalidate", json={"subject": "acme"}),
        ):
            assert answer.status_code == 501, answer.text
        assert (await client.get(QUERY, headers={"Authorization": "Bearer x.y.z"})).status_code == 401


@pytest.mark.parametrize("written", ["{'tier': 'cold'}", '{"tier": "cold"}'])
async def test_an_object_of_filters_in_one_parameter(client: httpx.AsyncClient, written: str) -> None:
    answer = await client.get("/api/v1/meters/storage/query", params={"filterGroupBy": written})
    assert [row["value"] for row in answer.json()["data"]] == [2.5]


@pytest.mark.parametrize(
    "written", ["", "cold", "{'tier': 1}", "['tier']", "{", "(" * 5000, "__import__('os')", "\x00"]
)
async def test_filters_that_cannot_be_read_are_refused(client: httpx.AsyncClient, written: str) -> None:
    answer = await client.get("/api/v1/meters/storage/query", params={"filterGroupBy": written})
    assert answer.status_code == 400, answer.text
