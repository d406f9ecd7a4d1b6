"""Where a request is wrong, in words of the request (api-conventions sections 3 and 4)."""

import httpx
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from meterhouse.api.app import create_v1
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
