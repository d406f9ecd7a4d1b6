"""One business step under construction: its transactions, and the expiry records that belong to some of them."""

from dataclasses import dataclass, field

from meterhouse.credits import breakage
from meterhouse.credits.breakage import Change
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.jobs import enqueue
from meterhouse.ledger import journal
from meterhouse.ledger.accounts import HeldBook
from meterhouse.ledger.journal import Group
from meterhouse.ledger.postings import Draft
from meterhouse.ledger.templates import Template

# The job that turns consumption into earnings (`credits.jobs`), and the postings that give it something to do.
RECOGNIZE = "credits.recognize"
_EARNING = frozenset({Template.COLLECT, Template.TRANSLATE})


@dataclass(slots=True)
class Booking:
    """Collects drafts; `post` writes them as one group together with the records of changed expiry."""

    namespace: str
    drafts: list[Draft] = field(default_factory=list)
    _changes: dict[int, Change] = field(default_factory=dict)

    def add(self, draft: Draft) -> int:
        """Add a transaction and return its place in the group."""
        self.drafts.append(draft)
        return len(self.drafts) - 1

    def expire(self, change: Change) -> None:
        """Add the posting of a changed expiry, to be recorded as well."""
        self._changes[self.add(change.draft())] = change

    async def post(self, session: WriteSession, book: HeldBook, operation_key: str) -> Group:
        """Write the step, once per operation key."""
        group = await journal.post(session, book, operation_key, self.drafts)
        if group.is_new:
            for place, change in self._changes.items():
                transaction_id = group.transactions[place].id
                session.add(breakage.row(change, book.namespace, book.customer_id, transaction_id, group.created_at))
            await session.flush()
            await self._recognize_later(session, book)
        return group

    async def _recognize_later(self, session: WriteSession, book: HeldBook) -> None:
        """Have consumption that has credit behind it recognised after this transaction, not while it holds the book."""
        earned = {
            posting.route.currency for draft in self.drafts if draft.template in _EARNING for posting in draft.postings
        }
        for currency in sorted(earned):
            payload = {"namespace": book.namespace, "customer_id": book.customer_id, "currency": currency}
            await enqueue(session, RECOGNIZE, payload, dedupe_key="/".join(payload.values()))
