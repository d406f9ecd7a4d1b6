"""Where a request is wrong, in words of the request (api-conventions sections 3 and 4)."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from meterhouse.api.app import create_app, create_v1
from meterhouse.api.middleware import Edge
from meterhouse.api.services import Services
from meterhouse.kernel.db import Database

CARD = {"type": "usage_based", "key": "tokens", "name": "Tokens", "billingCadence": "P1M"}


@pytest.mark.parametrize(
    ("price", "field"),
    [
        ({"type": "unit", "amount": 5}, "price.amount"),
        ({"type": "unit"}, "price.amount"),
        (
            {"type": "tiered", "mode": "volume", "tiers": [{}, {"unitPrice": {"type": "unit"}}]},
            "price.tiers[1].unitPrice.amount",
        ),
    ],
)  # fmt: skip
async def test_the_field_is_named_as_the_client_sent_it(db: Database, price: object, field: str) -> None:
    app = create_v1()
    app.state.services = Services(db=db, namespace="default")
    phase = {"key": "main", "name": "Main", "duration": None, "rateCards": [{**CARD, "price": price}]}
    plan = {"key": "p", "name": "P", "currency": "USD", "billingCadence": "P1M", "phases": [phase]}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as http:
        answer = await http.post("/api/v1/plans", json=plan)
    assert answer.status_code == 400
    found = [one["field"] for one in answer.json()["extensions"]["validationErrors"]]
    assert f"$.phases[0].rateCards[0].{field}" in found


@pytest.fixture
async def client(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(Services(db=db, namespace="default"), max_body_bytes=1_000_000)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/v1/plans", "GET, POST"),
        ("HEAD", "/api/v1/plans", "GET, POST"),
        ("POST", "/api/v1/plans/pro", "DELETE, GET, PUT"),
        ("POST", "/api/v1/features/f", "DELETE, GET"),
        ("PATCH", "/api/v1/events", "GET, POST"),
        ("POST", "/api/swagger.json", "GET, HEAD"),
        ("PATCH", "/api/v3/openmeter/plans", "GET, POST"),
        ("PATCH", "/api/v3/openmeter/plans/01JNX8T0000000000000000001", "DELETE, GET, PUT"),
    ],
)
async def test_all_methods_of_a_path_are_named(client: httpx.AsyncClient, method: str, path: str, allowed: str) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


FEATURES = ("/api/v1/features", "/api/v3/openmeter/features")
FEATURE = b'{"key": "f", "name": "F"}'


@pytest.mark.parametrize("path", FEATURES)
async def test_a_body_is_asked_for(client: httpx.AsyncClient, path: str) -> None:
    for content_type in ("application/json", "text/plain", None):
        answer = await client.post(path, headers={"content-type": content_type} if content_type else {})
        assert answer.status_code == 400
        assert answer.json()["detail"].endswith("a body is required")
        (found,) = answer.json()["extensions"]["validationErrors"]
        assert (found["code"], found["field"]) == ("required", "$")


@pytest.mark.parametrize("path", FEATURES)
async def test_bodies_of_other_types_are_refused(client: httpx.AsyncClient, path: str) -> None:
    for content_type in ("text/plain", "application/merge-patch+json", "application/x-www-form-urlencoded", "json", ""):
        answer = await client.post(path, content=FEATURE, headers={"content-type": content_type})
        assert answer.status_code == 400, content_type
        told = f"the content type must be application/json, not {content_type or 'absent'}"
        assert answer.json()["detail"].endswith(told), answer.text
    answer = await client.post(path, json=[])
    assert answer.status_code == 400
    assert answer.json()["detail"].endswith("must be a JSON object")


async def test_parameters_make_no_other_type(client: httpx.AsyncClient) -> None:
    for index, content_type in enumerate(("application/json; charset=utf-8", "Application/JSON ;charset=UTF-8")):
        for path in FEATURES:
            body = {"key": f"f_{index}_{len(path)}", "name": "F"}
            answer = await client.post(path, content=json.dumps(body), headers={"content-type": content_type})
            assert answer.status_code == 201, answer.text


async def test_a_bug_that_the_database_finds_is_logged(db: Database) -> None:
    app = create_v1()

    @app.get("/bug")
    async def bug() -> None:
        async with db.write() as session:
            await session.execute(text("SELECT 1 / 0"))

    door = Edge(app, max_body_bytes=1)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=door), base_url="http://test") as http:
        with capture_logs() as logs:
            answer = await http.get("/bug")
    assert answer.status_code == 500
    (line,) = logs
    assert (line["event"], line["log_level"], line["path"]) == ("request failed", "error", "/bug")
    assert "division by zero" in str(line["exc_info"])


async def test_a_transaction_that_gave_way_to_another_may_be_tried_again(db: Database) -> None:
    app = create_v1()

    @app.get("/deadlock")
    async def deadlock() -> None:
        async with db.write() as session:
            await session.execute(text("DO $$ BEGIN RAISE EXCEPTION 'met' USING ERRCODE = 'deadlock_detected'; END $$"))

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as http:
        answer = await http.get("/deadlock")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "try again" in answer.json()["detail"]
