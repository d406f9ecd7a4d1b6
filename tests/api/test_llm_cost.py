"""Prices of language models over HTTP (catalog-extras section 4)."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from meterhouse.catalog import llmcost
from meterhouse.catalog.llmcost import NewOverride, Pricing, refresh
from meterhouse.catalog.llmcost.quotes import Quote
from meterhouse.kernel import clock
from meterhouse.kernel.clock import FrozenClock
from meterhouse.kernel.db import Database
from meterhouse.kernel.ids import new_id
from tests.api.answers import held
from tests.catalog.http import client_of
from tests.catalog.test_currencies import at

PRICES, OVERRIDES = "/api/v3/openmeter/llm-cost/prices", "/api/v3/openmeter/llm-cost/overrides"
OVERRIDE = {
    "provider": "OpenAI",
    "model_id": "gpt-4o-2024-08-06",
    "pricing": {"input_per_token": "0.0000020", "output_per_token": "0.00001", "cache_read_per_token": "0"},
    "currency": "USD",
    "effective_from": "2032-03-01T00:00:00Z",
}


@pytest.fixture
def time() -> Any:
    """Stand still in March."""
    with clock.frozen(at(3)) as frozen:
        yield frozen


@pytest.fixture
async def client(db: Database, time: FrozenClock) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that knows three prices."""
    one = Pricing(Decimal("0.0000025"), Decimal("0.00001"))
    names = [("openai", "gpt-4o", "GPT-4o"), ("anthropic", "claude-3-opus", "Opus"), ("google", "gemini-pro", "Gemini")]
    async with db.write() as session:
        await refresh.refresh(session, [Quote(*name, one, at(1)) for name in names])
    async with client_of(db) as client:
        yield held(client)


async def created(client: httpx.AsyncClient, **members: Any) -> Any:
    """Create an override."""
    answer = await client.post(OVERRIDES, json={**OVERRIDE, **members})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def listed(client: httpx.AsyncClient, path: str = PRICES, **query: Any) -> list[tuple[str, str]]:
    """Return source and model of what is listed."""
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return [(one["source"], one["model"]["id"]) for one in answer.json()["data"]]


async def test_an_override_stands_in_place_of_a_price(client: httpx.AsyncClient, time: FrozenClock) -> None:
    page = (await client.get(PRICES)).json()
    assert page["meta"]["page"] == {"number": 1, "size": 20, "total": 3}
    assert [one["model"]["id"] for one in page["data"]] == ["claude-3-opus", "gemini-pro", "gpt-4o"]
    everybodys = page["data"][2]
    assert everybodys == {
        "id": everybodys["id"],
        "provider": {"id": "openai", "name": "OpenAI"},
        "model": {"id": "gpt-4o", "name": "GPT-4o"},
        "pricing": {"input_per_token": "0.0000025", "output_per_token": "0.00001"},
        "currency": "USD",
        "source": "system",
        "effective_from": "2032-01-01T00:00:00Z",
        "created_at": "2032-03-01T00:00:00Z",
        "updated_at": "2032-03-01T00:00:00Z",
    }
    made = await created(client, effective_to="2032-04-01T00:00:00Z")
    assert made["pricing"] == {
        "input_per_token": "0.000002",
        "output_per_token": "0.00001",
        "cache_read_per_token": "0",
    }
    assert (made["provider"], made["model"]) == (
        {"id": "OpenAI", "name": "OpenAI"},
        {"id": "gpt-4o-2024-08-06", "name": "gpt-4o-2024-08-06"},
    )
    path = f"{PRICES}/{everybodys['id']}"
    assert (await client.get(path)).json() == made == (await client.get(f"{PRICES}/{made['id']}")).json()
    assert await listed(client) == [
        ("system", "claude-3-opus"),
        ("system", "gemini-pro"),
        ("manual", made["model"]["id"]),
    ]
    time.at = at(4)
    assert (await client.get(path)).json() == everybodys
    assert len(await listed(client, OVERRIDES)) == 1
    time.at = at(3)
    for _ in range(2):
        assert (await client.delete(f"{OVERRIDES}/{made['id']}")).status_code == 204
    assert (await client.get(path)).json() == everybodys
    assert (await client.get(f"{PRICES}/{made['id']}")).status_code == 404
    assert await listed(client, OVERRIDES) == []


async def test_lists_filter_sort_and_page(client: httpx.AsyncClient) -> None:
    first = await created(client)
    second = await created(client, model_id="GPT-4o", model_name="Ours")
    assert await listed(client, OVERRIDES) == [("manual", "GPT-4o")]
    assert (await client.get(f"{PRICES}/{first['id']}")).status_code == 404
    await created(client, provider="acme", model_id="own", currency="EUR")
    assert await listed(client, OVERRIDES) == [("manual", "GPT-4o"), ("manual", "own")]
    assert await listed(client, OVERRIDES, **{"filter[model_name]": "Ours"}) == [("manual", "GPT-4o")]
    assert await listed(client, **{"filter[source]": "manual"}) == [("manual", "GPT-4o"), ("manual", "own")]
    assert await listed(client, **{"filter[source][neq]": "manual", "page[size]": 1}) == [("system", "claude-3-opus")]
    assert await listed(client, **{"filter[provider]": "acme"}) == [("manual", "own")]
    assert await listed(client, **{"filter[currency]": "EUR", "filter[model_id][contains]": "OW"}) == [
        ("manual", "own")
    ]
    by_provider = await client.get(PRICES, params={"sort": "provider.id desc", "page[size]": 2})
    assert [one["provider"]["id"] for one in by_provider.json()["data"]][-1] != "acme"
    assert (await client.get(PRICES, params={"sort": "id desc"})).json()["data"][0]["id"] > second["id"]
    for query in ({"sort": "currency"}, {"filter[id]": "a"}, {"page[size]": "x"}):
        assert (await client.get(PRICES, params=query)).status_code == 400


@pytest.mark.parametrize(
    ("members", "field", "code"),
    [
        ({"provider": " "}, "$.provider", "llm_cost_provider_empty"),
        ({"model_id": ""}, "$.model_id", "llm_cost_model_id_empty"),
        ({"effective_to": "2032-02-01T00:00:00Z"}, "$.effective_to", "llm_cost_effective_period_invalid"),
        ({"provider": "a\x00"}, "$.provider", "unstorable_text"),
        ({"provider": "a" * 257}, "$.provider", "llm_cost_provider_too_long"),
        ({"model_id": "é" * 6000}, "$.model_id", "llm_cost_model_id_too_long"),
        ({"currency": "usd"}, "$.currency", None),
        ({"effective_from": None}, "$.effective_from", None),
    ],
)
async def test_what_no_override_can_be(
    client: httpx.AsyncClient, members: dict[str, Any], field: str, code: str | None
) -> None:
    answer = await client.post(OVERRIDES, json={**OVERRIDE, **members})
    assert answer.status_code == 400, answer.text
    (found,) = answer.json()["extensions"]["validationErrors"]
    assert found["field"] == field
    assert code is None or found["code"] == code


@pytest.mark.parametrize("kind", ["input", "output", "cache_read", "cache_write", "reasoning"])
async def test_prices_are_not_negative(client: httpx.AsyncClient, kind: str) -> None:
    name = f"{kind}_per_token"
    pricing = {"input_per_token": "1", "output_per_token": "1", name: "-0.1"}
    answer = await client.post(OVERRIDES, json={**OVERRIDE, "pricing": pricing})
    (found,) = answer.json()["extensions"]["validationErrors"]
    assert (answer.status_code, found["field"], found["code"]) == (
        400,
        f"$.pricing.{name}",
        "llm_cost_price_negative",
    )


async def test_what_is_not_there(client: httpx.AsyncClient, db: Database) -> None:
    async with db.write() as session:
        foreign = await llmcost.create_override(
            session, "other", NewOverride("openai", "gpt-4o", Pricing(Decimal(1), Decimal(1)), "USD", at(1))
        )
    (system, *_) = (await client.get(PRICES)).json()["data"]
    for price_id in (foreign.id, new_id(), "nothing"):
        assert (await client.get(f"{PRICES}/{price_id}")).status_code == 404
    for price_id in (foreign.id, system["id"], new_id()):
        assert (await client.delete(f"{OVERRIDES}/{price_id}")).status_code == 404
    assert {source for source, _ in await listed(client)} == {"system"}
