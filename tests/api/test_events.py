"""Ingest and listing of events over HTTP (metering sections 3 and 11)."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from meterhouse.customers import service as customers
from meterhouse.customers.customer import NewCustomer
from meterhouse.kernel import clock
from meterhouse.kernel.errors import Unavailable
from meterhouse.metering.meters import Aggregation
from tests.metering.conftest import NS, House, at, event, house
from tests.metering.http import MAX_BODY, client_of

__all__ = ["house"]

EVENTS = "/api/v1/events"
JSON, ONE, BATCH = "application/json", "application/cloudevents+json", "application/cloudevents-batch+json"


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the whole server."""
    async with client_of(house) as client:
        yield client


def wire(event_id: str = "1", **members: Any) -> dict[str, Any]:
    """An event as a client sends it."""
    return {"specversion": "1.0", "id": event_id, "source": "srv", "type": "t", "subject": "s", **members}


async def post(client: httpx.AsyncClient, body: Any, content_type: str | None = JSON) -> httpx.Response:
    """Send a body of events."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if content_type is None else {"content-type": content_type}
    return await client.post(EVENTS, content=content, headers=headers)


async def ids(house: House) -> list[str]:
    """The ids of all stored events."""
    await asyncio.wait_for(house.sink.drain(), 10)
    return [row[0] for row in await house.clickhouse.query("SELECT id FROM om_events ORDER BY id")]


@pytest.mark.parametrize(
    ("body", "content_type", "stored"),
    [
        (wire(), JSON, ["1"]),
        (wire(), "application/json; charset=utf-8", ["1"]),
        ([wire(), wire("2")], "Application/JSON", ["1", "2"]),
        (wire(), ONE, ["1"]),
        ([wire(), wire("1"), wire("2")], BATCH, ["1", "2"]),
        ([], BATCH, []),
        (wire(traceparent="x", ext1={"a": 1}, data=None, time=None, datacontenttype=None), JSON, ["1"]),
        ({name: value for name, value in wire().items() if name != "specversion"}, JSON, ["1"]),
    ],
)
async def test_accepted(
    client: httpx.AsyncClient, house: House, body: Any, content_type: str, stored: list[str]
) -> None:
    answer = await post(client, body, content_type)
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-length" not in answer.headers
    assert await ids(house) == stored


@pytest.mark.parametrize(
    ("body", "content_type", "says"),
    [
        (wire(), None, "content type"),
        (wire(), "text/plain", "content type: text/plain"),
        ([], JSON, "no events found"),
        (b"", JSON, "truncated"),
        (b"{", JSON, "truncated"),
        (b"\xff", JSON, "malformed"),
        (b"null", JSON, "null"),
        (b"[" * 100_000, JSON, "invalid event"),
        ([wire(), wire(subject="")], JSON, "$[1].subject"),
        ([wire(), {**wire(), "id": 5}], JSON, "$[1].id"),
        ([wire(), {"id": "2"}], JSON, "`source` - at `$[1]`"),
        (wire(my_field=1), JSON, "'my_field'"),
        (wire(specversion="2.0"), JSON, "$.specversion"),
        (wire(datacontenttype="text/plain"), JSON, "$.datacontenttype"),
        (wire(source="a_b:c"), JSON, "$.source"),
        (wire(source="%zz"), JSON, "$.source"),
        (wire(time="yesterday"), JSON, "$.time"),
        (wire(time="2025-03-01T10:00:00"), JSON, "$.time"),
        (wire(time="2106-02-07T06:28:16Z"), JSON, "$.time"),
        (wire(time="1969-12-31T23:59:59Z"), JSON, "$.time"),
        (wire(data=[1]), JSON, "$.data"),
        (wire(data="text"), JSON, "$.data"),
        ([wire()], ONE, "one event"),
    ],
)
async def test_refused_and_nothing_is_stored(
    client: httpx.AsyncClient, house: House, body: Any, content_type: str | None, says: str
) -> None:
    answer = await post(client, body, content_type)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]
    assert await ids(house) == []


async def test_data_that_is_no_utf8_is_refused(client: httpx.AsyncClient) -> None:
    body = json.dumps(wire(data={"v": "X"})).encode().replace(b"X", b"\xff")
    assert (await post(client, body)).status_code == 400


async def test_large_bodies_are_refused(client: httpx.AsyncClient) -> None:
    assert (await post(client, [wire(data={"v": "x" * MAX_BODY})])).status_code == 413


async def test_503_when_the_log_does_not_acknowledge(
    client: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def append(events: Any) -> None:
        raise Unavailable("the event log does not acknowledge")

    monkeypatch.setattr(house.log, "append", append)
    answer = await post(client, wire())
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


async def test_wrong_methods_and_openapi(client: httpx.AsyncClient) -> None:
    assert (await client.delete(EVENTS)).status_code == 405
    document = (await client.get("/api/swagger.json")).json()
    operation = document["paths"][EVENTS]["post"]
    assert set(operation["requestBody"]["content"]) == {JSON, ONE, BATCH}
    assert operation["responses"]["204"]
    assert document["components"]["schemas"]["Event"]["required"] == ["id", "source", "type", "subject"]


async def _customer(house: House, **members: Any) -> str:
    async with house.db.write() as session:
        return (await customers.create(session, NS, NewCustomer(name="C", **members))).id


async def test_listed_events_are_complete_cloudevents(client: httpx.AsyncClient, house: House) -> None:
    with clock.frozen(at("2025-07-10T12:00:00Z")):
        customer = await _customer(house, key="s")
        await house.meter(Aggregation.SUM, "$.v", event_type="t")
        await house.send(
            event("1", "2025-07-10T10:00:00.5Z", "s", '{"v": 1.50, "big": 12345678901234567890.1}', type="t"),
            event("2", "2025-07-10T11:00:00Z", "nobody", type="x"),
        )
        answer = await client.get(EVENTS)
    assert answer.headers["content-type"] == "application/json"
    assert '"data":{"v": 1.50, "big": 12345678901234567890.1}' in answer.text
    second, first = answer.json()
    assert first["event"] == {
        "specversion": "1.0",
        "id": "1",
        "source": "srv",
        "type": "t",
        "subject": "s",
        "time": "2025-07-10T10:00:00.5Z",
        "datacontenttype": "application/json",
        "data": {"v": 1.5, "big": 12345678901234567890.1},
    }
    assert first["customerId"] == customer
    assert "validationError" not in first
    assert set(first) == {"event", "ingestedAt", "storedAt", "customerId"}
    assert second["validationError"] == (
        "no meter found for event type: x\nno customer found for event subject: nobody"
    )
    assert "data" not in second["event"]
    assert "customerId" not in second


async def test_list_filters(client: httpx.AsyncClient, house: House) -> None:
    with clock.frozen(at("2025-07-10T12:00:00Z")):
        customer = await _customer(house, key="acme", subject_keys=("acme-2",))
        empty = await _customer(house, key="idle")
        await house.send(
            event("a_1", "2025-07-09T10:00:00Z", "acme"),
            event("ab1", "2025-07-09T11:00:00Z", "acme-2"),
            event("old", "2025-05-01T00:00:00Z", "acme"),
        )

        async def listed(**params: Any) -> list[str]:
            answer = await client.get(EVENTS, params=params)
            assert answer.status_code == 200, answer.text
            return [entry["event"]["id"] for entry in answer.json()]

        assert await listed() == ["ab1", "a_1"]
        assert await listed(limit=1) == ["ab1"]
        assert await listed(id="A_") == ["a_1"]
        assert await listed(subject="acme") == ["a_1"]
        assert await listed(customerId=[customer, empty]) == ["ab1", "a_1"]
        assert await listed(customerId=empty) == []
        assert await listed(**{"from": "2025-07-09T10:00:00Z", "to": "2025-07-09T11:00:00Z"}) == ["a_1"]
        assert await listed(ingestedAtFrom="2025-07-10T12:00:01Z") == []


@pytest.mark.parametrize(
    "params",
    [
        {"from": "2025-06-08T11:59:59Z"},
        {"ingestedAtFrom": "2025-06-08T11:59:59Z"},
        {"from": "2025-07-02T00:00:00Z", "to": "2025-07-01T00:00:00Z"},
        {"ingestedAtFrom": "2025-07-02T00:00:00Z", "ingestedAtTo": "2025-07-01T00:00:00Z"},
        {"limit": 0},
        {"limit": 101},
        {"customerId": "01JNX8T0000000000000000001"},
    ],
)
async def test_list_refuses(client: httpx.AsyncClient, params: dict[str, Any]) -> None:
    with clock.frozen(at("2025-07-10T12:00:00Z")):
        assert (await client.get(EVENTS, params=params)).status_code == 400
