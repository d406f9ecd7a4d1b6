"""v1 schemas that invoices and their lines share."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from meterhouse.api.v1 import ratecards
from meterhouse.api.v1.address import Address
from meterhouse.api.v1.ratecards import TaxConfig
from meterhouse.api.wire import Instant, Interval, ISODuration, JSONNumber, Numeric, Opt, ResourceKey, Ulid, V1Model
from meterhouse.billing.invoices.snapshots import InvoiceWorkflow, Party, PartyAddress
from meterhouse.billing.profiles.values import CollectionMethod, ProrationMode, Workflow
from meterhouse.billing.rating.results import Totals
from meterhouse.catalog import prices
from meterhouse.customers.customer import Address as CustomerAddress

_DEFAULTS = Workflow()


class InvoiceTotals(V1Model):
    """Sums in the invoice's currency, rounded to its minor unit."""

    amount: Numeric = Field(description="Value of regular lines before discounts, credits and taxes.")
    charges_total: Numeric = Field(description="Value of commitments.")
    discounts_total: Numeric
    credits_total: Numeric
    taxes_inclusive_total: Numeric
    taxes_exclusive_total: Numeric
    taxes_total: Numeric
    total: Numeric = Field(description="What is left to pay.")

    @classmethod
    def of(cls, totals: Totals) -> "InvoiceTotals":
        """Show totals."""
        return cls.model_validate(totals)


class BillingPartyTaxIdentity(V1Model):
    """How the tax office knows a party."""

    code: Opt[str] = None


class BillingParty(V1Model):
    """The supplier of an invoice."""

    id: Opt[str] = None
    key: Opt[str] = None
    name: Opt[str] = None
    tax_id: Opt[BillingPartyTaxIdentity] = None
    addresses: Opt[list[Address]] = Field(None, max_length=1)

    @classmethod
    def of(cls, party: Party) -> "BillingParty":
        """Show a party."""
        return cls(
            id=party.id,
            key=party.key,
            name=party.name or None,
            tax_id=BillingPartyTaxIdentity(code=party.tax_id) if party.tax_id else None,
            addresses=address_list(party.address),
        )


def address_list(address: PartyAddress | None) -> list[Address] | None:
    """Show an address as the list that v1 has for it."""
    return [Address.of(CustomerAddress(**address.model_dump()))] if address else None


class CustomerUsageAttribution(V1Model):
    """The event subjects whose usage is on the invoice."""

    subject_keys: list[str]


class BillingInvoiceCustomerExtendedDetails(BillingParty):
    """The customer of an invoice as it was when the invoice was made."""

    usage_attribution: CustomerUsageAttribution

    @classmethod
    def of(cls, party: Party) -> "BillingInvoiceCustomerExtendedDetails":
        """Show a customer."""
        shown = BillingParty.of(party).model_dump()
        return cls(**shown, usage_attribution=CustomerUsageAttribution(subject_keys=list(party.subject_keys)))


class AppReference(V1Model):
    """An app by its id."""

    id: Ulid


class BillingProfileAppReferences(V1Model):
    """The apps that serve an invoice; all three are the same."""

    tax: AppReference
    invoicing: AppReference
    payment: AppReference


_NAMED_INTERVALS = {"DAY": "P1D", "WEEK": "P1W", "MONTH": "P1M", "YEAR": "P1Y"}


_INTERVAL_SCHEMA = {
    "anyOf": [{"type": "string", "format": "duration"}, {"type": "string", "enum": list(_NAMED_INTERVALS)}]
}


def _interval(value: object) -> object:
    return _NAMED_INTERVALS.get(value, value) if isinstance(value, str) else value


class RecurringPeriod(V1Model):
    """The ticks of an anchored collection."""

    interval: Annotated[Interval, BeforeValidator(_interval), WithJsonSchema(_INTERVAL_SCHEMA)] = Field(
        description="A duration, or one of DAY, WEEK, MONTH and YEAR."
    )
    anchor: Instant


class CollectionAlignmentSubscription(V1Model):
    """Each line is collected at its own moment."""

    type: Literal["subscription"]


class CollectionAlignmentAnchored(V1Model):
    """Lines are collected at the ticks of a recurrence."""

    type: Literal["anchored"]
    recurring_period: RecurringPeriod


CollectionAlignment = Annotated[
    CollectionAlignmentSubscription | CollectionAlignmentAnchored, Field(discriminator="type")
]


class BillingWorkflowCollectionSettings(V1Model):
    """How usage is collected."""

    alignment: CollectionAlignment = CollectionAlignmentSubscription(type="subscription")
    interval: ISODuration = Field(
        _DEFAULTS.collection_interval,
        description="How long after a period's end usage that is stored late still counts.",
    )


class BillingWorkflowInvoicingSettings(V1Model):
    """How the invoice goes its way."""

    auto_advance: bool = _DEFAULTS.auto_advance
    draft_period: ISODuration = _DEFAULTS.draft_period
    due_after: ISODuration = _DEFAULTS.due_after
    progressive_billing: bool = _DEFAULTS.progressive_billing
    subscription_end_proration_mode: ProrationMode = _DEFAULTS.subscription_end_proration_mode
    default_tax_config: Opt[TaxConfig] = None


class BillingWorkflowPaymentSettings(V1Model):
    """How the invoice is paid."""

    collection_method: CollectionMethod = _DEFAULTS.collection_method


class BillingWorkflowTaxSettings(V1Model):
    """Whether tax is calculated."""

    enabled: bool = _DEFAULTS.tax_enabled
    enforced: bool = _DEFAULTS.tax_enforced


class BillingWorkflow(V1Model):
    """The workflow of an invoice. What a request leaves out has its default."""

    collection: BillingWorkflowCollectionSettings = BillingWorkflowCollectionSettings()
    invoicing: BillingWorkflowInvoicingSettings = BillingWorkflowInvoicingSettings()
    payment: BillingWorkflowPaymentSettings = BillingWorkflowPaymentSettings()
    tax: BillingWorkflowTaxSettings = BillingWorkflowTaxSettings()

    @classmethod
    def of(cls, flow: InvoiceWorkflow) -> "BillingWorkflow":
        """Show a workflow."""
        tax = flow.default_tax_config
        return cls(
            collection=BillingWorkflowCollectionSettings(alignment=_alignment(flow), interval=flow.collection_interval),
            invoicing=BillingWorkflowInvoicingSettings(
                auto_advance=flow.auto_advance,
                draft_period=flow.draft_period,
                due_after=flow.due_after,
                progressive_billing=flow.progressive_billing,
                subscription_end_proration_mode=flow.subscription_end_proration_mode,
                default_tax_config=TaxConfig.of(tax) if tax else None,
            ),
            payment=BillingWorkflowPaymentSettings(collection_method=flow.collection_method),
            tax=BillingWorkflowTaxSettings(enabled=flow.tax_enabled, enforced=flow.tax_enforced),
        )


def _alignment(flow: InvoiceWorkflow) -> CollectionAlignment:
    if flow.collection_anchor is None or flow.collection_ticks is None:
        return CollectionAlignmentSubscription(type="subscription")
    return CollectionAlignmentAnchored(
        type="anchored",
        recurring_period=RecurringPeriod(interval=flow.collection_ticks, anchor=flow.collection_anchor),
    )


class InvoiceWorkflowSettings(V1Model):
    """The workflow of an invoice, copied from the billing profile."""

    apps: Opt[BillingProfileAppReferences] = None
    source_billing_profile_id: str
    workflow: BillingWorkflow


class BillingDiscountPercentage(V1Model):
    """A share off every part of a line."""

    percentage: JSONNumber = Field(description="From 0 to 100; 50 is half off.")
    correlation_id: Opt[Ulid] = Field(None, description="Stays the same through edits and slices.")


class BillingDiscountUsage(V1Model):
    """Units that are free in a service period."""

    quantity: Numeric
    correlation_id: Opt[Ulid] = Field(None, description="Stays the same through edits and slices.")


class BillingDiscounts(V1Model):
    """The discounts of a line."""

    percentage: Opt[BillingDiscountPercentage] = None
    usage: Opt[BillingDiscountUsage] = None

    @classmethod
    def of(cls, discounts: prices.Discounts) -> "BillingDiscounts | None":
        """Show discounts, or None when there are none."""
        return cls.model_validate(discounts) if discounts != prices.Discounts() else None

    def to_value(self) -> prices.Discounts:
        """Read the discounts."""
        percentage, usage = self.percentage, self.usage
        return prices.Discounts(
            percentage=percentage and prices.PercentageDiscount(**percentage.model_dump()),
            usage=usage and prices.UsageDiscount(**usage.model_dump()),
        )


class InvoiceUsageBasedRateCard(V1Model):
    """What a line costs."""

    feature_key: Opt[ResourceKey] = None
    tax_config: Opt[TaxConfig] = None
    price: ratecards.RateCardUsageBasedPrice
    discounts: Opt[BillingDiscounts] = None


def shown_quantity(quantity: Decimal | None, *, unless: Decimal | None) -> Decimal | None:
    """Return `quantity`, or None where it says no more than `unless`."""
    return None if quantity is None or quantity == unless else quantity
