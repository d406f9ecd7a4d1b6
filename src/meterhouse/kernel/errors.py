"""Errors that a caller can do something about.

A domain raises one of the kinds below; `api.problems` turns it into problem+json. Anything else that escapes a request
is a bug and answers 500. Kinds, statuses and detail prefixes are those of api-conventions section 5.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar


class Severity(StrEnum):
    """How much an issue matters: a critical one blocks, a warning informs."""

    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Issue:
    """One structured problem.

    Attributes:
        code: stable machine code in snake_case, empty where none is defined.
        message: a sentence for people.
        field: JSONPath such as `$.phases[?(@.key=='trial')].duration`, or None.
        component: the part of the system that found it, or None.
        attributes: further members, shown flat beside the others on the wire.
    """

    code: str
    message: str
    field: str | None = None
    severity: Severity = Severity.CRITICAL
    component: str | None = None
    attributes: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def under(self, prefix: str) -> "Issue":
        """Return the issue with its field moved under `prefix`, a path without `$`: `phases[0]`."""
        inner = (self.field or "$").removeprefix("$")
        return replace(self, field=f"$.{prefix}{inner}")


class DomainError(Exception):
    """Base of every expected failure.

    Attributes:
        status: HTTP status.
        prefix: text put before the message in the problem's detail.
        issues: structured problems, answered as `extensions.validationErrors`.
        extensions: further members of the problem's `extensions` object.
    """

    status: ClassVar[int] = 400
    prefix: ClassVar[str] = ""

    def __init__(
        self, message: str, *, issues: Sequence[Issue] = (), extensions: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.issues = tuple(issues)
        self.extensions = dict(extensions or {})


class InvalidInput(DomainError):
    """The request contradicts a rule: 400."""

    status = 400
    prefix = "validation error: "


class Unauthorized(DomainError):
    """No or wrong credentials: 401."""

    status = 401
    prefix = "unauthorized error: "


class Forbidden(DomainError):
    """The state of the resource does not allow the operation: 403."""

    status = 403
    prefix = "forbidden error: "


class NotFound(DomainError):
    """The resource does not exist: 404."""

    status = 404
    prefix = "not found error: "


class Conflict(DomainError):
    """The request collides with what exists: 409."""

    status = 409
    prefix = "conflict error: "


class Gone(DomainError):
    """The resource was deleted (v3 only): 410."""

    status = 410
    prefix = ""


class PreconditionFailed(DomainError):
    """The resource is not in a state that allows the step: 412."""

    status = 412
    prefix = "precondition failed error: "


class TooLarge(DomainError):
    """The request is larger than a configured limit: 413."""

    status = 413
    prefix = "request entity too large error: "


class FeatureDisabled(DomainError):
    """The operation is switched off, or not part of this server: 501."""

    status = 501
    prefix = "not implemented error: "


class Unavailable(DomainError):
    """A backing service does not answer; retrying later is right: 503."""

    status = 503
    prefix = "service unavailable error: "


def invalid(message: str, *, code: str = "", field: str | None = None, **attributes: object) -> InvalidInput:
    """Make a 400 with one structured issue; `field` is a JSONPath from the request's root."""
    return InvalidInput(message, issues=[Issue(code, message, field, attributes=attributes)])
