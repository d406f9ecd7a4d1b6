"""v3 meters, their queries and ingest over HTTP (metering sections 3, 10 and 12)."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from meterhouse.customers import service as customers
from meterhouse.customers.customer import NewCustomer
from tests.api.test_meters import send_a
from tests.metering.conftest import NS, House, event, house
from tests.metering.http import client_of

__all__ = ["house"]

METERS, EVENTS = "/api/v3/openmeter/meters", "/api/v3/openmeter/events"
NEW = {"key": "storage", "name": "Storage", "aggregation": "sum", "event_type": "storage", "value_property": "$.gb"}


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the whole server."""
    async with client_of(house) as client:
        yield client


async def create(client: httpx.AsyncClient, **members: Any) -> dict[str, Any]:
    """Create a meter."""
    answer = await client.post(METERS, json={**NEW, **members})
    assert answer.status_code == 201, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def test_create_get_list_update_delete(client: httpx.AsyncClient) -> None:
    made = await create(client, dimensions={"tier": "$.tier"}, labels={"team": "core"})
    assert made.items() >= {**NEW, "dimensions": {"tier": "$.tier"}, "labels": {"team": "core"}}.items()
    path = f"{METERS}/{made['id']}"
    assert (await client.get(path)).json() == made
    assert (await client.post(METERS, json=NEW)).status_code == 409
    other = await create(client, key="other", name="B")
    listed = (await client.get(METERS)).json()
    assert [meter["key"] for meter in listed["data"]] == ["storage", "other"]
    assert listed["meta"]["page"] == {"number": 1, "size": 20, "total": 2}
    listed = (await client.get(METERS, params={"filter[name]": "B", "sort": "name desc"})).json()
    assert [meter["id"] for meter in listed["data"]] == [other["id"]]
    changed = (await client.put(path, json={"name": "New"})).json()
    assert (changed["name"], changed["labels"], "dimensions" in changed) == ("New", {}, False)
    assert (await client.delete(path)).status_code == 204
    assert (await client.delete(path)).status_code == 204
    assert "deleted_at" in (await client.get(path)).json()
    assert (await client.put(path, json={"name": "New"})).status_code == 404
    assert [meter["key"] for meter in (await client.get(METERS)).json()["data"]] == ["other"]


async def test_create_refuses(client: httpx.AsyncClient) -> None:
    answer = await client.post(METERS, json={**NEW, "dimensions": {"subject": "$.s"}})
    assert answer.status_code == 400
    (issue,) = answer.json()["extensions"]["validationErrors"]
    assert (issue["code"], issue["field"], issue["value"]) == ("reserved_dimension", "$.dimensions.subject", "subject")
    answer = await client.post(METERS, json={**NEW, "value_property": "$..a"})
    (issue,) = answer.json()["extensions"]["validationErrors"]
    assert (answer.status_code, issue["field"]) == (400, "$.value_property")
    assert (await client.post(METERS, json={**NEW, "foo": 1})).status_code == 400
    assert (await client.get(f"{METERS}/nope")).status_code == 404
    assert (await client.get(f"{METERS}/01JNX8T0000000000000000001")).status_code == 404


async def test_query(client: httpx.AsyncClient, house: House) -> None:
    made = await create(client, dimensions={"tier": "$.tier", "none": "$.none"})
    await send_a(house)
    async with house.db.write() as session:
        owner = await customers.create(session, NS, NewCustomer(name="Acme Inc.", key="acme"))
    query = f"{METERS}/{made['id']}/query"
    body: dict[str, Any] = {
        "granularity": "P1D",
        "time_zone": "Europe/Berlin",
        "from": "2025-03-30T00:00:00Z",
        "group_by_dimensions": ["tier", "none", "tier"],
        "filters": {"dimensions": {"customer_id": {"eq": owner.id}, "tier": {"neq": "cold"}}},
    }
    assert (await client.post(query, json=body)).json() == {
        "from": "2025-03-30T00:00:00Z",
        "data": [
            {
                "value": "8",
                "from": "2025-03-31T00:00:00+02:00",
                "to": "2025-04-01T00:00:00+02:00",
                "dimensions": {"customer_id": owner.id, "tier": "hot"},
            }
        ],
    }
    csv = await client.post(query, json=body, headers={"accept": "text/csv"})
    assert csv.text == (
        "from,to,customer_id,customer_key,customer_name,tier,none,value\n"
        f"2025-03-31T00:00:00+02:00,2025-04-01T00:00:00+02:00,{owner.id},acme,Acme Inc.,hot,,8\n"
    )
    body = {"filters": {"dimensions": {"subject": {"in": ["acme", "globex"]}, "tier": {"contains": "O"}}}}
    rows = (await client.post(query, json=body)).json()["data"]
    assert [(row["value"], row["dimensions"]) for row in rows] == [
        ("11.75", {"subject": "acme"}),
        ("4", {"subject": "globex"}),
    ]


async def test_values_are_exact_and_plain(client: httpx.AsyncClient, house: House) -> None:
    made = await create(client)
    texts = ["16.5", "0.00000049", "1234567.1234567", "300"]
    await house.send(*(event(text, "2025-03-01T00:00:00Z", text, f'{{"gb":{text}}}') for text in texts))
    body = {"filters": {"dimensions": {"subject": {"in": texts}}}}
    rows = (await client.post(f"{METERS}/{made['id']}/query", json=body)).json()["data"]
    assert {row["dimensions"]["subject"]: row["value"] for row in rows} == {text: text for text in texts}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"time_zone": "Mars/Base"}, 400, "invalid_time_zone"),
        ({"granularity": "P1Y"}, 400, "enum"),
        ({"group_by_dimensions": ["x"]}, 400, "invalid_group_by"),
        ({"group_by_dimensions": ["customer_id"]}, 400, "invalid_group_by"),
        ({"filters": {"dimensions": {"x": {"eq": "1"}}}}, 400, "invalid_dimension_filter"),
        ({"filters": {"dimensions": {"subject": {"neq": "1"}}}}, 400, "unsupported_filter_operator"),
        ({"filters": {"dimensions": {"customer_id": {"eq": "1"}}}}, 404, "customer_not_found"),
    ],
)
async def test_query_refuses(client: httpx.AsyncClient, body: dict[str, Any], status: int, code: str) -> None:
    made = await create(client)
    answer = await client.post(f"{METERS}/{made['id']}/query", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["extensions"]["validationErrors"][0]["code"] == code


async def test_ingest(client: httpx.AsyncClient, house: House) -> None:
    sent = {"id": "1", "source": "s", "type": "t", "subject": "s"}
    answer = await client.post(EVENTS, json=[sent, sent])
    assert (answer.status_code, answer.content) == (202, b"")
    await house.sink.drain()
    assert await house.clickhouse.query("SELECT id FROM om_events") == [("1",)]
    answer = await client.post(EVENTS, json={**sent, "extension": 1})
    assert answer.status_code == 400
    assert "`extension`" in answer.json()["detail"]
    assert (await client.post(EVENTS, json=[])).status_code == 400
    batch = {"content-type": "application/cloudevents-batch+json"}
    assert (await client.post(EVENTS, content=b"[]", headers=batch)).status_code == 202
