"""Where charges and invoices meet: the values both sides speak, and the two interfaces between them.

Invoices hold lines; what a line is worth is the charge's business. Invoices call a `LineEngine` (implemented by
charges) at each step of a line's life; charges call the `InvoiceBook` (implemented by invoices) when a change of a
charge moves its lines. Both run inside the caller's transaction and under the customer's billing lock. Every line is
the projection of a charge (charges section 7).
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal, Protocol

from meterhouse.billing.rating.results import DetailedLine, Totals, UsageDiscountApplied
from meterhouse.catalog.prices import Discounts, Price, TaxConfig, UnitConversion
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.periods import Period


@dataclass(frozen=True, slots=True)
class SubscriptionReference:
    """Where a charge comes from."""

    subscription_id: str
    phase_id: str
    item_id: str


@dataclass(frozen=True, slots=True)
class LineOrigin:
    """The part of a charge that its lines show. A line's own period may be shorter than the charge's."""

    charge_id: str
    engine: Literal["charge_usagebased", "charge_flatfee"]
    name: str
    description: str | None
    metadata: Mapping[str, str]
    managed_by: Literal["subscription", "manual", "system"]
    price: Price
    feature_key: str | None
    discounts: Discounts
    unit_conversion: UnitConversion | None
    tax_config: TaxConfig | None
    subscription: SubscriptionReference | None
    unique_reference_id: str | None


@dataclass(frozen=True, slots=True)
class LineRef:
    """A line as the engine needs to see it. `invoice_id` is the gathering or standard invoice that holds it."""

    namespace: str
    customer_id: str
    currency: str
    invoice_id: str
    line_id: str
    charge_id: str
    period: Period
    invoice_at: datetime


class NotBillable(StrEnum):
    """Why a pending line cannot be invoiced yet (subscription-sync section 9.6)."""

    PERIOD_NOT_OVER = "period_not_over"
    INVOICE_AT_IN_FUTURE = "invoice_at_in_future"
    PROGRESSIVE_BILLING_DISABLED = "progressive_billing_disabled"
    METER_NOT_PROGRESSIVE = "meter_not_progressive"
    VOLUME_PRICE = "volume_price"
    DRAFT_INVOICE_OPEN = "draft_invoice_open"


@dataclass(frozen=True, slots=True)
class Billability:
    """What part of a pending line can be billed: `period` when something can, else `reason` and from when."""

    period: Period | None
    reason: NotBillable | None = None
    next_billable_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CreditApplied:
    """Credit taken from the ledger for a line: the allocation and how much of it (> 0)."""

    allocation_id: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class LineProjection:
    """A charge's run as an invoice line shows it (rating sections 1 and 10).

    Attributes:
        period: the days that are billed. They move when those of a fee on a draft do.
        quantity, pre_line_quantity: units of this line's period after conversion and usage discount, and units before
            it. None for a flat line's pre-line quantity.
        metered_quantity, metered_pre_line_quantity: the same as the meter counted them. None for flat lines.
        collection_closes_at: when the wait for late usage ends; None where nothing is waited for.
        details: in display order, credits included.
    """

    run_id: str | None
    period: Period
    quantity: Decimal
    pre_line_quantity: Decimal | None
    metered_quantity: Decimal | None
    metered_pre_line_quantity: Decimal | None
    usage_discount: UsageDiscountApplied | None
    details: Sequence[DetailedLine]
    totals: Totals
    credits_applied: Sequence[CreditApplied] = ()
    collection_closes_at: datetime | None = None
    warnings: Sequence[str] = field(default_factory=tuple)


class LineEngine(Protocol):
    """What invoices ask of charges. One engine object serves all charge types."""

    async def billability(
        self, session: ReadSession, line: LineRef, *, as_of: datetime, progressive: bool
    ) -> Billability:
        """Tell which part of a gathering line can be billed as of `as_of` (whole seconds; rating section 8)."""
        ...

    async def origin(self, session: ReadSession, charge_id: str) -> LineOrigin:
        """Return what the charge's lines show, from its effective intent."""
        ...

    async def preview(self, session: ReadSession, line: LineRef) -> LineProjection:
        """Rate a gathering line with usage up to now. Takes no credits and stores nothing."""
        ...

    async def invoice_created(self, session: WriteSession, line: LineRef) -> LineProjection:
        """Start a run for a line that moved to a standard invoice: rate it and take the credits there are.

        Raises:
            BillingError: code `active_realization_run_already_exists` while an earlier run is open.
        """
        ...

    async def collection_completed(self, session: WriteSession, line: LineRef) -> LineProjection:
        """Read the usage again, rate, and reconcile the credits taken."""
        ...

    async def projection(self, session: ReadSession, line: LineRef) -> LineProjection:
        """Return the line's run as it stands, without reading the meter again."""
        ...

    async def invoice_issued(self, session: WriteSession, line: LineRef) -> None:
        """Book the line's rest in the ledger and seal the run."""
        ...

    async def payment_authorized(self, session: WriteSession, line: LineRef) -> None:
        """Book that the payment of the line was authorised."""
        ...

    async def payment_settled(self, session: WriteSession, line: LineRef) -> None:
        """Book that the payment of the line arrived; authorises first where that has not happened."""
        ...

    async def line_removed(self, session: WriteSession, line: LineRef, *, by_user: bool) -> None:
        """A mutable standard line is gone: give its credits back and drop its run.

        `by_user` deletes the charge in the user's layer as well (billing section 6.4).
        """
        ...


class InvoiceBook(Protocol):
    """What charges ask of invoices."""

    def gathering_lines_together(self, session: WriteSession) -> AbstractAsyncContextManager[None]:
        """Bring gathering invoices in line with their lines once, at the end: for whoever writes many lines."""
        ...

    async def upsert_gathering_line(
        self,
        session: WriteSession,
        *,
        namespace: str,
        customer_id: str,
        currency: str,
        charge_id: str,
        period: Period,
        invoice_at: datetime,
    ) -> str:
        """Make the charge's one gathering line cover `period`, making or reviving what is missing; return its id."""
        ...

    async def delete_gathering_line(self, session: WriteSession, *, namespace: str, charge_id: str) -> None:
        """Remove the charge's gathering line, if there is one."""
        ...

    async def delete_standard_line(self, session: WriteSession, *, namespace: str, line_id: str) -> bool:
        """Remove a line for the system: True when done; False when its invoice is immutable, where nothing changes.

        The engine's `line_removed` is not called: the charge that asks does its own clean-up.
        """
        ...

    async def note_end_of_line(
        self, session: WriteSession, *, namespace: str, line_id: str, until: datetime | None
    ) -> None:
        """Say on an immutable invoice whether its line bills days that nobody has: after `until`; all where it is None.

        While it does, the invoice has a warning `immutable_invoice_handling_not_supported`.
        """
        ...

    async def refresh_standard_line(self, session: WriteSession, *, namespace: str, line_id: str) -> None:
        """Read the line's origin and projection again, after its charge changed."""
        ...


@dataclass(frozen=True, slots=True)
class AppRef:
    """An installed invoicing app."""

    id: str
    type: Literal["sandbox", "stripe", "custom_invoicing"]
    name: str


class AppRegistry(Protocol):
    """Which invoicing apps a namespace has; implemented by `meterhouse.apps`."""

    async def provision_sandbox(self, session: WriteSession, namespace: str) -> AppRef:
        """Return the namespace's sandbox app, installing it when there is none. Safe to call at any time."""
        ...

    async def find(self, session: ReadSession, namespace: str, app_id: str) -> AppRef | None:
        """Return an app that is installed, None for an unknown or uninstalled one."""
        ...
