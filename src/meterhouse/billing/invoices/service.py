"""Invoices: the one object through which pending lines become invoices and invoices move on."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from meterhouse.billing.invoices.app_port import InvoicingApp, Synced
from meterhouse.billing.invoices.states import State, Trigger
from meterhouse.billing.invoices.views import InvoiceView, LineView
from meterhouse.billing.ports import AppRegistry, LineEngine
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import Issue
from meterhouse.kernel.pages import Page, PageRequest
from meterhouse.kernel.periods import Period

if TYPE_CHECKING:
    from meterhouse.billing.profiles import Profiles

# Tells, per subscription of a customer, why nothing is billable: {id, reason, at, error} (subscription-sync 9.6).
Explain = Callable[[ReadSession, str, str], Awaitable[Sequence[Mapping[str, Any]]]]

Sort = Literal["customer_name", "issued_at", "status", "created_at", "updated_at", "period_start"]


@dataclass(frozen=True, slots=True)
class InvoiceFilter:
    """What a list is narrowed to; bounds are inclusive. `statuses` are prefixes of the state, `states` exact."""

    statuses: Sequence[str] = ()
    states: Sequence[str] = ()
    customer_ids: Sequence[str] = ()
    issued: tuple[datetime | None, datetime | None] = (None, None)
    period_start: tuple[datetime | None, datetime | None] = (None, None)
    created: tuple[datetime | None, datetime | None] = (None, None)
    include_deleted: bool = False
    include_gathering: bool = True


class Invoices:
    """Gathering and standard invoices (implements the port `InvoiceBook`)."""

    def __init__(
        self,
        engine: LineEngine,
        profiles: "Profiles",
        registry: AppRegistry,
        apps: Mapping[str, InvoicingApp],
        *,
        explain: Explain | None = None,
    ) -> None:
        raise NotImplementedError

    async def invoice_pending_lines(
        self,
        session: WriteSession,
        namespace: str,
        customer_id: str,
        *,
        as_of: datetime | None = None,
        progressive: bool | None = None,
        line_ids: Sequence[str] | None = None,
        explain: Explain | None = None,
    ) -> list[InvoiceView]:
        """Bill what is due, one invoice per currency (billing section 5.3)."""
        raise NotImplementedError

    async def get(
        self, session: ReadSession, namespace: str, invoice_id: str, *, include_deleted_lines: bool = False
    ) -> InvoiceView:
        """Return an invoice; a gathering invoice is priced with the usage up to now."""
        raise NotImplementedError

    async def list_invoices(
        self,
        session: ReadSession,
        namespace: str,
        page: PageRequest,
        where: InvoiceFilter,
        *,
        sort: Sort = "created_at",
        descending: bool = False,
        with_lines: bool = False,
    ) -> Page[InvoiceView]:
        """Return a page of invoices."""
        raise NotImplementedError

    async def advance(self, session: WriteSession, namespace: str, invoice_id: str) -> InvoiceView:
        """Take every automatic step that is permitted now."""
        raise NotImplementedError

    async def approve(self, session: WriteSession, namespace: str, invoice_id: str) -> InvoiceView:
        """Approve a draft."""
        raise NotImplementedError

    async def retry(self, session: WriteSession, namespace: str, invoice_id: str) -> InvoiceView:
        """Try the failed step again."""
        raise NotImplementedError

    async def snapshot_quantities(self, session: WriteSession, namespace: str, invoice_id: str) -> InvoiceView:
        """Read the quantities before the collection closes."""
        raise NotImplementedError

    async def delete(self, session: WriteSession, namespace: str, invoice_id: str) -> None:
        """Delete an invoice for the user."""
        raise NotImplementedError

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
        raise NotImplementedError

    async def delete_gathering_line(self, session: WriteSession, *, namespace: str, charge_id: str) -> None:
        """See the port."""
        raise NotImplementedError

    async def delete_standard_line(self, session: WriteSession, *, namespace: str, line_id: str) -> bool:
        """See the port."""
        raise NotImplementedError

    async def refresh_standard_line(self, session: WriteSession, *, namespace: str, line_id: str) -> None:
        """See the port."""
        raise NotImplementedError
