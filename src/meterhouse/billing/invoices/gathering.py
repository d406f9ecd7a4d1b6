"""Pending lines: one gathering invoice per customer and currency, one line per charge (billing section 5.1)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from meterhouse.billing.invoices import repository
from meterhouse.billing.invoices.lines import show_origin
from meterhouse.billing.invoices.models import GATHERING, InvoiceLineRow, InvoiceRow
from meterhouse.billing.invoices.numbers import NumberScope, draw_number
from meterhouse.billing.invoices.recalculation import recalculate_gathering
from meterhouse.billing.invoices.states import State
from meterhouse.billing.ports import LineEngine
from meterhouse.billing.profiles import Profiles
from meterhouse.customers import service as customers
from meterhouse.kernel import clock
from meterhouse.kernel.clock import whole_seconds
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.periods import Period

# In a session's info while lines are written together: the gathering invoices that are to be recomputed, by id.
_STALE = "meterhouse_stale_gathering_invoices"


class Gathering:
    """Writes pending lines. The caller holds the customer's lock."""

    def __init__(self, engine: LineEngine, profiles: Profiles) -> None:
        self._engine = engine
        self._profiles = profiles

    @asynccontextmanager
    async def together(self, session: WriteSession) -> AsyncIterator[None]:
        """Recompute gathering invoices once, at the end, while many lines are written: each time takes all lines."""
        if _STALE in session.info:
            yield
            return
        stale: set[tuple[str, str]] = set()
        session.info[_STALE] = stale
        try:
            yield
        finally:
            del session.info[_STALE]
        for namespace, invoice_id in sorted(stale):
            invoice = await repository.invoice(session, namespace, invoice_id)
            if invoice is not None:  # the savepoint that made it was not rolled back
                await self.recalculate(session, invoice)

    async def upsert_line(
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
        """Make the charge's pending line cover `period`; a line that already does is not changed at all."""
        line = await repository.gathering_line(session, namespace, charge_id)
        invoice = await self._invoice(session, namespace, customer_id, currency)
        # Asked for before the line is made: the engine's queries flush, and a line needs its origin by then.
        origin = await self._engine.origin(session, charge_id)
        if line is None:
            line = InvoiceLineRow(namespace=namespace, charge_id=charge_id, changed_at=clock.now())
            line.invoice_id, line.invoice_kind = invoice.id, GATHERING
            session.add(line)
        period = period.whole_seconds()
        line.period_start, line.period_end = period.start, period.end
        line.invoice_at = whole_seconds(invoice_at)
        show_origin(line, origin, None)
        if session.is_modified(line):
            line.changed_at = clock.now()
            await session.flush()
            await self._changed(session, invoice)
        return line.id

    async def delete_line(self, session: WriteSession, namespace: str, charge_id: str) -> None:
        """Remove the charge's pending line, and with the last line the gathering invoice."""
        line = await repository.gathering_line(session, namespace, charge_id)
        if line is None:
            return
        line.deleted_at = clock.now()
        await session.flush()
        await self._changed(session, await repository.reloaded(session, namespace, line.invoice_id))

    async def _changed(self, session: WriteSession, invoice: InvoiceRow) -> None:
        stale: set[tuple[str, str]] | None = session.info.get(_STALE)
        if stale is None:
            await self.recalculate(session, invoice)
        else:
            stale.add((invoice.namespace, invoice.id))

    async def recalculate(self, session: WriteSession, invoice: InvoiceRow) -> None:
        """Recompute the gathering invoice by the present profile of its customer."""
        profile = await self._profiles.merged(session, invoice.namespace, invoice.customer_id)
        await recalculate_gathering(session, invoice, profile.workflow.collection_ticks)

    async def _invoice(self, session: WriteSession, namespace: str, customer_id: str, currency: str) -> InvoiceRow:
        invoice = await repository.gathering(session, namespace, customer_id, currency)
        if invoice is not None and invoice.deleted_at is None:
            return invoice
        customer = await customers.get(session, namespace, customer_id)
        if invoice is None:
            # Made, where the namespace has none yet, before a number is held: a sync does it in that order, too.
            await self._profiles.merged(session, namespace, customer_id)
            invoice = InvoiceRow(
                namespace=namespace,
                kind=GATHERING,
                status=State.GATHERING.value,
                customer_id=customer_id,
                customer_name=customer.name,
                currency=currency,
                number=await draw_number(
                    session,
                    namespace,
                    NumberScope.GATHERING,
                    customer_id=customer_id,
                    customer_name=customer.name,
                    currency=currency,
                ),
            )
            session.add(invoice)
        # A revived invoice keeps its id and number.
        invoice.deleted_at, invoice.deletion_source = None, None
        invoice.customer_name = customer.name
        await session.flush()
        return invoice
