"""The sandbox app: bills and pays without any provider (apps section 2)."""

from collections.abc import Sequence

from meterhouse.billing.invoices.app_port import PaymentReport, Synced
from meterhouse.billing.invoices.numbers import NumberScope, draw_number
from meterhouse.billing.invoices.states import State, Trigger
from meterhouse.billing.invoices.views import InvoiceView
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import Issue

# Invoice metadata that chooses how the simulated payment ends.
TARGET_PAYMENT_STATUS = "openmeter.io/sandbox/target-payment-status"

_FAILURE = Issue("simulated_payment_failure", "the payment failed, as the invoice's metadata asked for")

_REPORTS = {
    "paid": PaymentReport(Trigger.PAYMENT_PAID),
    "failed": PaymentReport(Trigger.PAYMENT_FAILED, _FAILURE),
    "uncollectible": PaymentReport(Trigger.PAYMENT_UNCOLLECTIBLE),
    "action_required": PaymentReport(Trigger.PAYMENT_ACTION_REQUIRED),
}


class SandboxApp:
    """Agrees to everything, numbers invoices itself and simulates the payment (implements `InvoicingApp`)."""

    async def validate(self, session: WriteSession, invoice: InvoiceView) -> Sequence[Issue]:
        """Find nothing wrong."""
        return ()

    async def upsert(self, session: WriteSession, invoice: InvoiceView) -> Synced:
        """Keep no copy."""
        return Synced()

    async def finalize(self, session: WriteSession, invoice: InvoiceView) -> Synced:
        """Number the invoice and call it sent."""
        number = await draw_number(
            session,
            invoice.namespace,
            NumberScope.SANDBOX,
            customer_id=invoice.customer_id,
            customer_name=invoice.customer.name,
            currency=invoice.currency,
        )
        return Synced(number=number, sent_to_customer_at=clock.now())

    async def delete(self, session: WriteSession, invoice: InvoiceView) -> None:
        """Keep no copy."""

    async def holds(self, session: WriteSession, invoice: InvoiceView) -> frozenset[State]:
        """Never wait."""
        return frozenset()

    async def after_advance(self, session: WriteSession, invoice: InvoiceView) -> PaymentReport | None:
        """Simulate the payment of an invoice that waits for one; an unknown target is paid."""
        if invoice.state is not State.PAYMENT_PENDING:
            return None
        return _REPORTS.get(invoice.metadata.get(TARGET_PAYMENT_STATUS, "paid"), _REPORTS["paid"])
