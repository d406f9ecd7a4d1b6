"""What callers send to make pending lines and to edit invoices, and how a line is compared with what is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, Protocol

from meterhouse.billing.charges.creation import with_same_ids
from meterhouse.billing.charges.edits import LineEdit
from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.views import Charge
from meterhouse.billing.errors import BillingError
from meterhouse.billing.invoices.models import InvoiceLineRow
from meterhouse.billing.invoices.snapshots import Party
from meterhouse.billing.ports import LineEngine, LineRef
from meterhouse.catalog import taxcodes
from meterhouse.catalog.prices import Discounts, FlatPrice, PaymentTerm, Price, SettlementMode, TaxConfig
from meterhouse.kernel.clock import whole_seconds
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import invalid
from meterhouse.kernel.money import is_fiat, round_money
from meterhouse.kernel.periods import Duration, Period


class ChargeEngine(LineEngine, Protocol):
    """A line engine that also makes and edits the charges of lines typed in by hand (`billing.charges.Charges`)."""

    async def create(
        self, session: WriteSession, intents: Sequence[ChargeIntent], *, gathering_lines: bool = True
    ) -> list[Charge]:
        """Make charges, with their gathering lines unless they are for a draft."""
        ...

    async def edit_line(self, session: WriteSession, line: LineRef, edit: LineEdit) -> None:
        """Write a user's edit into the charge."""
        ...


@dataclass(frozen=True, slots=True)
class LineInput:
    """A line as a caller sends it. `metadata` None keeps what a known line has; `id` None makes a new line."""

    name: str
    period: Period
    invoice_at: datetime
    price: Price
    id: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] | None = None
    feature_key: str | None = None
    discounts: Discounts = Discounts()  # noqa: RUF009 - immutable
    tax_config: TaxConfig | None = None

    def in_whole_seconds(self) -> "LineInput":
        """Return the line with all instants cut to whole seconds."""
        return replace(self, period=self.period.whole_seconds(), invoice_at=whole_seconds(self.invoice_at))


@dataclass(frozen=True, slots=True)
class WorkflowEdit:
    """The part of an invoice's workflow that can be edited; None keeps the invoice's own value (billing section 12)."""

    auto_advance: bool | None = None
    draft_period: Duration | None = None
    due_after: Duration | None = None
    collection_method: Literal["charge_automatically", "send_invoice"] | None = None


@dataclass(frozen=True, slots=True)
class InvoiceEdit:
    """A full replacement of what can be edited; `lines` None leaves the lines alone.

    Of the parties only name, key, address and tax id are taken.
    """

    description: str | None
    metadata: Mapping[str, str]
    supplier: Party
    customer: Party
    workflow: WorkflowEdit
    lines: Sequence[LineInput] | None


def intent_of(
    line: LineInput, *, namespace: str, customer_id: str, currency: str, default_tax: TaxConfig | None = None
) -> ChargeIntent:
    """Return the charge behind a line typed in by hand: its three periods are the line's (billing section 5.1).

    Raises:
        BillingError: a flat amount of zero, `invoice_line_zero_amount_create`.
        InvalidInput: the period does not end after its start.
    """
    if line.period.is_empty():
        raise invalid("the period must end after it starts", field="$.period")
    # What is less than half a minor unit is charged as nothing. Other currencies are refused with the charge.
    if isinstance(line.price, FlatPrice) and is_fiat(currency) and round_money(line.price.amount, currency) == 0:
        raise BillingError("invoice_line_zero_amount_create", "a line of amount zero cannot be created")
    return ChargeIntent(
        namespace=namespace,
        customer_id=customer_id,
        currency=currency,
        managed_by="manual",
        settlement_mode=SettlementMode.CREDIT_THEN_INVOICE,
        name=line.name,
        description=line.description,
        metadata=dict(line.metadata or {}),
        price=line.price,
        service_period=line.period,
        full_service_period=line.period,
        billing_period=line.period,
        invoice_at=line.invoice_at,
        feature_key=line.feature_key,
        discounts=line.discounts,
        tax_config=taxcodes.merged(default_tax, line.tax_config),
    )


def on_a_draft(line: LineInput) -> LineInput:
    """Return a new line of a draft: what is sent as its invoicing moment is ignored (billing section 8.1)."""
    in_advance = isinstance(line.price, FlatPrice) and line.price.payment_term is PaymentTerm.IN_ADVANCE
    return replace(line, invoice_at=line.period.start if in_advance else line.period.end)


async def is_edited(session: WriteSession, row: InvoiceLineRow, line: LineInput, *, pending: bool) -> bool:
    """Tell whether a line was sent back other than it was read; `invoice_at` counts for pending lines only."""
    same = (
        line.name == row.name
        and (line.description or None) == (row.description or None)
        and (line.metadata is None or dict(line.metadata) == row.labels)
        and line.period == Period(row.period_start, row.period_end)
        and line.price == row.price
        and line.feature_key == row.feature_key
        and with_same_ids(line.discounts, row.discounts) == row.discounts
        and (not pending or line.invoice_at == row.invoice_at)
    )
    return not same or await tax_differs(session, row, line)


async def tax_differs(session: WriteSession, row: InvoiceLineRow, line: LineInput) -> bool:
    """Compare tax by behaviour and tax code, both sides resolved (billing section 8.1)."""
    sent = await _resolved_tax(session, row.namespace, line.tax_config)
    return sent != await _resolved_tax(session, row.namespace, row.tax_config)


async def _resolved_tax(
    session: WriteSession, namespace: str, config: TaxConfig | None
) -> tuple[str | None, str | None]:
    config = config or TaxConfig()
    if config.tax_code_id is None and config.stripe_code is not None:
        config = await taxcodes.resolved(session, namespace, config)
    return config.behavior, config.tax_code_id or await taxcodes.default_invoicing(session, namespace)
