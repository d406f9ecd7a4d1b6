"""Bringing the sums and moments of an invoice in line with its lines (billing sections 4.2 and 5.1)."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from meterhouse.billing.invoices import repository
from meterhouse.billing.invoices.alignment import PendingLine, collectable_at, collected_at
from meterhouse.billing.invoices.issues import OPENMETER
from meterhouse.billing.invoices.models import InvoiceLineRow, InvoiceRow
from meterhouse.billing.invoices.states import Facts, State, Trigger, target
from meterhouse.billing.invoices.times import invoice_times, spanned
from meterhouse.billing.rating.results import Totals
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import Issue
from meterhouse.kernel.periods import Period, Recurrence

# Automatic advance leaves a ready invoice to an explicit request for so long (billing section 11).
ADVANCE_GRACE = timedelta(seconds=10)

# Failed automatic work is tried again after 15 s, then ever more rarely, but at least hourly.
_FIRST_RETRY = timedelta(seconds=15)
_LAST_RETRY = timedelta(hours=1)


def retry_delay(failures: int) -> timedelta:
    """Return how long automatic work waits after so many failures before this one."""
    return min(_FIRST_RETRY * (1 << min(failures, 10)), _LAST_RETRY)


def _set_period(invoice: InvoiceRow, lines: Sequence[InvoiceLineRow]) -> None:
    period = spanned([Period(line.period_start, line.period_end) for line in lines])
    invoice.period_start = period.start if period else None
    invoice.period_end = period.end if period else None


async def recalculate_standard(session: WriteSession, invoice: InvoiceRow) -> list[Issue]:
    """Recompute totals, period and time fields of a standard invoice; return what is wrong with its lines."""
    lines = await repository.lines(session, [invoice.id])
    invoice.set_totals(Totals.sum(line.totals() for line in lines))
    _set_period(invoice, lines)
    set_times(invoice, lines)
    await session.flush()
    return [
        Issue(
            "charge_total_is_negative",
            f"the total of line {line.id} is negative",
            f"/lines/{index}/totals/total",
            component=OPENMETER,
        )
        for index, line in enumerate(lines)
        if line.total < 0
    ]


def set_times(invoice: InvoiceRow, lines: Sequence[InvoiceLineRow]) -> None:
    """Recompute the time fields of a standard invoice."""
    if invoice.workflow is None:
        raise TypeError("a gathering invoice has no workflow of its own")
    times = invoice_times(
        created_at=invoice.created_at,
        issued_at=invoice.issued_at,
        closes=[line.collection_closes_at for line in lines],
        auto_advance=invoice.workflow.auto_advance,
        draft_period=invoice.workflow.draft_period,
        due_after=invoice.workflow.due_after,
    )
    invoice.collection_at, invoice.draft_until, invoice.due_at = times.collection_at, times.draft_until, times.due_at


async def recalculate_gathering(session: WriteSession, invoice: InvoiceRow, ticks: Recurrence | None) -> None:
    """Recompute period and collection moment of a gathering invoice; soft-delete it when it holds no line."""
    lines = await repository.lines(session, [invoice.id])
    pending = [PendingLine(line.invoice_at, line.changed_at) for line in lines]
    _set_period(invoice, lines)
    invoice.collection_at = min((collected_at(line.invoice_at, ticks) for line in pending), default=None)
    invoice.work_at = collectable_at(pending, ticks)
    invoice.work_failures = 0
    invoice.deleted_at = None if lines else (invoice.deleted_at or clock.now())
    invoice.deletion_source = None if lines else (invoice.deletion_source or "system")
    await session.flush()


async def wake_gathering(session: WriteSession, invoice: InvoiceRow) -> None:
    """Let the collector try again at once where it had to wait, for example for this invoice's runs to close."""
    row = await repository.gathering(session, invoice.namespace, invoice.customer_id, invoice.currency)
    if row is not None and row.deleted_at is None and row.work_failures > 0:
        row.work_at, row.work_failures = clock.now(), 0
        await session.flush()


async def facts_of(session: ReadSession, invoice: InvoiceRow) -> Facts:
    """Gather what the guards of the state machine look at."""
    has_critical, has_lines = await repository.facts(session, invoice.id)
    return Facts(
        now=clock.now(),
        collection_at=invoice.collection_at,
        draft_until=invoice.draft_until,
        auto_advance=invoice.workflow.auto_advance if invoice.workflow else True,
        has_critical_issue=has_critical,
        has_lines=has_lines,
        collected=invoice.quantity_snapshotted_at is not None,
        app_holds=frozenset(invoice.app_holds),
    )


def advance_due(state: State, facts: Facts) -> datetime | None:
    """Return when automatic advance may take an invoice that rests in `state`; None: never."""
    match state:
        case State.DRAFT_WAITING_FOR_COLLECTION:
            return facts.collection_at + ADVANCE_GRACE if facts.collection_at else facts.now
        case State.DRAFT_WAITING_AUTO_APPROVAL if not facts.has_critical_issue:
            return facts.draft_until + ADVANCE_GRACE if facts.draft_until else facts.now
        case _:
            return facts.now if target(state, Trigger.NEXT, facts) is not None else None
