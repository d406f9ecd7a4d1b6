"""The OpenAPI documents as they are served and exported."""

from typing import Any

import yaml
from fastapi import FastAPI
from pydantic import TypeAdapter

from meterhouse.kernel.periods import Duration

_DURATION = TypeAdapter(Duration)
_FASTAPI_ERRORS = ("HTTPValidationError", "ValidationError")


def tidy(app: FastAPI) -> None:
    """Make `app.openapi()` say what the server does: schema errors are answered with 400, never 422."""
    build = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = build()
            for path in document.get("paths", {}).values():
                for operation in path.values():
                    operation.get("responses", {}).pop("422", None)
            schemas = document.get("components", {}).get("schemas", {})
            for name in _FASTAPI_ERRORS:
                schemas.pop(name, None)
            for schema in schemas.values():
                for member in schema.get("properties", {}).values():
                    if member.get("format") == "duration" and isinstance(member.get("default"), dict):
                        # Defaults of requests come as the parts that they have in Python.
                        member["default"] = str(_DURATION.validate_python(member["default"]))
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def to_yaml(app: FastAPI) -> str:
    """Write the document of `app` as YAML: members in the order they have, so equal code gives equal text."""
    dumped: str = yaml.safe_dump(app.openapi(), sort_keys=False, allow_unicode=True, width=120)
    return dumped
