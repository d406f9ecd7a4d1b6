"""What invoices say before their customer goes (billing section 11, customers section 4)."""

from meterhouse.billing.invoices import repository
from meterhouse.billing.invoices.models import GATHERING, InvoiceRow
from meterhouse.customers.customer import Customer
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import InvalidInput, Issue

MAX_NAMED = 100  # invoices told in one refusal: enough to see what is wrong, and a bound for the answer


async def refuse_deletion(session: WriteSession, customer: Customer) -> None:
    """Keep a customer with pending lines or open invoices.

    Raises:
        InvalidInput: with an issue for each live gathering invoice and each standard invoice that is not final.
    """
    found = await repository.not_final(session, customer.namespace, customer.id, MAX_NAMED)
    if found:
        named = [_issue(invoice) for invoice in found]
        raise InvalidInput("\n".join(issue.message for issue in named), issues=named)


def _issue(invoice: InvoiceRow) -> Issue:
    held = "holds pending lines" if invoice.kind == GATHERING else f"is not final: {invoice.status}"
    return Issue(
        "deleting_customer_with_open_invoices",
        f"invoice {invoice.number} {held}",
        attributes={"invoice": invoice.id, "number": invoice.number, "status": invoice.status},
    )
