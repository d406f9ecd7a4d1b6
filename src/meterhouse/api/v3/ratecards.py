"""The v3 schema of rate cards, shared by plans, add-ons and subscriptions (catalog section 8.2).

What is shown can be sent back as it is: no member is shown that a request could not have.
"""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from meterhouse.api.labels import Labels, replaced_metadata, well_formed
from meterhouse.api.v3.prices import (
    BillingCurrencyCode,
    BillingPrice,
    BillingRateCardDiscounts,
    BillingSpendCommitments,
    BillingUnitConfig,
    TaxCodeReference,
    discounts_of,
    price_of,
    shown,
)
from meterhouse.api.wire import Description, JSONNumber, Name, Opt, ResourceKey, Ulid, UnsignedDuration, V3Model
from meterhouse.catalog import ratecards
from meterhouse.catalog.prices import FlatPrice, PaymentTerm, Price, TaxConfig


class FeatureReference(V3Model):
    """Names a feature."""

    id: Ulid


class BillingRateCardTaxConfig(V3Model):
    """How a price is taxed."""

    behavior: Opt[Literal["inclusive", "exclusive"]] = None
    code: TaxCodeReference

    @classmethod
    def of(cls, config: TaxConfig | None) -> "BillingRateCardTaxConfig | None":
        """Show a tax config, or None where it names no tax code."""
        if config is None or config.tax_code_id is None:
            return None
        return cls(behavior=config.behavior, code=TaxCodeReference(id=config.tax_code_id))

    def to_value(self) -> TaxConfig:
        """Read the tax config."""
        return TaxConfig(behavior=self.behavior, tax_code_id=self.code.id)


class BillingRateCardMeteredEntitlement(V3Model):
    """Access limited by usage."""

    type: Literal["metered"]
    is_soft_limit: bool = False
    limit: Opt[Annotated[JSONNumber, Field(ge=0)]] = Field(
        None, description="How many units are granted at the start of every usage period."
    )
    usage_period: Opt[UnsignedDuration] = Field(None, description="The billing cadence when absent.")


class BillingRateCardStaticEntitlement(V3Model):
    """Access with a configuration, which is any JSON."""

    type: Literal["static"]
    config: Any


class BillingRateCardBooleanEntitlement(V3Model):
    """Access or no access."""

    type: Literal["boolean"]


BillingRateCardEntitlement = Annotated[
    BillingRateCardMeteredEntitlement | BillingRateCardStaticEntitlement | BillingRateCardBooleanEntitlement,
    Field(discriminator="type"),
]


def _entitlement(template: ratecards.EntitlementTemplate | None) -> BillingRateCardEntitlement | None:
    match template:
        case None:
            return None
        case ratecards.MeteredEntitlementTemplate():
            return BillingRateCardMeteredEntitlement(
                type="metered",
                is_soft_limit=template.is_soft_limit,
                limit=template.issue_after_reset,
                usage_period=template.usage_period,
            )
        case ratecards.StaticEntitlementTemplate():
            # Past the check of texts: v1 may have stored a NUL, written as an escape.
            return BillingRateCardStaticEntitlement.model_construct(type="static", config=json.loads(template.config))
        case ratecards.BooleanEntitlementTemplate():
            return BillingRateCardBooleanEntitlement(type="boolean")


def _template(entitlement: BillingRateCardEntitlement | None) -> ratecards.EntitlementTemplate | None:
    match entitlement:
        case None:
            return None
        case BillingRateCardMeteredEntitlement():
            return ratecards.MeteredEntitlementTemplate(
                issue_after_reset=entitlement.limit,
                is_soft_limit=entitlement.is_soft_limit,
                usage_period=entitlement.usage_period,
            )
        case BillingRateCardStaticEntitlement():
            # Integers of any length stay exact here; what is no JSON, such as NaN, the rules of the catalog refuse.
            return ratecards.StaticEntitlementTemplate(config=json.dumps(entitlement.config))
        case BillingRateCardBooleanEntitlement():
            return ratecards.BooleanEntitlementTemplate()


Kind = Literal["flat_fee", "usage_based"]


def kind_by_price(price: Price | None) -> Kind:
    """Tell what a rate card of a plan is: v3 does not say it (catalog section 8.2)."""
    return "flat_fee" if price is None or isinstance(price, FlatPrice) else "usage_based"


class BillingRateCard(V3Model):
    """What an item costs, how often, and which access it gives."""

    name: Name
    description: Opt[Description] = None
    labels: Opt[Labels] = None
    key: ResourceKey
    feature: Opt[FeatureReference] = None
    currency: Opt[BillingCurrencyCode] = Field(None, description="Absent for the currency of what holds the card.")
    billing_cadence: Opt[UnsignedDuration] = Field(None, description="Absent for a fee charged once.")
    price: BillingPrice
    unit_config: Opt[BillingUnitConfig] = None
    payment_term: Opt[PaymentTerm] = Field(None, description="When a flat price is due; in arrears when left out.")
    commitments: Opt[BillingSpendCommitments] = None
    discounts: Opt[BillingRateCardDiscounts] = None
    tax_config: Opt[BillingRateCardTaxConfig] = None
    entitlement: Opt[BillingRateCardEntitlement] = None

    @classmethod
    def of(cls, card: ratecards.RateCard) -> "BillingRateCard":
        """Show a rate card."""
        price = shown(card.price, card.unit_conversion)
        # Built past the checks: what is stored, by v1 too, may be longer than what v3 takes.
        return cls.model_construct(
            name=card.name,
            description=card.description,
            labels=well_formed(card.metadata or {}),
            key=card.key,
            feature=FeatureReference(id=card.feature_id) if card.feature_id else None,
            currency=card.currency,
            billing_cadence=card.billing_cadence,
            price=price.price,
            unit_config=price.unit_config,
            payment_term=price.payment_term,
            commitments=price.commitments,
            discounts=BillingRateCardDiscounts.of(card.discounts),
            tax_config=BillingRateCardTaxConfig.of(card.tax_config),
            entitlement=_entitlement(card.entitlement_template),
        )

    def _form(self) -> dict[str, Any]:
        """Return what tells two cards apart; no labels are as good as empty ones."""
        return {**self.model_dump(), "labels": self.labels or {}}

    def to_value(
        self,
        kind: Kind | None = None,
        replaced: ratecards.RateCard | None = None,
        others: Sequence[ratecards.RateCard] = (),
    ) -> ratecards.RateCard:
        """Read a rate card; the catalog adds the key of its feature when it stores the card.

        A stored card that is sent back as it was shown is kept, so that nothing is lost of what v3 does not show.

        Args:
            kind: what the card is, by its price when left out.
            replaced: the card whose place this one takes.
            others: cards of the key in other places, from which this one may have come.
        """
        form = self._form()
        for one in (*([replaced] if replaced else []), *others):
            if BillingRateCard.of(one)._form() == form:
                return one
        price = price_of(
            self.price, payment_term=self.payment_term or PaymentTerm.IN_ARREARS, commitments=self.commitments
        )
        return ratecards.RateCard(
            kind=kind or kind_by_price(price),
            key=self.key,
            name=self.name,
            description=self.description,
            metadata=replaced_metadata(self.labels, (replaced and replaced.metadata) or {}) or None,
            feature_id=self.feature.id if self.feature else None,
            billing_cadence=self.billing_cadence,
            price=price,
            discounts=discounts_of(self.discounts),
            unit_conversion=self.unit_config.to_value() if self.unit_config else None,
            tax_config=self.tax_config.to_value() if self.tax_config else None,
            entitlement_template=_template(self.entitlement),
            currency=self.currency,
        )
