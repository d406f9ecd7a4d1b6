"""v1 meters and their queries over HTTP (metering sections 10 and 12)."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from meterhouse.catalog import features
from meterhouse.customers import service as customers
from meterhouse.customers.customer import NewCustomer
from meterhouse.kernel import clock
from tests.metering.conftest import NS, House, at, event, house
from tests.metering.http import client_of

__all__ = ["house"]

METERS = "/api/v1/meters"
NEW = {"slug": "storage", "aggregation": "SUM", "eventType": "storage", "valueProperty": "$.gb"}


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


async def test_create_get_list(client: httpx.AsyncClient) -> None:
    made = await create(client, groupBy={"tier": "$.tier"}, metadata={"a": "b"}, eventFrom="2025-01-01T00:00:00Z")
    assert made.items() >= {**NEW, "name": "storage", "metadata": {"a": "b"}, "annotations": None}.items()
    assert (made["groupBy"], made["eventFrom"]) == ({"tier": "$.tier"}, "2025-01-01T00:00:00Z")
    for name in (made["id"], "storage"):
        assert (await client.get(f"{METERS}/{name}")).json() == made
    other = await create(client, slug="count", aggregation="COUNT", valueProperty=None)
    assert set(other) == {
        *("id", "createdAt", "updatedAt", "name", "slug", "aggregation", "eventType", "metadata", "annotations")
    }
    listed = (await client.get(METERS, params={"page": 7, "pageSize": 1})).json()
    assert [meter["slug"] for meter in listed] == ["count", "storage"]
    listed = (await client.get(METERS, params={"orderBy": "createdAt", "order": "DESC"})).json()
    assert [meter["slug"] for meter in listed] == ["count", "storage"]
    assert (await client.get(METERS, params={"orderBy": "size"})).status_code == 400


@pytest.mark.parametrize(
    "members",
    [
        {"slug": "A B"},
        {"slug": None},
        {"aggregation": "MEDIAN"},
        {"valueProperty": None},
        {"valueProperty": "gb"},
        {"valueProperty": "$.a-b"},
        {"valueProperty": "$..a"},
        {"aggregation": "COUNT"},
        {"eventType": ""},
        {"description": ""},
        {"eventFrom": "0001-01-01T00:00:00Z"},
        {"groupBy": {"tier": "tier"}},
        {"groupBy": {"tier": "$."}},
        {"groupBy": {"a-b": "$.tier"}},
        {"groupBy": {"tier": "$.gb"}},
    ],
)
async def test_create_refuses(client: httpx.AsyncClient, members: dict[str, Any]) -> None:
    answer = await client.post(METERS, json={**NEW, **members})
    assert answer.status_code == 400, answer.text


async def test_a_slug_is_unique_among_live_meters(client: httpx.AsyncClient) -> None:
    first = await create(client)
    answer = await client.post(METERS, json=NEW)
    assert answer.status_code == 409
    assert answer.json()["detail"] == "conflict error: meter with the same slug already exists: storage"
    assert (await client.delete(f"{METERS}/storage")).status_code == 204
    assert (await client.delete(f"{METERS}/storage")).status_code == 404
    assert (await client.delete(f"{METERS}/{first['id']}")).status_code == 204
    assert (await client.get(f"{METERS}/storage")).status_code == 404
    assert "deletedAt" in (await client.get(f"{METERS}/{first['id']}")).json()
    second = await create(client)
    assert second["id"] != first["id"]
    listed = (await client.get(METERS, params={"includeDeleted": True})).json()
    assert [meter["id"] for meter in listed] == [first["id"], second["id"]]


async def test_not_found(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{METERS}/nope")
    assert (answer.status_code, answer.json()["detail"]) == (404, "not found error: meter not found: nope")
    assert (await client.get(f"{METERS}/No!")).status_code == 400


async def test_update(client: httpx.AsyncClient) -> None:
    made = await create(client, name="Old", description="D", groupBy={"a": "$.a"}, metadata={"x": "y"})
    answer = await client.put(f"{METERS}/storage", json={"groupBy": {"b": "$.b"}})
    changed = answer.json()
    assert (changed["name"], changed["description"], changed["groupBy"], changed["metadata"]) == (
        *("Old", "D"),
        {"b": "$.b"},
        None,
    )
    assert (await client.put(f"{METERS}/storage", json={"groupBy": {"b": "$.gb"}})).status_code == 400
    await client.delete(f"{METERS}/storage")
    assert (await client.put(f"{METERS}/{made['id']}", json={})).status_code == 404


async def test_a_feature_keeps_its_meter(client: httpx.AsyncClient, house: House) -> None:
    made = await create(client, groupBy={"tier": "$.tier"})
    async with house.db.write() as session:
        new = features.NewFeature(key="f", name="F", meter_id=made["id"])
        await features.create(session, NS, new)
    assert (await client.delete(f"{METERS}/storage")).status_code == 409
    assert (await client.put(f"{METERS}/storage", json={})).status_code == 200


async def send_a(house: House) -> None:
    """Store set A of metering section 18."""
    await house.send(
        event("a1", "2025-03-29T22:30:00Z", "acme", {"gb": 1.5, "tier": "hot"}),
        event("a2", "2025-03-29T23:30:00Z", "acme", {"gb": "2.25", "tier": "cold"}),
        event("a3", "2025-03-30T21:59:59Z", "globex", {"gb": 4, "tier": "hot"}),
        event("a4", "2025-03-30T22:00:00Z", "acme", {"gb": 8, "tier": "hot"}),
        event("a5", "2025-03-31T12:00:00Z", "acme", {"tier": "hot"}),
    )


async def test_query(client: httpx.AsyncClient, house: House) -> None:
    await create(client, groupBy={"tier": "$.tier", "none": "$.none"})
    await send_a(house)
    query = f"{METERS}/storage/query"
    assert (await client.get(query)).json() == {
        "data": [
            {
                "value": 15.75,
                "windowStart": "2025-03-29T22:30:00Z",
                "windowEnd": "2025-03-31T12:01:00Z",
                "subject": None,
                "groupBy": {},
            }
        ]
    }
    params = {"windowSize": "DAY", "windowTimeZone": "Europe/Berlin", "from": "2025-03-30T00:00:00Z"}
    params |= {"to": "2025-04-01T00:00:00+02:00", "subject": "acme", "groupBy": ["tier", "none"]}
    params |= {"filterGroupBy[tier]": "hot"}
    answer = (await client.get(query, params=params)).json()
    assert answer == {
        "from": "2025-03-30T00:00:00Z",
        "to": "2025-03-31T22:00:00Z",
        "windowSize": "DAY",
        "data": [
            {
                "value": 8,
                "windowStart": "2025-03-31T00:00:00+02:00",
                "windowEnd": "2025-04-01T00:00:00+02:00",
                "subject": "acme",
                "groupBy": {"tier": "hot", "none": None},
            }
        ],
    }
    body = {"filterGroupBy": {"tier": ["hot", "cold"]}, "groupBy": ["tier"]}
    rows = (await client.post(query, json=body)).json()["data"]
    assert [(row["groupBy"]["tier"], row["value"]) for row in rows] == [("hot", 13.5), ("cold", 2.25)]
    advanced = {"advancedMeterGroupByFilters": '{"tier": {"$ne": "hot"}}'}
    assert [row["value"] for row in (await client.get(query, params=advanced)).json()["data"]] == [2.25]


async def test_numbers_keep_their_digits(client: httpx.AsyncClient, house: House) -> None:
    await create(client)
    data = '{"gb": 12345678901234567.1234567890123456789}'
    await house.send(
        event("1", "2025-03-01T00:00:00Z", data=data), event("2", "2025-03-01T00:00:00Z", data={"gb": 0.1})
    )
    answer = await client.get(f"{METERS}/storage/query")
    assert '"value":12345678901234567.2234567890123456789,' in answer.text


async def test_query_by_customer(client: httpx.AsyncClient, house: House) -> None:
    await create(client)
    await send_a(house)
    async with house.db.write() as session:
        one = await customers.create(session, NS, NewCustomer(name="1", key="acme"))
        two = await customers.create(session, NS, NewCustomer(name="2", subject_keys=("globex",)))
    query = f"{METERS}/storage/query"
    rows = (await client.get(query, params={"filterCustomerId": [one.id, two.id]})).json()["data"]
    assert [(row["customerId"], row["value"], row["subject"]) for row in rows] == [
        (one.id, 11.75, None),
        (two.id, 4, None),
    ]
    both = {"filterCustomerId": one.id, "subject": "globex"}
    assert (await client.get(query, params=both)).json()["data"] == []
    assert (await client.get(query, params={"filterCustomerId": "nobody"})).status_code == 404
    assert (await client.get(query, params={"groupBy": "customer_id"})).status_code == 400
    text = (await client.get(query, params={"filterCustomerId": one.id}, headers={"accept": "text/csv"})).text
    assert text.splitlines()[0] == "window_start,window_end,customer_id,value"
    assert text.splitlines()[1].endswith(f",{one.id},11.750000")


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"from": "2025-01-01T00:00:00Z", "to": "2025-01-01T00:00:00Z"}, "from and to cannot be equal"),
        ({"from": "2025-01-02T00:00:00Z", "to": "2025-01-01T00:00:00Z"}, "from must be before to"),
        ({"groupBy": "x"}, "invalid group by: x"),
        ({"filterGroupBy[x]": "1"}, "invalid group by filter: x"),
        ({"advancedMeterGroupByFilters": '{"x": {"$eq": "1"}}'}, "invalid group by filter: x"),
        ({"advancedMeterGroupByFilters": '{"tier": {"$eq": "1", "$ne": "2"}}'}, "multiple operators"),
        ({"advancedMeterGroupByFilters": "{"}, "JSON"),
        ({"windowTimeZone": "Mars/Base"}, "invalid time zone: Mars/Base"),
        ({"windowTimeZone": "localtime"}, "invalid time zone"),
        ({"windowTimeZone": "../etc/passwd"}, "invalid time zone"),
        ({"windowSize": "YEAR"}, "windowSize"),
        (
            {"filterGroupBy[tier]": "1", "advancedMeterGroupByFilters": '{"tier": {"$eq": "1"}}'},
            "cannot be used together",
        ),
    ],
)
async def test_query_refuses(client: httpx.AsyncClient, params: dict[str, str], says: str) -> None:
    await create(client, groupBy={"tier": "$.tier"})
    answer = await client.get(f"{METERS}/storage/query", params=params)
    assert answer.status_code == 400, answer.text
    assert says in answer.json()["detail"]


async def test_csv(client: httpx.AsyncClient, house: House) -> None:
    await create(client, groupBy={"tier": "$.tier"})
    await house.send(
        event("1", "2025-03-01T00:00:00Z", "a", {"gb": 16.5, "tier": 'x,"y'}),
        event("2", "2025-03-01T00:00:00Z", "b", {"gb": 0.00000049}),
        event("3", "2025-03-01T00:00:00Z", "c", {"gb": 1234567.1234567}),
    )
    params = {"groupBy": ["tier", "subject"], "from": "2025-03-01T00:00:00Z", "to": "2025-03-02T00:00:00Z"}
    answer = await client.get(f"{METERS}/storage/query", params=params, headers={"accept": "text/csv; q=1"})
    assert answer.headers["content-type"] == "text/csv"
    assert answer.headers["content-disposition"] == "attachment; filename=storage.csv"
    start = "2025-03-01T00:00:00Z,2025-03-02T00:00:00Z"
    assert answer.text == (
        "window_start,window_end,subject,tier,value\n"
        f"{start},c,,1234567.123457\n"
        f'{start},a,"x,""y",16.500000\n'
        f"{start},b,,0.000000\n"
    )
    both = await client.get(f"{METERS}/storage/query", headers={"accept": "text/csv, application/json"})
    assert both.headers["content-type"] == "application/json"


async def test_csv_names_registered_subjects(client: httpx.AsyncClient, house: House) -> None:
    await create(client)
    await send_a(house)
    named = [{"key": "acme", "displayName": "ACME, Inc."}]
    assert (await client.post("/api/v1/subjects", json=named)).status_code == 200
    query, csv = f"{METERS}/storage/query", {"accept": "text/csv"}
    text = (await client.get(query, params={"groupBy": "subject"}, headers=csv)).text
    header, first, second = text.splitlines()
    assert header == "window_start,window_end,subject,subject_display_name,value"
    assert first.endswith(',acme,"ACME, Inc.",11.750000')
    assert second.endswith(",globex,,4.000000")
    assert (await client.get(query, headers=csv)).text.startswith("window_start,window_end,value\n")
    only = (await client.get(query, params={"subject": "globex"}, headers=csv)).text
    assert only.startswith("window_start,window_end,subject,value\n")


async def test_subjects_and_values(client: httpx.AsyncClient, house: House) -> None:
    await create(client, groupBy={"tier": "$.tier"})
    await send_a(house)
    assert (await client.get(f"{METERS}/storage/subjects")).json() == ["acme", "globex"]
    values = f"{METERS}/storage/group-by/tier/values"
    with clock.frozen(at("2025-03-31T12:00:00Z")):
        assert (await client.get(values)).json() == ["hot"]
        assert (await client.get(values, params={"from": "2025-03-29T00:00:00Z"})).json() == ["cold", "hot"]
    with clock.frozen(at("2025-07-10T12:00:00Z")):
        for start in ("2025-04-11T12:00:00Z", "2025-06-01T00:00:00Z"):
            assert (await client.get(values, params={"from": start})).status_code == 400
    assert (await client.get(f"{METERS}/storage/group-by/x/values")).status_code == 400
