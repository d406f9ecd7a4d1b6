"""v3 prices, unit conversion, commitments, discounts and tax configs, shared by all tags (catalog section 8.2).

v3 knows fewer prices than are stored: a dynamic or a package price is shown as a unit price with the conversion that
comes to the same money.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from meterhouse.api.wire import CurrencyCode, JSONNumber, Numeric, Opt, Ulid, V3Model
from meterhouse.catalog import prices
from meterhouse.catalog.prices import Discounts, PaymentTerm, Price, TaxConfig, TierMode, UnitConversion

_FULL = 100
_MAX_PRECISION = 30  # more decimals than any meter counts with; bounds what rating calculates with

# The code of a fiat or of a custom currency.
BillingCurrencyCode = CurrencyCode | Annotated[str, StringConstraints(min_length=4, max_length=24)]


class BillingPriceFree(V3Model):
    """Nothing to pay."""

    type: Literal["free"]


class BillingPriceFlat(V3Model):
    """A fixed amount."""

    type: Literal["flat"]
    amount: Numeric


class BillingPriceUnit(V3Model):
    """An amount per unit; units are the converted ones where there is a unit conversion."""

    type: Literal["unit"]
    amount: Numeric


class BillingPriceTier(V3Model):
    """One step of a tiered price: a flat price, a unit price, or both."""

    up_to_amount: Opt[Numeric] = Field(None, description="Last quantity of the tier; the last tier has none.")
    flat_price: Opt[BillingPriceFlat] = None
    unit_price: Opt[BillingPriceUnit] = None

    @classmethod
    def of(cls, tier: prices.Tier) -> "BillingPriceTier":
        """Show a tier."""
        flat, unit = tier.flat_amount, tier.unit_amount
        return cls(
            up_to_amount=tier.up_to,
            flat_price=None if flat is None else BillingPriceFlat(type="flat", amount=flat),
            unit_price=None if unit is None else BillingPriceUnit(type="unit", amount=unit),
        )

    def to_value(self) -> prices.Tier:
        """Read the tier."""
        return prices.Tier(
            up_to=self.up_to_amount,
            flat_amount=self.flat_price.amount if self.flat_price else None,
            unit_amount=self.unit_price.amount if self.unit_price else None,
        )


_Tiers = Annotated[list[BillingPriceTier], Field(min_length=1)]


class BillingPriceGraduated(V3Model):
    """Each unit costs what its own tier says."""

    type: Literal["graduated"]
    tiers: _Tiers


class BillingPriceVolume(V3Model):
    """All units cost what the tier of the whole quantity says."""

    type: Literal["volume"]
    tiers: _Tiers


BillingPrice = Annotated[
    BillingPriceFree | BillingPriceFlat | BillingPriceUnit | BillingPriceGraduated | BillingPriceVolume,
    Field(discriminator="type"),
]


class BillingUnitConfig(V3Model):
    """How metered quantities become the units that are priced."""

    operation: Literal["divide", "multiply"]
    conversion_factor: Numeric
    rounding: Opt[Literal["none", "ceiling", "floor", "half_up"]] = Field(None, description="`none` when left out.")
    precision: Opt[Annotated[int, Field(ge=0, le=_MAX_PRECISION)]] = Field(
        None, description="Decimals that rounding keeps; 0 when left out."
    )
    display_unit: Opt[str] = Field(None, description="Name of the converted unit.")

    @classmethod
    def of(cls, conversion: UnitConversion) -> "BillingUnitConfig":
        """Show a conversion; without rounding there is no precision to show."""
        rounded = conversion.rounding != "none"
        return cls(
            operation=conversion.operation,
            conversion_factor=conversion.conversion_factor,
            rounding=conversion.rounding if rounded else None,
            precision=conversion.precision if rounded else None,
            display_unit=conversion.display_unit,
        )

    def to_value(self) -> UnitConversion:
        """Read the conversion."""
        rounding = self.rounding or "none"
        return UnitConversion(
            operation=self.operation,
            conversion_factor=self.conversion_factor,
            rounding=rounding,
            precision=0 if rounding == "none" else self.precision or 0,
            display_unit=self.display_unit,
        )


class BillingSpendCommitments(V3Model):
    """The least and the most that a full period costs."""

    minimum_amount: Opt[Numeric] = None
    maximum_amount: Opt[Numeric] = None


@dataclass(frozen=True, slots=True)
class ShownPrice:
    """A stored price in the terms of v3."""

    price: BillingPrice
    unit_config: BillingUnitConfig | None
    commitments: BillingSpendCommitments | None
    payment_term: PaymentTerm | None


def shown(price: Price | None, conversion: UnitConversion | None = None) -> ShownPrice:
    """Show a price, or its absence, with all that v3 keeps beside it."""
    # A conversion without a price by usage has no effect, but a draft may have it, with a warning.
    kept = BillingUnitConfig.of(conversion) if conversion else None
    if price is None:
        return ShownPrice(BillingPriceFree(type="free"), kept, None, None)
    if isinstance(price, prices.FlatPrice):
        return ShownPrice(BillingPriceFlat(type="flat", amount=price.amount), kept, None, price.payment_term)
    return ShownPrice(_usage_price(price), _unit_config(price, conversion), _commitments(price), None)


def _usage_price(price: prices.UsagePrice) -> BillingPrice:
    match price:
        case prices.UnitPrice() | prices.PackagePrice():
            return BillingPriceUnit(type="unit", amount=price.amount)
        case prices.DynamicPrice():
            return BillingPriceUnit(type="unit", amount=Decimal(1))
        case prices.TieredPrice():
            tiers = [BillingPriceTier.of(tier) for tier in price.tiers]
            if price.mode is TierMode.VOLUME:
                return BillingPriceVolume(type="volume", tiers=tiers)
            return BillingPriceGraduated(type="graduated", tiers=tiers)


def _unit_config(price: prices.UsagePrice, conversion: UnitConversion | None) -> BillingUnitConfig | None:
    match price:
        case prices.DynamicPrice():
            return BillingUnitConfig(operation="multiply", conversion_factor=price.multiplier)
        case prices.PackagePrice():
            return BillingUnitConfig(
                operation="divide", conversion_factor=price.quantity_per_package, rounding="ceiling"
            )
        case _:
            return None if conversion is None else BillingUnitConfig.of(conversion)


def _commitments(price: prices.UsagePrice) -> BillingSpendCommitments | None:
    if price.minimum_amount is None and price.maximum_amount is None:
        return None
    return BillingSpendCommitments(minimum_amount=price.minimum_amount, maximum_amount=price.maximum_amount)


def price_of(
    price: BillingPrice,
    *,
    payment_term: PaymentTerm = PaymentTerm.IN_ARREARS,
    commitments: BillingSpendCommitments | None = None,
) -> Price | None:
    """Read a price, None for a free one. `payment_term` belongs to flat prices, `commitments` to all others."""
    minimum = commitments.minimum_amount if commitments else None
    maximum = commitments.maximum_amount if commitments else None
    match price:
        case BillingPriceFree():
            return None
        case BillingPriceFlat():
            return prices.FlatPrice(amount=price.amount, payment_term=payment_term)
        case BillingPriceUnit():
            return prices.UnitPrice(amount=price.amount, minimum_amount=minimum, maximum_amount=maximum)
        case BillingPriceGraduated() | BillingPriceVolume():
            return prices.TieredPrice(
                mode=TierMode(price.type),
                tiers=tuple(tier.to_value() for tier in price.tiers),
                minimum_amount=minimum,
                maximum_amount=maximum,
            )


_Percentage = Annotated[JSONNumber, Field(ge=0, le=_FULL, description="From 0 to 100; 50 is half off.")]


class BillingChargeFlatFeeDiscounts(V3Model):
    """The discount of a flat fee."""

    percentage: Opt[_Percentage] = None


class BillingRateCardDiscounts(BillingChargeFlatFeeDiscounts):
    """The discounts of a price."""

    usage: Opt[Numeric] = Field(None, description="Units that are free in every period.")

    @classmethod
    def of(cls, discounts: Discounts) -> "BillingRateCardDiscounts | None":
        """Show discounts, or None when there are none."""
        if discounts == Discounts():
            return None
        return cls(
            percentage=discounts.percentage.percentage if discounts.percentage else None,
            usage=discounts.usage.quantity if discounts.usage else None,
        )


def discounts_of(given: BillingChargeFlatFeeDiscounts | None) -> Discounts:
    """Read discounts. Correlation ids are given later, by billing."""
    if given is None:
        return Discounts()
    usage = given.usage if isinstance(given, BillingRateCardDiscounts) else None
    return Discounts(
        percentage=None if given.percentage is None else prices.PercentageDiscount(percentage=given.percentage),
        usage=None if usage is None else prices.UsageDiscount(quantity=usage),
    )


class BillingTaxConfigStripe(V3Model):
    """A tax code in Stripe's terms."""

    code: Annotated[str, StringConstraints(pattern=r"^txcd_\d{8}$")]


class BillingTaxConfigExternalInvoicing(V3Model):
    """A tax code in the terms of an external invoicing system. Accepted, not kept."""

    code: Annotated[str, StringConstraints(max_length=64)]


class TaxCodeReference(V3Model):
    """Names a tax code."""

    id: Ulid


class BillingTaxConfig(V3Model):
    """How something is taxed. `tax_code` wins over `tax_code_id`, and both over the code of a provider."""

    behavior: Opt[Literal["inclusive", "exclusive"]] = None
    stripe: Opt[BillingTaxConfigStripe] = Field(None, deprecated=True)
    external_invoicing: Opt[BillingTaxConfigExternalInvoicing] = Field(None, deprecated=True)
    tax_code_id: Opt[Ulid] = Field(None, deprecated=True)
    tax_code: Opt[TaxCodeReference] = None

    @classmethod
    def of(cls, config: TaxConfig | None) -> "BillingTaxConfig | None":
        """Show a tax config, or None when it says nothing."""
        if config is None or config == TaxConfig():
            return None
        code_id, stripe = config.tax_code_id, config.stripe_code
        return cls.model_construct(
            behavior=config.behavior,
            stripe=BillingTaxConfigStripe(code=stripe) if stripe else None,
            external_invoicing=None,
            tax_code_id=code_id,
            tax_code=TaxCodeReference(id=code_id) if code_id else None,
        )

    def to_value(self) -> TaxConfig:
        """Read the tax config."""
        given = self.model_dump()  # reading a deprecated member by its name would warn
        code, stripe = given.get("tax_code"), given.get("stripe")
        return TaxConfig(
            behavior=self.behavior,
            tax_code_id=code["id"] if code else given.get("tax_code_id"),
            stripe_code=stripe["code"] if stripe else None,
        )
