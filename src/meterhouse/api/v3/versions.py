"""What v3 plans, add-ons and plan add-ons have in common."""

from collections.abc import Iterable
from typing import Any

from pydantic import Field

from meterhouse.api.labels import well_formed
from meterhouse.api.v3.prices import BillingCurrencyCode
from meterhouse.api.wire import Description, Instant, Name, Opt, ResourceKey, Ulid, V3Model
from meterhouse.catalog.versions import Version
from meterhouse.kernel.errors import Issue


class ProductCatalogValidationError(V3Model):
    """Something that has to be put right before it can be published."""

    code: str
    message: str
    attributes: Opt[dict[str, Any]] = None
    field: str = Field(description="A path in the resource; empty where no single place is at fault.")


def errors_of(issues: Iterable[Issue]) -> list[ProductCatalogValidationError] | None:
    """Show issues, None where there are none."""
    shown = [
        ProductCatalogValidationError(
            code=issue.code, message=issue.message, attributes=dict(issue.attributes) or None, field=issue.field or ""
        )
        for issue in issues
    ]
    return shown or None


class VersionMembers(V3Model):
    """What every version shows."""

    id: Ulid
    name: Name
    description: Opt[Description] = None
    labels: dict[str, str]
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    key: ResourceKey
    version: int
    currency: BillingCurrencyCode
    effective_from: Opt[Instant] = Field(None, description="When the version became, or becomes, active.")
    effective_to: Opt[Instant] = Field(None, description="When it was archived.")
    validation_errors: Opt[list[ProductCatalogValidationError]] = None


def members(version: Version, issues: Iterable[Issue]) -> dict[str, Any]:
    """Return the members that every version shows."""
    return {
        "id": version.id,
        "name": version.name,
        "description": version.description,
        "labels": well_formed(version.metadata),
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
