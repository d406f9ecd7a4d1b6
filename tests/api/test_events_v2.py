"""The v2 list of events: conditions as JSON, cursors (metering section 11)."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from meterhouse.api import cursors
from meterhouse.customers import service as customers
from meterhouse.customers.customer import NewCustomer
from meterhouse.kernel import clock
from meterhouse.kernel.errors import InvalidInput
from meterhouse.metering.meters import Aggregation
from tests.metering.conftest import NS, House, at, event, house
from tests.metering.http import client_of

__all__ = ["house"]

EVENTS = "/api/v2/events"


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the whole server."""
    async with client_of(house) as client:
        yield client


async def listed(client: httpx.AsyncClient, condition: Any = None, **params: Any) -> list[str]:
    """The ids of one answer."""
    given = params | ({"filter": json.dumps(condition)} if condition is not None else {})
    answer = await client.get(EVENTS, params=given)
    assert answer.status_code == 200, answer.text
    return [item["event"]["id"] for item in answer.json()["items"]]


@pytest.fixture
async def events(house: House) -> None:
    """Five events; three of them within one second."""
    with clock.frozen(at("2025-07-10T12:00:00Z")):
        await house.send(
            event("e1", "2024-01-01T00:00:00Z", "acme", type="a"),
            event("e2", "2025-07-09T10:00:00.2Z", "acme", type="b"),
            event("e3", "2025-07-09T10:00:00.1Z", "acme-2", type="b"),
            event("e_4", "2025-07-09T10:00:00.2Z", "globex", type="a", source="other"),
            event("e5", "2025-07-10T10:00:00Z", "globex", type="c"),
        )


@pytest.mark.usefixtures("events")
async def test_pages_follow_each_other_exactly(client: httpx.AsyncClient) -> None:
    cursor, seen = None, []
    for _ in range(5):
        answer = (await client.get(EVENTS, params={"limit": 1} | ({"cursor": cursor} if cursor else {}))).json()
        seen += [item["event"]["id"] for item in answer["items"]]
        cursor = answer["nextCursor"]
    assert seen == ["e5", "e_4", "e2", "e3", "e1"]
    assert cursor is None


# In one test each, on one house: a house of its own for every line would take minutes.
CONDITIONS: list[tuple[Any, list[str]]] = [
    ({}, ["e5", "e_4", "e2", "e3", "e1"]),
    ({"id": {}}, ["e5", "e_4", "e2", "e3", "e1"]),
    ({"id": {"$eq": "e2"}}, ["e2"]),
    ({"id": {"$in": ["e2", "e5", "none"]}}, ["e5", "e2"]),
    ({"id": {"$like": "e_4"}}, ["e_4"]),
    ({"id": {"$like": "e__"}}, ["e_4"]),
    ({"subject": {"$ne": "globex"}}, ["e2", "e3", "e1"]),
    ({"subject": {"$ilike": "ACME%"}}, ["e2", "e3", "e1"]),
    ({"subject": {"$or": [{"$eq": "acme-2"}, {"$eq": "globex"}]}}, ["e5", "e_4", "e3"]),
    ({"source": {"$eq": "other"}}, ["e_4"]),
    ({"type": {"$gt": "a"}}, ["e5", "e2", "e3"]),
    ({"type": {"$eq": "b"}, "subject": {"$eq": "acme"}}, ["e2"]),
    ({"time": {"$gte": "2025-07-09T10:00:00.2Z"}}, ["e5", "e_4", "e2"]),
    ({"time": {"$gt": "2025-07-09T12:00:00.2+02:00"}}, ["e5"]),
    ({"time": {"$lt": "2025-07-09T10:00:00.1Z"}}, ["e1"]),
    ({"time": {"$and": [{"$gte": "2025-07-09T00:00:00Z"}, {"$lte": "2025-07-09T10:00:00.1Z"}]}}, ["e3"]),
    ({"time": {"$or": [{"$lt": "2024-02-01T00:00:00Z"}, {"$gt": "2025-07-10T00:00:00Z"}]}}, ["e5", "e1"]),
    ({"ingestedAt": {"$gt": "2025-07-10T12:00:00Z"}}, []),
    ({"ingestedAt": {"$lte": "2025-07-10T12:00:00Z"}, "id": {"$eq": "e1"}}, ["e1"]),
    ({"subject": {"$eq": "x' OR 1=1 --\\"}}, []),
]


@pytest.mark.usefixtures("events")
async def test_conditions(client: httpx.AsyncClient) -> None:
    for condition, found in CONDITIONS:
        assert await listed(client, condition) == found, condition


async def test_customers_show_and_filter(client: httpx.AsyncClient, house: House) -> None:
    async with house.db.write() as session:
        made = [
            await customers.create(session, NS, NewCustomer(name="C", key="acme", subject_keys=("acme-2",))),
            await customers.create(session, NS, NewCustomer(name="C", key="idle")),
        ]
    owner, idle = (one.id for one in made)
    await house.meter(Aggregation.SUM, "$.v", event_type="t")
    await house.send(
        event("1", "2025-07-09T10:00:00Z", "acme", {"v": "x"}, type="t"),
        event("2", "2025-07-09T11:00:00Z", "acme-2", {"v": 1}, type="t"),
        event("3", "2025-07-09T12:00:00Z", "globex", {"v": 1}, type="t"),
    )
    assert await listed(client, {"customerId": {"$in": [owner, idle]}}) == ["2", "1"]
    assert await listed(client, {"customerId": {"$in": [idle]}}) == []
    assert await listed(client, {"customerId": {"$in": []}}) == []
    third, second, first = (await client.get(EVENTS)).json()["items"]
    assert (first["customerId"], second["customerId"], "customerId" in third) == (owner, owner, False)
    assert first["validationError"] == "invalid event: value cannot be parsed as float64: x"
    assert "validationError" not in second
    assert third["validationError"] == "no customer found for event subject: globex"


REFUSED: list[dict[str, Any]] = [
    {"limit": 0},
    {"limit": 101},
    {"cursor": "not-base64"},
    {"cursor": "MjAyMy0wNS0xNVQxMjozMDowMFo="},
    {"clientId": ""},
    *(
        {"filter": text}
        for text in (
            "{",
            "[]",
            '{"id": "x"}',
            '{"id": {"$eq": "a", "$ne": "b"}}',
            '{"id": {"$eq": ""}}',
            '{"id": {"$in": [""]}}',
            '{"id": {"$and": [{"$or": [{"$eq": "a"}]}]}}',
            '{"time": {"$gt": "yesterday"}}',
            '{"time": {"$gt": "2025-07-09T10:00:00Z", "$lt": "2025-07-10T10:00:00Z"}}',
            '{"time": {"$and": [{"$or": [{"$gt": "2025-07-09T10:00:00Z"}]}]}}',
            '{"customerId": {"$in": ["01JNX8T0000000000000000001"]}}',
            '{"customerId": {"$in": ["nope"]}}',
        )
    ),
]


async def test_refused(client: httpx.AsyncClient) -> None:
    for params in REFUSED:
        answer = await client.get(EVENTS, params=params)
        assert answer.status_code == 400, (params, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"


def test_cursors() -> None:
    row = "01JNX8T0000000000000000001"
    text = "MjAyNS0wMy0wMVQxMDowMDozMFosMDFKTlg4VDAwMDAwMDAwMDAwMDAwMDAwMDE="
    assert cursors.encode(at("2025-03-01T10:00:30Z"), row) == text
    assert cursors.encode(at("2025-03-01T05:00:30-05:00"), row) == text
    assert cursors.decode(text) == (at("2025-03-01T10:00:30Z"), row)
    exact = at("2023-05-15T12:30:00.9Z")
    assert cursors.decode(cursors.encode(exact, "a,b")) == (exact, "a,b")
    reference = base64.b64encode(b"2023-05-15T12:30:00Z,a,b").decode()
    assert cursors.decode(reference) == (at("2023-05-15T12:30:00Z"), "a,b")
    bad = [b"2023-05-15T12:30:00Z", b"2023-05-15T12:30:00Z,", b"now,a", b"2023-13-15T12:30:00Z,a", b"\xff,a"]
    for text in ["not-base64", *(base64.b64encode(one).decode() for one in bad)]:
        with pytest.raises(InvalidInput):
            cursors.decode(text)
