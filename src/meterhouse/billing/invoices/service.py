"""Invoices: the one object through which pending lines become invoices and invoices move on."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime
from typing import Any

from meterhouse.billing.errors import BillingError, BillingNotFound
from meterhouse.billing.invoices import issues, repository
from meterhouse.billing.invoices.alignment import cut_off
from meterhouse.billing.invoices.app_port import InvoicingApp, Synced
from meterhouse.billing.invoices.assembly import invoice_view, priced_gathering
from meterhouse.billing.invoices.corrections import Corrections
from meterhouse.billing.invoices.creation import Creation
from meterhouse.billing.invoices.editing import Editing
from meterhouse.billing.invoices.filters import BY_CREATION, InvoiceFilter
from meterhouse.billing.invoices.freezing import supplier_party, workflow_of
from meterhouse.billing.invoices.gathering import Gathering
from meterhouse.billing.invoices.inputs import ChargeEngine, InvoiceEdit, LineInput, intent_of
from meterhouse.billing.invoices.machine import Machine, not_available
from meterhouse.billing.invoices.models import GATHERING, InvoiceRow
from meterhouse.billing.invoices.recalculation import retry_delay
from meterhouse.billing.invoices.selection import BillingRequest, refusal, select_lines
from meterhouse.billing.invoices.states import State, Trigger
from meterhouse.billing.invoices.steps import Steps, merge
from meterhouse.billing.invoices.views import InvoiceView, PendingLines
from meterhouse.billing.ports import AppRegistry
from meterhouse.billing.profiles import Profiles
from meterhouse.customers import service as customers
from meterhouse.customers.customer import Customer
from meterhouse.kernel import clock
from meterhouse.kernel.clock import whole_seconds
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import Issue, NotFound, invalid
from meterhouse.kernel.locks import lock
from meterhouse.kernel.pages import Page, PageRequest
from meterhouse.kernel.periods import Period

# Tells, per subscription of a customer, why nothing is billable: {id, reason, at, error} (subscription-sync 9.6).
Explain = Callable[[ReadSession, str, str], Awaitable[Sequence[Mapping[str, Any]]]]


async def _no_explanation(_session: ReadSession, _namespace: str, _customer_id: str) -> Sequence[Mapping[str, Any]]:
    return ()


class Invoices:
    """Gathering and standard invoices (implements the port `InvoiceBook`).

    Args:
        apps: by type of app.
        explain: says why subscriptions have nothing to bill; shown when an invoice request finds nothing.
        locked_namespaces: namespaces in which nothing is invoiced.
    """

    def __init__(
        self,
        engine: ChargeEngine,
        profiles: Profiles,
        registry: AppRegistry,
        apps: Mapping[str, InvoicingApp],
        *,
        explain: Explain = _no_explanation,
        locked_namespaces: frozenset[str] = frozenset(),
    ) -> None:
        self._engine = engine
        self._locked_namespaces = locked_namespaces
        self._profiles = profiles
        self._explain = explain
        self._steps = Steps(engine, registry, apps)
        self._machine = Machine(self._steps)
        self._gathering = Gathering(engine, profiles)
        self._creation = Creation(engine, profiles, registry, self._gathering, self._machine)
        self._corrections = Corrections(engine, self._machine)
        self._editing = Editing(engine, self._gathering, self._machine)

    async def invoice_pending_lines(
        self,
        session: WriteSession,
        namespace: str,
        customer_id: str,
        *,
        as_of: datetime | None = None,
        progressive: bool | None = None,
        line_ids: Sequence[str] | None = None,
    ) -> list[InvoiceView]:
        """Bill everything billable, or exactly the listed lines, one invoice per currency, and advance them.

        Args:
            as_of: up to when, now by default.
            progressive: whether part of an unfinished period is billed; the customer's profile decides by default.

        Raises:
            BillingNotFound: code `customer_not_found`.
            InvalidInput: `as_of` lies in the future, or no line is listed.
            BillingError: `namespace_locked`, `invoice_create_no_lines`, `invoice_lines_not_billable`, or
                `active_realization_run_already_exists` while a draft holds the same usage.
        """
        now = clock.now()
        if as_of is not None and as_of > now:
            raise invalid("asOf must be in the past", field="$.asOf")
        if line_ids is not None and not line_ids:
            raise invalid("lineIds must not be empty", field="$.filters.lineIds")
        await self._lock(session, namespace, customer_id)
        if progressive is None:
            progressive = (await self._profiles.merged(session, namespace, customer_id)).workflow.progressive_billing
        request = BillingRequest(whole_seconds(as_of or now), progressive, line_ids)
        made = await self._bill(session, namespace, customer_id, request)
        for invoice in made:
            await self._machine.advance(session, invoice)
        return [await invoice_view(session, invoice) for invoice in made]

    async def collect(self, session: WriteSession, namespace: str, customer_id: str, gathering_id: str) -> list[str]:
        """Bill the due lines of one gathering invoice for the collector; return the new invoices, not yet advanced.

        Never bills partial lines, and honours anchored alignment.

        Raises:
            BillingError: see `invoice_pending_lines`.
        """
        await self._lock(session, namespace, customer_id)
        profile = await self._profiles.merged(session, namespace, customer_id)
        as_of = cut_off(clock.now(), profile.workflow.collection_ticks)
        request = BillingRequest(as_of, progressive=False, gathering_id=gathering_id)
        return [invoice.id for invoice in await self._bill(session, namespace, customer_id, request)]

    async def _bill(
        self, session: WriteSession, namespace: str, customer_id: str, request: BillingRequest
    ) -> list[InvoiceRow]:
        if namespace in self._locked_namespaces:
            raise BillingError("namespace_locked", f"namespace {namespace} is locked: nothing is invoiced in it")
        customer = await self._customer(session, namespace, customer_id)
        gatherings = await repository.live_gatherings(session, namespace, customer_id)
        taken, left = await select_lines(session, self._engine, gatherings, request)
        refused = left if request.line_ids is not None else []
        if refused or not taken:
            raise refusal(left, request, await self._explain(session, namespace, customer_id))
        return await self._creation.create(session, namespace, customer, taken, request)

    async def _customer(self, session: ReadSession, namespace: str, customer_id: str) -> Customer:
        try:
            return await customers.get(session, namespace, customer_id)
        except NotFound as error:
            raise BillingNotFound("customer_not_found", error.message) from error

    async def _lock(self, session: WriteSession, namespace: str, customer_id: str) -> None:
        await lock(session, "customer", namespace, customer_id, "billing")

    async def get(
        self,
        session: ReadSession,
        namespace: str,
        invoice_id: str,
        *,
        with_lines: bool = True,
        include_deleted_lines: bool = False,
    ) -> InvoiceView:
        """Return an invoice, deleted ones too; a gathering invoice is priced with the usage up to now.

        Raises:
            BillingNotFound: code `invoice_not_found`.
        """
        row = await self._found(session, namespace, invoice_id)
        return await self._view(session, row, with_lines=with_lines, include_deleted_lines=include_deleted_lines)

    async def list_invoices(
        self,
        session: ReadSession,
        namespace: str,
        page: PageRequest,
        where: InvoiceFilter,
        *,
        sort: Sort = BY_CREATION,
        with_lines: bool = False,
    ) -> Page[InvoiceView]:
        """Return a page of invoices. Fields of `sort`: customer_name, issued_at, status, created_at, updated_at,
        service_period_start.
        """
        rows, count = await repository.page(session, namespace, where, page, sort)
        views = [await self._view(session, row, with_lines=with_lines) for row in rows]
        return Page(views, count, page)

    async def _view(
        self, session: ReadSession, row: InvoiceRow, *, with_lines: bool, include_deleted_lines: bool = False
    ) -> InvoiceView:
        if row.kind == GATHERING and row.deleted_at is None:
            profile = await self._profiles.find_merged(session, row.namespace, row.customer_id)
            view = await priced_gathering(
                session,
                self._engine,
                row,
                progressive=profile.workflow.progressive_billing,
                with_lines=with_lines,
            )
            # A gathering invoice is steered by the profile as it is now.
            return replace(
                view,
                supplier=supplier_party(profile),
                workflow=workflow_of(profile),
                profile_id=profile.id,
                app_id=profile.app_id,
            )
        return await invoice_view(session, row, with_lines=with_lines, include_deleted_lines=include_deleted_lines)

    async def _found(self, session: ReadSession, namespace: str, invoice_id: str) -> InvoiceRow:
        row = await repository.invoice(session, namespace, invoice_id)
        if row is None:
            raise BillingNotFound("invoice_not_found", f"invoice {invoice_id} does not exist")
        return row

    async def _held(self, session: WriteSession, namespace: str, invoice_id: str) -> InvoiceRow:
        """Return an invoice as it is under its customer's lock."""
        row = await self._found(session, namespace, invoice_id)
        await self._lock(session, namespace, row.customer_id)
        return await repository.reloaded(session, namespace, invoice_id)

    async def advance(self, session: WriteSession, namespace: str, invoice_id: str) -> InvoiceView:
        """Take every automatic step that is permitted now.

        Raises:
            BillingError: `invoice_cannot_advance` when there is none.
        """
        return await self._act(session, namespace, invoice_id, Trigger.NEXT, "advance")

    async def approve(self, session: WriteSession, namespace: str, invoice_id: str) -> InvoiceView:
        """Approve a draft and go on.

        Raises:
            BillingError: `invoice_action_not_available`.
        """
        return await self._act(session, namespace, invoice_id, Trigger.APPROVE, "approve")

    async def retry(self, session: WriteSession, namespace: str, invoice_id: str) -> InvoiceView:
        """Lower critical issues to warnings, try the failed step again and go on.

        Raises:
            BillingError: `invoice_action_not_available`.
        """
        return await self._act(session, namespace, invoice_id, Trigger.RETRY, "retry")

    async def snapshot_quantities(self, session: WriteSession, namespace: str, invoice_id: str) -> InvoiceView:
        """Read the quantities that are stored so far, before the collection closes, and go on.

        Raises:
            BillingError: `invoice_action_not_available`.
        """
        return await self._act(session, namespace, invoice_id, Trigger.COLLECT, "snapshot quantities")

    async def _act(
        self, session: WriteSession, namespace: str, invoice_id: str, trigger: Trigger, action: str
    ) -> InvoiceView:
        invoice = await self._held(session, namespace, invoice_id)
        state = State(invoice.status)
        if trigger is Trigger.RETRY:
            await issues.lower(session, invoice_id)
        if not await self._machine.fire(session, invoice, trigger):
            raise not_available(action, state)
        await self._machine.advance(session, invoice)
        return await invoice_view(session, invoice)

    async def delete(self, session: WriteSession, namespace: str, invoice_id: str) -> None:
        """Delete an invoice for the user, and with it the charges of its lines in the user's layer.

        Raises:
            BillingError: `invoice_action_not_available`, the reason of a line that cannot go, or
                `invoice_delete_failed`; nothing is changed then.
        """
        invoice = await self._held(session, namespace, invoice_id)
        state = State(invoice.status)
        if state is State.GATHERING:
            if invoice.deleted_at is not None:
                raise not_available("delete", state)
            await self._editing.delete_gathering(session, invoice)
            return
        if not await self._machine.fire(session, invoice, Trigger.DELETE):
            raise not_available("delete", state)
        await self._machine.advance(session, invoice)
        if State(invoice.status) is State.DELETE_FAILED:
            rows = await repository.issues(session, [invoice_id])
            worst = next((row for row in rows if row.severity == "critical"), rows[0])
            raise BillingError(worst.code or "invoice_delete_failed", worst.message, component=worst.component)

    async def create_pending_lines(
        self, session: WriteSession, namespace: str, customer_id: str, currency: str, lines: Sequence[LineInput]
    ) -> PendingLines:
        """Put lines typed in by hand on the customer's gathering invoice (billing section 5.1). Never invoices.

        Raises:
            BillingNotFound: code `customer_not_found`.
            InvalidInput: no lines, a deleted customer, or a line that breaks a rule.
            BillingError: `invoice_line_zero_amount_create`.
        """
        if not lines:
            raise invalid("no lines provided", field="$.lines")
        await self._lock(session, namespace, customer_id)
        customer = await self._customer(session, namespace, customer_id)
        if customer.deleted_at is not None:
            raise invalid("the customer is deleted")
        known = await repository.gathering(session, namespace, customer_id, currency)
        intents = [
            intent_of(line.in_whole_seconds(), namespace=namespace, customer_id=customer_id, currency=currency)
            for line in lines
        ]
        charges = await self._engine.create(session, intents)
        invoice = await repository.gathering(session, namespace, customer_id, currency)
        if invoice is None:
            raise LookupError("pending lines were created without a gathering invoice")
        view = await invoice_view(session, invoice)
        by_charge = {line.origin.charge_id: line for line in view.lines or ()}
        return PendingLines([by_charge[charge.id] for charge in charges], view, is_invoice_new=known is None)

    async def edit(self, session: WriteSession, namespace: str, invoice_id: str, edit: InvoiceEdit) -> InvoiceView:
        """Replace what can be edited of an invoice; of a gathering invoice only the lines (billing section 8).

        Raises:
            BillingNotFound: code `invoice_not_found`.
            BillingError: `invoice_action_not_available`, or a line that does not permit it; nothing is changed then.
        """
        invoice = await self._held(session, namespace, invoice_id)
        if invoice.kind == GATHERING and invoice.deleted_at is None:
            await self._editing.edit_gathering(session, invoice, edit.lines or ())
        else:
            await self._editing.edit_draft(session, invoice, edit)
        return await invoice_view(session, invoice)

    async def app_answered(
        self, session: WriteSession, namespace: str, invoice_id: str, answer: Synced, issue: Issue | None = None
    ) -> InvoiceView:
        """Record what an app on the network said after the transaction that asked it, and go on.

        A critical `issue` fails the step that waits for the answer.
        """
        invoice = await self._held(session, namespace, invoice_id)
        await merge(session, invoice, answer)
        await self._steps.ask_consent(session, invoice)
        if issue is not None:
            await issues.replace(session, invoice_id, [issue.component or issues.OPENMETER], [issue])
            await self._machine.fire(session, invoice, Trigger.FAILED)
        await self._machine.advance(session, invoice)
        return await invoice_view(session, invoice)

    async def payment(self, session: WriteSession, namespace: str, invoice_id: str, trigger: Trigger) -> InvoiceView:
        """Take a payment trigger from an app and go on.

        Raises:
            BillingError: `invoice_action_not_available`.
        """
        return await self._act(session, namespace, invoice_id, trigger, trigger.value)

    async def advance_due(self, session: WriteSession, namespace: str, invoice_id: str) -> None:
        """Advance an invoice that automatic work found ready; does nothing where another was faster."""
        await self._machine.advance(session, await self._held(session, namespace, invoice_id))

    async def postpone(
        self, session: WriteSession, namespace: str, invoice_id: str, *, until: datetime | None = None
    ) -> None:
        """Move automatic work that is still due after an attempt: to `until`, or back off where that is not known."""
        invoice = await self._held(session, namespace, invoice_id)
        failures = invoice.work_failures
        if invoice.kind == GATHERING:
            # Lines and profile may have changed since the moment was computed.
            await self._gathering.recalculate(session, invoice)
        now = clock.now()
        if invoice.deleted_at is not None or invoice.work_at is None or invoice.work_at > now:
            return
        invoice.work_at = until if until is not None and until > now else now + retry_delay(failures)
        invoice.work_failures = failures + 1
        await session.flush()

    def gathering_lines_together(self, session: WriteSession) -> AbstractAsyncContextManager[None]:
        """See the port."""
        return self._gathering.together(session)

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
        """See the port."""
        return await self._gathering.upsert_line(
            session,
            namespace=namespace,
            customer_id=customer_id,
            currency=currency,
            charge_id=charge_id,
            period=period,
            invoice_at=invoice_at,
        )

    async def delete_gathering_line(self, session: WriteSession, *, namespace: str, charge_id: str) -> None:
        """See the port."""
        await self._gathering.delete_line(session, namespace, charge_id)

    async def delete_standard_line(self, session: WriteSession, *, namespace: str, line_id: str) -> bool:
        """See the port."""
        return await self._corrections.delete_line(session, namespace, line_id)

    async def note_end_of_line(
        self, session: WriteSession, *, namespace: str, line_id: str, until: datetime | None
    ) -> None:
        """See the port."""
        await self._corrections.note_end(session, namespace, line_id, until)

    async def refresh_standard_line(self, session: WriteSession, *, namespace: str, line_id: str) -> None:
        """See the port."""
        await self._corrections.refresh_line(session, namespace, line_id)
