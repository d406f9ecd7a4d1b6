"""Running the state machine of a standard invoice (billing section 6.2)."""

from meterhouse.billing.errors import BillingError
from meterhouse.billing.invoices import issues, repository
from meterhouse.billing.invoices.assembly import invoice_view
from meterhouse.billing.invoices.models import InvoiceRow
from meterhouse.billing.invoices.recalculation import advance_due, facts_of
from meterhouse.billing.invoices.states import State, Trigger, target
from meterhouse.billing.invoices.steps import Steps
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import DomainError, Issue, Severity


def not_available(action: str, state: State) -> BillingError:
    """Make the refusal of an action that the state does not permit."""
    if action == "advance":
        return BillingError("invoice_cannot_advance", f"the invoice cannot advance from {state}")
    return BillingError("invoice_action_not_available", f"{action} is not available in {state}")


class Machine:
    """Moves standard invoices. The caller holds the customer's lock and has read the invoice under it."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    async def fire(self, session: WriteSession, invoice: InvoiceRow, trigger: Trigger) -> bool:
        """Take one transition and run the entry step of where it leads; False when it is not permitted."""
        to = target(State(invoice.status), trigger, await facts_of(session, invoice))
        if to is None:
            return False
        await self.enter(session, invoice, to)
        return True

    async def enter(self, session: WriteSession, invoice: InvoiceRow, state: State) -> None:
        """Come into `state`; a step that fails leaves a critical issue and leads on by `failed`.

        Raises:
            DomainError: the step failed and the state has no way to fail.
        """
        invoice.status = state.value
        step = self._steps.by_state.get(state)
        if step is None:
            return
        namespace, invoice_id = invoice.namespace, invoice.id
        error: DomainError | None = None
        try:
            async with session.begin_nested():
                found = list(await step.run(session, invoice))
                await session.flush()
        except DomainError as raised:
            # What the step had written is undone; the rows in memory must follow.
            error = raised
            await repository.reloaded(session, namespace, invoice_id)
            found = [issues.issue_of(raised, component=issues.OPENMETER, code="invoice_step_failed")]
        await issues.replace(session, invoice_id, step.components(invoice), found)
        if all(issue.severity is Severity.WARNING for issue in found):
            return
        failed = target(state, Trigger.FAILED, await facts_of(session, invoice))
        if failed is None:
            raise error or BillingError(found[0].code, found[0].message, component=found[0].component)
        await self.enter(session, invoice, failed)

    async def advance(self, session: WriteSession, invoice: InvoiceRow) -> None:
        """Go on automatically as far as permitted, payment reports of the app included."""
        while True:
            while await self.fire(session, invoice, Trigger.NEXT):
                pass
            if not await self._take_report(session, invoice):
                break
        await self.settle(session, invoice)

    async def settle(self, session: WriteSession, invoice: InvoiceRow) -> None:
        """Note when automatic work on the invoice is due, once a chain of steps has ended."""
        if State(invoice.status) is not State.DELETED:
            await self._steps.ask_consent(session, invoice)
        invoice.work_at = advance_due(State(invoice.status), await facts_of(session, invoice))
        invoice.work_failures = 0
        await session.flush()

    async def _take_report(self, session: WriteSession, invoice: InvoiceRow) -> bool:
        app = await self._steps.app_of(session, invoice)
        if app is None:
            return False
        report = await app.after_advance(session, await invoice_view(session, invoice, with_lines=False))
        if report is None:
            return False
        moved = await self.fire(session, invoice, report.trigger)
        component = issues.app_component(invoice.app_type or "", "initiate_payment")
        found = [_from(report.issue, component)] if report.issue else []
        await issues.replace(session, invoice.id, [component], found)
        return moved


def _from(issue: Issue, component: str) -> Issue:
    return Issue(issue.code, issue.message, issue.field, issue.severity, component, issue.attributes)
