"""The list of a customer's credit transactions with the balance before and after each (ledger section 10.7)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from meterhouse.credits.balances import settled_addresses
from meterhouse.credits.labels import labels_of
from meterhouse.credits.repository.rows import Row, Scope, nets_between, rows, sums_through
from meterhouse.customers import service as customers
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import invalid
from meterhouse.kernel.money import ZERO
from meterhouse.ledger import accounts
from meterhouse.ledger.balances import Address, Cursor
from meterhouse.ledger.routes import ABSENT, Absent

# Shown where a consumption was booked without the name of its charge.
_UNNAMED = "Usage"


class TransactionType(StrEnum):
    """What happened to the credit."""

    FUNDED = "funded"
    CONSUMED = "consumed"
    EXPIRED = "expired"
    VOIDED = "voided"


@dataclass(frozen=True, slots=True)
class Transaction:
    """One row: `amount` is signed; credit given back by a correction is a consumption with a positive amount.

    Attributes:
        before, after: the settled balance of the row's currency around the row.
    """

    id: str
    type: TransactionType
    name: str
    description: str | None
    labels: Mapping[str, str]
    currency: str
    amount: Decimal
    booked_at: datetime
    created_at: datetime
    before: Decimal
    after: Decimal

    @property
    def cursor(self) -> Cursor:
        """The row's place in the list."""
        return Cursor(self.booked_at, self.created_at, self.id)


@dataclass(frozen=True, slots=True)
class TransactionPage:
    """Rows, newest first, and the cursors of the pages around them; None where there is no page."""

    items: Sequence[Transaction]
    next: Cursor | None
    previous: Cursor | None


async def list_transactions(
    session: ReadSession,
    namespace: str,
    customer_id: str,
    *,
    size: int,
    after: Cursor | None = None,
    before: Cursor | None = None,
    kind: TransactionType | None = None,
    currency: str | None = None,
    feature: str | Absent | None = ABSENT,
) -> TransactionPage:
    """Return up to `size` rows that count by now: the newest, or those next to a cursor.

    Args:
        after: only rows below this one.
        before: only rows above this one, the nearest of them.
        feature: as for balances; amounts and balances are those of the credit that passes.

    Raises:
        NotFound: the customer does not exist.
        InvalidInput: both cursors are given.
    """
    if after is not None and before is not None:
        raise invalid("after and before exclude each other", field="page")
    await customers.get(session, namespace, customer_id)
    book = await accounts.find(session, namespace, customer_id)
    if book is None:
        return TransactionPage((), None, None)
    scope = Scope(namespace, customer_id, book.fbo, clock.now(), currency, feature)
    kinds = [kind] if kind else list(TransactionType)
    # One more than asked for tells whether there is another page.
    found = await rows(session, scope, kinds, limit=size + 1, older_than=after, newer_than=before)
    more = len(found) > size
    page = found[-size:] if before is not None else found[:size]
    balances = await _balances_after(session, scope, page, settled_addresses(book, feature))
    items = [_transaction(row, balance) for row, balance in zip(page, balances, strict=True)]
    has_next, has_previous = (True, more) if before is not None else (more, after is not None)
    return TransactionPage(
        items,
        items[-1].cursor if items and has_next else None,
        items[0].cursor if items and has_previous else None,
    )


async def _balances_after(
    session: ReadSession, scope: Scope, page: Sequence[Row], addresses: Sequence[Address]
) -> list[Decimal]:
    """Return the settled balance after each row, in the row's currency."""
    if not page:
        return []
    cursors = [row.ledger_cursor for row in page]
    first, last = min(cursors), max(cursors)
    base = await sums_through(session, scope.namespace, addresses, first)
    nets = await nets_between(session, scope.namespace, addresses, first, last)
    return [
        base.get(row.currency, ZERO)
        + sum((net.amount for net in nets if net.currency == row.currency and net.cursor <= cursor), ZERO)
        for row, cursor in zip(page, cursors, strict=True)
    ]


def _transaction(row: Row, after: Decimal) -> Transaction:
    return Transaction(
        id=row.id,
        type=TransactionType(row.type),
        name=row.name or _UNNAMED,
        description=row.description,
        labels=labels_of(row.annotations),
        currency=row.currency,
        amount=row.amount,
        booked_at=row.booked_at,
        created_at=row.created_at,
        before=after - row.amount,
        after=after,
    )
