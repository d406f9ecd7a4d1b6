"""Changes that charges make to lines of standard invoices (the port `InvoiceBook`)."""

from datetime import datetime

from meterhouse.billing.invoices import issues, repository
from meterhouse.billing.invoices.flags import is_immutable
from meterhouse.billing.invoices.lines import default_tax_of, ref_of, show_origin, show_projection
from meterhouse.billing.invoices.machine import Machine
from meterhouse.billing.invoices.models import STANDARD, InvoiceLineRow, InvoiceRow
from meterhouse.billing.invoices.recalculation import recalculate_standard
from meterhouse.billing.invoices.states import State, Trigger
from meterhouse.billing.ports import LineEngine
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import Issue, Severity

IMMUTABLE = "immutable_invoice_handling_not_supported"
# No step of an invoice has this component: the steps of a payment replace the issues of line engines.
_COMPONENT = "subscription-sync"

# States in which the wait for usage has not ended: a changed line needs nothing more than new sums.
_BEFORE_COLLECTION = frozenset({State.DRAFT_CREATED, State.DRAFT_WAITING_FOR_COLLECTION, State.DRAFT_INVALID})


class Corrections:
    """Changes lines of drafts, and says of issued ones what no longer holds. The caller holds the customer's lock."""

    def __init__(self, engine: LineEngine, machine: Machine) -> None:
        self._engine = engine
        self._machine = machine

    async def delete_line(self, session: WriteSession, namespace: str, line_id: str) -> bool:
        """Take a line off its draft; False when it is on an immutable invoice, where it stays."""
        found = await self._standard(session, namespace, line_id)
        if found is None:
            return True
        invoice, line = found
        if is_immutable(State(invoice.status)):
            return False
        line.deleted_at = clock.now()
        await session.flush()
        await self._changed(session, invoice)
        return True

    async def note_end(self, session: WriteSession, namespace: str, line_id: str, until: datetime | None) -> None:
        """Keep a warning on a line's immutable invoice while the line bills days after `until`, and only then."""
        found = await self._standard(session, namespace, line_id)
        if found is None or not is_immutable(State(found[0].status)):
            return
        invoice, line = found
        path = f"lines/{line.id}"
        warnings = []
        if until is None or until < line.period_end:
            since = "any more" if until is None else f"after {clock.written(until)}"
            message = (
                f"{line.name} bills until {clock.written(line.period_end)}, but nobody has it {since}; "
                f"there are no credit notes, so settle it by hand (line {line.id})"
            )
            warnings.append(Issue(IMMUTABLE, message, path, Severity.WARNING, _COMPONENT))
        said = {issues.identity(warning) for warning in warnings}
        for row in await repository.issues(session, [invoice.id]):
            if (row.code, row.path) == (IMMUTABLE, path) and row.identity not in said:
                row.deleted_at = clock.now()
        await issues.replace(session, invoice.id, (), warnings)

    async def refresh_line(self, session: WriteSession, namespace: str, line_id: str) -> None:
        """Read again what the line's charge shows and what its run is worth."""
        found = await self._standard(session, namespace, line_id)
        if found is None or is_immutable(State(found[0].status)):
            return
        invoice, line = found
        show_origin(line, await self._engine.origin(session, line.charge_id), default_tax_of(invoice))
        await show_projection(session, line, await self._engine.projection(session, ref_of(invoice, line)))
        await self._changed(session, invoice)

    async def _standard(
        self, session: WriteSession, namespace: str, line_id: str
    ) -> tuple[InvoiceRow, InvoiceLineRow] | None:
        line = await repository.line(session, namespace, line_id)
        if line is None or line.invoice_kind != STANDARD:
            return None
        return await repository.reloaded(session, namespace, line.invoice_id), line

    async def _changed(self, session: WriteSession, invoice: InvoiceRow) -> None:
        """Bring the draft in line; past the collection it starts over from there, and goes on by itself later."""
        if State(invoice.status) in _BEFORE_COLLECTION:
            await recalculate_standard(session, invoice)
        elif await self._machine.fire(session, invoice, Trigger.UPDATED):
            await self._machine.fire(session, invoice, Trigger.NEXT)
        await self._machine.settle(session, invoice)
