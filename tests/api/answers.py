"""Holds answers against the OpenAPI documents that the server exports."""

import re
from functools import cache
from typing import Any

import httpx
import jsonschema_rs

from meterhouse.api.app import create_v1, create_v3

Operation = dict[str, Any]


class Documents:
    """Both documents, by the operation that a request meets."""

    def __init__(self) -> None:
        """Build the documents."""
        self._operations: list[tuple[str, re.Pattern[str], Operation, dict[str, Any]]] = []
        for document in (create_v1().openapi(), create_v3().openapi()):
            # Paths without parameters first: `/invoices/invoice` is no invoice's id.
            for path, item in sorted(document["paths"].items(), key=lambda one: one[0].count("{")):
                pattern = re.compile(re.sub(r"\\{.*?\\}", "[^/]+", re.escape(path)))
                for method, operation in item.items():
                    self._operations.append((method.upper(), pattern, operation, document["components"]))

    def faults(self, answer: httpx.Response) -> list[str]:
        """Return what of an answer its operation does not document."""
        request = answer.request
        for method, pattern, operation, components in self._operations:
            if method == request.method and pattern.fullmatch(request.url.path):
                return self._faults(answer, operation, components)
        return ["the operation is not documented"]

    def _faults(self, answer: httpx.Response, operation: Operation, components: dict[str, Any]) -> list[str]:
        documented = operation["responses"].get(str(answer.status_code))
        if documented is None:
            return [f"status {answer.status_code} is not documented: {answer.text}"]
        kinds = documented.get("content", {})
        if not kinds:
            return ["a body is not documented"] if answer.content else []
        kind = answer.headers["content-type"].partition(";")[0]
        if kind not in kinds:
            return [f"{kind} is not documented"]
        schema = {"allOf": [kinds[kind]["schema"]], "components": components}
        validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
        return [f"{list(one.instance_path)}: {one.message}" for one in validator.iter_errors(answer.json())]


@cache
def documents() -> Documents:
    """Return the documents, built once."""
    return Documents()


def held(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Let every answer to a client be held against the documents."""

    async def check(answer: httpx.Response) -> None:
        await answer.aread()
        assert documents().faults(answer) == []

    client.event_hooks = {"response": [check]}
    return client
