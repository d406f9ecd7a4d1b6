"""Installed apps as values, and what the marketplace says of their types (apps section 1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal, cast

from meterhouse.apps.models import AppRow


class AppType(StrEnum):
    """What an app is made for."""

    SANDBOX = "sandbox"
    STRIPE = "stripe"
    CUSTOM_INVOICING = "custom_invoicing"


@dataclass(frozen=True, slots=True)
class App:
    """An installed app. `unauthorized`: its provider refused the key."""

    id: str
    namespace: str
    type: AppType
    name: str
    description: str | None
    metadata: Mapping[str, str]
    status: Literal["ready", "unauthorized"]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None

    @classmethod
    def of(cls, row: AppRow) -> "App":
        """Read an app."""
        return cls(
            id=row.id,
            namespace=row.namespace,
            type=AppType(row.type),
            name=row.name,
            description=row.description,
            metadata=row.metadata_,
            status=cast(Literal["ready", "unauthorized"], row.status),
            created_at=row.created_at,
            updated_at=row.updated_at,
            deleted_at=row.deleted_at,
        )


@dataclass(frozen=True, slots=True)
class Listing:
    """How the marketplace presents a type of app."""

    type: AppType
    name: str
    description: str
    install_methods: tuple[str, ...]


SANDBOX_LISTING = Listing(
    AppType.SANDBOX,
    "Sandbox",
    "Sandbox can be used to test OpenMeter without external connections.",
    ("no_credentials_required",),
)
