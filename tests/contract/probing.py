"""Requests made up from an OpenAPI document, right ones and wrong ones, each answer held against the document."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

SEED = 20250115

NOT_SERVED = 501  # an operation that this server does not have answers so, and documents it


def no_failure(_ctx: Any, response: Any, case: Any) -> None:
    """A 5xx on any input is a bug."""
    if response.status_code >= 500 and response.status_code != NOT_SERVED:
        raise AssertionError(f"{response.status_code} to {case.as_curl_command()}: {response.text}")


CHECKS: list[Callable[..., Any]] = [
    no_failure,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]

Known = Mapping[str, Sequence[str]]
"""By the name of a path parameter or a member of a body, what exists under such a name."""


def operations(document: Mapping[str, Any], without: Collection[str] = ()) -> list[Any]:
    """Return the operations of a document, some tags aside; deletions last, as they take things away."""
    schema = schemathesis.openapi.from_dict(dict(document))
    found = [result.ok() for result in schema.get_all_operations()]
    chosen = [one for one in found if not set(without) & set(one.tags or ())]
    return sorted(chosen, key=lambda one: one.method.upper() == "DELETE")


def name_of(operation: Any) -> str:
    """Return what a test of the operation is called."""
    return f"{operation.method.upper()} {operation.path}"


def probe(operation: Any, url: str, session: requests.Session, *, examples: int, known: Known) -> None:
    """Send right and wrong requests, some of which name what exists.

    Raises:
        schemathesis.errors.FailureGroup: an answer is a 5xx, or not what the document says.
    """
    modes = st.one_of(
        operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
        operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
    )

    @seed(SEED)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=modes, choice=st.integers(0, 5))
    def check(case: Any, choice: int) -> None:
        if choice:
            _name(case, known, choice)
        answer = case.call(base_url=url, session=session)
        case.validate_response(answer, checks=CHECKS)

    check()


def _name(case: Any, known: Known, choice: int) -> None:
    for name, values in known.items():
        if isinstance(case.path_parameters, dict) and name in case.path_parameters:
            case.path_parameters[name] = values[choice % len(values)]
    if choice % 2:
        _name_in_body(case.body, known, choice)


def _name_in_body(body: Any, known: Known, choice: int) -> None:
    if isinstance(body, list):
        for one in body:
            _name_in_body(one, known, choice)
    elif isinstance(body, dict):
        for name, value in body.items():
            if name in known:
                body[name] = known[name][choice % len(known[name])]
            else:
                _name_in_body(value, known, choice)
