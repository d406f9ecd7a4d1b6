"""Coded billing errors and their extension object (billing section 1)."""

from collections.abc import Mapping

from meterhouse.kernel.errors import DomainError, InvalidInput, NotFound


def _extensions(
    code: str, message: str, component: str | None, path: str | None, extra: Mapping[str, object] | None
) -> dict[str, object]:
    optional = {"component": component, "path": path}
    shown = {name: value for name, value in optional.items() if value is not None}
    return {"severity": "critical", "code": code, "message": message, **shown, **(extra or {})}


class BillingError(InvalidInput):
    """A refused billing operation: 400 with the code flat in `extensions`."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        component: str | None = None,
        path: str | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, extensions=_extensions(code, message, component, path, extra))
        self.code = code


class BillingNotFound(NotFound):
    """An unknown profile, override, invoice or line: 404 with the code flat in `extensions`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, extensions=_extensions(code, message, None, None, None))
        self.code = code


def code_of(error: DomainError) -> str | None:
    """Return the stable code of a billing error, None for other errors."""
    return error.code if isinstance(error, BillingError | BillingNotFound) else None
