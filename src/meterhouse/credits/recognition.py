"""Recognising revenue: the value of consumption paid by credit becomes earnings (ledger section 8).

Only value with credit behind it is recognised; what went to an invoice is not.
"""

from decimal import Decimal

from meterhouse.credits import repository, steps
from meterhouse.credits.booking import Booking
from meterhouse.credits.models import CreditSegment
from meterhouse.credits.steps import Tax
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.money import ZERO
from meterhouse.ledger import accounts, history
from meterhouse.ledger.accounts import AccountType

_RECOGNIZABLE = ("real_credit", "advance_backfilled")


async def recognize(
    session: WriteSession, namespace: str, customer_id: str, currency: str, *, limit: Decimal | None = None
) -> Decimal:
    """Recognise consumption in a currency, oldest first and at most `limit`; return how much it was.

    Asking again recognises only what was consumed in between. A correction takes recognition back by itself.
    """
    if not await repository.open_segments(session, namespace, customer_id, _RECOGNIZABLE, currency):
        return ZERO
    book = await accounts.hold(session, namespace, customer_id)
    rows = await repository.open_segments(session, namespace, customer_id, _RECOGNIZABLE, currency)
    now, recognized = clock.now(), ZERO
    consumed_by = {segment.translation_id or allocation.transaction_id for segment, allocation in rows}
    past = await history.load(session, book, consumed_by)
    booking, replaced = Booking(namespace), list[tuple[CreditSegment, Decimal]]()
    for segment, allocation in rows:
        part = segment.amount if limit is None else min(segment.amount, limit - recognized)
        if part <= 0:
            break
        consumed = past[segment.translation_id or allocation.transaction_id]
        source = segment.backing_grant_id or next(
            entry.source_charge_id for entry in consumed.entries if entry.id == allocation.entry_id
        )
        value = next(
            entry
            for entry in consumed.entries
            if entry.account is AccountType.ACCRUED and entry.amount > 0 and entry.source_charge_id == source
        )
        cost_basis = value.route.cost_basis
        assert source is not None, "credit was taken from a grant"
        assert cost_basis is not None, "what has credit behind it has its cost basis"
        tax = Tax(allocation.tax_code_id, allocation.tax_behavior)
        # Not earlier than the consumption, which may be booked ahead.
        at = max(now, consumed.booked_at)
        booking.add(steps.recognize(currency, cost_basis, tax, part, at, source=source, spend=allocation.charge_id))
        replaced.append((segment, part))
        recognized += part
    if booking.drafts:
        group = await booking.post(session, book, f"credits.recognize/{new_id()}")
        for (segment, part), posted in zip(replaced, group.transactions, strict=True):
            _replace(session, segment, part, posted.id)
        await session.flush()
    return recognized


def _replace(session: WriteSession, segment: CreditSegment, part: Decimal, recognition_id: str) -> None:
    """Close a segment; a part of it is recognised, the rest stays what it was."""
    segment.closed_at = clock.now()
    for amount, recognition in ((part, recognition_id), (segment.amount - part, None)):
        if amount == 0:
            continue
        session.add(
            CreditSegment(
                namespace=segment.namespace,
                customer_id=segment.customer_id,
                allocation_id=segment.allocation_id,
                state="earnings_recognized" if recognition else segment.state,
                source_state=segment.state if recognition else None,
                amount=amount,
                backing_grant_id=segment.backing_grant_id,
                attribution_id=segment.attribution_id,
                translation_id=segment.translation_id,
                recognition_id=recognition,
            )
        )
