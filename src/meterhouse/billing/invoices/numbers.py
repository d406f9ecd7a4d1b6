"""Invoice numbers (billing section 4.3).

A counter is incremented by one upsert in the caller's transaction, so numbers have no gaps. The row lock lasts until
the commit: draw as late as possible, and always in the order gathering, draft, app, or two transactions can wait for
each other. For the same reason everything that a later posting of the customer may have to hold is held first.
"""

import unicodedata
from enum import StrEnum

from sqlalchemy.dialects.postgresql import insert

from meterhouse.billing.invoices.models import InvoiceNumberCounter
from meterhouse.kernel.db import WriteSession
from meterhouse.ledger.accounts import hold_routes


class NumberScope(StrEnum):
    """What is counted on its own, per namespace."""

    GATHERING = "invoices/gathering"
    DRAFT = "invoices/draft"
    SANDBOX = "invoices/app/sandbox"
    CUSTOM_INVOICING = "invoices/custom-invoicing"


_FORMS = {
    NumberScope.GATHERING: "GATHER-{prefix}-{currency}-{count}",
    NumberScope.DRAFT: "DRAFT-{prefix}-{count}",
    NumberScope.SANDBOX: "OM-SANDBOX-{prefix}-{count}",
    NumberScope.CUSTOM_INVOICING: "INV-{prefix}-{count}",
}

# Letters that Unicode does not decompose into a base letter and a mark.
_LETTERS = str.maketrans(
    {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L"}
    | {"đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "TH", "ı": "i"}
)


def number_prefix(customer_name: str) -> str:
    """Return the letters that stand for a customer in its numbers: four of one word, or two of each of the first two.

    Words are split on any run of white space (better than the reference, billing section 12); a name that leaves no
    ASCII letters is `UNKN`.
    """
    decomposed = unicodedata.normalize("NFKD", customer_name.translate(_LETTERS))
    words = decomposed.encode("ascii", "ignore").decode().upper().split()
    if not words:
        return "UNKN"
    return words[0][:4] if len(words) == 1 else words[0][:2] + words[1][:2]


async def draw_number(
    session: WriteSession, namespace: str, scope: NumberScope, *, customer_id: str, customer_name: str, currency: str
) -> str:
    """Return the next number of `scope`; the first count is 1."""
    await hold_routes(session, namespace, customer_id)
    statement = (
        insert(InvoiceNumberCounter)
        .values(namespace=namespace, scope=scope.value, count=1)
        .on_conflict_do_update(
            index_elements=[InvoiceNumberCounter.namespace, InvoiceNumberCounter.scope],
            set_={"count": InvoiceNumberCounter.count + 1},
        )
        .returning(InvoiceNumberCounter.count)
    )
    count = (await session.execute(statement)).scalar_one()
    return _FORMS[scope].format(prefix=number_prefix(customer_name), currency=currency, count=count)
