"""What every request passes through, whatever serves it: the size limit of its body, the server's name, its id.

Posts of events pass through here too, so nothing is made that is not needed: the id of a request is taken or drawn when
an error or a line of the log names it.
"""

from collections.abc import Awaitable
from contextvars import ContextVar

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import EventDict, WrappedLogger

from meterhouse.api import problems
from meterhouse.kernel.errors import TooLarge

log = structlog.get_logger(__name__)

_POWERED_BY = (b"x-powered-by", b"Meterhouse")

_served: ContextVar[Scope | None] = ContextVar("meterhouse_served_request", default=None)


def add_request_id(_: WrappedLogger, __: str, entry: EventDict) -> EventDict:
    """Add the id of the request that is being served to a line of the log; a processor of structlog."""
    scope = _served.get()
    if scope is not None:
        entry.setdefault("request_id", problems.request_id(scope))
    return entry


class Edge:
    """Wraps the application (api-conventions sections 2 and 23).

    Args:
        app: what serves the request.
        max_body_bytes: a larger body is answered with 413.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self._app = app
        self._max = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        def named(message: Message) -> Awaitable[None]:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message["headers"], _POWERED_BY]}
            return send(message)

        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        announced = length.isdigit()
        # Where routers copy the scope, the copies share the state, and so the id in it.
        scope.setdefault("state", {})
        token = _served.set(scope)
        try:
            if announced and int(length) > self._max:
                error = TooLarge(f"the body has more than {self._max} bytes")
                await problems.domain_problem(_version(scope), Request(scope), error)(scope, receive, named)
                return
            if not announced or b"transfer-encoding" in headers:
                receive = self._limited(receive)
            # Else the server hands on no more than was announced.
            await self._app(scope, receive, named)
        except Exception as bug:
            # Handed on, it would make the server close the connection under the client's next request.
            log.error("request failed", method=scope["method"], path=scope["path"], exc_info=bug)
            if not started:
                await problems.problem(_version(scope), Request(scope), 500, None)(scope, receive, named)
        finally:
            _served.reset(token)

    def _limited(self, receive: Receive) -> Receive:
        # For bodies sent in chunks, which do not say their length beforehand.
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max:
                raise HTTPException(413)
            return message

        return limited


def _version(scope: Scope) -> problems.Version:
    return "v3" if scope["path"].startswith("/api/v3/") else "v1"
