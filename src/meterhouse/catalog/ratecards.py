"""Rate cards and entitlement templates as values (catalog section 6). Stored as JSON like prices."""

from typing import Annotated, Literal

from pydantic import Field, PlainSerializer, PlainValidator

from meterhouse.catalog.prices import Amount, Discounts, FlatPrice, Price, TaxConfig, UnitConversion, Value
from meterhouse.kernel.periods import Duration


def _read_duration(value: object) -> Duration:
    if isinstance(value, Duration):
        return value
    if not isinstance(value, str):
        raise ValueError("must be an ISO 8601 duration, such as P1M")
    return Duration.parse(value)


Cadence = Annotated[Duration, PlainValidator(_read_duration), PlainSerializer(str, return_type=str, when_used="json")]


class MeteredEntitlementTemplate(Value):
    """Access limited by usage."""

    type: Literal["metered"] = "metered"
    issue_after_reset: Amount | None = None
    issue_after_reset_priority: int | None = None
    is_soft_limit: bool = False
    preserve_overage_at_reset: bool = False
    usage_period: Cadence | None = None
    metadata: dict[str, str] | None = None


class StaticEntitlementTemplate(Value):
    """Access with a configuration: `config` is JSON text."""

    type: Literal["static"] = "static"
    config: str
    metadata: dict[str, str] | None = None


class BooleanEntitlementTemplate(Value):
    """Access or no access."""

    type: Literal["boolean"] = "boolean"
    metadata: dict[str, str] | None = None


EntitlementTemplate = Annotated[
    MeteredEntitlementTemplate | StaticEntitlementTemplate | BooleanEntitlementTemplate, Field(discriminator="type")
]


class RateCard(Value):
    """What one item costs, how often, and which access it gives.

    Attributes:
        kind: `flat_fee` or `usage_based`.
        feature_key, feature_id: both set, or neither; every usage price has them.
        billing_cadence: None means billed once.
        price: None means free.
        currency: override of the plan's currency, None for the plan's.
    """

    kind: Literal["flat_fee", "usage_based"]
    key: str
    name: str
    description: str | None = None
    metadata: dict[str, str] | None = None
    feature_key: str | None = None
    feature_id: str | None = None
    billing_cadence: Cadence | None = None
    price: Price | None = None
    discounts: Discounts = Discounts()
    unit_conversion: UnitConversion | None = None
    tax_config: TaxConfig | None = None
    entitlement_template: EntitlementTemplate | None = None
    currency: str | None = None

    def is_billable(self) -> bool:
        """Tell whether the card has a price."""
        return self.price is not None

    def is_flat(self) -> bool:
        """Tell whether the price is a fixed amount."""
        return isinstance(self.price, FlatPrice)
