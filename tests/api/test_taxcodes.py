"""Tax codes and the organization's defaults over HTTP (catalog-extras section 1)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from meterhouse.catalog import plans, taxcodes
from meterhouse.catalog.prices import TaxConfig
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.kernel.ids import new_id
from tests.api.answers import held
from tests.catalog.builders import flat_card, new_plan, phase
from tests.catalog.conftest import NS
from tests.catalog.http import client_of
from tests.catalog.test_currencies import at

V3, DEFAULTS = "/api/v3/openmeter/tax-codes", "/api/v3/openmeter/defaults/tax-codes"
STRIPE = {"app_type": "stripe", "tax_code": "txcd_20030000"}
SANDBOX = {"app_type": "sandbox", "tax_code": "any"}
EXTERNAL = {"app_type": "external_invoicing", "tax_code": "VAT-7"}


@pytest.fixture
async def client(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A client of both API versions."""
    async with client_of(db) as client:
        yield held(client)


async def made(client: httpx.AsyncClient, key: str = "goods", **members: Any) -> Any:
    """Create a tax code."""
    answer = await client.post(V3, json={"key": key, "name": key, "app_mappings": [], **members})
    assert answer.status_code == 201, answer.text
    return answer.json()


def codes_of(answer: httpx.Response) -> list[str]:
    """Return the codes of what was found wrong."""
    return [one["code"] for one in answer.json()["extensions"]["validationErrors"]]


async def test_a_tax_code_lives_and_dies(client: httpx.AsyncClient) -> None:
    with clock.frozen(at(3)) as time:
        first = await made(client, description="Things", labels={"team": "core"}, app_mappings=[EXTERNAL, STRIPE])
        assert first == {
            "id": first["id"],
            "key": "goods",
            "name": "goods",
            "description": "Things",
            "labels": {"team": "core"},
            "app_mappings": [STRIPE, EXTERNAL],
            "created_at": "2032-03-01T00:00:00Z",
            "updated_at": "2032-03-01T00:00:00Z",
        }
        path = f"{V3}/{first['id']}"
        assert (await client.get(path)).json() == first
        time.at = at(4)
        changed = (await client.put(path, json={"name": "Goods", "app_mappings": [SANDBOX]})).json()
        assert changed == {
            **first,
            "name": "Goods",
            "labels": {},
            "app_mappings": [SANDBOX],
            "updated_at": "2032-04-01T00:00:00Z",
        }
        assert (await client.post(V3, json={"key": "goods", "name": "x", "app_mappings": []})).status_code == 409
        assert (await client.delete(path)).status_code == 204
    assert (await client.delete(path)).status_code == 404
    assert (await client.put(path, json={"name": "Goods", "app_mappings": []})).status_code == 404
    gone = await client.get(path)
    assert (gone.status_code, codes_of(gone)) == (404, ["tax_code_not_found"])
    second = await made(client)
    listed = (await client.get(V3)).json()
    assert [one["id"] for one in listed["data"]] == [second["id"]]
    assert listed["meta"]["page"] == {"number": 1, "size": 20, "total": 1}
    every = (await client.get(V3, params={"include_deleted": True})).json()["data"]
    assert [(one["id"], one.get("deleted_at")) for one in every] == [
        (second["id"], None),
        (first["id"], "2032-04-01T00:00:00Z"),
    ]


async def test_creates_of_one_key_at_once(client: httpx.AsyncClient) -> None:
    body = {"key": "goods", "name": "Goods", "app_mappings": []}
    answers = await asyncio.gather(*(client.post(V3, json=body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


@pytest.mark.parametrize(
    ("members", "field", "code"),
    [
        ({"app_mappings": [STRIPE, STRIPE]}, "$.app_mappings[1].app_type", "app_types_must_be_unique"),
        ({"app_mappings": [{**SANDBOX, "tax_code": ""}]}, "$.app_mappings[0].tax_code", "tax_code_empty"),
        ({"app_mappings": [{**STRIPE, "tax_code": "txcd_1"}]}, "$.app_mappings[0].tax_code", "tax_code_stripe_invalid"),
        ({"app_mappings": [{**SANDBOX, "app_type": "custom_invoicing"}]}, "$.app_mappings[0].app_type", "enum"),
        ({"app_mappings": [{**SANDBOX, "tax_code": "a\x00"}]}, "$.app_mappings[0].tax_code", "unstorable_text"),
        ({"app_mappings": None}, "$.app_mappings", None),
        ({"key": "Goods"}, "$.key", None),
        ({"labels": {"openmeter_x": "a"}}, "$.labels", "invalid_label_key_prefix"),
    ],
)
async def test_what_breaks_a_rule(
    client: httpx.AsyncClient, members: dict[str, Any], field: str, code: str | None
) -> None:
    answer = await client.post(V3, json={"key": "goods", "name": "Goods", "app_mappings": [], **members})
    assert answer.status_code == 400, answer.text
    (found,) = answer.json()["extensions"]["validationErrors"]
    assert found["field"] == field
    assert code is None or found["code"] == code


async def test_what_the_system_manages_stays(db: Database, client: httpx.AsyncClient) -> None:
    missing = await client.get(DEFAULTS)
    assert (missing.status_code, codes_of(missing)) == (404, ["organization_default_tax_codes_not_found"])
    async with db.write() as session:
        await taxcodes.provision(session, NS)
    shown = (await client.get(DEFAULTS)).json()
    path = f"{V3}/{shown['credit_grant_tax_code']['id']}"
    seed = (await client.get(path)).json()
    assert (seed["key"], seed["labels"], seed["app_mappings"]) == (
        "nontaxable",
        {"openmeter_managed_by": "system"},
        [{"app_type": "stripe", "tax_code": "txcd_00000000"}],
    )
    for answer in (await client.put(path, json={"name": "x", "app_mappings": []}), await client.delete(path)):
        assert (answer.status_code, codes_of(answer)) == (409, ["tax_code_managed_by_system"])


async def test_the_defaults_of_the_organization(db: Database, client: httpx.AsyncClient) -> None:
    goods = await made(client)
    async with db.write() as session:
        foreign = await taxcodes.default_invoicing(session, "other")
    own, unknown = {"id": goods["id"]}, {"id": new_id()}
    with clock.frozen(at(3)) as time:
        both = {"invoicing_tax_code": own, "credit_grant_tax_code": own}
        first = (await client.put(DEFAULTS, json=both)).json()
        assert first == {**both, "created_at": "2032-03-01T00:00:00Z", "updated_at": "2032-03-01T00:00:00Z"}
        time.at = at(4)
        assert (await client.put(DEFAULTS, json=both)).json()["created_at"] == first["created_at"]
    for members, field, code in (
        ({"invoicing_tax_code": unknown}, "$.invoicing_tax_code.id", "tax_code_not_found"),
        ({"credit_grant_tax_code": {"id": foreign}}, "$.credit_grant_tax_code.id", "tax_code_not_found"),
        ({"invoicing_tax_code": None}, "$.invoicing_tax_code", "required"),
    ):
        answer = await client.put(DEFAULTS, json={**both, **members})
        (found,) = answer.json()["extensions"]["validationErrors"]
        assert (answer.status_code, found["field"], found["code"]) == (400, field, code)
    refused = await client.delete(f"{V3}/{goods['id']}")
    assert (refused.status_code, codes_of(refused)) == (409, ["tax_code_is_organization_default"])


async def test_a_tax_code_stays_while_a_plan_is_sold_with_it(db: Database, client: httpx.AsyncClient) -> None:
    goods = await made(client)
    card = flat_card(tax_config=TaxConfig(tax_code_id=goods["id"]))
    async with db.write() as session:
        plan = await plans.create(session, NS, new_plan(phases=[phase(card)]))
    refused = await client.delete(f"{V3}/{goods['id']}")
    assert (refused.status_code, codes_of(refused)) == (409, ["tax_code_in_use"])
    assert "plan ws_pro" in refused.json()["detail"]
    async with db.write() as session:
        await plans.delete(session, NS, plan.id)
    assert (await client.delete(f"{V3}/{goods['id']}")).status_code == 204


async def test_the_next_version_needs_the_tax_codes_of_its_source(db: Database, client: httpx.AsyncClient) -> None:
    goods = await made(client)
    card = flat_card(tax_config=TaxConfig(tax_code_id=goods["id"]))
    async with db.write() as session:
        plan = await plans.create(session, NS, new_plan(phases=[phase(card)]))
    for step in ("publish", "archive"):
        assert (await client.post(f"/api/v1/plans/{plan.id}/{step}")).status_code == 200
    copy = await client.post("/api/v1/plans/ws_pro/next")
    assert copy.status_code == 201
    assert codes_of(await client.delete(f"{V3}/{goods['id']}")) == ["tax_code_in_use"]
    assert (await client.delete(f"/api/v1/plans/{copy.json()['id']}")).status_code == 204
    assert (await client.delete(f"{V3}/{goods['id']}")).status_code == 204
    refused = await client.post("/api/v1/plans/ws_pro/next")
    assert (refused.status_code, codes_of(refused)) == (400, ["tax_code_not_found"])


async def test_a_plan_shows_a_code_that_its_tax_code_was_given_later(db: Database, client: httpx.AsyncClient) -> None:
    goods = await made(client)
    card = flat_card(tax_config=TaxConfig(tax_code_id=goods["id"]))
    async with db.write() as session:
        plan = await plans.create(session, NS, new_plan(phases=[phase(card)]))

    async def shown() -> Any:
        answer = (await client.get(f"/api/v1/plans/{plan.id}")).json()
        return answer["phases"][0]["rateCards"][0]["taxConfig"]

    assert await shown() == {"taxCodeId": goods["id"]}
    await client.put(f"{V3}/{goods['id']}", json={"name": "Goods", "app_mappings": [STRIPE]})
    assert await shown() == {"taxCodeId": goods["id"], "stripe": {"code": STRIPE["tax_code"]}}


async def test_of_a_deletion_and_a_plan_at_once_one_is_refused(client: httpx.AsyncClient) -> None:
    for round_ in range(6):
        code = (await made(client, f"code_{round_}"))["id"]
        card = {
            "type": "flat_fee",
            "key": "fee",
            "name": "Fee",
            "billingCadence": None,
            "price": {"type": "flat", "amount": "5"},
            "taxConfig": {"taxCodeId": code},
        }
        plan = {
            "key": f"plan_{round_}",
            "name": "Plan",
            "currency": "USD",
            "billingCadence": "P1M",
            "phases": [{"key": "main", "name": "Main", "duration": None, "rateCards": [card]}],
        }
        sold, deleted = await asyncio.gather(client.post("/api/v1/plans", json=plan), client.delete(f"{V3}/{code}"))
        assert (sold.status_code, deleted.status_code) in ((201, 409), (400, 204))
