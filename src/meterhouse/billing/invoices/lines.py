"""Carrying what a charge shows over to its line, with detailed lines that keep their ids (rating section 11)."""

from collections.abc import Sequence

from meterhouse.billing.invoices import repository
from meterhouse.billing.invoices.models import InvoiceDetailedLineRow, InvoiceLineRow, InvoiceRow
from meterhouse.billing.ports import LineOrigin, LineProjection, LineRef
from meterhouse.billing.rating.results import DetailedLine
from meterhouse.catalog.prices import TaxConfig
from meterhouse.catalog.taxcodes import merged
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.periods import Period


def ref_of(invoice: InvoiceRow, line: InvoiceLineRow) -> LineRef:
    """Return the line as its engine needs to see it."""
    return LineRef(
        namespace=line.namespace,
        customer_id=invoice.customer_id,
        currency=invoice.currency,
        invoice_id=invoice.id,
        line_id=line.id,
        charge_id=line.charge_id,
        period=Period(line.period_start, line.period_end),
        invoice_at=line.invoice_at,
    )


def default_tax_of(invoice: InvoiceRow) -> TaxConfig | None:
    """Return the tax of lines that say nothing of it, as it was when the invoice was made."""
    return invoice.workflow.default_tax_config if invoice.workflow else None


def show_origin(line: InvoiceLineRow, origin: LineOrigin, default_tax: TaxConfig | None) -> None:
    """Put onto the line what its charge is."""
    line.engine = origin.engine
    line.managed_by = origin.managed_by
    line.name = origin.name
    line.description = origin.description
    line.labels = dict(origin.metadata)
    line.price = origin.price
    line.feature_key = origin.feature_key
    line.discounts = origin.discounts
    line.unit_conversion = origin.unit_conversion
    line.tax_config = merged(default_tax, origin.tax_config)
    line.subscription = origin.subscription
    line.unique_reference_id = origin.unique_reference_id


async def show_projection(session: WriteSession, line: InvoiceLineRow, projection: LineProjection) -> None:
    """Put onto the line, and beneath it, which days its run bills and what it is worth."""
    line.run_id = projection.run_id
    line.period_start, line.period_end = projection.period.start, projection.period.end
    line.quantity = projection.quantity
    line.pre_line_quantity = projection.pre_line_quantity
    line.metered_quantity = projection.metered_quantity
    line.metered_pre_line_quantity = projection.metered_pre_line_quantity
    line.usage_discount = projection.usage_discount
    line.credits_applied = tuple(projection.credits_applied)
    line.collection_closes_at = projection.collection_closes_at
    line.set_totals(projection.totals)
    await session.flush()
    await _store_details(session, line, projection.details)


async def _store_details(session: WriteSession, line: InvoiceLineRow, details: Sequence[DetailedLine]) -> None:
    rows = {row.child_ref: row for row in await repository.details(session, [line.id])}
    full_start = line.period_start
    if any(detail.covers_full_period for detail in details):
        full_start = await repository.first_period_start(session, line.namespace, line.charge_id)
    for position, detail in enumerate(details):
        row = rows.pop(detail.child_ref, None)
        if row is None:
            row = InvoiceDetailedLineRow(line_id=line.id, child_ref=detail.child_ref, discount_ids={})
            session.add(row)
        row.position = position
        row.name = detail.name
        row.category = detail.category
        row.payment_term = detail.payment_term.value
        row.covers_full_period = detail.covers_full_period
        row.quantity = detail.quantity
        row.unit_amount = detail.unit_amount
        row.discounts = detail.discounts
        row.discount_ids = {
            each.child_ref: row.discount_ids.get(each.child_ref) or new_id() for each in detail.discounts
        }
        row.credits = detail.credits
        row.period_start = full_start if detail.covers_full_period else line.period_start
        row.period_end = line.period_end
        row.set_totals(detail.totals)
    for vanished in rows.values():
        vanished.deleted_at = clock.now()
    await session.flush()
