"""v1 subjects (metering section 14, customers section 10)."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from meterhouse.api.app import create_v1
from meterhouse.api.services import Services
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database

SUBJECTS = "/api/v1/subjects"
NOW = datetime(2025, 3, 1, 10, tzinfo=UTC)


@pytest.fixture
async def client(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A client of v1."""
    app = create_v1()
    app.state.services = Services(db=db, namespace="default")
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def upsert(client: httpx.AsyncClient, *subjects: dict[str, Any], status: int = 200) -> Any:
    """Upsert subjects and give the answer's body."""
    answer = await client.post(SUBJECTS, json=list(subjects))
    assert answer.status_code == status, answer.text
    return answer.json()


def nested(depth: int) -> dict[str, Any]:
    """Return JSON of that many levels."""
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"in": value}
    return value


async def keys(client: httpx.AsyncClient) -> list[str]:
    """Return the keys of all listed subjects."""
    return [subject["key"] for subject in (await client.get(SUBJECTS)).json()]


async def test_create_get_list(client: httpx.AsyncClient) -> None:
    with clock.frozen(NOW):
        made = await upsert(
            client,
            {"key": "b", "displayName": "Bee", "metadata": {"tags": [1, {"x": None}]}, "stripeCustomerId": "cus_1"},
            {"key": "a", "currentPeriodStart": "2025-01-01T00:00:00Z"},
        )
    assert made[0] == {
        "id": made[0]["id"],
        "key": "b",
        "displayName": "Bee",
        "metadata": {"tags": [1, {"x": None}]},
        "stripeCustomerId": "cus_1",
        "createdAt": "2025-03-01T10:00:00Z",
        "updatedAt": "2025-03-01T10:00:00Z",
    }
    assert set(made[1]) == {"id", "key", "createdAt", "updatedAt"}
    for subject in made:
        for name in (subject["id"], subject["key"]):
            assert (await client.get(f"{SUBJECTS}/{name}")).json() == subject
    listed = (await client.get(SUBJECTS)).json()
    assert listed == sorted(made, key=lambda subject: subject["id"])
    assert (await client.get(f"{SUBJECTS}/none")).status_code == 404
    assert await upsert(client) == []


async def test_a_change_touches_only_what_is_given(client: httpx.AsyncClient) -> None:
    full = {"key": "a", "displayName": "A", "metadata": {"n": 1}, "stripeCustomerId": "cus_1"}
    with clock.frozen(NOW) as now:
        (made,) = await upsert(client, full)
        now.at += timedelta(minutes=1)
        changed, added = await upsert(client, {"key": "a", "displayName": "Other"}, {"key": "new"})
        assert changed == {**made, "displayName": "Other", "updatedAt": "2025-03-01T10:01:00Z"}
        assert added["key"] == "new"
        (kept,) = await upsert(client, {"key": "a"})
        assert kept == changed
        (cleared,) = await upsert(client, {"key": "a", "displayName": None, "metadata": None, "stripeCustomerId": None})
        assert set(cleared) == {"id", "key", "createdAt", "updatedAt"}
        assert (await client.get(f"{SUBJECTS}/a")).json() == cleared


async def test_metadata_has_a_depth(client: httpx.AsyncClient) -> None:
    (made,) = await upsert(client, {"key": "a", "metadata": nested(64)})
    assert made["metadata"] == nested(64)


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity"])
async def test_metadata_holds_finite_numbers(client: httpx.AsyncClient, number: str) -> None:
    body = f'[{{"key": "a", "metadata": {{"in": [{number}]}}}}]'
    answer = await client.post(SUBJECTS, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    (found,) = answer.json()["extensions"]["validationErrors"]
    assert (found["field"], found["message"]) == ("$[0].metadata", "must hold finite numbers only")


async def test_an_existing_subject_may_come_twice(client: httpx.AsyncClient) -> None:
    await upsert(client, {"key": "a"})
    first, second = await upsert(client, {"key": "a", "displayName": "1"}, {"key": "a", "metadata": {"x": 2}})
    assert (first["displayName"], "metadata" in first) == ("1", False)
    assert (second["displayName"], second["metadata"]) == ("1", {"x": 2})


@pytest.mark.parametrize(
    ("subjects", "status"),
    [
        ([{"key": "x"}, {"key": "y"}, {"key": "x"}], 409),
        ([{"key": "x"}, {"key": "y", "stripeCustomerId": "acct_1"}], 400),
        ([{"key": "x"}, {"key": ""}], 400),
        ([{"key": "x"}, {"displayName": "without key"}], 400),
        ([{"key": "x", "metadata": {"text": "\x00"}}], 400),
        ([{"key": "x"}, {"key": "y", "metadata": nested(65)}], 400),
    ],
)
async def test_a_refused_item_leaves_nothing_behind(
    client: httpx.AsyncClient, subjects: list[dict[str, Any]], status: int
) -> None:
    problem = await upsert(client, *subjects, status=status)
    assert problem["status"] == status
    assert await keys(client) == []


async def test_a_key_is_never_the_id_of_a_subject(client: httpx.AsyncClient) -> None:
    (made,) = await upsert(client, {"key": "a"})
    problem = await upsert(client, {"key": made["id"]}, status=400)
    assert "use subject key instead of id" in problem["detail"]


async def test_delete_frees_the_key(client: httpx.AsyncClient) -> None:
    with clock.frozen(NOW):
        (made,) = await upsert(client, {"key": "a", "displayName": "A"})
        assert (await client.delete(f"{SUBJECTS}/a")).status_code == 204
    assert await keys(client) == []
    gone = (await client.get(f"{SUBJECTS}/{made['id']}")).json()
    assert gone == {**made, "deletedAt": "2025-03-01T10:00:00Z"}
    assert (await client.delete(f"{SUBJECTS}/{made['id']}")).status_code == 204
    assert (await client.delete(f"{SUBJECTS}/a")).status_code == 404
    assert (await client.get(f"{SUBJECTS}/a")).status_code == 404
    (again,) = await upsert(client, {"key": "a"})
    assert again["id"] != made["id"]
    assert "displayName" not in again


async def test_customers_make_the_subjects_of_their_subject_keys(client: httpx.AsyncClient) -> None:
    await upsert(client, {"key": "before", "displayName": "Before"})
    body = {"name": "Acme", "usageAttribution": {"subjectKeys": ["after", "before"]}}
    customer = (await client.post("/api/v1/customers", json=body)).json()
    made_by = {"createdBy": "subject.provisioner", "customerId": customer["id"]}
    assert (await client.get(f"{SUBJECTS}/after")).json()["metadata"] == made_by
    assert "metadata" not in (await client.get(f"{SUBJECTS}/before")).json()
    (changed,) = await upsert(client, {"key": "after", "displayName": "After"})
    assert (changed["displayName"], changed["metadata"]) == ("After", made_by)


async def test_simultaneous_upserts_of_one_key_make_one_subject(client: httpx.AsyncClient) -> None:
    wanted = ["c", "a", "b"]
    await asyncio.gather(
        *(upsert(client, *({"key": key, "metadata": {"n": n}} for key in wanted[n:] + wanted[:n])) for n in range(3))
    )
    assert sorted(await keys(client)) == ["a", "b", "c"]
