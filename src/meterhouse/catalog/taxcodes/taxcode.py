"""Tax codes as values, and the rules of what apps call them (catalog-extras section 1.1)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from meterhouse.catalog.models import TaxCodeRow
from meterhouse.kernel.errors import InvalidInput, Issue

STRIPE = "stripe"

_STRIPE_CODE = re.compile("txcd_[0-9]{8}")


@dataclass(frozen=True, slots=True)
class TaxCode:
    """How a kind of good is taxed. `app_mappings` gives each app type's own code for it."""

    id: str
    namespace: str
    key: str
    name: str
    description: str | None
    metadata: Mapping[str, str]
    app_mappings: Mapping[str, str]
    managed_by_system: bool
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None

    @classmethod
    def of(cls, row: TaxCodeRow) -> "TaxCode":
        """Read a row."""
        return cls(
            id=row.id,
            namespace=row.namespace,
            key=row.key,
            name=row.name,
            description=row.description,
            metadata=row.metadata_,
            app_mappings=row.app_mappings,
            managed_by_system=row.managed_by_system,
            created_at=row.created_at,
            updated_at=row.updated_at,
            deleted_at=row.deleted_at,
        )


# What apps call a tax code, as it is sent: app type and code.
Mappings = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class NewTaxCode:
    """What a tax code is created from."""

    key: str
    name: str
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    app_mappings: Mappings = ()


def checked(mappings: Mappings, *, field: str = "$.app_mappings") -> dict[str, str]:
    """Return the mappings by app type.

    Raises:
        InvalidInput: codes `app_types_must_be_unique`, `tax_code_empty`, `tax_code_stripe_invalid`.
    """
    issues = list(_issues(mappings, field))
    if issues:
        raise InvalidInput("; ".join(issue.message for issue in issues), issues=issues)
    return dict(mappings)


def _issues(mappings: Mappings, field: str) -> Iterator[Issue]:
    seen: set[str] = set()
    for index, (app_type, code) in enumerate(mappings):
        if app_type in seen:
            message = f"there are two codes for apps of type {app_type}"
            yield Issue("app_types_must_be_unique", message, f"{field}[{index}].app_type")
        seen.add(app_type)
        found = code_issue(app_type, code, f"{field}[{index}].tax_code")
        if found is not None:
            yield found


def code_issue(app_type: str, code: str, field: str) -> Issue | None:
    """Return what is wrong with an app's own code for a tax code."""
    if not code:
        return Issue("tax_code_empty", "the code must not be empty", field)
    if app_type == STRIPE and not _STRIPE_CODE.fullmatch(code):
        return Issue("tax_code_stripe_invalid", "a code of Stripe is txcd_ and eight digits", field)
    return None
