"""The official Python client against a served process: what it sends is taken, what it gets it understands.

It raises on every status but the documented one, and on bodies of another form.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from corehttp.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from openmeter import Client
from openmeter.aio import Client as AsyncClient
from openmeter.models import Event, MeterCreate, MeterQueryRequest, MeterUpdate, PortalToken, SubjectUpsert

T = TypeVar("T")

# Lists of events go back some weeks only, so this is the day before the tests run.
DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
STORED_WITHIN_SECONDS = 10


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Client]:
    """The synchronous client."""
    with Client(endpoint=url, token="any") as client:
        yield client


def event(
    event_id: str, kind: str, tokens: int, *, hour: int = 0, subject: str = "sdk-acme", model: str = "a"
) -> Event:
    """Make an event of a kind that only one test uses."""
    return Event(
        id=event_id,
        source=kind,
        specversion="1.0",
        type=kind,
        subject=subject,
        time=DAY + timedelta(hours=hour),
        data={"tokens": tokens, "model": model},
    )


def meter(kind: str) -> MeterCreate:
    """Make the meter of a kind of events."""
    return MeterCreate(
        slug=kind,
        event_type=kind,
        aggregation="SUM",
        value_property="$.tokens",
        group_by={"model": "$.model"},
    )


def eventually(ask: Callable[[], T], wanted: T) -> None:
    """Wait until the sink has stored what was sent."""
    deadline = time.monotonic() + STORED_WITHIN_SECONDS
    while (found := ask()) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found == wanted


def total(client: Client, slug: str) -> float:
    """Return the value of a meter over all time, 0 without events."""
    rows = client.meters.query_json(slug).data
    return sum(row.value for row in rows)


def test_meters(client: Client) -> None:
    made = client.meters.create(meter("sdk_meters"))
    assert (made.slug, made.aggregation, made.group_by) == ("sdk_meters", "SUM", {"model": "$.model"})
    assert client.meters.get("sdk_meters").id == client.meters.get(made.id).id == made.id
    assert made.id in {one.id for one in client.meters.list()}
    changed = client.meters.update("sdk_meters", MeterUpdate(name="Tokens", group_by={"kind": "$.kind"}))
    assert (changed.name, changed.group_by) == ("Tokens", {"kind": "$.kind"})
    with pytest.raises(ResourceExistsError):
        client.meters.create(meter("sdk_meters"))
    client.meters.delete("sdk_meters")
    with pytest.raises(ResourceNotFoundError):
        client.meters.get("sdk_meters")


def test_events_become_usage(client: Client) -> None:
    client.meters.create(meter("sdk_usage"))
    client.events.ingest_event(event("1", "sdk_usage", 10))
    client.events.ingest_events([event("2", "sdk_usage", 5, hour=1, model="b"), event("1", "sdk_usage", 10)])
    client.events.ingest_events_json([event("3", "sdk_usage", 7, hour=2, subject="sdk-beta")])
    eventually(lambda: total(client, "sdk_usage"), 22)

    hours = client.meters.query_json("sdk_usage", window_size="HOUR", group_by=["subject", "model"]).data
    assert [(row.window_start.hour, row.subject, row.group_by, row.value) for row in hours] == [
        (0, "sdk-acme", {"model": "a"}, 10),
        (1, "sdk-acme", {"model": "b"}, 5),
        (2, "sdk-beta", {"model": "a"}, 7),
    ]
    for filtered in (
        {"filter_group_by": {"model": "b"}},
        {"advanced_meter_group_by_filters": {"model": {"$eq": "b"}}},
    ):
        (row,) = client.meters.query_json("sdk_usage", **filtered).data
        assert row.value == 5
    day = client.meters.query_json(
        "sdk_usage",
        from_parameter=DAY,
        to=DAY + timedelta(days=1),
        subject=["sdk-acme"],
        window_size="DAY",
        window_time_zone="Asia/Kolkata",
    )
    assert [(row.value, row.window_start) for row in day.data] == [(15, DAY - timedelta(hours=5, minutes=30))]
    posted = client.meters.query("sdk_usage", MeterQueryRequest(subject=["sdk-acme", "sdk-beta"]))
    assert {row.subject: row.value for row in posted.data} == {"sdk-acme": 15, "sdk-beta": 7}
    assert client.meters.query_csv("sdk_usage", group_by=["model"]).splitlines()[0] == (
        "window_start,window_end,model,value"
    )
    assert client.meters.list_subjects("sdk_usage") == ["sdk-acme", "sdk-beta"]

    found = client.events.list(subject="sdk-beta", from_parameter=DAY)
    assert [(one.event.id, one.event.data) for one in found] == [("3", {"tokens": 7, "model": "a"})]
    assert found[0].stored_at >= found[0].ingested_at
    assert "3" in {one.event.id for one in client.events_v2.list()}
    assert 'openmeter_events_total{subject="sdk-beta"} 1' in client.debug.metrics()


def test_progress_of_a_query(client: Client) -> None:
    client.meters.create(meter("sdk_progress"))
    client.events.ingest_event(event("1", "sdk_progress", 10))
    eventually(lambda: total(client, "sdk_progress"), 10)
    client.meters.query_json("sdk_progress", client_id="sdk")
    progress = client.progress.get_progress("sdk")
    assert (progress.success, progress.failed, progress.total) == (1, 0, 1)
    with pytest.raises(ResourceNotFoundError):
        client.progress.get_progress("unknown")


def test_subjects(client: Client) -> None:
    made, _ = client.subjects.upsert(
        [SubjectUpsert(key="sdk-1", display_name="One", metadata={"n": 1}), SubjectUpsert(key="sdk-2")]
    )
    assert (made.key, made.display_name, made.metadata) == ("sdk-1", "One", {"n": 1})
    (changed,) = client.subjects.upsert([SubjectUpsert(key="sdk-1", metadata={"n": 2})])
    assert (changed.id, changed.display_name, changed.metadata) == (made.id, "One", {"n": 2})
    assert client.subjects.get("sdk-1").id == client.subjects.get(made.id).id == made.id
    assert {"sdk-1", "sdk-2"} <= {one.key for one in client.subjects.list()}
    client.subjects.delete("sdk-1")
    with pytest.raises(ResourceNotFoundError):
        client.subjects.get("sdk-1")


def test_portal(client: Client, url: str) -> None:
    client.meters.create(meter("sdk_portal"))
    client.events.ingest_events([event("1", "sdk_portal", 3), event("2", "sdk_portal", 4, subject="sdk-beta")])
    eventually(lambda: total(client, "sdk_portal"), 7)
    tokens = client.portal.portal_tokens
    made = tokens.create(PortalToken(subject="sdk-beta", allowed_meter_slugs=["sdk_portal"]))
    assert (made.subject, made.allowed_meter_slugs, made.expired) == ("sdk-beta", ["sdk_portal"], False)
    assert made.expires_at - made.created_at <= timedelta(hours=1)
    assert [(one.id, one.token) for one in tokens.list(limit=1)] == [(made.id, None)]
    with Client(endpoint=url, token=made.token) as holder:
        (row,) = holder.portal.portal_meters.query_json("sdk_portal").data
        assert (row.subject, row.value) == ("sdk-beta", 4)
        assert holder.portal.portal_meters.query_csv("sdk_portal").endswith(",sdk-beta,4.000000\n")
        tokens.invalidate(id=made.id)
        with pytest.raises(HttpResponseError) as refused:
            holder.portal.portal_meters.query_json("sdk_portal")
        assert refused.value.status_code == 401
    assert made.id not in {one.id for one in tokens.list()}


async def test_the_asynchronous_client(url: str) -> None:
    async with AsyncClient(endpoint=url) as client:
        await client.meters.create(meter("sdk_async"))
        await client.events.ingest_event(event("1", "sdk_async", 10))
        deadline = time.monotonic() + STORED_WITHIN_SECONDS
        while not (rows := (await client.meters.query_json("sdk_async")).data):
            assert time.monotonic() < deadline
        assert [row.value for row in rows] == [10]
        (subject,) = await client.subjects.upsert([SubjectUpsert(key="sdk-async")])
        assert (await client.subjects.get("sdk-async")).id == subject.id
        made = await client.portal.portal_tokens.create(PortalToken(subject="sdk-acme"))
        async with AsyncClient(endpoint=url, token=made.token) as holder:
            (row,) = (await holder.portal.portal_meters.query_json("sdk_async")).data
        assert row.value == 10
        await client.meters.delete("sdk_async")
