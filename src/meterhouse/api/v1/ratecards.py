"""The v1 schemas of rate cards and their parts, shared by plans, subscriptions and billing, and their catalog values.

Each schema has `of(value)`, which shows a catalog value, and `to_value()`, which reads one. Where members of a schema
and its value have the same names and meaning the two are mapped by name; only the differences are written out. What v1
cannot express (unit conversion, a currency of its own) is not shown (catalog section 8.2).
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, WithJsonSchema

from meterhouse.api.wire import Description, ISODuration, JSONNumber, Name, Numeric, Opt, ResourceKey, Ulid, V1Model
from meterhouse.catalog import prices, ratecards
from meterhouse.catalog.cardrules import effective_cadence
from meterhouse.catalog.prices import PaymentTerm, TierMode


class FlatPriceWithPaymentTerm(V1Model):
    """A fixed price and when it is due."""

    type: Literal["flat"]
    amount: Numeric
    payment_term: PaymentTerm = PaymentTerm.IN_ADVANCE


class _Commitments(V1Model):
    minimum_amount: Opt[Numeric] = Field(None, description="The least that a full period costs.")
    maximum_amount: Opt[Numeric] = Field(None, description="The most that a full period costs.")


class UnitPriceWithCommitments(_Commitments):
    """A price for each unit used."""

    type: Literal["unit"]
    amount: Numeric


class TierFlatPrice(V1Model):
    """The part of a tier that is charged once."""

    type: Literal["flat"]
    amount: Numeric


class TierUnitPrice(V1Model):
    """The part of a tier that is charged for each unit."""

    type: Literal["unit"]
    amount: Numeric


class PriceTier(V1Model):
    """One step of a tiered price."""

    up_to_amount: Opt[Numeric] = Field(None, description="The last quantity of the tier; open-ended when absent.")
    flat_price: TierFlatPrice | None = None
    unit_price: TierUnitPrice | None = None

    @classmethod
    def of(cls, tier: prices.Tier) -> "PriceTier":
        """Show a tier."""
        return cls(
            up_to_amount=tier.up_to,
            flat_price=None if tier.flat_amount is None else TierFlatPrice(type="flat", amount=tier.flat_amount),
            unit_price=None if tier.unit_amount is None else TierUnitPrice(type="unit", amount=tier.unit_amount),
        )

    def to_value(self) -> prices.Tier:
        """Read the tier."""
        return prices.Tier(
            up_to=self.up_to_amount,
            flat_amount=self.flat_price and self.flat_price.amount,
            unit_amount=self.unit_price and self.unit_price.amount,
        )


class TieredPriceWithCommitments(_Commitments):
    """Prices that change with the quantity used."""

    type: Literal["tiered"]
    mode: TierMode
    tiers: list[PriceTier] = Field(min_length=1)


class DynamicPriceWithCommitments(_Commitments):
    """A factor on usage that is itself measured in money. The factor 1 is not shown."""

    type: Literal["dynamic"]
    multiplier: Annotated[Numeric, Field(exclude_if=lambda factor: factor == 1)] = Decimal(1)


class PackagePriceWithCommitments(_Commitments):
    """A price for each started package of units."""

    type: Literal["package"]
    amount: Numeric
    quantity_per_package: Numeric


RateCardUsageBasedPrice = Annotated[
    FlatPriceWithPaymentTerm
    | UnitPriceWithCommitments
    | TieredPriceWithCommitments
    | DynamicPriceWithCommitments
    | PackagePriceWithCommitments,
    Field(discriminator="type"),
]

_wire_price: TypeAdapter[RateCardUsageBasedPrice] = TypeAdapter(RateCardUsageBasedPrice)
_price: TypeAdapter[prices.Price] = TypeAdapter(prices.Price)


def price_of(price: prices.Price) -> RateCardUsageBasedPrice:
    """Show a price."""
    members = price.model_dump()
    if isinstance(price, prices.TieredPrice):
        members["tiers"] = [PriceTier.of(tier) for tier in price.tiers]
    return _wire_price.validate_python(members)


def price_value(price: RateCardUsageBasedPrice) -> prices.Price:
    """Read a price."""
    members = price.model_dump()
    if isinstance(price, TieredPriceWithCommitments):
        members["tiers"] = tuple(tier.to_value() for tier in price.tiers)
    elif isinstance(price, DynamicPriceWithCommitments):
        members["multiplier"] = price.multiplier
    return _price.validate_python(members)


class DiscountPercentage(V1Model):
    """A share off the price."""

    percentage: JSONNumber = Field(description="From 0 to 100; 50 is half off.")


class DiscountUsage(V1Model):
    """Units that are free in every period."""

    quantity: Numeric


class Discounts(V1Model):
    """The discounts of a rate card."""

    percentage: Opt[DiscountPercentage] = None
    usage: Opt[DiscountUsage] = None

    @classmethod
    def of(cls, discounts: prices.Discounts) -> "Discounts | None":
        """Show discounts, or None when there are none."""
        return cls.model_validate(discounts) if discounts != prices.Discounts() else None

    def to_value(self) -> prices.Discounts:
        """Read the discounts. Correlation ids are given later, by billing."""
        return prices.Discounts(
            percentage=self.percentage and prices.PercentageDiscount(percentage=self.percentage.percentage),
            usage=self.usage and prices.UsageDiscount(quantity=self.usage.quantity),
        )


class StripeTaxConfig(V1Model):
    """A tax code in Stripe's terms."""

    code: Annotated[str, Field(pattern=r"^txcd_\d{8}$")]


class CustomInvoicingTaxConfig(V1Model):
    """A tax code in the terms of a custom invoicing app. Accepted, not kept."""

    code: str


class TaxConfig(V1Model):
    """How a price is taxed. The id of a tax code wins over a provider's code."""

    behavior: Opt[Literal["inclusive", "exclusive"]] = Field(
        None, description="Whether the price contains the tax, or the tax is added to it."
    )
    stripe: Opt[StripeTaxConfig] = None
    custom_invoicing: Opt[CustomInvoicingTaxConfig] = None
    tax_code_id: Opt[Ulid] = None

    @classmethod
    def of(cls, config: prices.TaxConfig) -> "TaxConfig":
        """Show a tax config."""
        stripe = StripeTaxConfig(code=config.stripe_code) if config.stripe_code else None
        return cls(behavior=config.behavior, stripe=stripe, tax_code_id=config.tax_code_id)

    def to_value(self) -> prices.TaxConfig:
        """Read the tax config as it was sent; `catalog.taxcodes.resolved` makes it consistent."""
        return prices.TaxConfig(
            behavior=self.behavior, tax_code_id=self.tax_code_id, stripe_code=self.stripe and self.stripe.code
        )


class RateCardMeteredEntitlement(V1Model):
    """Access limited by usage."""

    type: Literal["metered"]
    metadata: Opt[dict[str, str]] = None
    is_soft_limit: bool = False
    issue_after_reset: Opt[Annotated[JSONNumber, Field(ge=0)]] = Field(
        None, description="How many units are granted at the start of every usage period."
    )
    issue_after_reset_priority: Opt[Annotated[int, Field(ge=1, le=255)]] = None
    preserve_overage_at_reset: bool = False
    usage_period: Opt[ISODuration] = Field(None, description="The billing cadence when absent.")


class RateCardStaticEntitlement(V1Model):
    """Access with a configuration, written as JSON inside a string."""

    type: Literal["static"]
    metadata: Opt[dict[str, str]] = None
    config: Annotated[str, WithJsonSchema({"type": "string", "format": "json"})]


class RateCardBooleanEntitlement(V1Model):
    """Access or no access."""

    type: Literal["boolean"]
    metadata: Opt[dict[str, str]] = None


RateCardEntitlement = Annotated[
    RateCardMeteredEntitlement | RateCardStaticEntitlement | RateCardBooleanEntitlement, Field(discriminator="type")
]

_wire_template: TypeAdapter[RateCardEntitlement] = TypeAdapter(RateCardEntitlement)
_template: TypeAdapter[ratecards.EntitlementTemplate] = TypeAdapter(ratecards.EntitlementTemplate)


def template_of(template: ratecards.EntitlementTemplate) -> RateCardEntitlement:
    """Show an entitlement template."""
    # Of its members, not dumped: that would take the duration apart.
    return _wire_template.validate_python(dict(template))


def template_value(template: RateCardEntitlement) -> ratecards.EntitlementTemplate:
    """Read an entitlement template."""
    return _template.validate_python(dict(template))


class _RateCard(V1Model):
    key: ResourceKey
    name: Name
    description: Opt[Description] = None
    metadata: Opt[dict[str, str]] = None
    feature_key: Opt[ResourceKey] = None
    entitlement_template: Opt[RateCardEntitlement] = None
    tax_config: Opt[TaxConfig] = None
    discounts: Opt[Discounts] = None


class RateCardFlatFee(_RateCard):
    """A fixed fee, once or every cadence."""

    type: Literal["flat_fee"]
    billing_cadence: ISODuration | None = Field(description="How often the fee recurs; null for a fee charged once.")
    price: FlatPriceWithPaymentTerm | None = Field(description="Null when it is free.")


class RateCardUsageBased(_RateCard):
    """A price by usage, billed every cadence."""

    type: Literal["usage_based"]
    billing_cadence: ISODuration
    price: RateCardUsageBasedPrice | None = Field(description="Null when it is free.")


RateCard = Annotated[RateCardFlatFee | RateCardUsageBased, Field(discriminator="type")]

_wire_card: TypeAdapter[RateCard] = TypeAdapter(RateCard)


def _each(value: Any, convert: Callable[[Any], Any]) -> Any:
    return None if value is None else convert(value)


def rate_card_of(card: ratecards.RateCard) -> RateCard:
    """Show a rate card."""
    return _wire_card.validate_python(
        {
            "type": card.kind,
            "key": card.key,
            "name": card.name,
            "description": card.description,
            "metadata": card.metadata,
            "feature_key": card.feature_key,
            # Every card by usage has a cadence here, also one that a draft of v3 left without.
            "billing_cadence": effective_cadence(card),
            "price": _each(card.price, price_of),
            "discounts": Discounts.of(card.discounts),
            "tax_config": _each(card.tax_config, TaxConfig.of),
            "entitlement_template": _each(card.entitlement_template, template_of),
        }
    )


def rate_card_value(card: RateCard) -> ratecards.RateCard:
    """Read a rate card. The feature is named by key; the catalog adds its id when it stores the card."""
    return ratecards.RateCard(
        kind=card.type,
        key=card.key,
        name=card.name,
        description=card.description,
        metadata=card.metadata,
        feature_key=card.feature_key,
        billing_cadence=card.billing_cadence,
        price=_each(card.price, price_value),
        discounts=card.discounts.to_value() if card.discounts else prices.Discounts(),
        tax_config=_each(card.tax_config, TaxConfig.to_value),
        entitlement_template=_each(card.entitlement_template, template_value),
    )
