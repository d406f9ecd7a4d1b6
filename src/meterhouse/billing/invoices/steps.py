"""What happens on entering a state (billing section 6.1)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from meterhouse.billing.invoices import issues, repository
from meterhouse.billing.invoices.app_port import InvoicingApp, Synced
from meterhouse.billing.invoices.assembly import invoice_view
from meterhouse.billing.invoices.issues import LINE_ENGINES, METERING, OPENMETER, StepFailed, app_component
from meterhouse.billing.invoices.lines import ref_of, show_projection
from meterhouse.billing.invoices.models import InvoiceDetailedLineRow, InvoiceLineRow, InvoiceRow
from meterhouse.billing.invoices.recalculation import recalculate_standard, set_times, wake_gathering
from meterhouse.billing.invoices.states import State
from meterhouse.billing.ports import AppRegistry, LineEngine, LineRef
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import DomainError, Issue, Severity, Unavailable

APP_DELETED = "invoice_workflow_app_deleted"


@dataclass(frozen=True, slots=True)
class Step:
    """An entry step: `run` returns the issues it found; those of `components` are replaced by them."""

    run: Callable[[WriteSession, InvoiceRow], Awaitable[Sequence[Issue]]]
    components: Callable[[InvoiceRow], Sequence[str]]


@asynccontextmanager
async def _attributed(component: str, code: str) -> AsyncIterator[None]:
    try:
        yield
    except DomainError as error:
        raise StepFailed(issues.issue_of(error, component=component, code=code)) from error


class Steps:
    """The entry steps, each inside a savepoint that the machine opens."""

    def __init__(self, engine: LineEngine, registry: AppRegistry, apps: Mapping[str, InvoicingApp]) -> None:
        self._engine = engine
        self._registry = registry
        self._apps = apps
        self.by_state: Mapping[State, Step] = {
            State.DRAFT_CREATED: Step(recalculate_standard, _of(OPENMETER)),
            State.DRAFT_COLLECTING: Step(self._collect, _of(OPENMETER, METERING, *LINE_ENGINES)),
            State.DRAFT_UPDATING: Step(self._validate, _of(OPENMETER, app=["validate"])),
            State.DRAFT_VALIDATING: Step(self._validate, _of(OPENMETER, app=["validate"])),
            State.DRAFT_SYNCING: Step(self._upsert, _of(app=["upsert"])),
            State.ISSUING_SYNCING: Step(self._issue, _of(app=["upsert", "finalize"])),
            State.ISSUING_CHARGE_BOOKING: Step(self._book_issue, _of(*LINE_ENGINES)),
            State.PAYMENT_PENDING: Step(self._enter_payment, _of()),
            State.PAYMENT_BOOKING_AUTHORIZED: Step(self._book_authorization, _of(*LINE_ENGINES)),
            State.PAYMENT_BOOKING_SETTLED: Step(self._book_settlement, _of(*LINE_ENGINES)),
            State.PAYMENT_BOOKING_AUTHORIZED_AND_SETTLED: Step(self._book_settlement, _of(*LINE_ENGINES)),
            State.DELETE_IN_PROGRESS: Step(self._remove, _of(*LINE_ENGINES)),
            State.DELETE_SYNCING: Step(self._delete_at_app, _of(app=["delete"])),
        }

    async def app_of(self, session: WriteSession, invoice: InvoiceRow) -> InvoicingApp | None:
        """Return the app of the invoice, None when it was uninstalled."""
        if invoice.app_id is None or invoice.app_type is None:
            raise TypeError("a gathering invoice has no app of its own")
        installed = await self._registry.find(session, invoice.namespace, invoice.app_id)
        return self._apps[invoice.app_type] if installed else None

    async def _app(self, session: WriteSession, invoice: InvoiceRow, operation: str) -> InvoicingApp:
        app = await self.app_of(session, invoice)
        if app is None:
            component = app_component(invoice.app_type or "", operation)
            raise StepFailed(Issue(APP_DELETED, "the invoicing app of this invoice is deleted", component=component))
        return app

    async def _each_line(
        self,
        session: WriteSession,
        invoice: InvoiceRow,
        code: str,
        call: Callable[[InvoiceLineRow, LineRef], Awaitable[None]],
    ) -> None:
        for line in await repository.lines(session, [invoice.id]):
            async with _attributed(issues.engine_component(line.engine), code):
                await call(line, ref_of(invoice, line))

    async def _collect(self, session: WriteSession, invoice: InvoiceRow) -> Sequence[Issue]:
        found: list[Issue] = []

        async def read_again(line: InvoiceLineRow, ref: LineRef) -> None:
            try:
                projection = await self._engine.collection_completed(session, ref)
            except Unavailable as error:
                raise StepFailed(Issue("invoice_line_snapshot_failed", error.message, component=METERING)) from error
            await show_projection(session, line, projection)
            component = issues.engine_component(line.engine)
            found.extend(
                Issue("", warning, severity=Severity.WARNING, component=component) for warning in projection.warnings
            )

        await self._each_line(session, invoice, "line_engine_collection_completed_failed", read_again)
        invoice.quantity_snapshotted_at = clock.now()
        return [*found, *await recalculate_standard(session, invoice)]

    async def _validate(self, session: WriteSession, invoice: InvoiceRow) -> Sequence[Issue]:
        found = await recalculate_standard(session, invoice)
        component = app_component(invoice.app_type or "", "validate")
        app = await self._app(session, invoice, "validate")
        async with _attributed(component, "app_validation_failed"):
            return [*found, *await app.validate(session, await invoice_view(session, invoice))]

    async def _upsert(self, session: WriteSession, invoice: InvoiceRow) -> Sequence[Issue]:
        app = await self._app(session, invoice, "upsert")
        async with _attributed(app_component(invoice.app_type or "", "upsert"), "app_upsert_failed"):
            await merge(session, invoice, await app.upsert(session, await invoice_view(session, invoice)))
        await self.ask_consent(session, invoice)
        return []

    async def _issue(self, session: WriteSession, invoice: InvoiceRow) -> Sequence[Issue]:
        await self._upsert(session, invoice)
        invoice.issued_at = clock.now()
        set_times(invoice, await repository.lines(session, [invoice.id]))
        await session.flush()
        app = await self._app(session, invoice, "finalize")
        async with _attributed(app_component(invoice.app_type or "", "finalize"), "app_finalize_failed"):
            await merge(session, invoice, await app.finalize(session, await invoice_view(session, invoice)))
        await self.ask_consent(session, invoice)
        return []

    async def ask_consent(self, session: WriteSession, invoice: InvoiceRow) -> None:
        """Note in which states the app wants to wait; an uninstalled app holds nothing back."""
        app = await self.app_of(session, invoice)
        view = await invoice_view(session, invoice, with_lines=False)
        invoice.app_holds = sorted(state.value for state in await app.holds(session, view)) if app else []
        await session.flush()

    async def _book_issue(self, session: WriteSession, invoice: InvoiceRow) -> Sequence[Issue]:
        await self._each_line(
            session, invoice, "line_booking_failed", lambda _, ref: self._engine.invoice_issued(session, ref)
        )
        await wake_gathering(session, invoice)
        return []

    async def _enter_payment(self, session: WriteSession, invoice: InvoiceRow) -> Sequence[Issue]:
        invoice.payment_processing_entered_at = invoice.payment_processing_entered_at or clock.now()
        return []

    async def _book_authorization(self, session: WriteSession, invoice: InvoiceRow) -> Sequence[Issue]:
        await self._each_line(
            session, invoice, "line_booking_failed", lambda _, ref: self._engine.payment_authorized(session, ref)
        )
        return []

    async def _book_settlement(self, session: WriteSession, invoice: InvoiceRow) -> Sequence[Issue]:
        await self._each_line(
            session, invoice, "line_booking_failed", lambda _, ref: self._engine.payment_settled(session, ref)
        )
        return []

    async def _remove(self, session: WriteSession, invoice: InvoiceRow) -> Sequence[Issue]:
        await self._each_line(
            session,
            invoice,
            "invoice_delete_failed",
            lambda _, ref: self._engine.line_removed(session, ref, by_user=True),
        )
        await wake_gathering(session, invoice)
        await issues.clear(session, invoice.id)
        invoice.deleted_at, invoice.deletion_source = clock.now(), "user"
        return []

    async def _delete_at_app(self, session: WriteSession, invoice: InvoiceRow) -> Sequence[Issue]:
        if invoice.deleted_at is None:  # an invoice that lost its last line is not asked to be deleted by anyone
            invoice.deleted_at, invoice.deletion_source = clock.now(), "system"
        app = await self.app_of(session, invoice)
        component = app_component(invoice.app_type or "", "delete")
        if app is None:
            message = "the invoicing app is deleted, so its copy of the invoice stays"
            return [Issue("invoice_workflow_app_delete_skipped", message, None, Severity.WARNING, component)]
        async with _attributed(component, "app_delete_failed"):
            await app.delete(session, await invoice_view(session, invoice))
        return []


def _of(*components: str, app: Sequence[str] = ()) -> Callable[[InvoiceRow], Sequence[str]]:
    def named(invoice: InvoiceRow) -> Sequence[str]:
        return (*components, *(app_component(invoice.app_type or "", operation) for operation in app))

    return named


async def merge(session: WriteSession, invoice: InvoiceRow, synced: Synced) -> None:
    """Keep what an app told about the invoice."""
    invoice.number = synced.number or invoice.number
    invoice.sent_to_customer_at = synced.sent_to_customer_at or invoice.sent_to_customer_at
    invoice.external_ids = {**invoice.external_ids, **synced.external_ids}
    if synced.line_external_ids:
        rows = await repository.lines(session, [invoice.id])
        details = await repository.details(session, [line.id for line in rows])
        known: Sequence[InvoiceLineRow | InvoiceDetailedLineRow] = [*rows, *details]
        for row in known:
            if row.id in synced.line_external_ids:
                row.external_ids = {**row.external_ids, "invoicing": synced.line_external_ids[row.id]}
    await session.flush()
