"""v1 schemas of lines and invoices as callers send them."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from meterhouse.api.v1.address import Address
from meterhouse.api.v1.billing.lines import InvoiceLine
from meterhouse.api.v1.billing.parts import BillingPartyTaxIdentity, InvoiceUsageBasedRateCard
from meterhouse.api.v1.billing.schemas import Invoice
from meterhouse.api.v1.ratecards import RateCardUsageBasedPrice, TaxConfig, price_value
from meterhouse.api.v1.subscription_schemas import Period
from meterhouse.api.wire import (
    CurrencyCode,
    Description,
    Instant,
    ISODuration,
    JSONNumber,
    Name,
    ResourceKey,
    Ulid,
    V1Model,
)
from meterhouse.billing.invoices.inputs import InvoiceEdit, LineInput, WorkflowEdit
from meterhouse.billing.invoices.snapshots import Party, PartyAddress
from meterhouse.billing.invoices.views import PendingLines
from meterhouse.billing.profiles.values import CollectionMethod, ProrationMode
from meterhouse.catalog import prices
from meterhouse.kernel import periods
from meterhouse.kernel.errors import invalid


class InvoicePendingLineCreate(V1Model):
    """A line to bill later. What it costs stands in `rateCard`; the members beside it are the older form."""

    name: Name
    description: Description | None = None
    metadata: dict[str, str] | None = None
    tax_config: TaxConfig | None = None
    period: Period
    invoice_at: Annotated[Instant, Field(description="When the line is due.")]
    price: RateCardUsageBasedPrice | None = None
    feature_key: ResourceKey | None = None
    rate_card: InvoiceUsageBasedRateCard | None = None

    def to_value(self) -> LineInput:
        """Read the line.

        Raises:
            InvalidInput: there is no price.
        """
        card = self.rate_card
        price = card.price if card else self.price
        if price is None:
            raise invalid("a line needs a price", field="$.rateCard.price")
        tax = (card.tax_config if card else None) or self.tax_config
        return LineInput(
            name=self.name,
            description=self.description,
            metadata=self.metadata,
            period=periods.Period(self.period.from_, self.period.to),
            invoice_at=self.invoice_at,
            price=price_value(price),
            feature_key=(card.feature_key if card else None) or self.feature_key,
            discounts=card.discounts.to_value() if card and card.discounts else prices.Discounts(),
            tax_config=tax.to_value() if tax else None,
        )


class InvoicePendingLineCreateInput(V1Model):
    """Lines of one currency to bill later."""

    currency: CurrencyCode
    lines: list[InvoicePendingLineCreate]


class InvoicePendingLineCreateResponse(V1Model):
    """The lines as stored, in the order they were sent."""

    lines: list[InvoiceLine]
    invoice: Annotated[Invoice, Field(description="The gathering invoice, not priced.")]
    is_invoice_new: Annotated[bool, Field(description="Whether this is the customer's first line in the currency.")]

    @classmethod
    def of(cls, pending: PendingLines) -> "InvoicePendingLineCreateResponse":
        """Show pending lines."""
        return cls(
            lines=[InvoiceLine.of(pending.invoice, line) for line in pending.lines],
            invoice=Invoice.of(pending.invoice),
            is_invoice_new=pending.is_invoice_new,
        )


class InvoiceLineReplaceUpdate(InvoicePendingLineCreate):
    """A line of an edited invoice: a known one by its id, or a new one."""

    id: str | None = None

    def to_value(self) -> LineInput:
        """Read the line."""
        return replace(super().to_value(), id=self.id or None)


class BillingPartyReplaceUpdate(V1Model):
    """A party of an edited invoice."""

    key: str | None = None
    name: str | None = None
    tax_id: BillingPartyTaxIdentity | None = None
    addresses: Annotated[list[Address] | None, Field(max_length=1)] = None

    def to_value(self) -> Party:
        """Read the party."""
        address = PartyAddress(**self.addresses[0].model_dump()) if self.addresses else None
        return Party(
            key=self.key, name=self.name or "", tax_id=self.tax_id.code if self.tax_id else None, address=address
        )


class InvoiceWorkflowInvoicingSettingsReplaceUpdate(V1Model):
    """How an edited invoice goes its way; what is left out stays as it is."""

    auto_advance: bool | None = None
    draft_period: ISODuration | None = None
    due_after: ISODuration | None = None
    subscription_end_proration_mode: ProrationMode | None = None
    default_tax_config: TaxConfig | None = None


class InvoiceWorkflowPaymentSettingsReplaceUpdate(V1Model):
    """How an edited invoice is paid."""

    collection_method: CollectionMethod | None = None


class InvoiceWorkflowSettingsReplaceUpdate(V1Model):
    """The workflow of an edited invoice."""

    invoicing: InvoiceWorkflowInvoicingSettingsReplaceUpdate
    payment: InvoiceWorkflowPaymentSettingsReplaceUpdate


class InvoiceWorkflowReplaceUpdate(V1Model):
    """The workflow of an edited invoice."""

    workflow: InvoiceWorkflowSettingsReplaceUpdate

    def to_value(self) -> WorkflowEdit:
        """Read the workflow."""
        invoicing = self.workflow.invoicing
        return WorkflowEdit(
            auto_advance=invoicing.auto_advance,
            draft_period=invoicing.draft_period,
            due_after=invoicing.due_after,
            collection_method=self.workflow.payment.collection_method,
        )


class InvoiceReplaceUpdate(V1Model):
    """The new state of an invoice. Of a gathering invoice only the lines are taken."""

    description: str | None = None
    metadata: dict[str, str] | None = None
    supplier: BillingPartyReplaceUpdate
    customer: BillingPartyReplaceUpdate
    lines: list[InvoiceLineReplaceUpdate]
    workflow: InvoiceWorkflowReplaceUpdate

    def to_value(self) -> InvoiceEdit:
        """Read the edit."""
        return InvoiceEdit(
            description=self.description,
            metadata=self.metadata or {},
            supplier=self.supplier.to_value(),
            customer=self.customer.to_value(),
            workflow=self.workflow.to_value(),
            lines=[line.to_value() for line in self.lines],
        )


class VoidInvoiceLineDiscardAction(V1Model):
    """Forget the amount."""

    type: Literal["discard"]


class VoidInvoiceLinePendingAction(V1Model):
    """Bill the amount again later."""

    type: Literal["pending"]
    next_invoice_at: Instant | None = None


VoidInvoiceLineAction = Annotated[
    VoidInvoiceLineDiscardAction | VoidInvoiceLinePendingAction, Field(discriminator="type")
]


class VoidInvoiceAction(V1Model):
    """What becomes of a share of the lines."""

    percentage: JSONNumber
    action: VoidInvoiceLineAction


class VoidInvoiceActionLineOverride(V1Model):
    """What becomes of one line instead."""

    line_id: Ulid
    action: VoidInvoiceAction


class VoidInvoiceActionInput(V1Model):
    """How to take an issued invoice back."""

    action: VoidInvoiceAction
    reason: str
    overrides: list[VoidInvoiceActionLineOverride] | None = None
