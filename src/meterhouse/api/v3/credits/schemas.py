"""Wire schemas of customer credit in v3."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from meterhouse.api.labels import Labels, ShownLabels, labels_of, metadata_of
from meterhouse.api.wire import (
    CurrencyCode,
    Description,
    ExternalKey,
    Instant,
    Name,
    Numeric,
    Opt,
    ResourceKey,
    Ulid,
    UnsignedDuration,
    V3Model,
)
from meterhouse.credits import grants
from meterhouse.credits.balances import Balance
from meterhouse.credits.grants import FundingMethod, Grant, GrantStatus, NewGrant, SettlementStatus
from meterhouse.credits.transactions import Transaction, TransactionType

# The contract's own default, which differs from the ledger's.
DEFAULT_PRIORITY = 10
MAX_PRIORITY = 1000

TaxBehavior = Literal["inclusive", "exclusive"]
Priority = Annotated[int, Field(ge=1, le=MAX_PRIORITY, description="What is used first: the lowest number.")]


class ResourceReference(V3Model):
    """Names another resource."""

    id: Ulid


class CreateCreditGrantTaxConfig(V3Model):
    """How a grant is taxed."""

    behavior: Opt[TaxBehavior] = Field(None, description="Whether prices include the tax.")
    tax_code: Opt[ResourceReference] = None


class CreateCreditGrantFilters(V3Model):
    """What a grant may be used for."""

    features: Opt[list[ResourceKey]] = Field(None, description="Keys of features; all features when left out.")


class CreateCreditGrantPurchase(V3Model):
    """What is paid for a grant."""

    currency: CurrencyCode = Field(description="Must be the currency of the grant.")
    per_unit_cost_basis: Annotated[Numeric, Field(description="Money paid per unit of credit.")] = Decimal("1.0")
    availability_policy: Literal["on_creation"] = Field("on_creation", description="When the credit can be used.")


class CreateCreditGrantRequest(V3Model):
    """A grant to make."""

    name: Name
    description: Opt[Description] = None
    labels: Opt[Labels] = None
    funding_method: FundingMethod = Field(
        description="How the grant is paid: `none` is a gift, `external` is settled by you. `invoice`, paid by an "
        "invoice, is not offered yet and answers 501."
    )
    currency: Annotated[str, Field(min_length=3, max_length=24, description="An ISO 4217 code.")]
    amount: Numeric = Field(description="Rounded to the minor unit of the currency.")
    purchase: Opt[CreateCreditGrantPurchase] = None
    tax_config: Opt[CreateCreditGrantTaxConfig] = None
    filters: Opt[CreateCreditGrantFilters] = None
    priority: Priority = DEFAULT_PRIORITY
    effective_at: Opt[Instant] = Field(None, description="From when the credit counts; now when left out.")
    expires_after: Opt[UnsignedDuration] = Field(
        None, description="How long it counts from then; for ever when left out."
    )
    key: Opt[ExternalKey] = Field(
        None, description="Guards against making a grant twice: unique among the customer's grants."
    )

    def to_value(self, customer_id: str) -> NewGrant:
        """Read the grant."""
        tax = self.tax_config or CreateCreditGrantTaxConfig()
        paid = self.purchase
        return NewGrant(
            customer_id=customer_id,
            name=self.name,
            funding_method=self.funding_method,
            currency=self.currency,
            amount=self.amount,
            purchase=grants.Purchase(paid.currency, paid.per_unit_cost_basis) if paid else None,
            description=self.description,
            labels=metadata_of(self.labels),
            tax_code_id=tax.tax_code.id if tax.tax_code else None,
            tax_behavior=tax.behavior,
            features=tuple(self.filters.features or ()) if self.filters else (),
            priority=self.priority,
            effective_at=self.effective_at,
            expires_after=self.expires_after,
            key=self.key,
        )


class CreditGrantTaxConfig(V3Model):
    """How a grant is taxed."""

    behavior: Opt[TaxBehavior] = None
    tax_code: Opt[ResourceReference] = None


class CreditGrantFilters(V3Model):
    """What a grant may be used for."""

    features: Opt[list[ResourceKey]] = None


class CreditGrantPurchase(V3Model):
    """What is paid for a grant."""

    currency: CurrencyCode
    per_unit_cost_basis: Numeric = Field(description="Money paid per unit of credit.")
    amount: Numeric = Field(description="What the whole grant costs.")
    availability_policy: Literal["on_creation"] = "on_creation"
    settlement_status: SettlementStatus = Field(description="How far the payment is.")


class CreditGrantInvoiceLine(V3Model):
    """The line a grant is paid by."""

    id: Ulid


class CreditGrantInvoiceReference(V3Model):
    """The invoice a grant is paid by."""

    id: Opt[Ulid] = None
    line: Opt[CreditGrantInvoiceLine] = None


class BillingCreditGrant(V3Model):
    """Credit given to a customer."""

    id: Ulid
    name: str
    description: Opt[str] = None
    labels: ShownLabels
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    funding_method: FundingMethod
    currency: str
    amount: Numeric
    purchase: Opt[CreditGrantPurchase] = None
    tax_config: Opt[CreditGrantTaxConfig] = None
    invoice: Opt[CreditGrantInvoiceReference] = None
    filters: Opt[CreditGrantFilters] = None
    priority: int
    effective_at: Opt[Instant] = Field(None, description="As it was asked for.")
    key: Opt[str] = None
    expires_at: Opt[Instant] = None
    voided_at: Opt[Instant] = None
    status: GrantStatus

    @classmethod
    def of(cls, grant: Grant) -> "BillingCreditGrant":
        """Show a grant."""
        purchase = None
        if grant.purchase and grant.purchase_amount is not None and grant.settlement_status:
            purchase = CreditGrantPurchase(
                currency=grant.purchase.currency,
                per_unit_cost_basis=grant.purchase.per_unit_cost_basis,
                amount=grant.purchase_amount,
                settlement_status=grant.settlement_status,
            )
        return cls(
            id=grant.id,
            name=grant.name,
            description=grant.description,
            labels=labels_of(grant.labels),
            created_at=grant.created_at,
            updated_at=grant.updated_at,
            deleted_at=grant.deleted_at,
            funding_method=grant.funding_method,
            currency=grant.currency,
            amount=grant.amount,
            purchase=purchase,
            tax_config=CreditGrantTaxConfig(
                behavior=_behavior(grant.tax_behavior), tax_code=ResourceReference(id=grant.tax_code_id)
            ),
            filters=CreditGrantFilters(features=list(grant.features)) if grant.features else None,
            priority=grant.priority,
            effective_at=grant.effective_at,
            key=grant.key,
            expires_at=grant.expires_at,
            voided_at=grant.voided_at,
            status=grant.status,
        )


def _behavior(text: str | None) -> TaxBehavior | None:
    return "inclusive" if text == "inclusive" else "exclusive" if text == "exclusive" else None


class UpdateCreditGrantExternalSettlementRequest(V3Model):
    """How far an external payment is."""

    status: SettlementStatus


class VoidCreditGrantRequest(V3Model):
    """How to void a grant."""

    # Checked by hand, because the refusal has a code of its own.
    payment_adjustment: Annotated[
        str,
        WithJsonSchema({"type": "string", "enum": ["none"], "description": "What happens to the payment: nothing."}),
    ] = "none"


class CreditBalance(V3Model):
    """The balance of one currency."""

    currency: str
    live: Numeric = Field(description="Settled, less what unfinished charges will take; 0 for a past instant.")
    settled: Numeric = Field(description="Credit less advances; negative when more was advanced than there is.")
    pending: Numeric = Field(description="Credit that was granted and does not count yet.")

    @classmethod
    def of(cls, balance: Balance) -> "CreditBalance":
        """Show a balance."""
        return cls(currency=balance.currency, live=balance.live, settled=balance.settled, pending=balance.pending)


class BillingCreditBalances(V3Model):
    """A customer's balances."""

    retrieved_at: Instant = Field(description="The instant the balances are of.")
    balances: list[CreditBalance]

    @classmethod
    def of(cls, at: datetime, balances: Sequence[Balance]) -> "BillingCreditBalances":
        """Show balances of an instant."""
        return cls(retrieved_at=at, balances=[CreditBalance.of(one) for one in balances])


class AvailableBalance(V3Model):
    """The settled balance around a transaction, in its currency."""

    before: Numeric
    after: Numeric


class BillingCreditTransaction(V3Model):
    """One change of a customer's credit."""

    id: Ulid
    name: str
    description: Opt[str] = None
    labels: ShownLabels
    created_at: Instant
    booked_at: Instant = Field(description="When it counts.")
    type: TransactionType
    currency: str
    amount: Numeric = Field(description="Signed. Credit given back is a consumption above zero.")
    available_balance: AvailableBalance

    @classmethod
    def of(cls, one: Transaction) -> "BillingCreditTransaction":
        """Show a transaction."""
        return cls(
            id=one.id,
            name=one.name,
            description=one.description,
            labels=dict(one.labels),
            created_at=one.created_at,
            booked_at=one.booked_at,
            type=one.type,
            currency=one.currency,
            amount=one.amount,
            available_balance=AvailableBalance(before=one.before, after=one.after),
        )


class CursorMetaPage(V3Model):
    """Where a page stands; cursors are opaque."""

    size: int
    next: str | None
    previous: str | None
    first: Opt[str] = None
    last: Opt[str] = None


class CursorMeta(V3Model):
    """Facts about the answer."""

    page: CursorMetaPage


class CreditTransactionPage(V3Model):
    """A page of transactions, newest first."""

    data: list[BillingCreditTransaction]
    meta: CursorMeta


class CreateCreditAdjustmentRequest(V3Model):
    """A correction of a balance by hand."""

    name: Name
    description: Opt[Description] = None
    labels: Opt[Labels] = None
    currency: Annotated[str, Field(min_length=3, max_length=24)]
    amount: Numeric


class BillingCreditAdjustment(V3Model):
    """A correction of a balance by hand."""

    name: str
    description: Opt[str] = None
    labels: Opt[ShownLabels] = None
