"""What every request must keep, whatever the route (api-conventions sections 4, 6 and 20)."""

from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

_MANY = "too_many_values"
_NUL = "unstorable_text"
_JSON = "application/json"


def _takes_many(annotation: object) -> bool:
    return get_origin(annotation) in (list, Sequence) or any(map(_takes_many, get_args(annotation)))


def _scalars(dependant: Dependant) -> Iterator[str]:
    """Yield the query parameters that take one value."""
    yield from (field.alias for field in dependant.query_params if not _takes_many(field.field_info.annotation))
    for inner in dependant.dependencies:
        yield from _scalars(inner)


def _error(kind: str, location: str, name: str, message: str, value: object) -> dict[str, Any]:
    return {"type": kind, "loc": (location, name), "msg": message, "input": value}


async def sent_as_json(request: Request) -> None:
    """Refuse a body of another media type: JSON is what every route declares that lets its body be read for it.

    Raises:
        RequestValidationError: naming the type that came. Parameters, such as a charset, make no other type.
    """
    route = request.scope.get("route")
    given = request.headers.get("content-type", "")
    if not isinstance(route, APIRoute) or route.body_field is None:
        return
    if given.partition(";")[0].strip().lower() != _JSON and await request.body():
        message = f"the content type must be {_JSON}, not {given or 'absent'}"
        raise RequestValidationError([{"type": "content_type", "loc": ("body",), "msg": message, "input": given}])


async def well_formed(request: Request) -> None:
    """Refuse a parameter that is given twice though it takes one value, and text that cannot be stored.

    Raises:
        RequestValidationError: naming each such parameter.
    """
    query = request.query_params
    twice = {name for name in query if len(query.getlist(name)) > 1}
    route = request.scope.get("route")
    if twice and isinstance(route, APIRoute):
        twice &= set(_scalars(route.dependant))
    found = [_error(_MANY, "query", name, "may appear only once", query.getlist(name)) for name in sorted(twice)]
    texts = [("query", name, value) for name, value in query.multi_items()]
    texts += [("path", name, str(value)) for name, value in request.path_params.items()]
    found += [
        _error(_NUL, location, name.replace("\x00", ""), "must not contain the NUL character", value)
        for location, name, value in texts
        if "\x00" in name + value
    ]
    if found:
        raise RequestValidationError(found)
