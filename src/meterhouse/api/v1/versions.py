"""What v1 plans and add-ons have in common."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request
from pydantic import Field, TypeAdapter, ValidationError

from meterhouse.api.problems import InvalidParameterError
from meterhouse.api.wire import KEY_PATTERN, Counted, CurrencyCode, Instant, Opt, ResourceKey, V1Model, V1Resource
from meterhouse.catalog.versions import Version
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.errors import InvalidInput, Issue
from meterhouse.kernel.money import is_fiat

ULID = r"[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}"
AnyUlid = Annotated[str, Field(pattern=f"^{ULID}$")]
_ID_OR_KEY: dict[str, Any] = {"pattern": f"{KEY_PATTERN}|^{ULID}$", "min_length": 1, "max_length": 64}


def id_path(name: str, what: str) -> Any:
    """Declare a path parameter that is an id."""
    return Path(alias=name, pattern=f"^{ULID}$", description=f"The id of {what}.")


def id_or_key_path(name: str, what: str) -> Any:
    """Declare a path parameter that is an id or a key."""
    return Path(alias=name, description=f"The id of {what}, or a key.", **_ID_OR_KEY)


OrderBy = Annotated[Literal["id", "key", "version", "created_at", "updated_at"], Query(alias="orderBy")]
Order = Literal["ASC", "DESC"] | None


def sorts_of(order_by: str, order: Order) -> list[Sort]:
    """Return the order of a list: by id the newest first, unless asked otherwise."""
    return [Sort(order_by, order == "DESC" or (order is None and order_by == "id"))]


KEY_VERSION_PARAMETER = {
    "name": "keyVersion",
    "in": "query",
    "required": False,
    "style": "deepObject",
    "description": "Versions of keys, as `keyVersion[key]=version`.",
    "schema": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}},
}


_KEY_VERSION = re.compile(r"keyVersion\[([^\[\]]*)\](?:\[\d*\])?")
_KEY_VERSIONS: TypeAdapter[dict[ResourceKey, list[Counted]]] = TypeAdapter(dict[ResourceKey, list[Counted]])


def key_versions(request: Request) -> dict[str, list[int]]:
    """Read `keyVersion[key]=version`; a key may come several times.

    The official Python client writes the whole as one object instead, `keyVersion={'key': [version]}`.

    Raises:
        InvalidParameterError: a version is no number that a version can have, or a key none that can be.
    """
    versions: dict[str, list[int]] = {}
    for name, value in request.query_params.multi_items():
        found = _KEY_VERSION.fullmatch(name)
        if found is None and name != "keyVersion":
            continue
        try:
            # No key has a quotation mark, so those of Python can stand for those of JSON.
            given = (
                _KEY_VERSIONS.validate_python({found[1]: [value]})
                if found
                else _KEY_VERSIONS.validate_json(value.replace("'", '"'))
            )
        except ValidationError:
            raise InvalidParameterError(name, "must be a version number of a key", rule="type") from None
        for key, numbers in given.items():
            versions.setdefault(key, []).extend(numbers)
    return versions


class CatalogValidationError(V1Model):
    """Something that has to be put right before it can be published."""

    field: str = Field(description="A path in the resource; empty where no single place is at fault.")
    code: str
    message: str
    attributes: Opt[dict[str, Any]] = None


def errors_of(issues: Iterable[Issue]) -> list[CatalogValidationError] | None:
    """Show issues, None where there are none."""
    shown = [
        CatalogValidationError(
            field=issue.field or "", code=issue.code, message=issue.message, attributes=dict(issue.attributes) or None
        )
        for issue in issues
    ]
    return shown or None


class VersionMembers(V1Resource):
    """What every version shows."""

    key: ResourceKey
    version: int
    currency: CurrencyCode
    effective_from: Opt[Instant] = Field(None, description="When the version became, or becomes, active.")
    effective_to: Opt[Instant] = Field(None, description="When it was archived.")
    validation_errors: Opt[list[CatalogValidationError]] = None


def members(version: Version, issues: Iterable[Issue]) -> dict[str, Any]:
    """Return the members that every version shows."""
    return {
        "id": version.id,
        "name": version.name,
        "description": version.description,
        "metadata": dict(version.metadata) or None,
        "created_at": version.created_at,
        "updated_at": version.updated_at,
        "deleted_at": version.deleted_at,
        "key": version.key,
        "version": version.version,
        "currency": version.currency,
        "effective_from": version.effective_from,
        "effective_to": version.effective_to,
        "validation_errors": errors_of(issues),
    }


def refuse_beyond_v1(version: Version) -> None:
    """Refuse a plan or add-on that v1 cannot express (catalog section 8.4).

    Raises:
        InvalidInput: it converts units, or has a currency that v1 does not know.
    """
    cards = [card for _, card in version.placed_cards()]
    checks = (
        ("unit_config_not_representable", any(card.unit_conversion is not None for card in cards)),
        ("currency_not_representable", not is_fiat(version.currency)),
        ("rate_card_currency_not_representable", any(card.currency is not None for card in cards)),
    )
    for code, found in checks:
        if found:
            message = f"{version.key} version {version.version} uses what only API v3 can show"
            raise InvalidInput(message, issues=[Issue(code, message)])
