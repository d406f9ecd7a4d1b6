"""Errors as `application/problem+json`, in the v1 shape and the v3 shape (api-conventions sections 3 to 5 and 23).

v3 answers carry both the AIP members and `extensions`, so that a reader of either shape finds what it looks for.
"""

from collections.abc import Mapping, Sequence
from http import HTTPMethod, HTTPStatus
from typing import Any, Literal

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from meterhouse.kernel.errors import DomainError, InvalidInput, Issue, Unavailable
from meterhouse.kernel.ids import new_id

Version = Literal["v1", "v3"]

log = structlog.get_logger(__name__)

MAX_REQUEST_ID = 128  # a longer one is not an id; it would only fill the logs

_AIP = {
    400: ("bad-request", "Bad Request", "Bad Request"),
    401: ("unauthenticated", "Unauthenticated", "A valid token is required"),
    403: ("unauthorized", "Forbidden", "Permission denied"),
    404: ("not-found", "Not Found", "The requested entity was not found"),
    405: ("method-not-allowed", "Method Not Allowed", "The requested method is not allowed"),
    409: ("resource-conflict", "Conflict", "Conflict"),
    410: ("gone", "Gone", "The requested resource is no longer available"),
    412: ("precondition-failed", "Precondition Failed", "Precondition failed"),
    413: ("request-too-large", "Request Entity Too Large", "The request is too large"),
    429: ("rate-limited", "Rate Limited", "Too many requests"),
    500: ("internal", "Internal", "An internal failure occurred"),
    501: ("not-implemented", "Not Implemented", "The requested functionality is not implemented"),
    503: ("unavailable", "Unavailable", "The requested service is unavailable"),
}
_AIP_PREFIX = "https://kongapi.info/konnect/"

# Pydantic's error types in the words of the contract's rules.
_RULES = {
    "missing": "required",
    "extra_forbidden": "properties",
    "string_pattern_mismatch": "pattern",
    "string_too_short": "min_length",
    "string_too_long": "max_length",
    "too_short": "min_items",
    "too_long": "max_items",
    "enum": "enum",
    "literal_error": "enum",
    "greater_than_equal": "minimum",
    "greater_than": "minimum",
    "less_than_equal": "maximum",
    "less_than": "maximum",
}


# What Postgres says to text that it cannot store: the NUL character, in a text column and in JSON, and half a surrogate
# pair in JSON (the only thing that is sent to it as text to be parsed). Any text of any request can hold these, so they
# are answered here once.
_UNSTORABLE_TEXT = frozenset({"22021", "22P05", "22P02"})
# Deadlock, serialization failure, lock not available: Postgres undid this transaction to let another one end.
_TRY_AGAIN = frozenset({"40P01", "40001", "55P03"})


# What HTTP asks a status to say: when to come back, and how to authenticate.
_HEADERS: Mapping[int, Mapping[str, str]] = {503: {"Retry-After": "1"}, 401: {"WWW-Authenticate": "Bearer"}}


class ProblemV1(BaseModel):
    """An error answer of v1."""

    type: str = Field(description="Always `about:blank`.")
    title: str = Field(description="The reason phrase of the status.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What went wrong and what to do about it.")
    instance: str = Field(description="Names this request, for the logs.")
    extensions: dict[str, Any] = Field(
        default_factory=dict, description="Structured facts, such as `validationErrors`; absent when there are none."
    )


class InvalidParameterError(InvalidInput):
    """A query parameter that a hand-written parser refuses: answered as what the schema check refuses."""

    def __init__(self, field: str, reason: str, *, rule: str | None = None) -> None:
        self.parameter = {"field": field, "reason": reason, "source": "query"} | ({"rule": rule} if rule else {})
        super().__init__(f"{field}: {reason}", issues=[Issue(rule or "", reason, f"$.{field}")])


class InvalidParameter(BaseModel):
    """One wrong member of a v3 request."""

    field: str
    rule: str | None = None
    reason: str
    source: str | None = None
    choices: list[Any] | None = None
    minimum: int | None = None
    maximum: int | None = None
    dependents: list[Any] | None = None


class ProblemV3(BaseModel):
    """An error answer of v3."""

    type: str = Field(description="A URI that names the kind of error.")
    status: int = Field(description="The HTTP status.")
    title: str = Field(description="The kind of error in words.")
    instance: str = Field(description="Names this request, for the logs.")
    detail: str = Field(description="What went wrong and what to do about it.")
    invalid_parameters: list[InvalidParameter] | None = None
    extensions: dict[str, Any] | None = None


def errors(version: Version, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route for OpenAPI: the statuses it can fail with and their problem schema."""
    model = ProblemV1 if version == "v1" else ProblemV3
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {
        status: {
            "model": model,
            "description": HTTPStatus(status).phrase,
            "content": {"application/problem+json": {"schema": schema}},
        }
        for status in statuses
    }


def request_id(scope: Scope) -> str:
    """Return the id of a request: the caller's X-Request-Id when it sent one, else one drawn at the first call."""
    state = scope.setdefault("state", {})
    if "request_id" not in state:
        state["request_id"] = Headers(scope=scope).get("x-request-id", "")[:MAX_REQUEST_ID] or new_id()
    return str(state["request_id"])


def instance_of(request: Request) -> str:
    """Return `urn:request:<id>`."""
    return f"urn:request:{request_id(request.scope)}"


def _problem(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(dict(body), status, dict(headers or {}), media_type="application/problem+json")


def issue_members(issue: Issue) -> dict[str, object]:
    """Return an issue as an item of `validationErrors`; attributes stand flat and never hide a fixed member."""
    optional = {"code": issue.code, "field": issue.field, "component": issue.component}
    given = {name: value for name, value in optional.items() if value}
    return {**issue.attributes, "message": issue.message, "severity": str(issue.severity), **given}


def problem(
    version: Version,
    request: Request,
    status: int,
    detail: str | None,
    *,
    extensions: Mapping[str, object] | None = None,
    invalid_parameters: Sequence[Mapping[str, object]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Build the answer for an error in the shape of the API version."""
    body: dict[str, Any]
    if version == "v1":
        body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    else:
        suffix, title, default = _AIP.get(status, ("error", HTTPStatus(status).phrase, HTTPStatus(status).phrase))
        body = {"type": _AIP_PREFIX + suffix, "title": title, "status": status}
        detail = detail or default
        if invalid_parameters:
            body["invalid_parameters"] = list(invalid_parameters)
    if detail:
        body["detail"] = detail
    body["instance"] = instance_of(request)
    if extensions:
        body["extensions"] = dict(extensions)
    return _problem(status, body, headers)


def _domain_extensions(error: DomainError) -> dict[str, object]:
    extensions = dict(error.extensions)
    if error.issues:
        extensions["validationErrors"] = [issue_members(issue) for issue in error.issues]
    return extensions


def domain_problem(version: Version, request: Request, error: DomainError) -> Response:
    """Answer an expected failure."""
    if isinstance(error, InvalidParameterError):
        return _invalid(version, request, [error.parameter], error.issues)
    # The status of a coded failure wins over its text: without one message the issues speak for it.
    message = error.message or "\n".join(issue.message for issue in error.issues)
    headers = _HEADERS.get(error.status)
    return problem(
        version,
        request,
        error.status,
        error.prefix + message if message else None,
        extensions=_domain_extensions(error),
        headers=headers,
    )


def _readable(part: str | int) -> str | int:
    """Return a step of a location that can be written: the name of a member may hold half a surrogate pair."""
    return part if isinstance(part, int) else part.encode("utf-8", "replace").decode()


def _source_and_path(location: Sequence[str | int]) -> tuple[str, str]:
    source = str(location[0]) if location else "body"
    return source, ".".join(str(part) for part in location[1:])


def _json_path(location: Sequence[str | int]) -> str:
    steps = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location[1:])
    return "$" + "".join(steps)


def _without_tags(error: Mapping[str, Any], body: object) -> tuple[str | int, ...]:
    """Return an error's location without what is no part of the body: the names of the union members that were tried.

    Only a member that is missing is not there and is still meant.
    """
    location = error["loc"]
    if not location or location[0] != "body":
        return tuple(location)
    shown: list[str | int] = [location[0]]
    here = body
    for depth, part in enumerate(location[1:], start=2):
        is_there = part in here if isinstance(here, dict) else isinstance(here, list) and part in range(len(here))
        if is_there or (error["type"] == "missing" and depth == len(location)):
            shown.append(part)
            here = here[part] if is_there else None  # type: ignore[index]
    return tuple(shown)


def _schema_problem(version: Version, request: Request, error: RequestValidationError) -> Response:
    errors = [
        {**one, "loc": tuple(_readable(part) for part in _without_tags(one, error.body))} for one in error.errors()
    ]
    in_path = [one for one in errors if one["loc"] and one["loc"][0] == "path"]
    if version == "v3" and in_path:
        return problem(version, request, 404, None)
    parameters, issues = [], []
    for one in errors:
        source, path = _source_and_path(one["loc"])
        rule = _RULES.get(one["type"], one["type"])
        reason = str(one["msg"]).removeprefix("Value error, ")
        if rule == "properties":
            reason = f'property "{one["loc"][-1]}" is unsupported'
        elif rule == "required" and not path:
            reason = "a body is required"
        elif one["type"] == "model_attributes_type":
            reason = "must be a JSON object"
        parameters.append({"field": path, "reason": reason, "rule": rule, "source": source})
        issues.append(Issue(rule, reason, _json_path(one["loc"])))
    return _invalid(version, request, parameters, issues)


def _invalid(
    version: Version, request: Request, parameters: Sequence[Mapping[str, object]], issues: Sequence[Issue]
) -> Response:
    """Answer a request that is no request of its route: v3 names every wrong member in the detail, v1 the first."""
    first = parameters[0] if parameters else {"field": "", "reason": "invalid request", "source": "body"}
    place = f'at "{first["field"]}": ' if first["field"] else ""
    detail = (
        "Bad Request: " + ", ".join(map(_described, parameters))
        if version == "v3"
        else f"request {first['source']} has an error: {place}{first['reason']}"
    )
    extensions = {"validationErrors": [issue_members(issue) for issue in issues]}
    return problem(version, request, 400, detail, extensions=extensions, invalid_parameters=parameters)


def _described(parameter: Mapping[str, object]) -> str:
    rule = f"[{parameter['rule']}]" if "rule" in parameter else ""
    place = " ".join(filter(None, (str(parameter["field"]), rule)))
    return f"{place}: {parameter['reason']}"


def _allowed(app: FastAPI, scope: Scope) -> str:
    """Return the methods that are served at a path. The router itself names those of the first route there alone."""
    found = (method for method in HTTPMethod if _serves(app, {**scope, "method": method}))
    return ", ".join(found)


def _serves(app: FastAPI, scope: Scope) -> bool:
    return any(route.matches(scope)[0] is Match.FULL for route in app.routes)


def install(app: FastAPI, version: Version) -> None:
    """Register the handlers that turn every failure of `app` into a problem."""

    @app.exception_handler(DomainError)
    async def on_domain_error(request: Request, error: DomainError) -> Response:
        return domain_problem(version, request, error)

    @app.exception_handler(RequestValidationError)
    async def on_schema_error(request: Request, error: RequestValidationError) -> Response:
        return _schema_problem(version, request, error)

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        detail, headers = None, error.headers
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers = {"Allow": _allowed(app, request.scope)}
        if version == "v3" and error.status_code == HTTPStatus.NOT_FOUND:
            detail = "The requested route was not found"
        elif error.status_code == HTTPStatus.BAD_REQUEST:
            detail = str(error.detail)
        return problem(version, request, error.status_code, detail, headers=headers)

    @app.exception_handler(DBAPIError)
    async def on_database_error(request: Request, error: DBAPIError) -> Response:
        state = getattr(error.orig, "sqlstate", None)
        if state in _UNSTORABLE_TEXT:
            return problem(version, request, 400, "text must not contain the NUL character or half a surrogate pair")
        if state in _TRY_AGAIN:
            # Nothing was written, so asking again is right; the log tells that two transactions met badly.
            log.warning("transactions met", path=request.scope["path"], method=request.method, sqlstate=state)
            return domain_problem(version, request, Unavailable("another request is changing the same, try again"))
        raise error

    @app.exception_handler(Exception)
    async def on_bug(request: Request, error: Exception) -> Response:
        # It goes on to `api.middleware.Edge`, which logs it.
        return problem(version, request, 500, None)
