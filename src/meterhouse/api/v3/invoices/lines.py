"""v3 schemas of invoice lines."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from meterhouse.api.labels import ShownLabels, labels_of
from meterhouse.api.v3.prices import (
    BillingPrice,
    BillingRateCardDiscounts,
    BillingUnitConfig,
    TaxCodeReference,
    shown,
)
from meterhouse.api.v3.references import BillingSubscriptionReference, BillingTotals, ClosedPeriod
from meterhouse.api.wire import Instant, Numeric, Opt, Ulid, V3Model
from meterhouse.billing.invoices.views import DetailView, LineView
from meterhouse.catalog.prices import TaxConfig

DiscountReason = Literal["maximum_spend", "ratecard_percentage", "ratecard_usage"]


class BillingInvoiceLineExternalReferences(V3Model):
    """What apps call a line."""

    invoicing_id: Opt[str] = None


def _external(ids: Mapping[str, str]) -> BillingInvoiceLineExternalReferences | None:
    return BillingInvoiceLineExternalReferences(invoicing_id=ids["invoicing"]) if "invoicing" in ids else None


class _LineDiscount(V3Model):
    id: Ulid
    reason: DiscountReason
    description: Opt[str] = None
    external_references: Opt[BillingInvoiceLineExternalReferences] = None


class BillingInvoiceLineAmountDiscount(_LineDiscount):
    """Money taken off."""

    amount: Numeric


class BillingInvoiceLineUsageDiscount(_LineDiscount):
    """Units taken off."""

    quantity: Numeric


class BillingInvoiceLineDiscounts(V3Model):
    """Discounts as they were applied."""

    amount: Opt[list[BillingInvoiceLineAmountDiscount]] = None
    usage: Opt[list[BillingInvoiceLineUsageDiscount]] = None


class BillingInvoiceLineCreditsApplied(V3Model):
    """Credit that paid for a part."""

    amount: Numeric
    description: Opt[str] = None


class BillingRateCardTaxConfig(V3Model):
    """How a line is taxed."""

    behavior: Opt[Literal["inclusive", "exclusive"]] = None
    code: TaxCodeReference

    @classmethod
    def of(cls, config: TaxConfig | None) -> "BillingRateCardTaxConfig | None":
        """Show a tax config; without a code there is nothing to show."""
        if config is None or config.tax_code_id is None:
            return None
        return cls(behavior=config.behavior, code=TaxCodeReference(id=config.tax_code_id))


class BillingInvoiceLineRateCard(V3Model):
    """What a line costs."""

    price: BillingPrice
    tax_config: Opt[BillingRateCardTaxConfig] = None
    feature_key: Opt[str] = None
    discounts: Opt[BillingRateCardDiscounts] = None
    unit_config: Opt[BillingUnitConfig] = None


class BillingInvoiceUsageQuantityDetail(V3Model):
    """How raw usage became the billed quantity."""

    raw_quantity: Numeric
    invoiced_quantity: Numeric
    display_unit: Opt[str] = None


class BillingChargeReference(V3Model):
    """Names a charge."""

    id: Ulid


class BillingInvoiceDetailedLine(V3Model):
    """A calculated part of a line."""

    id: Ulid
    name: str
    description: Opt[str] = None
    labels: Opt[ShownLabels] = None
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    service_period: ClosedPeriod
    totals: BillingTotals
    category: Literal["regular", "commitment"] = "regular"
    discounts: Opt[BillingInvoiceLineDiscounts] = None
    credits_applied: Opt[list[BillingInvoiceLineCreditsApplied]] = None
    external_references: Opt[BillingInvoiceLineExternalReferences] = None
    quantity: Numeric
    unit_price: Numeric

    @classmethod
    def of(cls, view: DetailView) -> "BillingInvoiceDetailedLine":
        """Show a detailed line."""
        detail = view.detail
        amounts = [
            BillingInvoiceLineAmountDiscount(
                id=view.discount_ids[discount.child_ref],
                reason=discount.reason,
                description=discount.description,
                amount=discount.amount,
            )
            for discount in detail.discounts
        ]
        credits = [
            BillingInvoiceLineCreditsApplied(amount=share.amount, description=share.description)
            for share in detail.credits
        ]
        return cls(
            id=view.id,
            name=detail.name,
            created_at=view.created_at,
            updated_at=view.updated_at,
            service_period=ClosedPeriod.of(view.period),
            totals=BillingTotals.of(detail.totals),
            category=detail.category,
            discounts=BillingInvoiceLineDiscounts(amount=amounts) if amounts else None,
            credits_applied=credits or None,
            external_references=_external(view.external_ids),
            quantity=detail.quantity,
            unit_price=detail.unit_amount,
        )


class BillingInvoiceLine(V3Model):
    """A line: one billable item."""

    id: Ulid
    type: Literal["standard_line"]
    name: str
    description: Opt[str] = None
    labels: Opt[ShownLabels] = None
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    lifecycle_controller: Literal["system", "manual"] = Field(
        description="`manual` once a person has made or changed the line."
    )
    service_period: ClosedPeriod
    totals: BillingTotals
    discounts: Opt[BillingInvoiceLineDiscounts] = None
    credits_applied: Opt[list[BillingInvoiceLineCreditsApplied]] = None
    external_references: Opt[BillingInvoiceLineExternalReferences] = None
    subscription: Opt[BillingSubscriptionReference] = None
    rate_card: BillingInvoiceLineRateCard
    detailed_lines: list[BillingInvoiceDetailedLine]
    usage_quantity_detail: Opt[BillingInvoiceUsageQuantityDetail] = None
    charge: BillingChargeReference

    @classmethod
    def of(cls, line: LineView) -> "BillingInvoiceLine":
        """Show a line with its parts."""
        origin = line.origin
        price = shown(origin.price, origin.unit_conversion)
        credits = [BillingInvoiceLineCreditsApplied(amount=credit.amount) for credit in line.credits_applied]
        return cls(
            id=line.id,
            type="standard_line",
            name=origin.name,
            description=origin.description,
            labels=labels_of(origin.metadata) or None,
            created_at=line.created_at,
            updated_at=line.updated_at,
            deleted_at=line.deleted_at,
            lifecycle_controller="manual" if origin.managed_by == "manual" else "system",
            service_period=ClosedPeriod.of(line.period),
            totals=BillingTotals.of(line.totals),
            discounts=_usage_discount(line),
            credits_applied=credits or None,
            external_references=_external(line.external_ids),
            subscription=BillingSubscriptionReference.of(origin.subscription),
            rate_card=BillingInvoiceLineRateCard(
                price=price.price,
                tax_config=BillingRateCardTaxConfig.of(origin.tax_config),
                feature_key=origin.feature_key,
                discounts=BillingRateCardDiscounts.of(origin.discounts),
                unit_config=price.unit_config,
            ),
            detailed_lines=[BillingInvoiceDetailedLine.of(detail) for detail in line.details],
            usage_quantity_detail=_quantities(line, price.unit_config),
            charge=BillingChargeReference(id=origin.charge_id),
        )


def _usage_discount(line: LineView) -> BillingInvoiceLineDiscounts | None:
    applied, pool = line.usage_discount, line.origin.discounts.usage
    if applied is None or pool is None:
        return None
    # A line has one pool at most, so the pool's lasting id names the discount.
    discount = BillingInvoiceLineUsageDiscount(
        id=pool.correlation_id or line.id, reason="ratecard_usage", quantity=applied.quantity
    )
    return BillingInvoiceLineDiscounts(usage=[discount])


def _quantities(line: LineView, conversion: BillingUnitConfig | None) -> BillingInvoiceUsageQuantityDetail | None:
    if line.metered_quantity is None or line.quantity is None:
        return None
    return BillingInvoiceUsageQuantityDetail(
        raw_quantity=line.metered_quantity,
        invoiced_quantity=line.quantity,
        display_unit=conversion.display_unit if conversion else None,
    )
