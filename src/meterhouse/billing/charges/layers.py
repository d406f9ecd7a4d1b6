"""The two layers of an intent: base columns, the user's override, and the effective intent (charges section 1)."""

from dataclasses import replace
from datetime import datetime
from typing import Literal, cast

from pydantic import TypeAdapter

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.models import ChargeRow
from meterhouse.billing.ports import SubscriptionReference
from meterhouse.catalog.prices import Discounts, Price, SettlementMode, TaxConfig, UnitConversion, Value
from meterhouse.kernel.periods import Period

_PRICE: TypeAdapter[Price] = TypeAdapter(Price)


class Override(Value):
    """A user's full replacement of what may change. Stored as JSON, so its form is under the golden-file rule.

    `deleted_at` marks a charge that the user deleted; its other members keep their last values.
    """

    name: str
    description: str | None
    metadata: dict[str, str]
    price: Price
    discounts: Discounts
    unit_conversion: UnitConversion | None
    prorate: bool
    service_period: Period
    full_service_period: Period
    billing_period: Period
    invoice_at: datetime
    deleted_at: datetime | None = None

    @classmethod
    def of(cls, intent: ChargeIntent, *, deleted_at: datetime | None = None) -> "Override":
        """Copy what may change from an intent."""
        return cls(
            name=intent.name,
            description=intent.description,
            metadata=dict(intent.metadata),
            price=intent.price,
            discounts=intent.discounts,
            unit_conversion=intent.unit_conversion,
            prorate=intent.prorate,
            service_period=intent.service_period,
            full_service_period=intent.full_service_period,
            billing_period=intent.billing_period,
            invoice_at=intent.invoice_at,
            deleted_at=deleted_at,
        )


def override_of(row: ChargeRow) -> Override | None:
    """Return the user's layer, None when there is none."""
    return None if row.override is None else Override.model_validate(row.override)


def base_intent(row: ChargeRow) -> ChargeIntent:
    """Return the system's layer."""
    subscription = None
    if row.subscription_id and row.subscription_phase_id and row.subscription_item_id:
        subscription = SubscriptionReference(row.subscription_id, row.subscription_phase_id, row.subscription_item_id)
    return ChargeIntent(
        namespace=row.namespace,
        customer_id=row.customer_id,
        currency=row.currency,
        managed_by=cast(Literal["subscription", "manual", "system"], row.managed_by),
        settlement_mode=SettlementMode(row.settlement_mode),
        name=row.name,
        price=_PRICE.validate_python(row.price),
        service_period=Period(row.service_start, row.service_end),
        full_service_period=Period(row.full_service_start, row.full_service_end),
        billing_period=Period(row.billing_start, row.billing_end),
        invoice_at=row.invoice_at,
        feature_key=row.feature_key,
        discounts=Discounts.model_validate(row.discounts),
        unit_conversion=UnitConversion.model_validate(row.unit_conversion) if row.unit_conversion else None,
        tax_config=TaxConfig.model_validate(row.tax_config) if row.tax_config else None,
        prorate=row.prorate,
        description=row.description,
        metadata=row.metadata_,
        unique_reference_id=row.unique_reference_id,
        subscription=subscription,
    )


def effective_intent(row: ChargeRow) -> ChargeIntent:
    """Return the user's layer where there is one, else the system's."""
    base, override = base_intent(row), override_of(row)
    if override is None:
        return base
    return replace(
        base,
        name=override.name,
        description=override.description,
        metadata=override.metadata,
        price=override.price,
        discounts=override.discounts,
        unit_conversion=override.unit_conversion,
        prorate=override.prorate,
        service_period=override.service_period,
        full_service_period=override.full_service_period,
        billing_period=override.billing_period,
        invoice_at=override.invoice_at,
    )


def write_base(row: ChargeRow, intent: ChargeIntent) -> None:
    """Store what may change of an intent in the base columns."""
    row.name = intent.name
    row.description = intent.description
    row.metadata_ = dict(intent.metadata)
    row.price = intent.price.model_dump(mode="json")
    row.discounts = intent.discounts.model_dump(mode="json")
    row.unit_conversion = intent.unit_conversion.model_dump(mode="json") if intent.unit_conversion else None
    row.tax_config = intent.tax_config.model_dump(mode="json") if intent.tax_config else None
    row.prorate = intent.prorate
    row.service_start, row.service_end = intent.service_period.start, intent.service_period.end
    row.full_service_start, row.full_service_end = intent.full_service_period.start, intent.full_service_period.end
    row.billing_start, row.billing_end = intent.billing_period.start, intent.billing_period.end
    row.invoice_at = intent.invoice_at


def write_user_layer(row: ChargeRow, intent: ChargeIntent, *, deleted_at: datetime | None = None) -> None:
    """Store what a user wants: in the override, but in the base of a charge that a user made and nobody overrode."""
    if row.managed_by == "manual" and row.override is None:
        write_base(row, intent)
        row.base_deleted_at = deleted_at
    else:
        row.override = Override.of(intent, deleted_at=deleted_at).model_dump(mode="json")
