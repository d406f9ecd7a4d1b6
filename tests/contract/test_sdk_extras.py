"""What the official client knows of tax, currencies and prices, and the v3 routes that it has not yet, when served."""

from collections.abc import Iterator
from typing import Any

import pytest
from openmeter import Client
from openmeter.models import FeatureCreateInputs

from tests.scenarios.served import Server

V3 = "/api/v3/openmeter"


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Client]:
    """The synchronous client."""
    with Client(endpoint=url, token="any") as client:
        yield client


def _get(server: Server, path: str, **query: Any) -> Any:
    answer = server.http.get(V3 + path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _post(server: Server, path: str, body: Any) -> Any:
    answer = server.http.post(V3 + path, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_currencies(client: Client, server: Server) -> None:
    found = client.currencies.list_currencies()
    assert (found[0].code, found[0].symbol, found[0].subunits) == ("USD", "$", 2)
    made = _post(
        server,
        "/currencies/custom",
        {"code": "SDK_COINS", "name": "Coins", "precision": 0, "decimal_mark": ".", "thousand_separator": ","},
    )
    path = f"/currencies/custom/{made['id']}"
    _post(server, f"{path}/cost-bases", {"fiat_code": "USD", "rate": "0.05"})
    assert [one["rate"] for one in _get(server, path)["cost_basis"]] == ["0.05"]
    assert _get(server, "/currencies", **{"filter[type]": "custom"})["data"][0]["code"] == "SDK_COINS"


def test_tax_codes_are_there_from_the_start(server: Server) -> None:
    defaults = _get(server, "/defaults/tax-codes")
    seeds = {one["id"]: one["key"] for one in _get(server, "/tax-codes")["data"]}
    assert seeds[defaults["invoicing_tax_code"]["id"]] == "default"
    assert seeds[defaults["credit_grant_tax_code"]["id"]] == "nontaxable"
    body = {"key": "sdk_goods", "name": "Goods", "app_mappings": []}
    path = f"{V3}/tax-codes/{_post(server, '/tax-codes', body)['id']}"
    assert server.http.put(path, json={"name": "Things", "app_mappings": []}).json()["name"] == "Things"
    assert server.http.delete(path).status_code == 204
    assert server.http.get(path).status_code == 404


def test_a_feature_of_a_language_model(client: Client, server: Server) -> None:
    assert _get(server, "/llm-cost/prices", **{"filter[model_id]": "gpt-4o"})["meta"]["page"]["total"] == 1
    client.meters.create(
        {
            "slug": "sdk_llm_tokens",
            "eventType": "sdk_llm_tokens",
            "aggregation": "SUM",
            "valueProperty": "$.n",
            "groupBy": {"kind": "$.kind"},
        }
    )
    made = client.features.create(
        FeatureCreateInputs(
            key="sdk_llm_tokens",
            name="Tokens",
            meter_slug="sdk_llm_tokens",
            unit_cost={
                "type": "llm",
                "provider": "openai",
                "model": "gpt-4o-2024-08-06",
                "tokenTypeProperty": "kind",
            },
        )
    )
    assert "pricing" not in made.unit_cost
    assert client.features.get("sdk_llm_tokens").unit_cost["pricing"]["outputPerToken"] == "0.00001"
    override = {
        "provider": "openai",
        "model_id": "gpt-4o",
        "pricing": {"input_per_token": "0.5", "output_per_token": "1"},
        "currency": "USD",
        "effective_from": "2025-01-01T00:00:00Z",
    }
    path = f"{V3}/llm-cost/overrides/{_post(server, '/llm-cost/overrides', override)['id']}"
    assert client.features.get("sdk_llm_tokens").unit_cost["pricing"]["inputPerToken"] == "0.5"
    assert server.http.delete(path).status_code == 204
    assert client.features.get("sdk_llm_tokens").unit_cost["pricing"]["inputPerToken"] == "0.0000025"
    asked = server.http.post(f"{V3}/features/{made.id}/cost/query")
    assert (asked.status_code, asked.json()) == (200, {"data": []})
