"""v3 schemas of edits of invoices (billing section 8.3)."""

from typing import Annotated, Literal

from pydantic import Field

from meterhouse.api.labels import Labels, metadata_of
from meterhouse.api.v3.customers import Address, BillingCustomerUsageAttribution
from meterhouse.api.v3.invoices.lines import BillingRateCardTaxConfig
from meterhouse.api.v3.invoices.schemas import BillingPartyAddresses, BillingPartyTaxIdentity
from meterhouse.api.v3.prices import BillingPrice, BillingRateCardDiscounts, discounts_of, price_of, shown
from meterhouse.api.v3.references import ClosedPeriod
from meterhouse.api.wire import Description, ExternalKey, Name, Opt, ResourceKey, Ulid, UnsignedDuration, V3Model
from meterhouse.billing.invoices.inputs import InvoiceEdit, LineInput, WorkflowEdit
from meterhouse.billing.invoices.snapshots import Party, PartyAddress
from meterhouse.billing.invoices.views import InvoiceView, LineView
from meterhouse.catalog.prices import FlatPrice, PaymentTerm, Price, TaxConfig
from meterhouse.kernel.errors import invalid
from meterhouse.kernel.money import ZERO
from meterhouse.kernel.periods import Duration


class UpdateSupplier(V3Model):
    """The supplier, replaced as a whole."""

    id: Opt[str] = None
    name: Opt[str] = None
    tax_id: Opt[BillingPartyTaxIdentity] = None
    addresses: Opt[BillingPartyAddresses] = None


class UpdateInvoiceCustomer(V3Model):
    """The customer; only name and billing address are taken."""

    id: Ulid
    name: Name
    key: Opt[ExternalKey] = None
    usage_attribution: Opt[BillingCustomerUsageAttribution] = None
    billing_address: Opt[Address] = None


class UpdateInvoiceWorkflowInvoicingSettings(V3Model):
    """How the invoice goes its way."""

    auto_advance: bool = True
    draft_period: UnsignedDuration = Duration()


class UpdatePaymentChargeAutomatically(V3Model):
    """The app charges the customer."""

    collection_method: Literal["charge_automatically"]


class UpdatePaymentSendInvoice(V3Model):
    """The customer pays the invoice."""

    collection_method: Literal["send_invoice"]
    due_after: UnsignedDuration = Duration(days=30)


class UpdateInvoiceWorkflow(V3Model):
    """The workflow; a part that is left out stays as it is."""

    invoicing: Opt[UpdateInvoiceWorkflowInvoicingSettings] = None
    payment: Opt[
        Annotated[UpdatePaymentChargeAutomatically | UpdatePaymentSendInvoice, Field(discriminator="collection_method")]
    ] = None

    def to_value(self) -> WorkflowEdit:
        """Read the workflow."""
        invoicing, payment = self.invoicing, self.payment
        return WorkflowEdit(
            auto_advance=invoicing.auto_advance if invoicing else None,
            draft_period=invoicing.draft_period if invoicing else None,
            due_after=payment.due_after if isinstance(payment, UpdatePaymentSendInvoice) else None,
            collection_method=payment.collection_method if payment else None,
        )


class UpdateInvoiceWorkflowSettings(V3Model):
    """The workflow of an edited invoice."""

    workflow: UpdateInvoiceWorkflow


class UpdateInvoiceLineRateCard(V3Model):
    """What a line costs."""

    price: BillingPrice
    tax_config: Opt[BillingRateCardTaxConfig] = None
    feature_key: Opt[ResourceKey] = None
    discounts: Opt[BillingRateCardDiscounts] = None


class UpdateInvoiceLine(V3Model):
    """A line of an edited invoice: a known one by its id, or a new one."""

    id: Opt[Ulid] = None
    type: Literal["standard_line"]
    name: Name
    description: Opt[Description] = None
    labels: Opt[Labels] = None
    service_period: ClosedPeriod
    rate_card: UpdateInvoiceLineRateCard

    def to_value(self, known: LineView | None) -> LineInput:
        """Read the line. What v3 has no words for stays as `known` has it."""
        card = self.rate_card
        tax = card.tax_config
        return LineInput(
            id=self.id,
            name=self.name,
            description=self.description,
            metadata=None if self.labels is None else metadata_of(self.labels),
            period=self.service_period.to_value(),
            invoice_at=self.service_period.from_,  # not taken on a draft
            price=_price(card.price, known.origin.price if known else None),
            feature_key=card.feature_key,
            discounts=discounts_of(card.discounts),
            tax_config=TaxConfig(behavior=tax.behavior, tax_code_id=tax.code.id) if tax else None,
        )


def _price(sent: BillingPrice, stored: Price | None) -> Price:
    if stored is not None and shown(stored).price == sent:
        return stored
    if sent.type != "flat":
        return price_of(sent) or FlatPrice(amount=ZERO)  # a free line is refused as one of amount zero
    if sent.amount < 0:
        raise invalid("the amount of a line must not be negative", field="$.lines")
    term = stored.payment_term if isinstance(stored, FlatPrice) else PaymentTerm.IN_ADVANCE
    return FlatPrice(amount=sent.amount, payment_term=term)


class UpdateInvoiceRequest(V3Model):
    """The new state of an invoice. Lines that are left out are removed; without `lines` they stay as they are."""

    type: Literal["standard"]
    description: Opt[Description] = None
    labels: Opt[Labels] = None
    supplier: UpdateSupplier
    customer: UpdateInvoiceCustomer
    workflow: UpdateInvoiceWorkflowSettings
    lines: Opt[list[UpdateInvoiceLine]] = None

    def to_value(self, invoice: InvoiceView) -> InvoiceEdit:
        """Read the edit of `invoice`."""
        known = {line.id: line for line in invoice.lines or ()}
        supplier, addresses, customer = self.supplier, self.supplier.addresses, self.customer
        return InvoiceEdit(
            description=self.description,
            metadata=metadata_of(self.labels or {}),
            supplier=Party(
                name=supplier.name or "",
                tax_id=supplier.tax_id.code if supplier.tax_id else None,
                address=_address(addresses.billing_address) if addresses else None,
            ),
            customer=Party(
                name=customer.name, tax_id=invoice.customer.tax_id, address=_address(customer.billing_address)
            ),
            workflow=self.workflow.workflow.to_value(),
            lines=None if self.lines is None else [line.to_value(known.get(line.id or "")) for line in self.lines],
        )


def _address(address: Address | None) -> PartyAddress | None:
    return PartyAddress(**address.model_dump()) if address else None
