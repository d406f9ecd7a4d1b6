"""What invoices ask of an invoicing app, step by step (apps section 1.4).

Every method runs inside the invoice's transaction and under the customer's lock. An app on the far side of a network
must not be called there: its method writes what it wants to do into its own tables, enqueues a job, and names the state
in `holds`; the job calls outside any transaction and reports by `Invoices.app_answered` (README).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from meterhouse.billing.invoices.states import State, Trigger
from meterhouse.billing.invoices.views import InvoiceView
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import Issue


@dataclass(frozen=True, slots=True)
class Synced:
    """What an app tells about an invoice; None and absent keys leave things as they are.

    Attributes:
        external_ids: by use: `invoicing`, `tax`, `payment`.
        line_external_ids: the app's id of each line and detailed line, by our id.
    """

    number: str | None = None
    sent_to_customer_at: datetime | None = None
    external_ids: Mapping[str, str] = field(default_factory=dict)
    line_external_ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PaymentReport:
    """A payment trigger that an app fires, with the issue that explains it."""

    trigger: Trigger
    issue: Issue | None = None


class InvoicingApp(Protocol):
    """One type of app. A DomainError raised by any method becomes a critical issue of that step."""

    async def validate(self, session: WriteSession, invoice: InvoiceView) -> Sequence[Issue]:
        """Check the invoice before it is sent; a critical issue keeps it a draft."""
        ...

    async def upsert(self, session: WriteSession, invoice: InvoiceView) -> Synced:
        """Bring the app's copy of the invoice in line."""
        ...

    async def finalize(self, session: WriteSession, invoice: InvoiceView) -> Synced:
        """Issue the invoice and give it its final number."""
        ...

    async def delete(self, session: WriteSession, invoice: InvoiceView) -> None:
        """Remove the app's copy."""
        ...

    async def holds(self, session: WriteSession, invoice: InvoiceView) -> frozenset[State]:
        """Return the states (draft.syncing, issuing.syncing) in which the app does not yet let the invoice go on."""
        ...

    async def after_advance(self, session: WriteSession, invoice: InvoiceView) -> PaymentReport | None:
        """Look at where an advance ended; may fire a payment trigger."""
        ...
