"""Writing to the ledger: check, resolve addresses, write once (ledger section 2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.locks import lock
from meterhouse.ledger import repository
from meterhouse.ledger.accounts import CUSTOMER_TYPES, HeldBook
from meterhouse.ledger.models import LedgerEntry, LedgerTransaction, LedgerTransactionGroup
from meterhouse.ledger.postings import Draft
from meterhouse.ledger.routes import Route
from meterhouse.ledger.rules import LedgerError, check


@dataclass(frozen=True, slots=True)
class Posted:
    """A transaction as it stands in the ledger; the entries are in the order of its draft's postings."""

    id: str
    booked_at: datetime
    entry_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """The transactions of one business step, in the order of their drafts.

    `is_new` is False when the operation key had been booked before and nothing was written now.
    """

    id: str
    created_at: datetime
    transactions: tuple[Posted, ...]
    is_new: bool


async def find(session: WriteSession, namespace: str, operation_key: str) -> Group | None:
    """Return what was booked under an operation key, None if nothing was."""
    group = await repository.find_group(session, namespace, operation_key)
    if group is None:
        return None
    transactions = await repository.transactions_of(session, namespace, group.id)
    entries = await repository.entries_of(session, namespace, [row.id for row in transactions])
    posted = tuple(
        Posted(row.id, row.booked_at, tuple(entry.id for entry in entries if entry.transaction_id == row.id))
        for row in transactions
    )
    return Group(group.id, group.created_at, posted, is_new=False)


async def post(session: WriteSession, book: HeldBook, operation_key: str, drafts: Sequence[Draft]) -> Group:
    """Write the transactions of one business step, once per operation key.

    A key that was booked before writes nothing and returns the group there is.

    Raises:
        LedgerError: no transactions, or one that must not be written (`ledger.rules.check`).
    """
    existing = await find(session, book.namespace, operation_key)
    if existing is not None:
        return existing
    if not drafts:
        raise LedgerError("ledger_transaction_group_empty", operation_key)
    for draft in drafts:
        check(draft)
    addresses = await _addresses(session, book, drafts)
    now = clock.now()
    group_id = new_id()
    group = {"id": group_id, "namespace": book.namespace, "operation_key": operation_key, "created_at": now}
    await repository.add_all(session, LedgerTransactionGroup, [group])
    posted, transactions, entries = [], [], []
    for draft in drafts:
        transaction_id = new_id()
        transactions.append(
            {
                "id": transaction_id,
                "namespace": book.namespace,
                "group_id": group_id,
                "template_code": draft.template.value,
                "direction": draft.direction,
                "booked_at": draft.booked_at,
                "created_at": now,
                "annotations": draft.all_annotations(),
            }
        )
        rows = [
            {
                "id": new_id(),
                "namespace": book.namespace,
                "transaction_id": transaction_id,
                "sub_account_id": addresses[book.account_ids[posting.account], posting.route.key],
                "amount": posting.amount,
                "identity": posting.identity,
                "source_order": posting.source_order,
                "source_charge_id": posting.source_charge_id,
                "spend_charge_id": posting.spend_charge_id,
                "corrects_entry_id": posting.corrects_entry_id,
            }
            for posting in draft.postings
        ]
        entries += rows
        posted.append(Posted(transaction_id, draft.booked_at, tuple(str(row["id"]) for row in rows)))
    await repository.add_all(session, LedgerTransaction, transactions)
    await repository.add_all(session, LedgerEntry, entries)
    return Group(group_id, now, tuple(posted), is_new=True)


async def _addresses(session: WriteSession, book: HeldBook, drafts: Sequence[Draft]) -> dict[tuple[str, str], str]:
    """Return the sub-account of every leg, making those that are missing."""
    wanted: dict[tuple[str, str], tuple[str, Route]] = {}
    for draft in drafts:
        for posting in draft.postings:
            account_id = book.account_ids[posting.account]
            wanted[account_id, posting.route.key] = (account_id, posting.route)
    found = await repository.sub_account_ids(session, book.namespace, wanted)
    missing = [wanted[address] for address in sorted(wanted.keys() - found.keys())]
    if missing:
        own = {book.account_ids[kind] for kind in CUSTOMER_TYPES}
        if any(account_id not in own for account_id, _ in missing):
            # Two customers that first use two routes of the namespace in different order would wait for each other.
            await lock(session, "ledger", book.namespace, "routes")
        await repository.add_sub_accounts(session, book.namespace, missing)
        found |= await repository.sub_account_ids(session, book.namespace, [(a, route.key) for a, route in missing])
    return found
