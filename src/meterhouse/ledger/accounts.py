"""Accounts of customers and of the namespace: made at first use, exactly one of each type (ledger sections 1 and 9)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import Unavailable
from meterhouse.kernel.locks import lock
from meterhouse.ledger import repository

# A customer's postings are short; who waits longer than this stands behind something stuck and should retry.
LOCK_TIMEOUT = "5s"
_LOCK_NOT_AVAILABLE = "55P03"


class AccountType(StrEnum):
    """What an account holds; signs are those of ledger section 1."""

    FBO = "customer_fbo"
    RECEIVABLE = "customer_receivable"
    ACCRUED = "customer_accrued"
    WASH = "wash"
    EARNINGS = "earnings"
    BROKERAGE = "brokerage"
    BREAKAGE = "breakage"


CUSTOMER_TYPES = (AccountType.FBO, AccountType.RECEIVABLE, AccountType.ACCRUED)
NAMESPACE_TYPES = (AccountType.WASH, AccountType.EARNINGS, AccountType.BROKERAGE, AccountType.BREAKAGE)


@dataclass(frozen=True, slots=True)
class Book:
    """The accounts that a customer's transactions may touch: the customer's three and the namespace's four."""

    namespace: str
    customer_id: str
    account_ids: Mapping[AccountType, str]

    @property
    def fbo(self) -> str:
        """The account of stored credit."""
        return self.account_ids[AccountType.FBO]

    @property
    def receivable(self) -> str:
        """The account of what the customer owes."""
        return self.account_ids[AccountType.RECEIVABLE]

    @property
    def accrued(self) -> str:
        """The account of consumed value."""
        return self.account_ids[AccountType.ACCRUED]


# A book whose accounts the present transaction holds; only `hold` makes one, and only such a book can be posted to.
HeldBook = NewType("HeldBook", Book)


async def find(session: ReadSession, namespace: str, customer_id: str) -> Book | None:
    """Return the customer's book, None when any of its accounts is missing."""
    found = {
        AccountType(kind): account_id
        for kind, account_id in (await repository.account_ids(session, namespace, customer_id)).items()
    }
    return Book(namespace, customer_id, found) if len(found) == len(AccountType) else None


async def provision(session: WriteSession, namespace: str, customer_id: str) -> Book:
    """Return the customer's book, making what is missing. Safe at any time and from many transactions at once."""
    book = await find(session, namespace, customer_id)
    if book is None:
        await provision_namespace(session, namespace)
        await lock(session, "ledger", namespace, "accounts", customer_id)
        present = await repository.account_ids(session, namespace, customer_id)
        await repository.add_customer_accounts(
            session, namespace, customer_id, [kind for kind in CUSTOMER_TYPES if kind not in present]
        )
        book = await find(session, namespace, customer_id)
    assert book is not None, "accounts were just made"
    return book


async def provision_namespace(session: WriteSession, namespace: str) -> None:
    """Make the namespace's own accounts that are missing."""
    await repository.add_namespace_accounts(session, namespace, NAMESPACE_TYPES)


async def hold(session: WriteSession, namespace: str, customer_id: str) -> HeldBook:
    """Return the customer's book and hold its accounts until the transaction ends.

    Every step that posts holds all three accounts of the customer in one order before it reads balances, so what it
    read cannot change and two steps of one customer never wait for each other in a circle. Accounts of the namespace
    are never held, or all customers would queue (ledger section 2.1).

    Raises:
        Unavailable: another transaction held an account for longer than `LOCK_TIMEOUT`.
    """
    book = await provision(session, namespace, customer_id)
    before = (await session.execute(text("SELECT current_setting('lock_timeout')"))).scalar_one()
    set_timeout = text("SELECT set_config('lock_timeout', :value, true)")
    await session.execute(set_timeout, {"value": LOCK_TIMEOUT})
    try:
        for account_id in sorted(book.account_ids[kind] for kind in CUSTOMER_TYPES):
            await lock(session, "ledger", account_id)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise Unavailable("the customer's credit is being changed by another request, try again") from error
        raise
    await session.execute(set_timeout, {"value": before})
    return HeldBook(book)


async def hold_routes(session: WriteSession, namespace: str, customer_id: str) -> None:
    """Hold the making of the namespace's own routes until the transaction ends.

    The customer's accounts come first, as in every posting: who posts later in this transaction would otherwise wait
    for another posting of the customer that waits for the routes.
    """
    if await find(session, namespace, customer_id) is not None:
        await hold(session, namespace, customer_id)
    await lock(session, "ledger", namespace, "routes")
