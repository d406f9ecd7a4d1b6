"""Lines typed in by hand, and edits of invoices by full replacement (billing sections 5.1 and 8)."""

from collections.abc import Mapping, Sequence
from typing import Any

from meterhouse.billing.charges.creation import with_same_ids
from meterhouse.billing.charges.edits import LineEdit
from meterhouse.billing.errors import BillingError
from meterhouse.billing.invoices import repository
from meterhouse.billing.invoices.gathering import Gathering
from meterhouse.billing.invoices.inputs import (
    ChargeEngine,
    InvoiceEdit,
    LineInput,
    WorkflowEdit,
    intent_of,
    is_edited,
    on_a_draft,
    tax_differs,
)
from meterhouse.billing.invoices.lines import default_tax_of, ref_of, show_origin, show_projection
from meterhouse.billing.invoices.machine import Machine, not_available
from meterhouse.billing.invoices.models import GATHERING, STANDARD, InvoiceLineRow, InvoiceRow
from meterhouse.billing.invoices.selection import NOT_BILLABLE
from meterhouse.billing.invoices.snapshots import InvoiceWorkflow, Party
from meterhouse.billing.invoices.states import State, Trigger, defined
from meterhouse.catalog.prices import FlatPrice
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import invalid
from meterhouse.kernel.ids import new_id


class Editing:
    """Changes that users make to lines. The caller holds the customer's lock; a refusal must end the transaction."""

    def __init__(self, engine: ChargeEngine, gathering: Gathering, machine: Machine) -> None:
        self._engine = engine
        self._gathering = gathering
        self._machine = machine

    async def edit_draft(self, session: WriteSession, invoice: InvoiceRow, edit: InvoiceEdit) -> None:
        """Replace what a draft shows, and advance it.

        Raises:
            BillingError: the state does not permit it, or a line does not (billing section 8.1).
        """
        state = State(invoice.status)
        if not defined(state, Trigger.UPDATED) or invoice.workflow is None:
            raise not_available("edit", state)
        invoice.description, invoice.labels = edit.description, dict(edit.metadata)
        invoice.supplier = _party(invoice.supplier, edit.supplier)
        invoice.customer = _party(invoice.customer, edit.customer)
        invoice.workflow = _workflow(invoice.workflow, edit.workflow)
        if not invoice.supplier.name or invoice.supplier.address is None or not invoice.supplier.address.country:
            raise invalid("supplier name and the country of its address are required", field="$.supplier")
        # While its lines change, the charges see a draft that still waits for its usage.
        invoice.status = State.DRAFT_WAITING_FOR_COLLECTION.value
        await session.flush()
        if edit.lines is not None:
            await self._replace_lines(session, invoice, edit.lines)
        await self._machine.enter(session, invoice, State.DRAFT_UPDATING)
        await self._machine.advance(session, invoice)

    async def edit_gathering(self, session: WriteSession, invoice: InvoiceRow, lines: Sequence[LineInput]) -> None:
        """Replace the pending lines of a customer and currency.

        Raises:
            BillingError: a line does not permit it, or would not be billable at its own moment.
        """
        await self._replace_lines(session, invoice, lines)
        await session.flush()
        await self._gathering.recalculate(session, await repository.reloaded(session, invoice.namespace, invoice.id))
        for row in await repository.lines(session, [invoice.id]):
            part = await self._engine.billability(
                session, ref_of(invoice, row), as_of=row.invoice_at, progressive=False
            )
            if part.period is None:
                raise BillingError(NOT_BILLABLE, f"line {row.id} cannot be billed at its own moment")

    async def delete_gathering(self, session: WriteSession, invoice: InvoiceRow) -> None:
        """Remove all pending lines, and the invoice with them.

        Raises:
            BillingError: `cannot_update_charge_managed_line`, one of them is metered.
        """
        rows = await repository.lines(session, [invoice.id])
        if any(row.engine == "charge_usagebased" for row in rows):
            raise BillingError("cannot_update_charge_managed_line", "pending usage cannot be deleted")
        for row in rows:
            await self._remove(session, invoice, row)

    async def _replace_lines(self, session: WriteSession, invoice: InvoiceRow, lines: Sequence[LineInput]) -> None:
        rows = {row.id: row for row in await repository.lines(session, [invoice.id])}
        sent = [line.id for line in lines if line.id is not None]
        if len(sent) != len(set(sent)):
            raise invalid("a line is sent twice", field="$.lines")
        for row in [row for line_id, row in rows.items() if line_id not in sent]:
            await self._remove(session, invoice, row)
        for line in (each.in_whole_seconds() for each in lines):
            known = rows.get(line.id or "")
            if known is None:
                await self._add(session, invoice, line)
            elif await is_edited(session, known, line, pending=invoice.kind == GATHERING):
                await self._edit(session, invoice, known, line)

    async def _remove(self, session: WriteSession, invoice: InvoiceRow, row: InvoiceLineRow) -> None:
        ref = ref_of(invoice, row)
        if invoice.kind == GATHERING:
            await self._engine.line_removed(session, ref, by_user=True)
            await self._gathering.delete_line(session, row.namespace, row.charge_id)
            return
        row.deleted_at = clock.now()
        await session.flush()
        await self._engine.line_removed(session, ref, by_user=True)

    async def _edit(self, session: WriteSession, invoice: InvoiceRow, row: InvoiceLineRow, line: LineInput) -> None:
        if not isinstance(row.price, FlatPrice) or not isinstance(line.price, FlatPrice):
            raise BillingError("cannot_update_charge_managed_line", f"line {row.id} is metered and cannot be edited")
        if line.feature_key != row.feature_key:
            raise BillingError("invoice_line_feature_key_edit_not_supported", f"the feature of line {row.id} is fixed")
        if await tax_differs(session, row, line):
            raise BillingError("invoice_line_tax_config_edit_not_supported", f"the tax of line {row.id} is fixed")
        edit = LineEdit(
            name=line.name,
            description=line.description,
            metadata=row.labels if line.metadata is None else line.metadata,
            period=line.period,
            price=line.price,
            discounts=with_same_ids(line.discounts, row.discounts),
            invoice_at=line.invoice_at if invoice.kind == GATHERING else None,
        )
        await self._engine.edit_line(session, ref_of(invoice, row), edit)

    async def _add(self, session: WriteSession, invoice: InvoiceRow, line: LineInput) -> None:
        pending = invoice.kind == GATHERING
        intent = intent_of(
            line if pending else on_a_draft(line),
            namespace=invoice.namespace,
            customer_id=invoice.customer_id,
            currency=invoice.currency,
            default_tax=default_tax_of(invoice),
        )
        [charge] = await self._engine.create(session, [intent], gathering_lines=pending)
        if pending:
            return
        row = InvoiceLineRow(
            id=new_id(),
            namespace=invoice.namespace,
            invoice_id=invoice.id,
            invoice_kind=STANDARD,
            charge_id=charge.id,
            period_start=intent.service_period.start,
            period_end=intent.service_period.end,
            invoice_at=intent.invoice_at,
            changed_at=clock.now(),
        )
        projection = await self._engine.invoice_created(session, ref_of(invoice, row))
        show_origin(row, await self._engine.origin(session, row.charge_id), default_tax_of(invoice))
        session.add(row)
        await show_projection(session, row, projection)


def _party(stored: Party | None, edit: Party) -> Party:
    """Replace what can be edited of a party; id and usage attribution stay."""
    stored = stored or Party()
    return stored.model_copy(
        update={"key": edit.key or stored.key, "name": edit.name, "tax_id": edit.tax_id, "address": edit.address}
    )


def _workflow(stored: InvoiceWorkflow, edit: WorkflowEdit) -> InvoiceWorkflow:
    given: Mapping[str, Any] = {
        "auto_advance": edit.auto_advance,
        "draft_period": edit.draft_period,
        "due_after": edit.due_after,
        "collection_method": edit.collection_method,
    }
    for name in ("draft_period", "due_after"):
        length = given[name]
        if length is not None and not length.is_zero() and not length.is_positive():
            raise invalid(f"{name} must not be negative", field="$.workflow")
    return stored.model_copy(update={name: value for name, value in given.items() if value is not None})
