"""What every request passes through, whatever serves it: its id, the size limit of its body, the server's name."""

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meterhouse.api import problems
from meterhouse.kernel.errors import TooLarge
from meterhouse.kernel.ids import new_id

log = structlog.get_logger(__name__)

MAX_REQUEST_ID = 128  # a longer one is not an id; it would only fill the logs


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
        headers = Headers(scope=scope)
        request_id = headers.get("x-request-id", "")[:MAX_REQUEST_ID] or new_id()
        scope.setdefault("state", {})["request_id"] = request_id

        started = False

        async def named(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["x-powered-by"] = "Meterhouse"
            await send(message)

        request = Request(scope)
        version: problems.Version = "v3" if scope["path"].startswith("/api/v3/") else "v1"
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            length = headers.get("content-length", "")
            if length.isdecimal() and int(length) > self._max:
                error = TooLarge(f"the body has more than {self._max} bytes")
                await problems.domain_problem(version, request, error)(scope, receive, named)
                return
            try:
                await self._app(scope, self._limited(receive), named)
            except Exception as bug:
                # Handed on, it would make the server close the connection under the client's next request.
                log.error("request failed", method=scope["method"], path=scope["path"], exc_info=bug)
                if not started:
                    await problems.problem(version, request, 500, None)(scope, receive, named)

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
