"""What the usage of features cost, over HTTP on the real query engine (catalog-extras section 5)."""

import json
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any

import httpx
import pytest

from meterhouse.catalog.llmcost import Pricing, refresh
from meterhouse.catalog.llmcost.quotes import Quote
from meterhouse.customers import service as customers
from meterhouse.customers.customer import NewCustomer
from meterhouse.kernel.ids import new_id
from meterhouse.metering import meters
from meterhouse.metering.meters import Aggregation, Meter, MeterUpdate
from tests.api.answers import held
from tests.metering.conftest import NS, House, at, event, house
from tests.metering.http import client_of

__all__ = ["house"]

FEATURES, OVERRIDES = "/api/v3/openmeter/features", "/api/v3/openmeter/llm-cost/overrides"
BY_KIND = {"type": "llm", "provider": "openai", "model": "gpt-4o", "token_type_property": "kind"}
BY_EVENT = {"type": "llm", "provider_property": "host", "model_property": "model", "token_type": "input"}


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the whole server."""
    async with client_of(house) as client:
        yield held(client)


@pytest.fixture
async def meter(house: House) -> Meter:
    """A meter of tokens."""
    dimensions = {name: f"$.{name}" for name in ("kind", "host", "model", "team")}
    return await house.meter(Aggregation.SUM, "$.n", dimensions)


async def priced(client: httpx.AsyncClient, model: str = "gpt-4o", currency: str = "USD", **prices: str) -> None:
    """Set the price of a model of openai."""
    pricing = {"input_per_token": "0.0000025", "output_per_token": "0.00001", **prices}
    body = {
        "provider": "openai",
        "model_id": model,
        "pricing": pricing,
        "currency": currency,
        "effective_from": "2025-06-01T00:00:00Z",
    }
    assert (await client.post(OVERRIDES, json=body)).status_code == 201


async def feature(
    client: httpx.AsyncClient, meter: Meter | None, unit_cost: Mapping[str, Any] | None, **filters: Any
) -> str:
    """Create a feature; returns the path of its cost."""
    body: dict[str, Any] = {"key": f"f_{new_id().lower()}", "name": "Tokens"}
    if unit_cost is not None:
        body["unit_cost"] = unit_cost
    if meter is not None:
        body["meter"] = {"id": meter.id, "filters": filters}
    answer = await client.post(FEATURES, json=body)
    assert answer.status_code == 201, answer.text
    return f"{FEATURES}/{answer.json()['id']}/cost/query"


async def rows(client: httpx.AsyncClient, path: str, **body: Any) -> list[Any]:
    """Ask what usage cost."""
    answer = await client.post(path, json=body) if body else await client.post(path)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]  # type: ignore[no-any-return]


async def used(house: House, *usages: Mapping[str, Any], subject: str = "acme") -> None:
    """Send usage, an event a minute."""
    await house.send(
        *(event(new_id(), f"2025-03-01T00:{minute:02}:30Z", subject, dict(data)) for minute, data in enumerate(usages))
    )


async def test_a_fixed_cost(client: httpx.AsyncClient, house: House, meter: Meter) -> None:
    path = await feature(client, meter, {"type": "manual", "amount": "0.0000025"})
    assert await rows(client, path) == []
    await used(house, {"n": 1250000})
    assert await rows(client, path) == [
        {
            "usage": "1250000",
            "cost": "3.125",
            "currency": "USD",
            "from": "2025-03-01T00:00:00Z",
            "to": "2025-03-01T00:01:00Z",
            "dimensions": {},
        }
    ]
    free = await feature(client, meter, {"type": "manual", "amount": "0"})
    assert [row["cost"] for row in await rows(client, free)] == ["0"]


async def test_costs_by_kind_of_token(client: httpx.AsyncClient, house: House, meter: Meter) -> None:
    await priced(client, "GPT-4o-2024-08-06")
    path = await feature(client, meter, BY_KIND)
    await used(house, {"kind": "input", "n": 1200000}, {"kind": "output", "n": 80000})
    (whole,) = await rows(client, path)
    assert (whole["usage"], whole["cost"], whole["dimensions"]) == ("1280000", "3.8", {})
    assert (whole["from"], whole["to"]) == ("2025-03-01T00:00:00Z", "2025-03-01T00:02:00Z")
    split = await rows(client, path, group_by_dimensions=["kind"])
    assert [(row["cost"], row["dimensions"]) for row in split] == [
        ("3", {"kind": "input"}),
        ("0.8", {"kind": "output"}),
    ]

    await used(house, {"kind": "cache_read", "n": 500})
    (whole,) = await rows(client, path)
    assert (whole["usage"], whole["cost"]) == ("1280500", "3.8")
    assert whole["detail"] == "no cache_read price for openai/gpt-4o"
    split = await rows(client, path, group_by_dimensions=["kind"])
    assert [(row["cost"], "detail" in row) for row in split] == [("3", False), ("0.8", False), (None, True)]

    await priced(client, cache_read_per_token="0", reasoning_per_token="0.0000003")
    await used(house, {"kind": "Reasoning", "n": 900000}, {"kind": "audio", "n": 10}, {"n": 1})
    costs = {row["dimensions"].get("kind"): row for row in await rows(client, path, group_by_dimensions=["kind"])}
    assert {kind: row["cost"] for kind, row in costs.items()} == {
        "input": "3",
        "output": "0.8",
        "Reasoning": "0.27",
        "cache_read": "0",
        "audio": None,
        None: None,
    }
    assert costs["audio"]["detail"] == "unknown token type: audio"
    assert (costs[None]["detail"], costs[None]["currency"]) == ("events without token_type", "USD")


async def test_costs_by_model(client: httpx.AsyncClient, house: House, meter: Meter) -> None:
    await priced(client)
    await priced(client, "o1", input_per_token="0.5", currency="EUR")
    path = await feature(client, meter, BY_EVENT)
    await used(
        house,
        {"host": " OpenAI", "model": "gpt-4o-20240806", "n": 4},
        {"host": "openai", "model": "o1", "n": 3},
        {"host": "openai", "model": "o1", "n": 3},
        {"host": "acme", "model": "unknown", "n": 10},
        {"model": "gpt-4o", "n": 10},
    )
    found = await rows(client, path)
    assert [(row["usage"], row["cost"], row["currency"]) for row in found] == [
        ("6", "3", "EUR"),
        ("24", "0.00001", "USD"),
    ]
    assert found[1]["detail"] == "events without provider; no price for acme/unknown"
    many = [{"host": "a\x00", "model": f"m\x00{n}", "n": 1} for n in range(30)]
    await house.send(
        *(event(f"odd-{n}", "2025-03-02T00:00:00Z", "acme", json.dumps(one)) for n, one in enumerate(many))
    )
    (odd,) = await rows(client, path, **{"from": "2025-03-02T00:00:00Z"})
    assert (odd["usage"], odd["cost"], odd["detail"].endswith("; and 10 more")) == ("30", None, True)
    only = await rows(client, path, filters={"dimensions": {"model": {"eq": "unknown"}}})
    assert [(row["usage"], row["cost"], row["currency"]) for row in only] == [("10", None, "USD")]


async def test_the_question_and_the_feature_both_filter(client: httpx.AsyncClient, house: House, meter: Meter) -> None:
    path = await feature(client, meter, {"type": "manual", "amount": "1"}, team={"in": ["red", "blue"]})
    await used(house, {"team": "red", "n": 1}, {"team": "blue", "n": 2}, {"team": "green", "n": 4})
    async with house.db.write() as session:
        owner = await customers.create(session, NS, NewCustomer(name="Acme", key="acme"))

    async def costs(**filters: Any) -> list[tuple[str, Any]]:
        dimensions = {name: {"in": values} for name, values in filters.items()}
        found = await rows(client, path, filters={"dimensions": dimensions}, group_by_dimensions=["team"])
        return [(row["cost"], row["dimensions"]) for row in found]

    assert await costs() == [("2", {"team": "blue"}), ("1", {"team": "red"})]
    assert await costs(team=["red", "green"]) == [("1", {"team": "red"})]
    assert await costs(team=["green"]) == []
    assert await costs(subject=["acme"], customer_id=[owner.id], team=["red"]) == [
        ("1", {"subject": "acme", "customer_id": owner.id, "team": "red"})
    ]


async def test_windows_keep_their_zone(client: httpx.AsyncClient, house: House, meter: Meter) -> None:
    path = await feature(client, meter, {"type": "manual", "amount": "2"})
    await used(house, {"n": 1}, {"n": "1234567890123456.5"})
    body = {"from": "2025-03-01T00:00:00Z", "to": "2025-03-01T00:02:00Z"}
    answer = await client.post(path, json={**body, "granularity": "PT1M", "time_zone": "Europe/Berlin"})
    found = answer.json()
    assert {name: found[name] for name in body} == body
    assert [(row["cost"], row["from"]) for row in found["data"]] == [
        ("2469135780246913", "2025-03-01T01:01:00+01:00"),
        ("2", "2025-03-01T01:00:00+01:00"),
    ]


async def test_past_usage_keeps_its_past_price(client: httpx.AsyncClient, house: House, meter: Meter) -> None:
    path = await feature(client, meter, BY_EVENT)
    async with house.db.write() as session:
        for price, start in (
            ("1", "2025-03-01T00:01:00Z"),
            ("2", "2025-03-01T00:03:00Z"),
            ("3", "2025-03-01T00:09:00Z"),
        ):
            one = Quote("openai", "o1", "o1", Pricing(Decimal(price), Decimal(1)), at(start))
            await refresh.refresh(session, [one])
    await used(house, *({"host": "openai", "model": "o1", "n": 1} for _ in range(5)))

    async def costs(**body: Any) -> list[tuple[str, str | None, str, str]]:
        answer = await client.post(path, params={"prices_of": "usage"}, json=body)
        assert answer.status_code == 200, answer.text
        return [(row["usage"], row["cost"], row["from"][11:16], row["to"][11:16]) for row in answer.json()["data"]]

    (now,) = await rows(client, path)
    assert (now["usage"], now["cost"]) == ("5", "15")
    # 00:00 has no price, two minutes cost 1, two cost 2.
    assert await costs() == [("5", "6", "00:00", "00:05")]
    whole = {"from": "2025-03-01T00:00:00Z", "to": "2025-03-02T00:00:00Z"}
    assert await costs(**whole, granularity="P1D") == [("5", "6", "00:00", "00:00")]
    late = {"from": "2025-03-01T00:02:00Z", "to": "2025-03-01T00:08:00Z"}
    assert await costs(**late) == [("3", "5", "00:02", "00:08")]
    assert await costs(to="2025-03-01T00:01:00Z") == [("1", None, "00:00", "00:01")]
    by_minute = await costs(granularity="PT1M")
    assert [cost for _, cost, _, _ in by_minute] == ["2", "2", "1", "1", None]


async def test_what_does_not_add_up_has_no_price_by_time(client: httpx.AsyncClient, house: House) -> None:
    latest = await house.meter(Aggregation.LATEST, "$.n", {"host": "$.host", "model": "$.model"})
    path = await feature(client, latest, BY_EVENT)
    assert (await client.post(path, params={"prices_of": "usage"})).status_code == 400
    assert (await client.post(path, params={"prices_of": "then"})).status_code == 400


async def test_a_feature_shows_the_price_of_its_model(client: httpx.AsyncClient, meter: Meter) -> None:
    await priced(client, "GPT-4o-2024-08-06", cache_read_per_token="0")
    pricing = {"input_per_token": "0.0000025", "output_per_token": "0.00001", "cache_read_per_token": "0"}

    async def shown(unit_cost: Mapping[str, Any], **filters: Any) -> Any:
        path = (await feature(client, meter, unit_cost, **filters)).removesuffix("/cost/query")
        third = (await client.get(path)).json()
        first = (await client.get(f"/api/v1/features/{third['key']}")).json()
        assert ("pricing" in first["unitCost"]) is ("pricing" in third["unit_cost"])
        assert (await client.patch(path, json={"unit_cost": unit_cost})).json()["unit_cost"] == third["unit_cost"]
        return third["unit_cost"].get("pricing")

    assert await shown(BY_KIND) == pricing
    assert await shown(BY_EVENT, host={"eq": "OpenAI"}, model={"eq": "gpt-4o"}) == pricing
    assert await shown(BY_EVENT, host={"eq": "OpenAI"}, model={"in": ["gpt-4o"]}) is None
    assert await shown({**BY_KIND, "model": "unknown"}) is None
    await priced(client, "o1", currency="EUR")
    assert await shown({**BY_KIND, "model": "o1"}) is None
    # Lists and what was just made tell no prices.
    listed = (await client.get(FEATURES)).json()["data"] + (await client.get("/api/v1/features")).json()
    assert [one.get("unit_cost", one.get("unitCost")).get("pricing") for one in listed] == [None] * 10
    fresh = {"key": "fresh", "name": "Fresh", "meter": {"id": meter.id}, "unit_cost": BY_KIND}
    assert (await client.post(FEATURES, json=fresh)).json()["unit_cost"] == BY_KIND
    # v1 passes over what it only shows, v3 refuses it.
    unit_cost = {"type": "llm", "provider": "openai", "model": "gpt-4o", "tokenType": "input"}
    priced_cost = {**unit_cost, "pricing": {"inputPerToken": "1", "outputPerToken": "2"}}
    first = {"key": "first", "name": "First", "meterSlug": meter.key, "unitCost": priced_cost}
    assert (await client.post("/api/v1/features", json=first)).json()["unitCost"] == unit_cost
    for method, path, sent in (
        ("POST", FEATURES, {**fresh, "key": "third", "unit_cost": {**BY_KIND, "pricing": pricing}}),
        ("PATCH", f"{FEATURES}/{listed[0]['id']}", {"unit_cost": {**BY_KIND, "pricing": pricing}}),
    ):
        answer = await client.request(method, path, json=sent)
        assert answer.status_code == 400
        (wrong,) = answer.json()["invalid_parameters"]
        assert wrong["field"].endswith("pricing"), wrong


async def test_a_meter_keeps_the_dimensions_that_costs_are_read_from(
    client: httpx.AsyncClient, house: House, meter: Meter
) -> None:
    unit_cost = {"type": "llm", "provider_property": "host", "model": "gpt-4o", "token_type_property": "kind"}
    path = await feature(client, meter, unit_cost, team={"eq": "a"})
    await priced(client)

    async def keep(*names: str) -> int:
        dimensions = {name: f"$.{name}" for name in names}
        first = await client.put(f"/api/v1/meters/{meter.id}", json={"groupBy": dimensions})
        third = await client.put(f"/api/v3/openmeter/meters/{meter.id}", json={"dimensions": dimensions})
        assert first.status_code == third.status_code
        return first.status_code

    for needed in (("kind", "host"), ("kind", "team"), ("host", "team"), ()):
        assert await keep(*needed) == 409, needed
    assert await keep("kind", "host", "team") == 200
    await used(house, {"kind": "input", "host": "openai", "team": "a", "n": 4})
    assert [row["cost"] for row in await rows(client, path)] == ["0.00001"]
    assert (await client.patch(path.removesuffix("/cost/query"), json={"unit_cost": None})).status_code == 200
    assert await keep("team") == 200


async def test_a_meter_without_a_dimension_that_is_needed(
    client: httpx.AsyncClient, house: House, meter: Meter
) -> None:
    paths = [
        await feature(client, meter, {"type": "manual", "amount": "1"}, team={"eq": "a"}),
        await feature(client, meter, BY_EVENT),
    ]
    async with house.db.write() as session:
        await meters.update(session, NS, meter.id, MeterUpdate())
    for path in paths:
        answer = await client.post(path)
        assert answer.status_code == 400, answer.text
        (issue,) = answer.json()["extensions"]["validationErrors"]
        assert issue["code"] == "unknown_dimension"


async def test_what_is_refused(client: httpx.AsyncClient, meter: Meter) -> None:
    manual = {"type": "manual", "amount": "1"}
    path = await feature(client, meter, manual)
    for other, code in ((await feature(client, None, manual), "meter"), (await feature(client, meter, None), "cost")):
        answer = await client.post(other)
        assert answer.status_code == 400
        assert answer.json()["extensions"]["validationErrors"][0]["code"].endswith(code)
    for body in (
        {"group_by_dimensions": ["planet"]},
        {"filters": {"dimensions": {"planet": {"eq": "mars"}}}},
        {"from": "2025-03-02T00:00:00Z", "to": "2025-03-01T00:00:00Z"},
        {"granularity": "P1Y"},
        {"time_zone": "Mars/Olympus"},
        {"unknown": 1},
    ):
        assert (await client.post(path, json=body)).status_code == 400
    unknown = {"filters": {"dimensions": {"customer_id": {"eq": new_id()}}}}
    assert (await client.post(path, json=unknown)).status_code == 404
    assert (await client.post(f"{FEATURES}/{new_id()}/cost/query")).status_code == 404
    assert (await client.delete(path.removesuffix("/cost/query"))).status_code == 204
    assert (await client.post(path)).status_code == 404
