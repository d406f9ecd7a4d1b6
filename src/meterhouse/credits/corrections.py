"""Giving credit back when less was consumed (ledger section 6.1).

Every reversal is booked when what it reverses was booked, so that a past balance shows what should have been, and not
earlier than the caller's own booking time where one is given.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from meterhouse.credits import breakage, repository, steps
from meterhouse.credits.allocations import Allocation, shown
from meterhouse.credits.booking import Booking
from meterhouse.credits.models import CreditAllocation, CreditGrant, CreditSegment
from meterhouse.credits.sources import Plan
from meterhouse.credits.steps import Terms, grant_terms, terms_of
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import invalid
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.money import ZERO, total
from meterhouse.ledger import accounts, history, journal
from meterhouse.ledger.accounts import AccountType, Book
from meterhouse.ledger.history import Recorded, RecordedEntry
from meterhouse.ledger.postings import Posting
from meterhouse.ledger.repository import transactions_of
from meterhouse.ledger.templates import Template

# What is given back first inside an allocation.
_ORDER = {"earnings_recognized": 0, "advance_backfilled": 1, "advance_uncovered": 2, "real_credit": 3}


@dataclass(frozen=True, slots=True)
class Cut:
    """An amount to take off a segment of an allocation."""

    allocation: CreditAllocation
    segment: CreditSegment
    amount: Decimal

    @property
    def state(self) -> str:
        """What the value is behind a recognition."""
        return self.segment.source_state or self.segment.state


def plan_cuts(
    rows: Sequence[CreditAllocation], segments: Mapping[str, Sequence[CreditSegment]], amount: Decimal
) -> list[Cut]:
    """Choose what to give back: the newest allocation first, inside one by `_ORDER`, the newest segment first."""
    cuts = []
    for allocation in reversed(rows):
        newest_first = sorted(segments.get(allocation.id, ()), key=lambda one: one.id, reverse=True)
        of_allocation = sorted(newest_first, key=lambda one: _ORDER[one.state])
        for segment in of_allocation:
            part = min(segment.amount, amount)
            if part > 0:
                cuts.append(Cut(allocation, segment, part))
                amount -= part
    return cuts


async def correct(
    session: WriteSession,
    *,
    namespace: str,
    customer_id: str,
    run_id: str,
    amount: Decimal,
    booked_at: datetime | None = None,
    operation_key: str | None = None,
) -> list[Allocation]:
    """Give `amount` of a run's credit back, the newest allocation first, and return the run's allocations after.

    Args:
        amount: rounded to the currency's minor unit, >= 0.
        booked_at: when the reversal counts where that is later than what it reverses; by default they count together.
        operation_key: names the step; asking again with the same key gives nothing back.

    Raises:
        InvalidInput: more than the run still holds (code `insufficient_funds`).
    """
    book = await accounts.hold(session, namespace, customer_id)
    rows = await repository.run_allocations(session, namespace, [run_id])
    operation_key = f"credits.correct/{operation_key or new_id()}"
    if amount == 0 or await journal.find(session, namespace, operation_key) is not None:
        return await shown(session, namespace, rows)
    segments: dict[str, list[CreditSegment]] = defaultdict(list)
    for segment in await repository.segments(session, namespace, [row.id for row in rows]):
        segments[segment.allocation_id].append(segment)
    held = total(segment.amount for of_allocation in segments.values() for segment in of_allocation)
    if amount > held:
        raise invalid(
            f"insufficient funds: the run holds {held} of credit, {amount} cannot be given back",
            code="insufficient_funds",
        )
    cuts = plan_cuts(rows, segments, amount)
    booking = _booking(namespace, cuts, await _past(session, book, cuts, booked_at))
    await booking.post(session, book, operation_key)
    await _record(session, cuts)
    return await shown(session, namespace, rows)


@dataclass(frozen=True, slots=True)
class _Past:
    """What was booked, as far as the reversals need it.

    Attributes:
        lent: the issue of each advance, by the id of the transaction that consumed it.
        booked_at: the caller's booking time.
    """

    transactions: Mapping[str, Recorded]
    lent: Mapping[str, Recorded]
    grants: Mapping[str, CreditGrant]
    plans: Mapping[str, Plan]
    booked_at: datetime | None

    def when(self, original: datetime, grant_id: str | None = None) -> datetime:
        """Return when the reversal of something booked at `original` counts.

        Credit of a grant that would come back after its expiry comes back at the original time, and expires with it.
        """
        if self.booked_at is None or self.booked_at <= original:
            return original
        plan = self.plans.get(grant_id) if grant_id else None
        return original if plan is not None and plan.expires_at <= self.booked_at else self.booked_at


async def _past(session: WriteSession, book: Book, cuts: Sequence[Cut], booked_at: datetime | None) -> _Past:
    wanted = {cut.allocation.transaction_id for cut in cuts}
    for cut in cuts:
        segment = cut.segment
        wanted |= {one for one in (segment.attribution_id, segment.translation_id, segment.recognition_id) if one}
    issues: dict[str, str] = {}
    for cut in cuts:
        if cut.allocation.origin == "advance":
            of_group = await transactions_of(session, book.namespace, cut.allocation.group_id)
            issue = next(row.id for row in of_group if row.template_code == Template.ISSUE)
            issues[cut.allocation.transaction_id] = issue
    found = await history.load(session, book, wanted | set(issues.values()))
    sources = {entry.source_charge_id for one in found.values() for entry in one.entries if entry.source_charge_id}
    return _Past(
        found,
        {consumed: found[issue] for consumed, issue in issues.items()},
        await repository.grants(session, book.namespace, sources),
        await repository.plans(session, book.namespace, sources, lock=True),
        booked_at,
    )


def _booking(namespace: str, cuts: Sequence[Cut], past: _Past) -> Booking:
    booking = Booking(namespace)
    for cut in cuts:
        if cut.segment.recognition_id:
            recognized = past.transactions[cut.segment.recognition_id]
            booking.add(recognized.reversal(cut.amount, past.when(recognized.booked_at)))
    taken: dict[tuple[str, datetime], list[tuple[RecordedEntry, Decimal]]] = defaultdict(list)
    for cut in cuts:
        consumed = past.transactions[cut.allocation.transaction_id]
        if cut.state == "real_credit":
            entry = next(one for one in consumed.entries if one.id == cut.allocation.entry_id)
            at = past.when(consumed.booked_at, entry.source_charge_id)
            taken[consumed.id, at].append((entry, cut.amount))
            _reopen(booking, past, terms_of(entry.route), entry.source_charge_id, cut.amount)
            continue
        if cut.state == "advance_backfilled":
            _uncover(booking, cut, past)
        lent = past.lent[consumed.id]
        booking.add(lent.reversal(cut.amount, past.when(lent.booked_at)))
        # Last of its bundle, because this is the one that the customer sees: the balance right after it is complete.
        booking.add(consumed.reversal(cut.amount, past.when(consumed.booked_at)))
    for (transaction_id, at), parts in taken.items():
        consumed = past.transactions[transaction_id]
        booking.add(consumed.correction(at, _given_back(consumed, parts)))
    return booking


def _uncover(booking: Booking, cut: Cut, past: _Past) -> None:
    """Take a grant's value from behind an advance and give it back to the customer as credit of that grant."""
    segment = cut.segment
    translated = past.transactions[segment.translation_id or ""]
    attributed = past.transactions[segment.attribution_id or ""]
    grant = past.grants[segment.backing_grant_id or ""]
    at = past.when(attributed.booked_at, grant.id)
    booking.add(translated.reversal(cut.amount, at))
    booking.add(attributed.reversal(cut.amount, at))
    annotations = attributed.annotations
    terms = grant_terms(grant)
    booking.add(steps.issue(terms, cut.amount, at, source=grant.id, annotations=annotations))
    _reopen(booking, past, terms, grant.id, cut.amount)


def _reopen(booking: Booking, past: _Past, terms: Terms, grant_id: str | None, amount: Decimal) -> None:
    """Let credit that came back expire again, where its grant expires."""
    if grant_id is not None and grant_id in past.plans:
        plan = past.plans[grant_id]
        booking.expire(breakage.change("reopen", "usage_correction", terms, amount, plan, grant_id))


def _given_back(consumed: Recorded, parts: Sequence[tuple[RecordedEntry, Decimal]]) -> tuple[Posting, ...]:
    """Return the legs that give parts of a collection back; the legs of consumption are merged."""
    restored: dict[str, Decimal] = defaultdict(lambda: ZERO)
    unconsumed: dict[str, Decimal] = defaultdict(lambda: ZERO)
    entries = {entry.id: entry for entry in consumed.entries}
    for entry, amount in parts:
        restored[entry.id] += amount
        counterpart = next(
            one
            for one in consumed.entries
            if one.account is AccountType.ACCRUED
            and (one.route.cost_basis, one.source_charge_id) == (entry.route.cost_basis, entry.source_charge_id)
        )
        unconsumed[counterpart.id] += amount
    return tuple(entries[entry_id].reversed(amount) for entry_id, amount in (restored | unconsumed).items())


async def _record(session: WriteSession, cuts: Sequence[Cut]) -> None:
    """Close the segments that were cut and write what is left of them."""
    now = clock.now()
    for cut in cuts:
        segment = cut.segment
        segment.closed_at = now
        if cut.amount < segment.amount:
            session.add(
                CreditSegment(
                    namespace=segment.namespace,
                    customer_id=segment.customer_id,
                    allocation_id=segment.allocation_id,
                    state=segment.state,
                    source_state=segment.source_state,
                    amount=segment.amount - cut.amount,
                    backing_grant_id=segment.backing_grant_id,
                    attribution_id=segment.attribution_id,
                    translation_id=segment.translation_id,
                    recognition_id=segment.recognition_id,
                )
            )
    await session.flush()
