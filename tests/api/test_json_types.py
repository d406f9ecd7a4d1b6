"""A truth value, a number and a text are not each other in JSON, wherever a request has them (api-conventions 6)."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ValidationError

from meterhouse.api.app import create_v1, create_v3

WRONG: dict[type, tuple[object, ...]] = {bool: ("yes", "true", 1), int: ("3", True, 3.0)}

# What is no text, and has members that the values behind texts may have.
NO_TEXT = (5, 1.5, True, {}, {"months": 1}, {"value": "USD"}, ["P1M"])


def parts(annotation: Any) -> Iterator[Any]:
    """Yield an annotation and all that it is made of."""
    yield annotation
    for one in get_args(annotation):
        yield from parts(one)


def models(annotation: Any, found: set[type[BaseModel]]) -> set[type[BaseModel]]:
    """Return the models that a body is made of."""
    for part in parts(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel) and part not in found:
            found.add(part)
            for field in part.model_fields.values():
                models(field.annotation, found)
    return found


def bodies(app: FastAPI) -> set[type[BaseModel]]:
    """Return the models of all request bodies."""
    found: set[type[BaseModel]] = set()
    routes = list(app.routes)
    while routes:
        route = routes.pop()
        routes += getattr(getattr(route, "original_router", None), "routes", [])
        body = getattr(route, "body_field", None)
        if body is not None:
            models(body.field_info.annotation, found)
    return found


@pytest.mark.parametrize("create", [create_v1, create_v3])
def test_requests_are_taken_literally(create: Any) -> None:
    seen = 0
    for model in bodies(create()):
        for name, field in model.model_fields.items():
            for kind in {bool, int} & set(parts(field.annotation)):
                for wrong in WRONG[kind]:
                    with pytest.raises(ValidationError) as refused:
                        model.model_validate({field.alias or name: wrong})
                    places = [one["loc"][0] for one in refused.value.errors()]
                    assert (field.alias or name) in places, (model, name, wrong)
                    seen += 1
    assert seen > 40


def kinds(schema: dict[str, Any], named: dict[str, Any]) -> set[str]:
    """Return the types of JSON that a part of a document takes."""
    if "$ref" in schema:
        return kinds(named[schema["$ref"].rsplit("/", 1)[-1]], named)
    either = schema.get("anyOf") or schema.get("oneOf") or []
    return {kind for one in either for kind in kinds(one, named)} or {schema.get("type", "any")}


@pytest.mark.parametrize("create", [create_v1, create_v3])
def test_a_member_that_is_documented_as_text_takes_nothing_else(create: Any) -> None:
    seen = 0
    for model in bodies(create()):
        document = model.model_json_schema()
        for name, schema in document.get("properties", {}).items():
            if kinds(schema, document.get("$defs", {})) - {"null"} != {"string"}:
                continue
            for wrong in NO_TEXT:
                with pytest.raises(ValidationError) as refused:
                    model.model_validate({name: wrong})
                places = [one["loc"][0] for one in refused.value.errors()]
                assert name in places, (model, name, wrong)
                seen += 1
    assert seen > 400
