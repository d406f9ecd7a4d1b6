"""Customers over HTTP, in v1 and v3."""

import asyncio
import secrets
from typing import Any

import httpx
import pytest

from meterhouse.billing.profiles.models import OverrideRow, ProfileRow
from meterhouse.kernel.db import Database

V1 = "/api/v1/customers"
V3 = "/api/v3/openmeter/customers"
UNKNOWN = "01JNX8T0000000000000000001"
LONG = secrets.token_hex(2000)  # of no length that an index takes, compressed or not
PROFILE = {
    "supplier_name": "Supplier",
    "supplier_address": {"country": "AT"},
    "collection_alignment": "subscription",
    "collection_interval": "PT1H",
    "auto_advance": True,
    "draft_period": "P0D",
    "due_after": "P30D",
    "progressive_billing": True,
    "subscription_end_proration_mode": "bill_actual_period",
    "collection_method": "charge_automatically",
    "tax_enabled": True,
    "tax_enforced": False,
}


async def create(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post(V1, json={"name": "Acme", **body})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_v1_customer_goes_through_its_life(client: httpx.AsyncClient) -> None:
    body = {
        "name": "Acme",
        "key": "acme",
        "usageAttribution": {"subjectKeys": ["b", "a"]},
        "primaryEmail": "x@acme.test",
        "currency": "EUR",
        "billingAddress": {"city": "Graz", "country": "AT"},
        "metadata": {"team": "x"},
        "unknown": "ignored",
    }
    created = (await client.post(V1, json=body)).json()
    assert created["usageAttribution"] == {"subjectKeys": ["a", "b"]}
    assert created["billingAddress"] == {"city": "Graz", "country": "AT"}
    assert created["metadata"] == {"team": "x"}
    for absent in ("description", "deletedAt", "annotations", "subscriptions", "currentSubscriptionId"):
        assert absent not in created
    for id_or_key in (created["id"], "acme"):
        assert (await client.get(f"{V1}/{id_or_key}")).json() == {**created, "subscriptions": []}
    changed = await client.put(f"{V1}/acme", json={"name": "New", "key": "acme", "billingAddress": {"city": "Linz"}})
    assert changed.status_code == 200
    assert changed.json()["billingAddress"] == {"city": "Linz", "country": "AT"}
    assert changed.json()["primaryEmail"] == "x@acme.test"
    assert "usageAttribution" not in changed.json()
    assert "metadata" not in changed.json()
    cleared = await client.put(
        f"{V1}/acme", json={"name": "New", "key": "acme", "primaryEmail": None, "billingAddress": None}
    )
    assert "primaryEmail" not in cleared.json()
    assert "billingAddress" not in cleared.json()
    assert cleared.json()["currency"] == "EUR"
    assert (await client.delete(f"{V1}/acme")).status_code == 204
    assert (await client.delete(f"{V1}/acme")).status_code == 404
    assert (await client.delete(f"{V1}/{created['id']}")).status_code == 412
    assert (await client.put(f"{V1}/{created['id']}", json={"name": "x", "key": "x"})).status_code == 412
    assert (await client.get(f"{V1}/acme")).status_code == 404
    gone = await client.get(f"{V1}/{created['id']}")
    assert gone.status_code == 200
    assert gone.json()["deletedAt"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"name": ""}, 400),
        ({"name": "x" * 257, "key": "k"}, 400),
        ({"name": "x"}, 400),
        ({"name": "x", "key": ""}, 400),
        ({"name": "x", "key": "k" * 257}, 400),
        ({"name": "x", "usageAttribution": {"subjectKeys": [""]}}, 400),
        ({"name": "x", "usageAttribution": {"subjectKeys": [LONG]}}, 400),
        ({"name": "x", "key": "k", "primaryEmail": LONG}, 400),
        ({"name": "\U0001f600" * 256, "key": "\U0001f600" * 256}, 201),
        ({"name": "x", "usageAttribution": {}}, 400),
        ({"name": "x", "key": "k", "currency": "usd"}, 400),
        ({"name": "x", "key": "k", "currency": "XYZ"}, 400),
        ({"name": "x", "key": "k", "billingAddress": {"country": "Austria"}}, 400),
        ({"name": "x", "key": "k", "metadata": {"n": 1}}, 400),
        ({"name": "x", "key": "taken"}, 409),
        ({"name": "x", "usageAttribution": {"subjectKeys": ["taken"]}}, 409),
        ({"name": "x", "key": "k", "metadata": None}, 201),
        ({"name": "x", "key": "k", "usageAttribution": {"subjectKeys": []}}, 201),
        ({"name": "x", "usageAttribution": {"subjectKeys": ["s", "s"]}}, 201),
    ],
)
async def test_v1_create_statuses(client: httpx.AsyncClient, body: dict[str, Any], status: int) -> None:
    await create(client, key="taken")
    answer = await client.post(V1, json=body)
    assert answer.status_code == status
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]


async def test_simultaneous_creates_with_one_key_give_one_customer(client: httpx.AsyncClient) -> None:
    one = {"name": "x", "key": "same"}
    first = {"usageAttribution": {"subjectKeys": ["s2", "same", "s1"]}}
    third = {"usage_attribution": {"subject_keys": ["s1"]}}
    requests = [(V1, one), (V1, {**one, **first}), (V3, one), (V3, {**one, **third})] * 3
    answers = await asyncio.gather(*(client.post(path, json=body) for path, body in requests))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 11
    (made,) = [answer.json() for answer in answers if answer.status_code == 201]
    updates = [(V1, {**one, **first}), (V3, {"name": "y", **third})] * 4
    answers = await asyncio.gather(*(client.put(f"{path}/{made['id']}", json=body) for path, body in updates))
    assert {answer.status_code for answer in answers} == {200}
    deletions = await asyncio.gather(*(client.delete(f"{path}/{made['id']}") for path in (V1, V1, V3, V3)))
    # Of those who ask v1 one at most deletes it; v3 does not tell whether there was anything to delete.
    statuses = [answer.status_code for answer in deletions]
    assert statuses[2:] == [204, 204]
    assert statuses[:2] in ([412, 412], [204, 412], [412, 204])


async def test_requests_that_want_each_other_s_strings_never_fail(client: httpx.AsyncClient) -> None:
    def body(key: str, *keys: str) -> dict[str, Any]:
        return {"name": "x", "key": key, "usageAttribution": {"subjectKeys": list(keys)}}

    for n in range(5):
        a, b, c = (f"{letter}{n}" for letter in "abc")
        bodies = [body(a, b, c), body(b, c, a), body(c, b, a), body(f"{a}-{b}", c, b, a)]
        answers = await asyncio.gather(*(client.post(V1, json=one) for one in bodies))
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


async def test_v1_list(client: httpx.AsyncClient) -> None:
    for n in range(37):
        await create(client, key=f"key_{n:02}", name=f"Name {n:02}", usageAttribution={"subjectKeys": [f"sub%{n:02}"]})
    await client.delete(f"{V1}/key_36")

    async def listed(query: str) -> tuple[int, list[str]]:
        answer = (await client.get(f"{V1}?{query}")).json()
        return answer["totalCount"], [item["key"] for item in answer["items"]]

    answer = (await client.get(f"{V1}?page=2&pageSize=20&includeDeleted=true")).json()
    assert (answer["page"], answer["pageSize"], answer["totalCount"], len(answer["items"])) == (2, 20, 37, 17)
    assert await listed("page=9") == (36, [])
    assert await listed("key=KEY_0&pageSize=2") == (10, ["key_00", "key_01"])
    assert await listed("name=name%2000") == (1, ["key_00"])
    assert await listed("subject=%2535") == (1, ["key_35"])
    assert await listed("subject=b_3") == (0, [])
    assert await listed("planKey=any") == (0, [])
    assert (await listed("orderBy=createdAt&order=DESC&pageSize=1"))[1] == ["key_35"]
    for wrong in ("orderBy=key", "order=asc", "page=0", "pageSize=0", "pageSize=1001", "expand=everything"):
        assert (await client.get(f"{V1}?{wrong}")).status_code == 400, wrong
    shown = (await client.get(f"{V1}?pageSize=1")).json()["items"][0]
    assert shown["subscriptions"] == []


async def test_a_v3_customer_goes_through_its_life(client: httpx.AsyncClient) -> None:
    body = {
        "name": "Acme",
        "key": "acme",
        "labels": {"team": "x", "version": "1.2.3"},
        "usage_attribution": {"subject_keys": ["a"]},
        "billing_address": {"postal_code": "8010"},
    }
    answer = await client.post(V3, json=body)
    assert answer.status_code == 201
    created = answer.json()
    assert created["labels"] == {"team": "x", "version": "1.2.3"}
    assert created["billing_address"] == {"postal_code": "8010"}
    path = f"{V3}/{created['id']}"
    assert (await client.get(path)).json() == created
    changed = await client.put(path, json={"name": "New"})
    assert changed.status_code == 200
    assert (changed.json()["key"], changed.json()["labels"]) == ("acme", {})
    assert "usage_attribution" not in changed.json()
    assert (await client.put(path, json={"name": "New", "key": "other"})).status_code == 400
    assert (await client.delete(path)).status_code == 204
    assert (await client.delete(path)).status_code == 204
    assert (await client.delete(f"{V3}/{UNKNOWN}")).status_code == 204
    gone = await client.put(path, json={"name": "New"})
    assert (gone.status_code, gone.json()["title"]) == (410, "Gone")
    assert (await client.get(path)).json()["deleted_at"]
    assert (await client.get(f"{V3}/{UNKNOWN}")).status_code == 404
    assert (await client.put(f"{V3}/{UNKNOWN}", json={"name": "New"})).status_code == 404
    assert (await client.get(f"{V3}/acme")).status_code == 404


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        ({"kick": "x"}, "invalid_label_key_prefix"),
        ({"_a": "x"}, "invalid_label_key_prefix"),
        ({"a_": "x"}, "invalid_label_key_format"),
        ({"a": "_x"}, "invalid_label_value_format"),
        ({"a": "x" * 64}, "invalid_label_value_format"),
    ],
)
async def test_wrong_labels(client: httpx.AsyncClient, labels: dict[str, str], code: str) -> None:
    answer = await client.post(V3, json={"name": "x", "key": "k", "labels": labels})
    assert answer.status_code == 400
    issue = answer.json()["extensions"]["validationErrors"][0]
    assert (issue["code"], issue["field"]) == (code, "$.labels")


async def test_v3_shows_what_v1_stored(client: httpx.AsyncClient) -> None:
    metadata = {f"key {n}": "any text" for n in range(60)}
    created = await create(client, usageAttribution={"subjectKeys": ["s"]}, metadata=metadata)
    shown = (await client.get(f"{V3}/{created['id']}")).json()
    assert shown["labels"] == metadata
    assert shown["key"] == ""


async def test_v3_sends_back_what_v1_stored(client: httpx.AsyncClient) -> None:
    created = await create(client, key="acme", metadata={"a note": "any text", "team": "a"})
    shown = (await client.get(f"{V3}/{created['id']}")).json()
    changes = {"name": "Other", "labels": {**shown["labels"], "tier": "b"}}
    changed = await client.put(f"{V3}/{created['id']}", json=changes)
    assert changed.json()["labels"] == {"a note": "any text", "team": "a", "tier": "b"}
    refused = await client.put(f"{V3}/{created['id']}", json={**changes, "labels": {"a note": "other text"}})
    assert refused.json()["extensions"]["validationErrors"][0]["field"] == "$.labels"


async def test_v3_list(client: httpx.AsyncClient) -> None:
    for name in ("gamma", "alpha", "beta"):
        await create(
            client, key=name, name=name, primaryEmail=f"{name}@x.test", usageAttribution={"subjectKeys": [name[0]]}
        )
    gone = await create(client, key="gone", name="gone")
    await client.delete(f"{V3}/{gone['id']}")

    async def keys(query: str) -> list[str]:
        answer = await client.get(f"{V3}?{query}")
        assert answer.status_code == 200, answer.text
        return [item["key"] for item in answer.json()["data"]]

    assert await keys("") == ["alpha", "beta", "gamma"]
    assert await keys("sort=created_at+desc") == ["beta", "alpha", "gamma"]
    assert await keys("filter[name][contains]=A&filter[key][neq]=beta") == ["alpha", "gamma"]
    assert await keys("filter[usage_attribution_subject_key][oeq]=a,b") == ["alpha", "beta"]
    assert await keys("filter[primary_email]=beta@x.test") == ["beta"]
    assert await keys("filter[plan_key]=pro") == []
    # Of subject keys and plans a customer may have many, or none.
    await create(client, key="bare", name="bare")
    assert await keys("filter[usage_attribution_subject_key][exists]=false") == ["bare"]
    assert await keys("filter[usage_attribution_subject_key][exists]=true") == ["alpha", "beta", "gamma"]
    assert await keys("filter[usage_attribution_subject_key][exists]=false&filter[name][contains]=a") == ["bare"]
    both = "filter[usage_attribution_subject_key][exists]=false&filter[usage_attribution_subject_key][eq]=a"
    assert await keys(both) == []
    assert await keys("filter[plan_key][exists]=false&filter[name][gt]=b") == ["bare", "beta", "gamma"]
    await client.delete(f"{V1}/bare")
    page = (await client.get(f"{V3}?page[size]=2&page[number]=2")).json()
    assert page["meta"] == {"page": {"size": 2, "number": 2, "total": 3}}
    for wrong in ("filter[nope]=x", "sort=key", "page[number]=0", "filter[name][like]=x"):
        answer = await client.get(f"{V3}?{wrong}")
        assert answer.status_code == 400, wrong
        assert answer.json()["invalid_parameters"], wrong


async def test_customers_by_their_effective_billing_profile(client: httpx.AsyncClient, db: Database) -> None:
    pinned, other = await create(client, key="pinned"), await create(client, key="other")
    first, second = (
        ProfileRow(namespace="default", name=name, app_id=UNKNOWN, is_default=name == "first", **PROFILE)
        for name in ("first", "second")
    )
    async with db.write() as session:
        session.add_all([first, second])
        await session.flush()
        session.add(OverrideRow(namespace="default", customer_id=pinned["id"], profile_id=second.id))
        session.add(OverrideRow(namespace="default", customer_id=other["id"], profile_id=None))

    async def keys(query: str) -> list[str]:
        return [item["key"] for item in (await client.get(f"{V3}?filter[billing_profile_id]{query}")).json()["data"]]

    assert await keys(f"={second.id}") == ["pinned"]
    assert await keys(f"[eq]={first.id}") == ["other"]
    assert await keys(f"[oeq]={first.id},{second.id}") == ["pinned", "other"]
    assert await keys(f"[neq]={first.id}") == ["pinned"]
    assert (await client.get(f"{V3}?filter[billing_profile_id]=nope")).status_code == 400


async def test_keys_may_hold_slashes(client: httpx.AsyncClient) -> None:
    made = await create(client, key="org/ä %2F", usageAttribution={"subjectKeys": ["s/1"]})
    for path in (f"{V1}/org%2F%C3%A4%20%252F", f"{V1}/org%2f%C3%A4%20%252F"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json().get("id")) == (200, made["id"])
    assert (await client.get("/api/v1/subjects/s%2F1")).json()["key"] == "s/1"
    for path in ("/api/v1/subjects/s/1", "/api%2Fv1/customers", f"{V1}/org%2F%00"):
        assert (await client.get(path)).status_code in (400, 404)
    assert (await client.delete(f"{V1}/org%2F%C3%A4%20%252F")).status_code == 204
