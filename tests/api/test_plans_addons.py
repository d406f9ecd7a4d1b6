"""Plan add-ons over HTTP, v1 and v3 (catalog sections 5 and 8.4)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from meterhouse.kernel.db import Database
from tests.catalog.http import client_of

V1, V3 = "/api/v1", "/api/v3/openmeter"
UNKNOWN = "01JNX8T0000000000000000001"
SEATS = {"key": "seats", "name": "Seats", "billing_cadence": "P1M", "price": {"type": "flat", "amount": "10"}}
SUPPORT = {**SEATS, "key": "support", "name": "Support"}


@pytest.fixture
async def client(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A client."""
    async with client_of(db) as client:
        yield client


async def plan(client: httpx.AsyncClient, key: str = "pro", **members: Any) -> str:
    """Create a draft with phases `trial` and `main`; return its id."""
    phases = [
        {"key": "trial", "name": "Trial", "duration": "P1M", "rate_cards": [SEATS]},
        {"key": "main", "name": "Main", "rate_cards": [SEATS]},
    ]
    given = {"key": key, "name": "Pro", "currency": "USD", "billing_cadence": "P1M", "phases": phases, **members}
    answer = await client.post(f"{V3}/plans", json=given)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def addon(client: httpx.AsyncClient, key: str = "extra", *, publish: bool = True, **members: Any) -> str:
    """Create an add-on, active unless said otherwise; return its id."""
    given = {"key": key, "name": "Extra", "currency": "USD", "instance_type": "multiple", "rate_cards": [SUPPORT]}
    answer = await client.post(f"{V3}/addons", json={**given, **members})
    assert answer.status_code == 201, answer.text
    made = str(answer.json()["id"])
    if publish:
        assert (await client.post(f"{V3}/addons/{made}/publish")).status_code == 200
    return made


async def assign(client: httpx.AsyncClient, plan_id: str, addon_id: str, **members: Any) -> httpx.Response:
    """Assign an add-on by v3."""
    given = {"name": "More", "addon": {"id": addon_id}, "from_plan_phase": "main", **members}
    return await client.post(f"{V3}/plans/{plan_id}/addons", json=given)


def codes(answer: httpx.Response) -> list[str]:
    """Return the codes of what refused a request."""
    assert answer.status_code == 400, answer.text
    return [one["code"] for one in answer.json()["extensions"]["validationErrors"]]


async def test_the_life_of_an_assignment_by_v3(client: httpx.AsyncClient) -> None:
    pro, extra = await plan(client), await addon(client)
    path = f"{V3}/plans/{pro}/addons"
    made = await assign(client, pro, extra, labels={"a": "b"}, description="D", max_quantity=3)
    assert made.status_code == 201, made.text
    shown = made.json()
    one = f"{path}/{shown['id']}"
    assert {name: shown[name] for name in ("name", "description", "labels", "addon", "max_quantity")} == {
        "name": "More",
        "description": "D",
        "labels": {"a": "b"},
        "addon": {"id": extra},
        "max_quantity": 3,
    }
    assert "validation_errors" not in shown
    assert (await client.get(one)).json() == shown
    assert (await client.get(path)).json()["data"] == [shown]
    assert (await assign(client, pro, extra)).status_code == 409
    # The maximum is cleared when it is left out, labels and description stay.
    changed = (await client.put(one, json={"name": "Most", "from_plan_phase": "trial"})).json()
    assert (changed["name"], changed["labels"], changed["description"]) == ("Most", {"a": "b"}, "D")
    assert "max_quantity" not in changed
    assert codes(await client.put(one, json={"name": "Most", "from_plan_phase": "gold"})) == [
        "plan_addon_unknown_plan_phase_key"
    ]
    other = await plan(client, "other")
    assert (await client.get(f"{V3}/plans/{other}/addons/{shown['id']}")).status_code == 404
    assert (await client.delete(one)).status_code == (await client.delete(one)).status_code == 204
    assert (await client.get(one)).json()["deleted_at"]
    assert (await client.put(one, json={"name": "Most", "from_plan_phase": "trial"})).status_code == 404
    assert (await client.get(path)).json()["data"] == []
    again = await assign(client, pro, extra)
    assert (again.status_code, again.json()["id"] != shown["id"]) == (201, True)


async def test_the_life_of_an_assignment_by_v1(client: httpx.AsyncClient) -> None:
    pro, extra = await plan(client), await addon(client)
    path = f"{V1}/plans/pro/addons"
    given = {"addonId": extra, "fromPlanPhase": "main", "maxQuantity": 0, "metadata": {"a": "b"}}
    made = await client.post(path, json=given)
    assert made.status_code == 201, made.text
    shown = made.json()
    assert (shown["addon"]["key"], shown["fromPlanPhase"], shown["maxQuantity"]) == ("extra", "main", 0)
    assert (shown["metadata"], "id" in shown) == ({"a": "b"}, False)
    assert [one["code"] for one in shown["validationErrors"]] == ["plan_addon_max_quantity_must_be_set"]
    for name in ("extra", extra):
        assert (await client.get(f"{path}/{name}")).json() == shown
        assert (await client.get(f"{V1}/plans/{pro}/addons/{name}")).json() == shown
    assert codes(await client.put(f"{path}/extra", json={"fromPlanPhase": "main", "maxQuantity": -1})) == [
        "plan_addon_max_quantity_must_be_set"
    ]
    changed = (await client.put(f"{path}/extra", json={"fromPlanPhase": "trial"})).json()
    assert (changed["fromPlanPhase"], changed["metadata"]) == ("trial", {"a": "b"})
    # v3 needs a name: without its own the assignment has the add-on's.
    assert (await client.get(f"{V3}/plans/{pro}/addons")).json()["data"][0]["name"] == "Extra"
    assert (await client.delete(f"{path}/extra")).status_code == 204
    assert (await client.delete(f"{path}/extra")).status_code == 404
    assert (await client.get(f"{path}/extra")).status_code == 404


async def test_status_phrases(client: httpx.AsyncClient) -> None:
    pro, extra = await plan(client), await addon(client)
    draft = await addon(client, "draft", publish=False)
    refused = await assign(client, pro, draft)
    assert (
        refused.status_code,
        refused.json()["detail"].endswith("invalid draft status, allowed statuses: [active]"),
    ) == (
        400,
        True,
    )
    await client.delete(f"{V3}/addons/{draft}")
    phrase = "add-on is deleted [deleted_at="
    refused = await assign(client, pro, draft)
    assert (refused.status_code, phrase in refused.json()["detail"]) == (400, True)
    for first, second in ((UNKNOWN, extra), (pro, UNKNOWN)):
        assert (await assign(client, first, second)).status_code == 404

    made = (await assign(client, pro, extra)).json()["id"]
    one = f"{V3}/plans/{pro}/addons/{made}"
    other = await addon(client, "other")
    first = f"{V1}/plans/{pro}/addons"

    async def refusals() -> list[tuple[int, str]]:
        answers = [
            await assign(client, pro, other),
            await client.put(one, json={"name": "N", "from_plan_phase": "main"}),
            await client.delete(one),
            await client.post(first, json={"addonId": other, "fromPlanPhase": "main"}),
            await client.put(f"{first}/extra", json={"fromPlanPhase": "main"}),
            await client.delete(f"{first}/extra"),
        ]
        return [(answer.status_code, answer.json()["detail"].removeprefix("validation error: ")) for answer in answers]

    assert (await client.post(f"{V3}/plans/{pro}/publish")).status_code == 200
    # What is assigned survives the publication.
    assert [one["id"] for one in (await client.get(f"{V3}/plans/{pro}/addons")).json()["data"]] == [made]
    assert await refusals() == [(400, "invalid active status, allowed statuses: [draft scheduled]")] * 6
    await client.post(f"{V3}/plans/{pro}/archive")
    assert await refusals() == [(400, "invalid archived status, allowed statuses: [draft scheduled]")] * 6
    await client.delete(f"{V3}/plans/{pro}")
    deleted = await refusals()
    assert {status for status, _ in deleted} == {400}
    assert all(text.startswith("plan is deleted [deletedAt=") for _, text in deleted)
    assert all(text.endswith("invalid archived status, allowed statuses: [draft scheduled]") for _, text in deleted)


async def test_a_plan_is_published_with_addons_that_go_with_it(client: httpx.AsyncClient) -> None:
    pro, extra = await plan(client), await addon(client, rate_cards=[{**SEATS, "payment_term": "in_advance"}])
    made = (await assign(client, pro, extra)).json()
    assert [one["code"] for one in made["validation_errors"]] == ["rate_card_price_payment_term_mismatch"]
    refused = await client.post(f"{V3}/plans/{pro}/publish")
    assert codes(refused) == ["plan_has_incompatible_addon", "rate_card_price_payment_term_mismatch"]
    first, cause = refused.json()["extensions"]["validationErrors"]
    assert "field" not in first
    assert cause["field"] == (
        "$.addons[?(@.addon.key=='extra')].plan.phases[?(@.key=='main')].rateCards[?(@.key=='seats')].price.paymentTerm"
    )
    await client.delete(f"{V3}/plans/{pro}/addons/{made['id']}")
    good = await addon(client, "good")
    await assign(client, pro, good)
    await client.post(f"{V3}/addons/{good}/archive")
    assert codes(await client.post(f"{V3}/plans/{pro}/publish")) == [
        "plan_has_incompatible_addon",
        "plan_addon_incompatible_status",
    ]
    # An add-on is kept while a plan that is not deleted has it.
    refused = await client.delete(f"{V3}/addons/{good}")
    assert (refused.status_code, "it is assigned to plan pro" in refused.json()["detail"]) == (400, True)
    await client.delete(f"{V3}/plans/{pro}")
    assert (await client.delete(f"{V3}/addons/{good}")).status_code == 204


async def test_currencies_refuse_an_assignment(client: httpx.AsyncClient) -> None:
    pro, euro = await plan(client), await addon(client, currency="EUR")
    assert codes(await assign(client, pro, euro)) == ["plan_multiple_fiat_currencies"]
    assert (await client.get(f"{V3}/plans/{pro}/addons")).json()["data"] == []


async def test_v1_shows_what_v1_can_express(client: httpx.AsyncClient) -> None:
    pro, plain = await plan(client), await addon(client, "plain")
    credits_only = {"name": "C", "precision": 2, "decimal_mark": ".", "thousand_separator": ","}
    await client.post(f"{V3}/currencies/custom", json={"code": "CREDITS", **credits_only})
    hidden = await addon(client, "hidden", currency="CREDITS", rate_cards=[{**SUPPORT, "price": {"type": "free"}}])
    path = f"{V1}/plans/{pro}/addons"
    code = ["currency_not_representable"]
    assert codes(await client.post(path, json={"addonId": hidden, "fromPlanPhase": "main"})) == code
    assert (await assign(client, pro, plain)).status_code == 201
    assert (await client.get(path)).json()["totalCount"] == 1
    assert (await assign(client, pro, hidden)).status_code == 201
    # One row that cannot be shown fails the list.
    assert codes(await client.get(path)) == codes(await client.get(f"{path}/hidden")) == code
    assert codes(await client.put(f"{path}/hidden", json={"fromPlanPhase": "main"})) == code
    assert (await client.delete(f"{path}/hidden")).status_code == 204


async def test_lists(client: httpx.AsyncClient) -> None:
    pro, other = await plan(client), await plan(client, "other")
    ids = {key: await addon(client, key) for key in ("a", "b", "c")}
    made = {key: (await assign(client, pro, ids[key])).json()["id"] for key in ids}
    await assign(client, other, ids["a"])
    await client.delete(f"{V3}/plans/{pro}/addons/{made['c']}")

    async def listed(query: str) -> list[str]:
        answer = await client.get(f"{V1}/plans/pro/addons?{query}")
        assert answer.status_code == 200, answer.text
        return [one["addon"]["key"] for one in answer.json()["items"]]

    assert await listed("") == ["b", "a"]
    assert await listed("order=ASC") == ["a", "b"]
    assert await listed("includeDeleted=true&orderBy=key") == ["a", "b", "c"]
    assert await listed(f"id={ids['a']}") == ["a"]
    assert await listed(f"id={ids['a']}&key=b") == []
    assert await listed("key=a&key=b&keyVersion[b]=1") == ["b"]
    assert await listed("pageSize=1&page=2") == ["a"]
    assert (await client.get(f"{V1}/plans/unknown/addons")).status_code == 404
    assert (await client.get(f"{V3}/plans/{UNKNOWN}/addons")).status_code == 404
    page = (await client.get(f"{V3}/plans/{pro}/addons?page[size]=1&page[number]=2")).json()
    assert ([one["addon"]["id"] for one in page["data"]], page["meta"]["page"]["total"]) == ([ids["b"]], 2)


async def test_assigning_at_once_has_one_winner(client: httpx.AsyncClient) -> None:
    pro, extra = await plan(client), await addon(client)
    answers = await asyncio.gather(*(assign(client, pro, extra) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    publish, drop = await asyncio.gather(
        client.post(f"{V3}/plans/{pro}/publish"), client.delete(f"{V1}/plans/{pro}/addons/extra")
    )
    assert (publish.status_code, drop.status_code) in ((200, 204), (200, 400))


async def test_values_that_cannot_be_kept(client: httpx.AsyncClient) -> None:
    pro, extra = await plan(client), await addon(client)
    hostile: list[Any] = [2**31, -(2**31), 10**30, 1.5, "3", "x\x00", {}, [], None, True]
    for value in hostile:
        for member in ("max_quantity", "from_plan_phase", "labels", "name", "addon"):
            answer = await assign(client, pro, extra, **{member: value})
            assert answer.status_code in (201, 400, 409), (member, value, answer.text)
        for member in ("maxQuantity", "fromPlanPhase", "metadata", "addonId"):
            sent = {"addonId": extra, "fromPlanPhase": "main", member: value}
            answer = await client.post(f"{V1}/plans/pro/addons", json=sent)
            assert answer.status_code in (400, 409), (member, value, answer.text)
    for query in ("id=x%00", "key=A", "keyVersion[a]=9999999999", "keyVersion[a%00]=1", "orderBy=name", "page=0"):
        assert (await client.get(f"{V1}/plans/pro/addons?{query}")).status_code == 400, query
