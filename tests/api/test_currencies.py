"""Currencies over HTTP (catalog-extras sections 2 and 3)."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.kernel.ids import new_id
from tests.api.answers import held
from tests.catalog.http import client_of
from tests.catalog.test_currencies import at

V1, V3 = "/api/v1/info/currencies", "/api/v3/openmeter/currencies"
CREDITS = {"code": "CREDITS", "name": "Credits", "precision": 2, "decimal_mark": ".", "thousand_separator": ","}
MANY_DIGITS = "9" * 60


@pytest.fixture
async def client(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A client of both API versions."""
    async with client_of(db) as client:
        yield held(client)


async def created(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> Any:
    """Create something through v3."""
    answer = await client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_v1_lists_fiat_currencies_by_popularity(client: httpx.AsyncClient) -> None:
    found = (await client.get(V1)).json()
    codes = [one["code"] for one in found]
    assert codes[:8] == ["USD", "EUR", "GBP", "AUD", "CAD", "JPY", "AED", "AFN"]
    assert len(codes) == len(set(codes)) == 171
    assert found[0] == {"code": "USD", "name": "United States Dollar", "symbol": "$", "subunits": 2}
    assert found[codes.index("XTS")]["symbol"] == ""


async def test_custom_currencies_and_their_cost_bases(client: httpx.AsyncClient) -> None:
    with clock.frozen(at(3)) as time:
        made = await created(client, f"{V3}/custom", {**CREDITS, "symbol": "⚡"})
        assert made == {
            "type": "custom",
            "id": made["id"],
            **CREDITS,
            "symbol": "⚡",
            "created_at": "2032-03-01T00:00:00Z",
        }
        path = f"{V3}/custom/{made['id']}"
        assert (await client.get(path)).json() == {**made, "cost_basis": []}
        first = await created(client, f"{path}/cost-bases", {"fiat_code": "USD", "rate": "0.050"})
        assert first == {
            "id": first["id"],
            "fiat_code": "USD",
            "rate": "0.05",
            "effective_from": "2032-03-01T00:00:00Z",
            "created_at": "2032-03-01T00:00:00Z",
        }
        later = {"fiat_code": "USD", "rate": "0.06", "effective_from": "2032-04-01T00:00:00Z"}
        await created(client, f"{path}/cost-bases", later)
        await created(client, f"{path}/cost-bases", {"fiat_code": "EUR", "rate": MANY_DIGITS})
        time.at = at(4, 2)
        listed = (await client.get(f"{path}/cost-bases", params={"filter[fiat_code]": "USD"})).json()
        assert [(one["rate"], one.get("effective_to")) for one in listed["data"]] == [
            ("0.06", None),
            ("0.05", "2032-04-01T00:00:00Z"),
        ]
        assert listed["meta"]["page"] == {"number": 1, "size": 20, "total": 2}
        shown = (await client.get(path)).json()["cost_basis"]
        assert [one["rate"] for one in shown] == ["0.06", MANY_DIGITS]


async def test_the_list_of_both_kinds(client: httpx.AsyncClient) -> None:
    await created(client, f"{V3}/custom", CREDITS)

    async def codes(**query: Any) -> list[str]:
        answer = await client.get(V3, params=query)
        assert answer.status_code == 200, answer.text
        return [one["code"] for one in answer.json()["data"]]

    page = (await client.get(V3)).json()
    assert page["meta"]["page"] == {"number": 1, "size": 100, "total": 172}
    assert page["data"][0] == {
        "type": "fiat",
        "code": "AED",
        "name": "United Arab Emirates Dirham",
        "symbol": "د.إ",
        "precision": 2,
        "decimal_mark": ".",
        "thousand_separator": ",",
    }
    assert await codes(**{"filter[type]": "custom"}) == ["CREDITS"]
    assert await codes(**{"filter[type]": "fiat", "filter[code][oeq]": "USD,CREDITS"}) == ["USD"]
    assert await codes(**{"sort": "code desc", "page[size]": 2}) == ["ZMW", "ZMK"]
    assert await codes(**{"page[number]": 3}) == []
    (custom,) = (await client.get(V3, params={"filter[type]": "custom"})).json()["data"]
    assert "cost_basis" not in custom
    expanded = (await client.get(V3, params={"filter[code][contains]": "C", "expand": "cost_basis"})).json()["data"]
    assert {one["type"] for one in expanded if "cost_basis" in one} == {"custom"}


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"code": "ABC"}, "$.code"),
        ({"code": "USDC"}, "$.code"),
        ({"code": "A|BCD"}, "$.code"),
        ({"code": "AB\x00CD"}, "$.code"),
        ({"precision": 13}, "$.precision"),
        ({"precision": 10**40}, "$.precision"),
        ({"precision": -1}, "$.precision"),
        ({"decimal_mark": ".."}, "$.decimal_mark"),
        ({"symbol": ""}, "$.symbol"),
        ({"name": ""}, "$.name"),
        ({"color": "red"}, "$.color"),
    ],
)
async def test_what_no_custom_currency_can_be(client: httpx.AsyncClient, members: dict[str, Any], field: str) -> None:
    answer = await client.post(f"{V3}/custom", json={**CREDITS, **members})
    assert answer.status_code == 400, answer.text
    assert [one["field"] for one in answer.json()["extensions"]["validationErrors"]] == [field]


async def test_what_is_refused(client: httpx.AsyncClient) -> None:
    made = await created(client, f"{V3}/custom", CREDITS)
    assert (await client.post(f"{V3}/custom", json=CREDITS)).status_code == 409
    basis = {"fiat_code": "USD", "rate": "1"}
    path = f"{V3}/custom/{made['id']}/cost-bases"
    for members in (
        {"fiat_code": "ABC"},
        {"fiat_code": "usd"},
        {"rate": "0"},
        {"rate": "-1"},
        {"rate": "1e5"},
        {"effective_from": "2020-01-01T00:00:00Z"},
        {"effective_to": "2020-01-01T00:00:00Z"},
    ):
        assert (await client.post(path, json={**basis, **members})).status_code == 400
    for unknown in (new_id(), "nothing"):
        for answer in (
            await client.get(f"{V3}/custom/{unknown}"),
            await client.get(f"{V3}/custom/{unknown}/cost-bases"),
            await client.post(f"{V3}/custom/{unknown}/cost-bases", json=basis),
        ):
            assert answer.status_code == 404
    for query in ({"filter[type]": "crypto"}, {"filter[name]": "a"}, {"sort": "id"}, {"expand": "all"}):
        assert (await client.get(V3, params=query)).status_code == 400


async def test_without_credits_currencies_are_only_read(db: Database) -> None:
    async with client_of(db, credits_enabled=False) as client:
        assert (await client.get(V3)).status_code == 200
        assert (await client.post(f"{V3}/custom", json=CREDITS)).status_code == 400
        basis = {"fiat_code": "USD", "rate": "1"}
        assert (await client.post(f"{V3}/custom/{new_id()}/cost-bases", json=basis)).status_code == 400
