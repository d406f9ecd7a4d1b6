"""Text that cannot be stored is the client's mistake, wherever it stands."""

import json
from typing import Any

import httpx

V1 = "/api/v1/customers"
V3 = "/api/v3/openmeter/customers"


async def test_unstorable_text_is_refused(client: httpx.AsyncClient) -> None:
    bodies: list[dict[str, Any]] = [
        {"name": "a\x00b", "key": "k"},
        {"name": "a", "key": "k\x00"},
        {"name": "a", "key": "k", "metadata": {"a": "\x00"}},
        {"name": "a", "key": "k", "metadata": {"a\ud800": "x"}},
        {"name": "a\ud800", "key": "k"},
        {"name": "a", "key": "other", "unknown\ud800": 1},
    ]
    for path, body in [(path, body) for path in (V1, V3) for body in bodies]:
        answer = await client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
        expected = 201 if path == V1 and "unknown\ud800" in body else 400
        assert answer.status_code == expected, (path, body)
    for query in (f"{V1}?key=%00", f"{V1}/%00", f"{V3}?filter[name]=%00"):
        assert (await client.get(query)).status_code == 400, query


async def test_the_place_of_unstorable_text_is_named(client: httpx.AsyncClient) -> None:
    cases: dict[str, tuple[str, dict[str, Any]]] = {
        "$.name": (V1, {"name": "a\x00b", "key": "k"}),
        "$.primaryEmail": (V1, {"name": "a", "key": "k", "primaryEmail": "\ud800"}),
        "$.metadata.a": (V1, {"name": "a", "key": "k", "metadata": {"a": "\x00"}}),
        "$.usageAttribution.subjectKeys[1]": (V1, {"name": "a", "usageAttribution": {"subjectKeys": ["a", "\x00"]}}),
        "$.primary_email": (V3, {"name": "a", "key": "k", "primary_email": "\ud800"}),
        "$.billing_address.city": (V3, {"name": "a", "key": "k", "billing_address": {"city": "\x00"}}),
    }
    for field, (path, body) in cases.items():
        answer = await client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
        assert answer.status_code == 400, body
        assert [one["field"] for one in answer.json()["extensions"]["validationErrors"]] == [field]


async def test_a_page_far_beyond_the_end_is_empty(client: httpx.AsyncClient) -> None:
    for query in (f"{V1}?page={10**20}", f"{V3}?page[number]={2**63 - 1}"):
        answer = await client.get(query)
        assert answer.status_code == 200, query
        assert [] in answer.json().values()
