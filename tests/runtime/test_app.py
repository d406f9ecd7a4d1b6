"""What holds for every request, and the routes that belong to the server itself."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import structlog
import yaml
from starlette.types import Receive, Scope, Send

from meterhouse.api.app import create_app
from meterhouse.api.middleware import Edge, add_request_id
from meterhouse.api.services import Services
from meterhouse.kernel import clock
from meterhouse.kernel.clock import SystemClock
from meterhouse.kernel.db import Database
from meterhouse.kernel.ids import is_ulid
from meterhouse.kernel.testclock import SimulatedClock, SimulatedTime

START = datetime(2025, 1, 15, tzinfo=UTC)


def client(services: Services) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=create_app(services, max_body_bytes=1000), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def nothing() -> None:
    pass


async def broken() -> None:
    raise ConnectionError


@pytest.fixture
async def http(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with client(Services(db=db, namespace="default", probes={"postgres": nothing})) as http:
        yield http


@pytest.mark.parametrize(("path", "version"), [("/api/v1/nothing", "v1"), ("/api/v3/openmeter/nothing", "v3")])
async def test_an_unknown_path_is_a_problem_with_the_callers_request_id(
    http: httpx.AsyncClient, path: str, version: str
) -> None:
    answer = await http.get(path, headers={"X-Request-Id": "abc"})
    assert answer.status_code == 404
    assert answer.headers["x-powered-by"] == "Meterhouse"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["instance"] == "urn:request:abc"
    assert ("detail" in answer.json()) == (version == "v3")


async def test_a_body_above_the_limit_is_refused(http: httpx.AsyncClient, db: Database) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * 400

    for path in ("/api/v1/anything", "/api/v3/meterhouse/test-clock"):
        answer = await http.put(path, content=b" " * 1001)
        assert (answer.status_code, answer.json()["status"]) == (413, 413)
    answer = await http.put(
        "/api/v3/meterhouse/test-clock", content=chunks(), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413


class Discard:
    """An event log that keeps nothing."""

    async def append(self, events: object) -> None:
        """Forget the events."""
        structlog.get_logger().info("appended")


@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v3/openmeter/events"])
async def test_events_pass_through_the_same_edge(db: Database, path: str) -> None:
    event = b'{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"u"}'

    async def chunks(count: int) -> AsyncIterator[bytes]:
        for part in (event[:20], event[20:], *([b" " * 400] * count)):
            yield part

    services = Services(db=db, namespace="default", event_log=Discard())  # type: ignore[arg-type]
    headers = {"content-type": "application/json", "x-request-id": "abc"}
    async with client(services) as http:
        for content in (event, chunks(1)):
            answer = await http.post(path, content=content, headers=headers)
            assert answer.status_code in (202, 204)
            assert answer.headers["x-powered-by"] == "Meterhouse"
        for content, status in ((b"{", 400), (b" " * 1001, 413), (chunks(3), 413)):
            answer = await http.post(path, content=content, headers=headers)
            assert answer.status_code == status
            assert answer.headers.get_list("x-powered-by") == ["Meterhouse"]
            assert answer.json()["instance"] == "urn:request:abc"


async def test_lines_of_the_log_name_the_request(db: Database) -> None:
    services = Services(db=db, namespace="default", event_log=Discard())  # type: ignore[arg-type]
    body = b'{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"u"}'
    before = structlog.get_config()
    lines: list[Any] = []

    def keep(_: object, __: str, line: structlog.typing.EventDict) -> str:
        lines.append(line)
        raise structlog.DropEvent

    structlog.configure(processors=[add_request_id, keep], cache_logger_on_first_use=False)
    try:
        async with client(services) as http:
            for given in ({"x-request-id": "abc"}, {}, {"x-request-id": "y" * 200}):
                headers = {"content-type": "application/json", **given}
                assert (await http.post("/api/v1/events", content=body, headers=headers)).status_code == 204
        structlog.get_logger().info("outside")
    finally:
        structlog.configure(**before)
    first, drawn, long, outside = (line.get("request_id") for line in lines)
    assert (first, long, outside) == ("abc", "y" * 128, None)
    assert is_ulid(drawn)


async def test_a_bug_is_a_problem_and_reaches_nothing_but_the_log() -> None:
    async def buggy(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("bug")

    transport = httpx.ASGITransport(app=Edge(buggy, max_body_bytes=1000))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        answer = await http.get("/api/v1/meters")
    assert (answer.status_code, answer.json()["status"]) == (500, 500)
    assert "bug" not in answer.text


async def test_probes(http: httpx.AsyncClient, db: Database) -> None:
    assert (await http.get("/healthz")).json() == {"status": "ok"}
    assert (await http.get("/readyz")).json() == {"status": "ok", "backends": {"postgres": "ok"}}
    async with client(Services(db=db, namespace="default", probes={"clickhouse": broken})) as other:
        answer = await other.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["backends"] == {"clickhouse": "unavailable"}


async def test_documents_and_their_page_need_nothing_from_outside(http: httpx.AsyncClient) -> None:
    for path in ("/api/swagger.json", "/api/v3/openapi.json"):
        document = (await http.get(path)).json()
        assert document["openapi"].startswith("3.1")
        assert "HTTPValidationError" not in document.get("components", {}).get("schemas", {})
        assert all("422" not in op["responses"] for item in document["paths"].values() for op in item.values())
    served = yaml.safe_load((await http.get("/api/v3/openapi.yaml")).text)
    assert served == (await http.get("/api/v3/openapi.json")).json()
    for path in ("/docs", "/docs/v1", "/docs/v3"):
        page = await http.get(path)
        assert page.status_code == 200
        assert "https://" not in page.text
    assert (await http.get("/docs/v2")).status_code == 404
    assert (await http.get("/docs/static/swagger-ui-bundle.js")).status_code == 200


async def test_without_the_setting_there_is_no_test_clock(http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/v3/meterhouse/test-clock")).status_code == 404
    answer = await http.put("/api/v3/meterhouse/test-clock", json={"now": "2025-01-15T00:00:00Z"})
    assert answer.status_code == 404


async def test_the_test_clock_goes_forward_only(database_url: str) -> None:
    simulated_clock = SimulatedClock(START)
    clock.use(simulated_clock)
    db = Database(database_url, on_begin=simulated_clock.refresh)
    time = SimulatedTime(db, [], drain_events=nothing, drain_jobs=nothing)
    await time.start(START)
    try:
        async with client(Services(db=db, namespace="default", simulated_time=time)) as http:
            path = "/api/v3/meterhouse/test-clock"
            assert (await http.get(path)).json() == {"now": "2025-01-15T00:00:00Z"}
            answer = await http.put(path, json={"now": "2025-02-15T01:00:00+01:00"})
            assert (answer.status_code, answer.json()) == (200, {"now": "2025-02-15T00:00:00Z"})
            assert (await http.put(path, json={"now": "2025-02-14T00:00:00Z"})).status_code == 400
            assert (await http.put(path, json={"now": "yesterday"})).status_code == 400
            assert (await http.get(path)).json() == {"now": "2025-02-15T00:00:00Z"}
    finally:
        clock.use(SystemClock())
        await db.close()
