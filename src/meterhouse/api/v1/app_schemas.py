"""v1 schemas of installed apps."""

from collections.abc import Mapping
from typing import Literal

from meterhouse.api.wire import ResourceKey, V1Model, V1Resource
from meterhouse.apps.app import SANDBOX_LISTING, App, AppType

CapabilityType = Literal["reportUsage", "reportEvents", "calculateTax", "invoiceCustomers", "collectPayments"]

_CAPABILITIES: Mapping[CapabilityType, tuple[str, str, str]] = {
    "calculateTax": ("calculate_tax", "Calculate tax", "Works out the tax of invoices."),
    "invoiceCustomers": ("invoice_customer", "Invoice customers", "Sends customers their invoices."),
    "collectPayments": ("collect_payment", "Collect payments", "Collects what invoices come to."),
}


class AppCapability(V1Model):
    """What an app can do."""

    type: CapabilityType
    key: ResourceKey
    name: str
    description: str


class MarketplaceListing(V1Model):
    """How a type of app presents itself."""

    type: Literal["stripe", "sandbox", "custom_invoicing"]
    name: str
    description: str
    capabilities: list[AppCapability]
    install_methods: list[Literal["with_oauth2", "with_api_key", "no_credentials_required"]]


class SandboxApp(V1Resource):
    """An app that bills and pays without anybody outside."""

    type: Literal["sandbox"]
    listing: MarketplaceListing
    status: Literal["ready", "unauthorized"]

    @classmethod
    def of(cls, app: App) -> "SandboxApp | None":
        """Show an app; None for an app of another type."""
        if app.type is not AppType.SANDBOX:
            return None
        capabilities = [
            AppCapability(type=kind, key=f"{app.type}_{key}", name=name, description=text)
            for kind, (key, name, text) in _CAPABILITIES.items()
        ]
        listed = SANDBOX_LISTING
        listing = MarketplaceListing.model_validate(
            {
                "type": listed.type,
                "name": listed.name,
                "description": listed.description,
                "capabilities": capabilities,
                "install_methods": list(listed.install_methods),
            }
        )
        return cls(
            id=app.id,
            name=app.name,
            description=app.description,
            metadata=dict(app.metadata) or None,
            created_at=app.created_at,
            updated_at=app.updated_at,
            deleted_at=app.deleted_at,
            type="sandbox",
            listing=listing,
            status=app.status,
        )
