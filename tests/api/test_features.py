"""Features over HTTP, v1 and v3 (catalog section 2)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from meterhouse.catalog import features
from meterhouse.catalog.features import NewFeature
from meterhouse.catalog.unitcost import LLMUnitCost, TokenType
from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import Conflict, InvalidInput
from meterhouse.metering import meters
from meterhouse.metering.meters import Meter, MeterUpdate
from tests.catalog.conftest import NS, average, meter
from tests.catalog.http import client_of
from tests.fixtures.waiting import waiting

__all__ = ["average", "meter"]

V1, V3 = "/api/v1/features", "/api/v3/openmeter/features"


@pytest.fixture
async def client(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A client of both API versions."""
    async with client_of(db) as client:
        yield client


async def v1(client: httpx.AsyncClient, key: str = "api_calls", **members: Any) -> Any:
    """Create a feature through v1."""
    answer = await client.post(V1, json={"key": key, "name": key, **members})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_feature_without_a_meter(client: httpx.AsyncClient) -> None:
    made = await v1(client, metadata={"team": "core"})
    assert set(made) == {"id", "key", "name", "metadata", "createdAt", "updatedAt"}
    for name in (made["id"], "api_calls"):
        assert (await client.get(f"{V1}/{name}")).json() == made
    third = (await client.get(f"{V3}/{made['id']}")).json()
    assert third["labels"] == {"team": "core"}
    assert "meter" not in third


async def test_v3_shows_metadata_that_v1_takes_and_v3_would_not(client: httpx.AsyncClient) -> None:
    metadata = {f"key {n}": "any text: é" for n in range(60)}
    made = await v1(client, metadata=metadata)
    assert (await client.get(f"{V3}/{made['id']}")).json()["labels"] == metadata


@pytest.mark.parametrize(
    ("advanced", "plain", "shown"),
    [
        ({"$eq": "north"}, {"zone": "north"}, {"eq": "north"}),
        ({"$in": ["north", "east"]}, None, {"in": ["north", "east"]}),
        ({"$like": "%50\\%_off%"}, None, {}),
        ({"$like": "%50\\%\\_off%"}, None, {"contains": "50%_off"}),
        ({"$gt": "m"}, None, {}),
        ({"$and": [{"$ne": "a"}, {"$nlike": "%b%"}]}, None, {"and": [{"neq": "a"}, {"ncontains": "b"}]}),
    ],
)
async def test_v1_filters_as_both_versions_show_them(
    client: httpx.AsyncClient, meter: Meter, advanced: dict[str, Any], plain: Any, shown: dict[str, Any]
) -> None:
    made = await v1(client, meterSlug="calls", advancedMeterGroupByFilters={"zone": advanced})
    assert made["advancedMeterGroupByFilters"] == {"zone": advanced}
    assert made.get("meterGroupByFilters") == plain
    third = (await client.get(f"{V3}/{made['id']}")).json()
    assert third["meter"] == {"id": meter.id, "filters": {"zone": shown}}


async def test_plain_values_are_equalities(client: httpx.AsyncClient, meter: Meter) -> None:
    made = await v1(client, meterSlug="calls", meterGroupByFilters={"zone": "north"})
    assert made["meterSlug"] == "calls"
    assert made["advancedMeterGroupByFilters"] == {"zone": {"$eq": "north"}}


async def test_v3_contains_is_a_pattern_in_v1(client: httpx.AsyncClient, meter: Meter) -> None:
    body = {
        "key": "sales",
        "name": "Sales",
        "meter": {"id": meter.id, "filters": {"zone": {"contains": "50%_off"}, "kind": {"exists": True}}},
        "unit_cost": {"type": "manual", "amount": "0.50"},
    }
    made = (await client.post(V3, json=body)).json()
    assert made["meter"]["filters"] == body["meter"]["filters"]  # type: ignore[index]
    assert made["unit_cost"] == {"type": "manual", "amount": "0.5"}
    first = (await client.get(f"{V1}/sales")).json()
    assert first["advancedMeterGroupByFilters"] == {"zone": {"$like": "%50\\%\\_off%"}, "kind": {}}
    assert first["unitCost"] == {"type": "manual", "amount": "0.5"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"key": "01jnx8t0000000000000000001"}, 400),
        ({"meterSlug": "unknown"}, 404),
        ({"meterSlug": "load"}, 400),
        ({"meterSlug": "calls", "meterGroupByFilters": {"planet": "mars"}}, 400),
        ({"meterSlug": "calls", "meterGroupByFilters": {"zone": ""}}, 400),
        ({"meterSlug": "calls", "advancedMeterGroupByFilters": {"zone": {"$eq": "a", "$ne": "b"}}}, 400),
        ({"meterSlug": "calls", "advancedMeterGroupByFilters": {"zone": {"$contains": "a"}}}, 400),
        ({"meterSlug": "calls", "advancedMeterGroupByFilters": {"zone": {"$or": [{"$is": "a"}]}}}, 400),
        ({"meterSlug": "calls", "advancedMeterGroupByFilters": {"zone": {"$eq": "a", "$exists": True}}}, 400),
        ({"meterGroupByFilters": {"zone": "north"}}, 400),
        ({"unitCost": {"type": "manual", "amount": "-1"}}, 400),
        ({"unitCost": {"type": "llm", "provider": "openai", "model": "gpt-4o", "tokenType": "input"}}, 400),
        ({"meterSlug": "calls", "unitCost": {"type": "llm", "provider": "openai", "model": "gpt-4o"}}, 400),
        ({"key": "Api Calls"}, 400),
    ],
)
async def test_what_breaks_a_rule_is_refused(
    client: httpx.AsyncClient, meter: Meter, average: Meter, body: dict[str, Any], status: int
) -> None:
    answer = await client.post(V1, json={"key": "api_calls", "name": "API calls", **body})
    assert answer.status_code == status, answer.text


async def test_a_refused_meter_is_told_which_aggregations_serve(client: httpx.AsyncClient, average: Meter) -> None:
    answer = await client.post(V1, json={"key": "api_calls", "name": "API calls", "meterSlug": "load"})
    assert "aggregates by avg, which features cannot use" in answer.json()["detail"]
    assert answer.json()["detail"].endswith("take a meter that aggregates by one of sum, count, unique_count, latest")


async def test_no_operand_is_empty(client: httpx.AsyncClient, meter: Meter) -> None:
    for empty in ({"eq": ""}, {"in": ["a", ""]}, {"contains": ""}, {"or": [{"eq": "a"}, {"ncontains": ""}]}):
        body = {"key": "sales", "name": "Sales", "meter": {"id": meter.id, "filters": {"zone": empty}}}
        assert (await client.post(V3, json=body)).status_code == 400, empty


async def test_a_key_is_unique_until_it_is_archived(client: httpx.AsyncClient) -> None:
    made = await v1(client)
    again = await client.post(V1, json={"key": "api_calls", "name": "Again"})
    assert again.status_code == 409
    assert (await client.delete(f"{V1}/api_calls")).status_code == 204
    for path in (f"{V1}/{made['id']}", f"{V1}/api_calls", f"{V3}/{made['id']}"):
        assert (await client.get(path)).status_code == 404
        assert (await client.delete(path)).status_code == 404
    second = await v1(client)
    assert second["id"] != made["id"]
    listed = (await client.get(V1, params={"includeArchived": True, "orderBy": "createdAt"})).json()
    assert [(one["id"], "archivedAt" in one) for one in listed] == [(made["id"], True), (second["id"], False)]
    assert [one["id"] for one in (await client.get(V3)).json()["data"]] == [second["id"]]


async def test_creates_of_one_key_at_once(client: httpx.AsyncClient) -> None:
    body = {"key": "api_calls", "name": "API calls"}
    answers = await asyncio.gather(*(client.post(V1, json=body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


async def test_the_unit_cost_is_replaced_cleared_or_left(client: httpx.AsyncClient, meter: Meter) -> None:
    made = await v1(client, meterSlug="calls", unitCost={"type": "manual", "amount": "1"})
    path = f"{V3}/{made['id']}"
    llm = {"type": "llm", "provider": "openai", "model_property": "kind", "token_type": "input"}
    for body, shown in (
        ({"unit_cost": llm}, llm),
        ({}, llm),
        ({"unit_cost": {**llm, "model_property": "zone"}}, {**llm, "model_property": "zone"}),
        ({"unit_cost": None}, None),
    ):
        answer = await client.patch(path, json=body)
        assert (answer.status_code, answer.json().get("unit_cost")) == (200, shown)
    refused = await client.patch(path, json={"unit_cost": {**llm, "provider_property": "zone"}})
    assert refused.status_code == 400
    assert (await client.patch(path, json={"name": "New"})).status_code == 400


async def test_lists(client: httpx.AsyncClient, meter: Meter) -> None:
    for key in ("b", "a", "c"):
        await v1(client, key, **({"meterSlug": "calls"} if key != "a" else {}))

    async def keys(path: str, **query: Any) -> list[str]:
        answer = (await client.get(path, params=query)).json()
        items = answer if isinstance(answer, list) else answer.get("items", answer.get("data"))
        return [one["key"] for one in items]

    assert await keys(V1) == ["a", "b", "c"]
    assert await keys(V1, order="DESC", limit=1, offset=1) == ["b"]
    assert await keys(V1, meterSlug="calls") == ["b", "c"]
    assert await keys(V1, meterSlug="unknown") == []
    page = (await client.get(V1, params={"page": 2, "pageSize": 2})).json()
    assert (page["page"], page["pageSize"], page["totalCount"]) == (2, 2, 3)
    assert [one["key"] for one in page["items"]] == ["c"]
    assert (await client.get(V1, params={"page": 1})).json()["pageSize"] == 100
    assert (await client.get(V1, params={"pageSize": 1001})).status_code == 400
    assert await keys(V3) == ["b", "a", "c"]
    assert await keys(V3, sort="key desc") == ["c", "b", "a"]
    assert await keys(V3, **{"filter[meter_id]": meter.id}) == ["b", "c"]
    assert await keys(V3, **{"filter[name][oeq]": "a,c"}) == ["a", "c"]
    assert (await client.get(V3, params={"sort": "id"})).status_code == 400


async def test_a_meter_stays_while_a_feature_uses_it(db: Database, client: httpx.AsyncClient, meter: Meter) -> None:
    await v1(client, meterSlug="calls", meterGroupByFilters={"zone": "north"})
    async with db.write() as session:
        with pytest.raises(Conflict):
            await meters.delete(session, NS, meter.id, guards=[features.keep_meter])
        with pytest.raises(Conflict):
            await features.keep_meter(session, meter, frozenset({"zone"}))
        await features.keep_meter(session, meter, frozenset({"kind"}))
    await client.delete(f"{V1}/api_calls")
    async with db.write() as session:
        await meters.delete(session, NS, meter.id, guards=[features.keep_meter])


@pytest.mark.parametrize("meter_by", [{"meter_key": "calls"}, {"meter_id": None}])
async def test_no_meter_goes_while_a_feature_is_made_of_it(
    db: Database, meter: Meter, meter_by: dict[str, str | None]
) -> None:
    async def delete() -> None:
        async with db.write() as session:
            await meters.delete(session, NS, meter.id, guards=[features.keep_meter])

    async with db.write() as session:
        new = NewFeature("api_calls", "API calls", **{name: value or meter.id for name, value in meter_by.items()})
        await features.create(session, NS, new)
        deletion = await waiting(db, delete())
    with pytest.raises(Conflict):
        await deletion


async def test_no_dimension_goes_while_a_cost_comes_to_be_read_from_it(db: Database, meter: Meter) -> None:
    async with db.write() as session:
        feature = await features.create(session, NS, NewFeature("api_calls", "API calls", meter_key="calls"))
    cost = LLMUnitCost(provider="openai", model_property="kind", token_type=TokenType.INPUT)

    async def price() -> None:
        async with db.write() as session:
            await features.set_unit_cost(session, NS, feature.id, cost)

    async def empty() -> None:
        async with db.write() as session:
            await meters.update(session, NS, meter.id, MeterUpdate(), guards=[features.keep_meter])

    async with db.write() as session:
        await features.set_unit_cost(session, NS, feature.id, cost)
        removal = await waiting(db, empty())
    with pytest.raises(Conflict):
        await removal
    async with db.write() as session:
        await features.set_unit_cost(session, NS, feature.id, None)
    async with db.write() as session:
        await meters.update(session, NS, meter.id, MeterUpdate(), guards=[features.keep_meter])
        pricing = await waiting(db, price())
    with pytest.raises(InvalidInput, match="no dimension kind"):
        await pricing


async def test_resolving_follows_history_for_billing_only(db: Database, client: httpx.AsyncClient) -> None:
    first = await v1(client)
    await client.delete(f"{V1}/api_calls")
    async with db.read() as session:
        old = (await features.for_billing(session, NS, ["api_calls"]))["api_calls"]
        assert old is not None
        assert old.id == first["id"]
        assert await features.for_billing(session, NS, ["nothing"]) == {}
    second = await v1(client)
    async with db.read() as session:
        live = (await features.for_billing(session, NS, ["api_calls"]))["api_calls"]
        assert live == await features.resolve(session, NS, feature_id=second["id"], key="api_calls")


async def test_a_path_id_of_wrong_form_is_not_found_in_v3(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"{V3}/api_calls")).status_code == 404
