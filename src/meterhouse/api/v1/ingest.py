"""Taking in events: an ASGI function that stands before the routers (metering section 3, design section 6).

It is the busiest path of the server, so it reads the body itself and passes by everything that a router does.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meterhouse.api import problems
from meterhouse.api.services import Services
from meterhouse.kernel import clock
from meterhouse.kernel.errors import DomainError, FeatureDisabled, TooLarge
from meterhouse.metering import metrics
from meterhouse.metering.events import event as events
from meterhouse.metering.events.log import EventLog

log = structlog.get_logger(__name__)

_STATUS: dict[problems.Version, HTTPStatus] = {"v1": HTTPStatus.NO_CONTENT, "v3": HTTPStatus.ACCEPTED}


class _Disconnected(Exception):
    """The client went away before its body was complete; nobody waits for an answer."""


async def accept(
    event_log: EventLog,
    namespace: str,
    body: bytes,
    content_type: str | None,
    *,
    version: problems.Version = "v1",
    max_events: int = events.MAX_BATCH_EVENTS,
) -> None:
    """Decode a request body and append its events; returning means they are durable.

    Raises:
        InvalidInput: an event breaks a rule; nothing of the body is kept.
        TooLarge: there are more than `max_events`, or one is too large for the log.
        Unavailable: the log does not acknowledge.
    """
    found = events.decode(
        body,
        content_type,
        namespace=namespace,
        received_at=clock.now(),
        extensions=version == "v1",
        max_events=max_events,
    )
    await event_log.append(found)
    metrics.ACCEPTED.inc(len(found))


async def accept_request(request: Request, services: Services, namespace: str, version: problems.Version) -> Response:
    """Answer an ingest request that came through a router, as `ingest_app` answers those that did not.

    Raises:
        FeatureDisabled: this process takes in no events.
        DomainError: see `accept`.
    """
    if services.event_log is None:
        raise FeatureDisabled("events are not taken in by this process")
    await accept(
        services.event_log,
        namespace,
        await request.body(),
        request.headers.get("content-type"),
        version=version,
        max_events=services.max_batch_events,
    )
    return Response(status_code=_STATUS[version])


def request_body(event: Mapping[str, Any]) -> dict[str, Any]:
    """Describe for OpenAPI what an ingest route reads: one event or many, in three media types."""
    batch = {"type": "array", "items": event}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/cloudevents+json": {"schema": event},
                "application/cloudevents-batch+json": {"schema": batch},
                "application/json": {"schema": {"anyOf": [event, batch]}},
            },
        }
    }


def ingest_app(
    event_log: EventLog,
    namespace: str,
    *,
    version: problems.Version = "v1",
    max_events: int = events.MAX_BATCH_EVENTS,
) -> ASGIApp:
    """Build what answers `POST /api/v1/events`, or with version v3 `POST /api/v3/openmeter/events`.

    Mount it where the path and the method are already decided: it looks at neither.
    """
    status = _STATUS[version]
    headers = [] if status is HTTPStatus.NO_CONTENT else [(b"content-length", b"0")]
    start = {"type": "http.response.start", "status": int(status), "headers": headers}
    end = {"type": "http.response.body", "body": b""}

    async def ingest(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            message = await receive()
            # Nearly every body comes in one piece.
            body = await _body(message, receive) if message.get("more_body", True) else message["body"]
            await accept(event_log, namespace, body, _content_type(scope), version=version, max_events=max_events)
        except _Disconnected:
            return
        except DomainError as error:
            await problems.domain_problem(version, Request(scope), error)(scope, receive, send)
        except HTTPException as error:
            # The limit of the body's size, which the edge of the server watches while the body is read.
            too_large = TooLarge(error.detail)
            await problems.domain_problem(version, Request(scope), too_large)(scope, receive, send)
        except Exception as error:
            log.error("ingest failed", exc_info=error)
            await problems.problem(version, Request(scope), 500, None)(scope, receive, send)
        else:
            await send(start)
            await send(end)

    return ingest


def _content_type(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"content-type":
            return str(value, "latin-1")
    return None


async def _body(message: Message, receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        if message["type"] == "http.disconnect":
            raise _Disconnected
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()
