"""What was booked, read back so that it can be reversed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from meterhouse.kernel.db import ReadSession
from meterhouse.ledger import repository
from meterhouse.ledger.accounts import AccountType, Book
from meterhouse.ledger.postings import Draft, Posting
from meterhouse.ledger.routes import Route
from meterhouse.ledger.templates import Template


@dataclass(frozen=True, slots=True)
class RecordedEntry:
    """An entry of the ledger with the account and route of its sub-account."""

    id: str
    account: AccountType
    route: Route
    amount: Decimal
    source_charge_id: str | None
    spend_charge_id: str | None

    def reversed(self, amount: Decimal) -> Posting:
        """Return the leg that takes back `amount` (> 0) of this entry."""
        return Posting(
            self.account,
            self.route,
            -amount if self.amount > 0 else amount,
            source_charge_id=self.source_charge_id,
            spend_charge_id=self.spend_charge_id,
            corrects_entry_id=self.id,
        )


@dataclass(frozen=True, slots=True)
class Recorded:
    """A transaction of the ledger."""

    id: str
    template: Template
    booked_at: datetime
    annotations: Mapping[str, str]
    entries: tuple[RecordedEntry, ...]

    def reversal(self, amount: Decimal, booked_at: datetime) -> Draft:
        """Return the correction that takes back `amount` of a transaction with two legs."""
        return self.correction(booked_at, tuple(entry.reversed(amount) for entry in self.entries))

    def correction(self, booked_at: datetime, postings: tuple[Posting, ...]) -> Draft:
        """Return a correction with the annotations of this transaction."""
        return Draft(self.template, booked_at, postings, "correction", self.annotations)


async def load(session: ReadSession, book: Book, transaction_ids: Iterable[str]) -> dict[str, Recorded]:
    """Return transactions of the book by id."""
    wanted = list(transaction_ids)
    transactions = await repository.transactions(session, book.namespace, wanted)
    entries = await repository.entries_of(session, book.namespace, wanted)
    addresses = await repository.addresses(session, book.namespace, {entry.sub_account_id for entry in entries})
    kinds = {account_id: kind for kind, account_id in book.account_ids.items()}

    def recorded(transaction_id: str) -> tuple[RecordedEntry, ...]:
        own = [entry for entry in entries if entry.transaction_id == transaction_id]
        places = [addresses[entry.sub_account_id] for entry in own]
        return tuple(
            RecordedEntry(
                entry.id, kinds[account_id], route, entry.amount, entry.source_charge_id, entry.spend_charge_id
            )
            for entry, (account_id, route) in zip(own, places, strict=True)
        )

    return {
        row.id: Recorded(row.id, Template(row.template_code), row.booked_at, row.annotations, recorded(row.id))
        for row in transactions.values()
    }
