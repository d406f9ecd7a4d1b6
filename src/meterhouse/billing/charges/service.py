"""Charges: the one object through which everything billable is made, changed, advanced and invoiced."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.states import PublicStatus
from meterhouse.billing.charges.views import Charge, ChargeState
from meterhouse.billing.ports import Billability, InvoiceBook, LineOrigin, LineProjection, LineRef
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.pages import Page, PageRequest

if TYPE_CHECKING:
    from meterhouse.billing.profiles import Profiles
    from meterhouse.credits.balances import OutstandingCharge
    from meterhouse.metering.usage import UsageReader


class Charges:
    """Everything billable: makes, changes and advances charges, and values invoice lines (the `LineEngine` port)."""

    def __init__(self, usage: "UsageReader", profiles: "Profiles", *, credits_enabled: bool = True) -> None:
        raise NotImplementedError

    def connect(self, book: InvoiceBook) -> None:
        """Give the charges the invoices that hold their lines. Must be called once, before any other use."""
        raise NotImplementedError

    async def create(
        self, session: WriteSession, intents: Sequence[ChargeIntent], *, gathering_lines: bool = True
    ) -> list[Charge]:
        """Make charges, in order, and their gathering lines (none for a line typed by hand on a draft)."""
        raise NotImplementedError

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
        """Extend or shrink a charge for the system."""
        raise NotImplementedError

    async def replace_intent(self, session: WriteSession, namespace: str, charge_id: str, intent: ChargeIntent) -> None:
        """Give a charge without runs a new base intent of the same identity."""
        raise NotImplementedError

    async def delete(self, session: WriteSession, namespace: str, charge_id: str) -> None:
        """Delete a charge for the system."""
        raise NotImplementedError

    async def advance(self, session: WriteSession, namespace: str, charge_id: str) -> None:
        """Take every step that time allows."""
        raise NotImplementedError

    async def of_subscription(self, session: ReadSession, namespace: str, subscription_id: str) -> list[ChargeState]:
        """Return the subscription's charges whose base intent is not deleted."""
        raise NotImplementedError

    async def outstanding(self, session: ReadSession, namespace: str, customer_id: str) -> "list[OutstandingCharge]":
        """Return what started charges will still cost, for the live balance."""
        raise NotImplementedError

    async def list_charges(
        self,
        session: ReadSession,
        namespace: str,
        customer_id: str,
        page: PageRequest,
        *,
        statuses: Sequence[PublicStatus] | None = None,
        sort: str = "created_at",
        descending: bool = False,
        realtime: bool = False,
    ) -> Page[Charge]:
        """Return a page of the customer's charges."""
        raise NotImplementedError

    async def billability(
        self, session: ReadSession, line: LineRef, *, as_of: datetime, progressive: bool
    ) -> Billability:
        """See the port."""
        raise NotImplementedError

    async def origin(self, session: ReadSession, charge_id: str) -> LineOrigin:
        """See the port."""
        raise NotImplementedError

    async def preview(self, session: ReadSession, line: LineRef) -> LineProjection:
        """See the port."""
        raise NotImplementedError

    async def invoice_created(self, session: WriteSession, line: LineRef) -> LineProjection:
        """See the port."""
        raise NotImplementedError

    async def collection_completed(self, session: WriteSession, line: LineRef) -> LineProjection:
        """See the port."""
        raise NotImplementedError

    async def projection(self, session: ReadSession, line: LineRef) -> LineProjection:
        """See the port."""
        raise NotImplementedError

    async def invoice_issued(self, session: WriteSession, line: LineRef) -> None:
        """See the port."""
        raise NotImplementedError

    async def payment_authorized(self, session: WriteSession, line: LineRef) -> None:
        """See the port."""
        raise NotImplementedError

    async def payment_settled(self, session: WriteSession, line: LineRef) -> None:
        """See the port."""
        raise NotImplementedError

    async def line_removed(self, session: WriteSession, line: LineRef, *, by_user: bool) -> None:
        """See the port."""
        raise NotImplementedError
