"""Prices, discounts and unit conversion as values: stored as JSON on rate cards, subscription items and charges.

The stored form is this module's JSON (`model_dump(mode="json")`): snake_case members, decimals as shortest text. Old
rows must keep parsing; `tests/catalog/golden` holds every form ever written. Meaning of each price: rating section 3.
Nothing here depends on a wire format.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from meterhouse.kernel.money import plain

Amount = Annotated[Decimal, PlainSerializer(plain, return_type=str, when_used="json")]


class Value(BaseModel):
    """An immutable value that is compared by content."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PaymentTerm(StrEnum):
    """When a flat price is due within its period."""

    IN_ADVANCE = "in_advance"
    IN_ARREARS = "in_arrears"


class TierMode(StrEnum):
    """Whether the whole quantity takes the price of one tier, or each unit the price of its own."""

    VOLUME = "volume"
    GRADUATED = "graduated"


class FlatPrice(Value):
    """A fixed amount per period, or once. The quantity is always 1."""

    type: Literal["flat"] = "flat"
    amount: Amount
    payment_term: PaymentTerm = PaymentTerm.IN_ADVANCE


class _UsagePrice(Value):
    """A price of metered usage, with the least and the most that a full period may cost (None: no bound)."""

    minimum_amount: Amount | None = None
    maximum_amount: Amount | None = None


class UnitPrice(_UsagePrice):
    """An amount per unit."""

    type: Literal["unit"] = "unit"
    amount: Amount


class Tier(Value):
    """One step of a tiered price. `up_to` is inclusive; None means open-ended."""

    up_to: Amount | None = None
    flat_amount: Amount | None = None
    unit_amount: Amount | None = None


class TieredPrice(_UsagePrice):
    """Prices by tier of quantity, volume or graduated."""

    type: Literal["tiered"] = "tiered"
    mode: TierMode
    tiers: tuple[Tier, ...]

    def sorted_tiers(self) -> tuple[Tier, ...]:
        """Return the tiers ascending by bound, the open-ended one last."""
        return tuple(sorted(self.tiers, key=lambda tier: (tier.up_to is None, tier.up_to or Decimal(0))))


class DynamicPrice(_UsagePrice):
    """The meter counts money; the price is a factor on it."""

    type: Literal["dynamic"] = "dynamic"
    multiplier: Amount = Decimal(1)


class PackagePrice(_UsagePrice):
    """An amount per started package of `quantity_per_package` units."""

    type: Literal["package"] = "package"
    amount: Amount
    quantity_per_package: Amount


UsagePrice = UnitPrice | TieredPrice | DynamicPrice | PackagePrice
Price = Annotated[FlatPrice | UsagePrice, Field(discriminator="type")]


class PercentageDiscount(Value):
    """A share off every detailed line; 50 means 50 %. The correlation id (ULID) survives edits and slices."""

    percentage: Amount
    correlation_id: str | None = None


class UsageDiscount(Value):
    """A pool of free units for the whole service period."""

    quantity: Amount
    correlation_id: str | None = None


class Discounts(Value):
    """The discounts of a rate card."""

    percentage: PercentageDiscount | None = None
    usage: UsageDiscount | None = None


class UnitConversion(Value):
    """Conversion of raw usage before pricing (rating section 4.2, on the wire `unit_config`)."""

    operation: Literal["multiply", "divide"]
    conversion_factor: Amount
    rounding: Literal["none", "ceiling", "floor", "half_up"] = "none"
    precision: int = 0
    display_unit: str | None = None


class TaxConfig(Value):
    """Tax behaviour and code: the id names a row of `tax_codes`, the Stripe code is what that provider knows."""

    behavior: Literal["inclusive", "exclusive"] | None = None
    tax_code_id: str | None = None
    stripe_code: str | None = None


class SettlementMode(StrEnum):
    """How charges are paid: by credits first and an invoice for the rest, or by credits alone."""

    CREDIT_THEN_INVOICE = "credit_then_invoice"
    CREDIT_ONLY = "credit_only"
