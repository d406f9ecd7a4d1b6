"""v1 schemas of invoice lines."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from meterhouse.api.v1.billing.parts import (
    BillingDiscounts,
    InvoiceTotals,
    InvoiceUsageBasedRateCard,
    shown_quantity,
)
from meterhouse.api.v1.ratecards import (
    FlatPriceWithPaymentTerm,
    RateCardUsageBasedPrice,
    TaxConfig,
    price_of,
)
from meterhouse.api.v1.subscription_schemas import Period
from meterhouse.api.wire import CurrencyCode, Instant, JSONNumber, Numeric, Opt, ResourceKey, Ulid, V1Model
from meterhouse.billing.invoices.views import DetailView, InvoiceView, LineView
from meterhouse.billing.rating.results import AmountDiscount
from meterhouse.catalog.prices import Discounts, PaymentTerm
from meterhouse.kernel.money import ZERO

ManagedBy = Literal["subscription", "system", "manual"]


class DiscountReasonMaximumSpend(V1Model):
    """The most that a period costs was reached."""

    type: Literal["maximum_spend"]


class DiscountReasonRatecardPercentage(V1Model):
    """The rate card gives a share off."""

    type: Literal["ratecard_percentage"]
    percentage: JSONNumber
    correlation_id: Opt[Ulid] = None


class DiscountReasonRatecardUsage(V1Model):
    """The rate card gives free units."""

    type: Literal["ratecard_usage"]
    quantity: Numeric
    correlation_id: Opt[Ulid] = None


BillingDiscountReason = Annotated[
    DiscountReasonMaximumSpend | DiscountReasonRatecardPercentage | DiscountReasonRatecardUsage,
    Field(discriminator="type"),
]


class InvoiceLineAppExternalIds(V1Model):
    """What apps call a line."""

    invoicing: Opt[str] = None
    tax: Opt[str] = None


class _LineDiscount(V1Model):
    id: Ulid
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    reason: BillingDiscountReason
    description: Opt[str] = None
    external_ids: Opt[InvoiceLineAppExternalIds] = None


class InvoiceLineAmountDiscount(_LineDiscount):
    """Money taken off."""

    amount: Numeric


class InvoiceLineUsageDiscount(_LineDiscount):
    """Units taken off."""

    quantity: Numeric
    pre_line_period_quantity: Opt[Numeric] = Field(None, description="Free units that earlier lines have used.")


class InvoiceLineDiscounts(V1Model):
    """Discounts as they were applied."""

    amount: Opt[list[InvoiceLineAmountDiscount]] = None
    usage: Opt[list[InvoiceLineUsageDiscount]] = None


class InvoiceLineCreditAllocation(V1Model):
    """Credit that paid for a part."""

    amount: Numeric
    description: Opt[str] = None


class InvoiceReference(V1Model):
    """The invoice that holds a line."""

    id: Ulid
    number: Opt[str] = None


class IDResource(V1Model):
    """A resource by its id."""

    id: Ulid


class InvoiceLineSubscriptionReference(V1Model):
    """Where a line comes from."""

    subscription: IDResource
    phase: IDResource
    item: IDResource
    billing_period: Period


class InvoiceLineTaxItem(V1Model):
    """Tax on a line, as the app that calculates it tells."""

    config: Opt[TaxConfig] = None
    percent: Opt[JSONNumber] = None
    surcharge: Opt[Numeric] = None
    behavior: Opt[Literal["inclusive", "exclusive"]] = None


class _Line(V1Model):
    id: Ulid
    name: str
    description: Opt[str] = None
    metadata: Opt[dict[str, str]] = None
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    managed_by: ManagedBy
    status: Literal["valid", "detailed", "split"]
    discounts: Opt[InvoiceLineDiscounts] = None
    credit_allocations: Opt[list[InvoiceLineCreditAllocation]] = None
    invoice: Opt[InvoiceReference] = None
    currency: CurrencyCode
    taxes: Opt[list[InvoiceLineTaxItem]] = None
    tax_config: Opt[TaxConfig] = None
    totals: InvoiceTotals
    period: Period
    invoice_at: Instant
    external_ids: Opt[InvoiceLineAppExternalIds] = None
    subscription: Opt[InvoiceLineSubscriptionReference] = None


class InvoiceDetailedLineRateCard(V1Model):
    """What one unit of a detailed line costs."""

    tax_config: Opt[TaxConfig] = None
    price: FlatPriceWithPaymentTerm
    quantity: Opt[Numeric] = None
    discounts: Opt[BillingDiscounts] = None


class InvoiceDetailedLine(_Line):
    """A calculated part of a line."""

    type: Literal["flat_fee"]
    per_unit_amount: Opt[Numeric] = None
    payment_term: PaymentTerm = PaymentTerm.IN_ADVANCE
    quantity: Opt[Numeric] = None
    rate_card: Opt[InvoiceDetailedLineRateCard] = None
    category: Literal["regular", "commitment"] = "regular"

    @classmethod
    def of(cls, invoice: InvoiceView, line: LineView, view: DetailView) -> "InvoiceDetailedLine":
        """Show a detailed line."""
        detail, tax = view.detail, _tax(line)
        price = FlatPriceWithPaymentTerm(type="flat", amount=detail.unit_amount, payment_term=detail.payment_term)
        amounts = [_amount_discount(view, discount, line.origin.discounts) for discount in detail.discounts]
        credits = [
            InvoiceLineCreditAllocation(amount=share.amount, description=share.description) for share in detail.credits
        ]
        return cls(
            id=view.id,
            name=detail.name,
            created_at=view.created_at,
            updated_at=view.updated_at,
            managed_by="system",
            status="detailed",
            discounts=InvoiceLineDiscounts(amount=amounts) if amounts else None,
            credit_allocations=credits or None,
            invoice=InvoiceReference(id=invoice.id, number=invoice.number),
            currency=invoice.currency,
            tax_config=tax,
            totals=InvoiceTotals.of(detail.totals),
            period=Period.of(view.period),
            invoice_at=line.invoice_at,
            external_ids=_external_ids(view.external_ids),
            subscription=_subscription(line),
            type="flat_fee",
            per_unit_amount=detail.unit_amount,
            payment_term=detail.payment_term,
            quantity=detail.quantity,
            rate_card=InvoiceDetailedLineRateCard(tax_config=tax, price=price, quantity=detail.quantity),
            category=detail.category,
        )


class InvoiceLine(_Line):
    """A line: one billable item. The type is the same for fixed prices."""

    type: Literal["usage_based"]
    price: Opt[RateCardUsageBasedPrice] = None
    feature_key: Opt[ResourceKey] = None
    children: Opt[list[InvoiceDetailedLine]] = None
    rate_card: Opt[InvoiceUsageBasedRateCard] = None
    quantity: Opt[Numeric] = None
    metered_quantity: Opt[Numeric] = Field(None, description="Raw units where they differ from the quantity.")
    pre_line_period_quantity: Opt[Numeric] = Field(None, description="Units of the period before this line.")
    metered_pre_line_period_quantity: Opt[Numeric] = None

    @classmethod
    def of(cls, invoice: InvoiceView, line: LineView) -> "InvoiceLine":
        """Show a line with its parts."""
        origin, tax, price = line.origin, _tax(line), price_of(line.origin.price)
        usage = _usage_discount(line)
        credits = [InvoiceLineCreditAllocation(amount=credit.amount) for credit in line.credits_applied]
        return cls(
            id=line.id,
            name=origin.name,
            description=origin.description,
            metadata=dict(origin.metadata) or None,
            created_at=line.created_at,
            updated_at=line.updated_at,
            deleted_at=line.deleted_at,
            managed_by=origin.managed_by,
            status="valid",
            discounts=InvoiceLineDiscounts(usage=[usage]) if usage else None,
            credit_allocations=credits or None,
            invoice=InvoiceReference(id=invoice.id, number=invoice.number),
            currency=invoice.currency,
            tax_config=tax,
            totals=InvoiceTotals.of(line.totals),
            period=Period.of(line.period),
            invoice_at=line.invoice_at,
            external_ids=_external_ids(line.external_ids),
            subscription=_subscription(line),
            type="usage_based",
            price=price,
            feature_key=origin.feature_key,
            children=[InvoiceDetailedLine.of(invoice, line, detail) for detail in line.details],
            rate_card=InvoiceUsageBasedRateCard(
                feature_key=origin.feature_key,
                tax_config=tax,
                price=price,
                discounts=BillingDiscounts.of(origin.discounts),
            ),
            quantity=line.quantity,
            metered_quantity=shown_quantity(line.metered_quantity, unless=line.quantity),
            pre_line_period_quantity=shown_quantity(line.pre_line_quantity, unless=ZERO),
            metered_pre_line_period_quantity=shown_quantity(line.metered_pre_line_quantity, unless=ZERO),
        )


def _tax(line: LineView) -> TaxConfig | None:
    return TaxConfig.of(line.origin.tax_config) if line.origin.tax_config else None


def _external_ids(ids: object) -> InvoiceLineAppExternalIds | None:
    return InvoiceLineAppExternalIds.model_validate(ids) if ids else None


def _subscription(line: LineView) -> InvoiceLineSubscriptionReference | None:
    source = line.origin.subscription
    if source is None:
        return None
    return InvoiceLineSubscriptionReference(
        subscription=IDResource(id=source.subscription_id),
        phase=IDResource(id=source.phase_id),
        item=IDResource(id=source.item_id),
        billing_period=Period.of(line.period),
    )


def _amount_discount(view: DetailView, discount: AmountDiscount, discounts: Discounts) -> InvoiceLineAmountDiscount:
    reason: BillingDiscountReason
    if discount.reason == "maximum_spend":
        reason = DiscountReasonMaximumSpend(type="maximum_spend")
    else:
        share = discounts.percentage
        reason = DiscountReasonRatecardPercentage(
            type="ratecard_percentage",
            percentage=share.percentage if share else Decimal(0),
            correlation_id=share.correlation_id if share else None,
        )
    return InvoiceLineAmountDiscount(
        id=view.discount_ids[discount.child_ref],
        created_at=view.created_at,
        updated_at=view.updated_at,
        reason=reason,
        description=discount.description,
        amount=discount.amount,
    )


def _usage_discount(line: LineView) -> InvoiceLineUsageDiscount | None:
    applied, pool = line.usage_discount, line.origin.discounts.usage
    if applied is None or pool is None:
        return None
    return InvoiceLineUsageDiscount(
        # A line has one pool at most, so the pool's lasting id names the discount.
        id=pool.correlation_id or line.id,
        created_at=line.created_at,
        updated_at=line.updated_at,
        reason=DiscountReasonRatecardUsage(
            type="ratecard_usage", quantity=pool.quantity, correlation_id=pool.correlation_id
        ),
        quantity=applied.quantity,
        pre_line_period_quantity=applied.pre_line_quantity,
    )
