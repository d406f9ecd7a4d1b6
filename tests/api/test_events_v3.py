"""The v3 list of events, and corrections of events over HTTP (metering section 11)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from meterhouse.customers import service as customers
from meterhouse.customers.customer import NewCustomer
from meterhouse.kernel import clock
from meterhouse.metering.meters import Aggregation
from tests.metering.conftest import NS, House, at, event, house
from tests.metering.http import client_of

__all__ = ["house"]

EVENTS = "/api/v3/openmeter/events"
CORRECTIONS = "/api/v3/meterhouse/events"
NOW = at("2025-07-10T12:00:00Z")
WHY = {"reason": "sent twice", "actor": "jo@example.com"}


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the whole server."""
    async with client_of(house) as client:
        yield client


@pytest.fixture
async def events(house: House) -> None:
    """Four events, sent in another order than they happened."""
    with clock.frozen(NOW):
        await house.send(event("d", "2025-07-04T10:00:00Z", "globex", {"v": 8}, type="t", source="Other"))
    with clock.frozen(at("2025-07-10T12:00:01Z")):
        await house.send(
            event("a", "2025-07-01T10:00:00Z", "acme", {"v": 1}, type="t"),
            event("b_1", "2025-07-02T10:00:00.5Z", "acme-2", {"v": 2}, type="t"),
            event("c", "2025-07-03T10:00:00Z", "acme", {"v": 4}, type="u"),
        )


async def listed(client: httpx.AsyncClient, params: dict[str, Any]) -> list[str]:
    """The ids of one answer."""
    answer = await client.get(EVENTS, params=params)
    assert answer.status_code == 200, answer.text
    return [item["event"]["id"] for item in answer.json()["data"]]


@pytest.mark.usefixtures("events")
async def test_an_event_is_shown_with_all_that_is_known(client: httpx.AsyncClient, house: House) -> None:
    async with house.db.write() as session:
        owner = await customers.create(session, NS, NewCustomer(name="C", key="acme"))
    await house.meter(Aggregation.SUM, "$.missing", event_type="u")
    answer = await client.get(EVENTS, params={"filter[id]": "c"})
    body = answer.json()
    assert body["data"] == [
        {
            "event": {
                "specversion": "1.0",
                "id": "c",
                "source": "srv",
                "type": "u",
                "subject": "acme",
                "time": "2025-07-03T10:00:00Z",
                "datacontenttype": "application/json",
                "data": {"v": 4},
            },
            "customer": {"id": owner.id},
            "ingested_at": "2025-07-10T12:00:01Z",
            "stored_at": body["data"][0]["stored_at"],
            "validation_errors": [
                {"code": "validation_error", "message": 'invalid event: missing value property: "$.missing"'}
            ],
        }
    ]
    assert body["meta"]["page"] == {
        "size": 20,
        "next": None,
        "previous": None,
        "first": body["meta"]["page"]["last"],
        "last": body["meta"]["page"]["first"],
    }


# In one test each, on one house: a house of its own for every line would take minutes.
LISTS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["d", "c", "b_1", "a"]),
    ({"sort": ""}, ["d", "c", "b_1", "a"]),
    ({"sort": "time"}, ["d", "c", "b_1", "a"]),
    ({"sort": "time asc"}, ["a", "b_1", "c", "d"]),
    ({"sort": "ingested_at"}, ["c", "b_1", "a", "d"]),
    ({"sort": "ingested_at asc"}, ["d", "a", "b_1", "c"]),
    ({"sort": "stored_at desc"}, ["c", "b_1", "a", "d"]),
    ({"page[size]": "2"}, ["d", "c"]),
    ({"filter[id][oeq]": "a, d,,x"}, ["d", "a"]),
    ({"filter[id][contains]": "B_"}, ["b_1"]),
    ({"filter[id][neq]": "a", "filter[type]": "t"}, ["d", "b_1"]),
    ({"filter[id]": ""}, ["d", "c", "b_1", "a"]),
    ({"filter[id][nexists]": ""}, []),
    ({"filter[source][contains]": "oth"}, ["d"]),
    ({"filter[subject][ocontains]": "ACME-,glob"}, ["d", "b_1"]),
    ({"filter[id][gte]": "b", "filter[id][lt]": "d"}, ["c", "b_1"]),
    ({"filter[time][gt]": "2025-07-02T10:00:00.4Z", "filter[time][lte]": "2025-07-03T10:00:00Z"}, ["c", "b_1"]),
    ({"filter[time]": "2025-07-04T10:00:00Z"}, ["d"]),
    ({"filter[ingested_at][lt]": "2025-07-10T12:00:01Z"}, ["d"]),
    ({"filter[stored_at][gte]": "2225-07-10T12:00:01Z"}, []),
]


@pytest.mark.usefixtures("events")
async def test_conditions_and_orders(client: httpx.AsyncClient) -> None:
    for params, found in LISTS:
        assert await listed(client, params) == found, params


@pytest.mark.usefixtures("events")
async def test_pages_follow_each_other(client: httpx.AsyncClient) -> None:
    for sort in ("time", "time asc", "ingested_at asc", "stored_at"):
        seen: list[str] = []
        params: dict[str, Any] = {"page[size]": 1, "sort": sort}
        for left in (3, 2, 1, 0):
            body = (await client.get(EVENTS, params=params)).json()
            page = body["meta"]["page"]
            seen += [item["event"]["id"] for item in body["data"]]
            assert (page["next"] is not None, page["previous"], page["size"]) == (left > 0, None, 1)
            params["page[after]"] = page["next"]
        assert seen == await listed(client, {"sort": sort})


async def test_an_empty_page(client: httpx.AsyncClient) -> None:
    assert (await client.get(EVENTS)).json() == {
        "data": [],
        "meta": {"page": {"size": 20, "next": None, "previous": None}},
    }


@pytest.mark.usefixtures("events")
async def test_customers(client: httpx.AsyncClient, house: House) -> None:
    async with house.db.write() as session:
        made = [
            await customers.create(session, NS, NewCustomer(name="C", key="acme", subject_keys=("acme-2",))),
            await customers.create(session, NS, NewCustomer(name="C", key="idle")),
        ]
    owner, idle = (one.id for one in made)
    assert await listed(client, {"filter[customer_id]": owner}) == ["c", "b_1", "a"]
    assert await listed(client, {"filter[customer_id][oeq]": f"{idle},{owner}"}) == ["c", "b_1", "a"]
    assert await listed(client, {"filter[customer_id]": idle}) == []
    assert (await client.get(EVENTS, params={"filter[customer_id][neq]": owner})).status_code == 400


REFUSED: list[dict[str, Any]] = [
    {"page[size]": 0},
    {"page[size]": 101},
    {"page[size]": "x"},
    {"page[before]": "x"},
    {"page[number]": 1},
    {"page[after]": "not-base64"},
    {"sort": "id"},
    {"sort": "time ASC"},
    {"sort": "time,stored_at"},
    {"filter[nmae]": "x"},
    {"filter[id][like]": "x"},
    {"filter[id][eq]": ""},
    {"filter[id][ocontains]": "a", "filter[id][gt]": "b"},
    {"filter[time]": "x"},
    {"filter[time][neq]": "2025-07-04T10:00:00Z"},
    {"filter[customer_id]": "nope"},
    {"filter[customer_id]": "01JNX8T0000000000000000001"},
]


async def test_refused(client: httpx.AsyncClient) -> None:
    for params in REFUSED:
        answer = await client.get(EVENTS, params=params)
        assert answer.status_code == 400, (params, answer.text)
        assert answer.json()["status"] == 400


@pytest.mark.usefixtures("events")
async def test_void_preview_void_and_restore(client: httpx.AsyncClient, house: House) -> None:
    meter = await house.meter(Aggregation.SUM, "$.v", event_type="t")
    asked = {"events": [{"source": "srv", "id": "a"}, {"source": "srv", "id": "b_1"}], **WHY}
    preview = await client.post(CORRECTIONS + "/void", json={**asked, "dry_run": True})
    assert preview.status_code == 200, preview.text
    expected = {
        "dry_run": True,
        "events": [
            {"source": "srv", "id": "b_1", "type": "t", "subject": "acme-2", "time": "2025-07-02T10:00:00.5Z"},
            {"source": "srv", "id": "a", "type": "t", "subject": "acme", "time": "2025-07-01T10:00:00Z"},
        ],
        "unchanged": [],
        "window": {"from": "2025-07-01T00:00:00Z", "to": "2025-08-01T00:00:00Z"},
        "usage": [
            {"meter_id": meter.id, "meter_key": meter.key, "subject": "acme", "before": "1", "after": "0"},
            {"meter_id": meter.id, "meter_key": meter.key, "subject": "acme-2", "before": "2", "after": "0"},
        ],
    }
    assert preview.json() == expected
    assert await _sum(client, meter.id) == "11"
    with clock.frozen(NOW):
        done = await client.post(CORRECTIONS + "/void", json=asked)
    assert done.json() == {**expected, "dry_run": False}
    assert await _sum(client, meter.id) == "8"
    shown = (await client.get(EVENTS, params={"filter[id]": "a"})).json()["data"][0]
    assert shown["voided"] == {"at": "2025-07-10T12:00:00Z", "reason": "sent twice", "actor": "jo@example.com"}
    other = (await client.get(EVENTS, params={"filter[id]": "c"})).json()["data"][0]
    assert "voided" not in other
    (in_v2,) = (await client.get("/api/v2/events", params={"filter": '{"id": {"$eq": "a"}}'})).json()["items"]
    assert in_v2["validationError"].split("\n")[-1] == "event is voided: sent twice"
    back = await client.post(CORRECTIONS + "/unvoid", json={"filter": {"type": "t"}, **WHY})
    assert [one["id"] for one in back.json()["events"]] == ["b_1", "a"]
    assert await _sum(client, meter.id) == "11"
    shown = (await client.get(EVENTS, params={"filter[id]": "a"})).json()["data"][0]
    assert "voided" not in shown


async def _sum(client: httpx.AsyncClient, meter_id: str) -> str:
    answer = await client.post(f"/api/v3/openmeter/meters/{meter_id}/query", json={})
    value: str = answer.json()["data"][0]["value"]
    return value


CHOICES: list[tuple[dict[str, Any], list[str]]] = [
    ({"type": "t"}, ["d", "b_1", "a"]),
    ({"source": "Other"}, ["d"]),
    ({"subject": ["acme", "globex"]}, ["d", "c", "a"]),
    ({"ids": ["a", "c"], "type": "t"}, ["a"]),
    ({"from": "2025-07-02T00:00:00Z", "to": "2025-07-04T10:00:00Z"}, ["c", "b_1"]),
    ({"ingested_from": "2025-07-10T12:00:01Z"}, ["c", "b_1", "a"]),
    ({"ingested_to": "2025-07-10T12:00:01Z"}, ["d"]),
    ({"subject": ["nobody"]}, []),
]


@pytest.mark.usefixtures("events")
async def test_conditions_of_corrections(client: httpx.AsyncClient) -> None:
    for condition, found in CHOICES:
        answer = await client.post(CORRECTIONS + "/void", json={"filter": condition, "dry_run": True, **WHY})
        assert [one["id"] for one in answer.json()["events"]] == found, condition


BAD_CORRECTIONS: list[tuple[dict[str, Any], int]] = [
    ({"events": [{"source": "srv", "id": "a"}]}, 400),
    ({"events": [{"source": "srv", "id": "a"}], "reason": "", "actor": "a"}, 400),
    ({**WHY}, 400),
    ({"events": [], **WHY}, 400),
    ({"filter": {}, **WHY}, 400),
    ({"filter": {"type": None}, **WHY}, 400),
    ({"filter": {"kind": "t"}, **WHY}, 400),
    ({"events": [{"source": "srv", "id": "a"}], "filter": {"type": "t"}, **WHY}, 400),
    ({"events": [{"source": "srv", "id": "a"}], "window": {"from": "2025-07-02T00:00:00Z"}, **WHY}, 400),
    (
        {
            "filter": {"type": "t"},
            "window": {"from": "2025-07-02T00:00:00Z", "to": "2025-07-02T00:00:00Z"},
            **WHY,
        },
        400,
    ),
    ({"events": [{"source": "srv", "id": "a"}, {"source": "srv", "id": "nope"}], **WHY}, 404),
    ({"events": [{"source": "srv", "id": "a\x00"}], **WHY}, 404),
]


@pytest.mark.usefixtures("events")
async def test_refused_corrections(client: httpx.AsyncClient) -> None:
    for verb in ("/void", "/unvoid"):
        for body, status in BAD_CORRECTIONS:
            answer = await client.post(CORRECTIONS + verb, json=body)
            assert answer.status_code == status, (body, answer.text)


@pytest.mark.usefixtures("events")
async def test_amend_keeps_every_digit(client: httpx.AsyncClient, house: House) -> None:
    meter = await house.meter(Aggregation.SUM, "$.v", event_type="t")
    await client.post(CORRECTIONS + "/void", json={"filter": {"subject": ["globex", "acme-2"]}, **WHY})
    body = (
        '{"source": "srv", "id": "a", "reason": "wrong unit", "actor": "jo", "event": {"specversion": "1.0", '
        '"id": "a2", "source": "srv", "type": "t", "subject": "acme", "time": "2025-07-01T10:00:00Z",'
        ' "data": {"v": 12345678901234567.1234567890123456789}}}'
    )
    headers = {"content-type": "application/json"}
    answer = await client.post(CORRECTIONS + "/amend", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"voided": {"source": "srv", "id": "a"}, "event": {"source": "srv", "id": "a2"}}
    await asyncio.wait_for(house.sink.drain(), 10)
    assert await _sum(client, meter.id) == "12345678901234567.1234567890123456789"
    same = await client.post(CORRECTIONS + "/amend", content=body, headers=headers)
    assert same.status_code == 200
    for old, new, status in (("a", "a3", 409), ("none", "x", 404), ("c", "c", 400), ("c", "d2", 200)):
        changed = {**WHY, "source": "srv", "id": old}
        changed["event"] = {"id": new, "source": "srv", "type": "t", "subject": "acme"}
        answer = await client.post(CORRECTIONS + "/amend", json=changed)
        assert answer.status_code == status, answer.text
