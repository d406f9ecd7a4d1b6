"""Charges: the one object through which everything billable is made, changed, advanced and invoiced."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING

from meterhouse.billing.charges import advancing, changes, creation, engine, forecast, projections, reading
from meterhouse.billing.charges.edits import LineEdit, edit_line
from meterhouse.billing.charges.forecast import DueCharge
from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.opened import open_charge, read
from meterhouse.billing.charges.states import PublicStatus
from meterhouse.billing.charges.tools import Tools
from meterhouse.billing.charges.views import Charge, ChargeState
from meterhouse.billing.ports import (
    Billability,
    InvoiceBook,
    LineOrigin,
    LineProjection,
    LineRef,
    SubscriptionReference,
)
from meterhouse.credits.balances import OutstandingCharge
from meterhouse.customers.customer import Customer
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.jobs import enqueue
from meterhouse.kernel.locks import lock
from meterhouse.kernel.pages import Page, PageRequest
from meterhouse.metering.usage import UsageReader

if TYPE_CHECKING:
    from meterhouse.billing.profiles import Profiles

ADVANCE = "charges.advance"

_BY_AGE = (Sort("created_at"),)


class Charges:
    """Everything billable: makes, changes and advances charges, and values invoice lines (the `LineEngine` port).

    Everything that writes runs under the customer's billing lock: `create` and `advance` take it, the caller holds it
    for all other methods.
    """

    def __init__(
        self,
        usage: UsageReader,
        profiles: "Profiles",
        *,
        credits_enabled: bool = True,
        late_grants: bool = False,
        locked_namespaces: frozenset[str] = frozenset(),
    ) -> None:
        self.tools = Tools(usage, profiles, credits_enabled, late_grants, locked_namespaces)

    def connect(self, book: InvoiceBook) -> None:
        """Give the charges the invoices that hold their lines. Must be called once, before any other use."""
        self.tools.connected = book

    async def create(
        self, session: WriteSession, intents: Sequence[ChargeIntent], *, gathering_lines: bool = True
    ) -> list[Charge]:
        """Make charges, in order, and the gathering lines of those that an invoice settles.

        Args:
            gathering_lines: False for lines typed by hand on a draft, which `invoice_created` binds at once.

        Raises:
            NotFound: the customer does not exist.
            InvalidInput: an intent breaks a rule (charges section 8), or the namespace is locked.
            Conflict: the customer is deleted, or has a charge of the same unique reference.
        """
        for namespace, customer_id in sorted({(intent.namespace, intent.customer_id) for intent in intents}):
            await lock(session, "customer", namespace, customer_id, "billing")
        made = await creation.create(session, self.tools, intents, gathering_lines=gathering_lines)
        for charge in made:
            if charge.by_credits_only and charge.is_due:
                # Credit is taken as soon as this is committed; should that fail, the scheduler comes by.
                await enqueue(
                    session, ADVANCE, {"namespace": charge.row.namespace, "charge_id": charge.id}, dedupe_key=charge.id
                )
        return [reading.view(charge.row) for charge in made]

    def together(self, session: WriteSession) -> AbstractAsyncContextManager[None]:
        """Bring gathering invoices in line with many changes at once."""
        return self.tools.book.gathering_lines_together(session)

    async def change_periods(
        self,
        session: WriteSession,
        namespace: str,
        charge_id: str,
        *,
        service_end: datetime,
        full_service_end: datetime,
        billing_end: datetime,
        invoice_at: datetime,
    ) -> None:
        """Extend or shrink a charge for the system (charges sections 3.1 and 4). Days billed stay billed once.

        Raises:
            NotFound: there is no such charge.
            InvalidInput: the new ends break a rule; also when the service period ends as before.
            PreconditionFailed: its status does not allow it now.
        """
        charge = await open_charge(session, namespace, charge_id)
        await changes.change_periods(
            session,
            self.tools,
            charge,
            service_end=service_end,
            full_service_end=full_service_end,
            billing_end=billing_end,
            invoice_at=invoice_at,
        )

    async def redate(self, session: WriteSession, namespace: str, charge_id: str, intent: ChargeIntent) -> None:
        """Let a charge be billed when `intent` is, and for its whole and billing periods; nothing else of it changes.

        Raises:
            NotFound: there is no such charge.
        """
        charge = await open_charge(session, namespace, charge_id)
        await changes.redate(session, self.tools, charge, intent)

    async def replace_intent(self, session: WriteSession, namespace: str, charge_id: str, intent: ChargeIntent) -> None:
        """Give a charge without runs a new base intent of the same identity.

        Raises:
            NotFound: there is no such charge.
            InvalidInput: what identifies the charge differs, or a rule of creation is broken.
            PreconditionFailed: it has runs, or is deleted.
        """
        charge = await open_charge(session, namespace, charge_id)
        await changes.replace_intent(session, self.tools, charge, intent)

    async def relink(
        self, session: WriteSession, namespace: str, charge_id: str, source: SubscriptionReference
    ) -> None:
        """Let a charge name the rows of the subscription that it comes from; an edit makes them anew.

        Raises:
            NotFound: there is no such charge.
        """
        changes.relink((await open_charge(session, namespace, charge_id)).row, source)
        await session.flush()

    async def delete(self, session: WriteSession, namespace: str, charge_id: str) -> None:
        """Delete a charge for the system: its credits return, its lines go. Deleting it again does nothing.

        Raises:
            NotFound: there is no such charge.
        """
        charge = await open_charge(session, namespace, charge_id)
        await changes.delete(session, self.tools, charge)

    async def advance(self, session: WriteSession, namespace: str, charge_id: str) -> None:
        """Take every step that time allows; a second call changes nothing. Takes the customer's billing lock.

        Raises:
            NotFound: there is no such charge.
        """
        await advancing.advance(session, self.tools, namespace, charge_id)

    async def get(self, session: ReadSession, namespace: str, charge_id: str) -> Charge:
        """Return a charge without totals.

        Raises:
            NotFound: there is no such charge.
        """
        return reading.view((await read(session, charge_id, namespace)).row)

    async def of_subscription(self, session: ReadSession, namespace: str, subscription_id: str) -> list[ChargeState]:
        """Return the subscription's charges whose base intent is not deleted, also those that a user deleted."""
        return await reading.of_subscription(session, namespace, subscription_id)

    async def invoiced_beyond(
        self, session: ReadSession, namespace: str, subscription_ids: Sequence[str], instant: datetime
    ) -> list[ChargeState]:
        """Return those charges of subscriptions of which issued invoices bill days after `instant`."""
        return await reading.invoiced_beyond(session, namespace, subscription_ids, instant)

    async def left_to_invoices(
        self, session: ReadSession, namespace: str, subscription_ids: Sequence[str]
    ) -> list[ChargeState]:
        """Return deleted fees of subscriptions that issued invoices bill; `invoiced.amount` is what was to be paid."""
        return await reading.left_to_invoices(session, namespace, subscription_ids)

    async def outstanding(self, session: ReadSession, customer: Customer) -> list[OutstandingCharge]:
        """Return what started, unfinished charges will still cost, for the live balance."""
        return await reading.outstanding(session, self.tools, customer)

    async def due(self, session: ReadSession, namespace: str, subscription_id: str, until: datetime) -> list[DueCharge]:
        """Return what the subscription's charges that are invoiced by `until` still come to, with the usage so far.

        Raises:
            BillingError: usage cannot be read or rated.
        """
        return await forecast.due(session, self.tools, namespace, subscription_id, until)

    async def paid_by_credits(self, session: ReadSession, namespace: str, subscription_id: str) -> list[DueCharge]:
        """Return the subscription's charges that credits alone pay, with what they paid of each."""
        return await forecast.paid_by_credits(session, namespace, subscription_id)

    async def list_charges(
        self,
        session: ReadSession,
        namespace: str,
        customer_id: str,
        page: PageRequest,
        *,
        statuses: Sequence[PublicStatus] | None = None,
        sorts: Sequence[Sort] = _BY_AGE,
        realtime: bool = False,
    ) -> Page[Charge]:
        """Return a page of the customer's charges.

        Args:
            statuses: only these; None means all but the deleted ones.
            sorts: fields `id`, `created_at`, `service_period.from`, `billing_period.from`.
            realtime: also rate the usage up to now, which reads the meters.
        """
        return await reading.list_charges(
            session, self.tools, namespace, customer_id, page, statuses=statuses, sorts=sorts, realtime=realtime
        )

    async def edit_line(self, session: WriteSession, line: LineRef, edit: LineEdit) -> None:
        """Write a user's edit of a line into the user's layer; the line's projection is to be read again afterwards.

        Raises:
            BillingError: the line is metered, or its amount would become zero (billing section 8.1).
            PreconditionFailed: the charge's status does not allow it.
        """
        await edit_line(session, self.tools, line, edit)

    # --- the LineEngine port ------------------------------------------------------------------------------------------

    async def billability(
        self, session: ReadSession, line: LineRef, *, as_of: datetime, progressive: bool
    ) -> Billability:
        """Tell which part of a gathering line can be billed as of `as_of`."""
        return await engine.line_billability(session, line, as_of=as_of, progressive=progressive)

    async def origin(self, session: ReadSession, charge_id: str) -> LineOrigin:
        """Return what the charge's lines show."""
        return projections.origin((await read(session, charge_id)).row)

    async def preview(self, session: ReadSession, line: LineRef) -> LineProjection:
        """Rate a gathering line with usage up to now. What cannot be rated comes to nothing, with a warning."""
        return await engine.preview(session, self.tools, line)

    async def invoice_created(self, session: WriteSession, line: LineRef) -> LineProjection:
        """Start a run for a line that moved to a standard invoice. Repeated for the same line, shows its run."""
        return await engine.invoice_created(session, self.tools, line)

    async def collection_completed(self, session: WriteSession, line: LineRef) -> LineProjection:
        """Read the usage again, rate, and reconcile the credits taken."""
        return await engine.collection_completed(session, self.tools, line)

    async def projection(self, session: ReadSession, line: LineRef) -> LineProjection:
        """Return the line's run as it stands."""
        return await engine.line_projection(session, line)

    async def invoice_issued(self, session: WriteSession, line: LineRef) -> None:
        """Book the line's rest in the ledger and seal the run. Repeated, does nothing."""
        await engine.invoice_issued(session, self.tools, line)

    async def payment_authorized(self, session: WriteSession, line: LineRef) -> None:
        """Book that the payment of the line was authorised. Repeated, does nothing."""
        await engine.payment_authorized(session, self.tools, line)

    async def payment_settled(self, session: WriteSession, line: LineRef) -> None:
        """Book that the payment of the line arrived. Repeated, does nothing."""
        await engine.payment_settled(session, self.tools, line)

    async def line_removed(self, session: WriteSession, line: LineRef, *, by_user: bool) -> None:
        """Follow the removal of a line; see `engine.line_removed`."""
        await engine.line_removed(session, self.tools, line, by_user=by_user)
