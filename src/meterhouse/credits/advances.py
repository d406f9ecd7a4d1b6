"""Putting credit behind open advances (ledger section 5, charges section 11)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from meterhouse.credits import breakage, repository, steps
from meterhouse.credits.booking import Booking
from meterhouse.credits.models import CreditSegment
from meterhouse.credits.sources import Source
from meterhouse.credits.steps import Tax, Terms
from meterhouse.credits.supply import sources
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.money import ZERO, largest_remainder, total
from meterhouse.ledger import accounts
from meterhouse.ledger import postings as names
from meterhouse.ledger.journal import Group
from meterhouse.ledger.routes import RouteFilter

UNCOVERED, BACKFILLED = "advance_uncovered", "advance_backfilled"


@dataclass(frozen=True, slots=True)
class OpenAdvance:
    """A part of an allocation that was advanced and has no credit behind it yet."""

    segment_id: str
    allocation_id: str
    charge_id: str
    currency: str
    feature_key: str | None
    tax: Tax
    amount: Decimal

    @property
    def terms(self) -> Terms:
        """The terms it was lent on."""
        return steps.advance_terms(self.currency, self.feature_key)


@dataclass(frozen=True, slots=True)
class Share:
    """How much of an advance gets credit behind it."""

    advance: OpenAdvance
    amount: Decimal


def serves(features: Sequence[str] | None, feature_key: str | None) -> bool:
    """Tell whether credit for `features` (None: for everything) may serve a charge of a feature, or of none."""
    return features is None or (feature_key is not None and feature_key in features)


def distribute(advances: Sequence[OpenAdvance], amount: Decimal, features: Sequence[str] | None) -> list[Share]:
    """Split up to `amount` over the advances that the credit may serve, given oldest first.

    Charge after charge; within a charge in proportion to what was advanced per tax, in whole minor units; within one
    tax the oldest first.
    """
    by_charge: dict[str, list[OpenAdvance]] = defaultdict(list)
    for one in advances:
        if serves(features, one.feature_key):
            by_charge[one.charge_id].append(one)
    shares: list[Share] = []
    for of_charge in by_charge.values():
        by_tax: dict[Tax, list[OpenAdvance]] = defaultdict(list)
        for one in sorted(of_charge, key=lambda one: (one.tax.code or "", one.tax.behavior or "")):
            by_tax[one.tax].append(one)
        weights = [total(one.amount for one in of_tax) for of_tax in by_tax.values()]
        parts = largest_remainder(amount, weights, of_charge[0].currency)
        amount -= total(parts)
        for of_tax, part in zip(by_tax.values(), parts, strict=True):
            left = part
            for one in of_tax:
                share = min(left, one.amount)
                if share > 0:
                    shares.append(Share(one, share))
                    left -= share
        if amount == 0:
            break
    return shares


async def open_advances(session: ReadSession, namespace: str, customer_id: str, currency: str) -> list[OpenAdvance]:
    """Return a customer's open advances in a currency, oldest first."""
    rows = await repository.open_segments(session, namespace, customer_id, [UNCOVERED], currency)
    return [
        OpenAdvance(
            segment.id,
            allocation.id,
            allocation.charge_id,
            allocation.currency,
            allocation.feature_key,
            Tax(allocation.tax_code_id, allocation.tax_behavior),
            segment.amount,
        )
        for segment, allocation in rows
    ]


@dataclass(frozen=True, slots=True)
class Filled:
    """A share with the places of its two transactions in the booking."""

    share: Share
    grant_id: str
    attribution: int
    translation: int


async def record(
    session: WriteSession, namespace: str, customer_id: str, filled: Sequence[Filled], group: Group
) -> None:
    """Write what the advances became: covered parts with the transactions that covered them, and the rest."""
    if not filled:
        return
    covered: dict[str, Decimal] = defaultdict(lambda: ZERO)
    by_segment: dict[str, OpenAdvance] = {}
    for one in filled:
        # The first share of an advance has all of it; to those after it only what the ones before left was open.
        by_segment.setdefault(one.share.advance.segment_id, one.share.advance)
    await repository.close_segments(session, namespace, list(by_segment), group.created_at)
    for one in filled:
        covered[one.share.advance.segment_id] += one.share.amount
        session.add(
            CreditSegment(
                namespace=namespace,
                customer_id=customer_id,
                allocation_id=one.share.advance.allocation_id,
                state=BACKFILLED,
                amount=one.share.amount,
                backing_grant_id=one.grant_id,
                attribution_id=group.transactions[one.attribution].id,
                translation_id=group.transactions[one.translation].id,
            )
        )
    for segment_id, advance in by_segment.items():
        if covered[segment_id] < advance.amount:
            session.add(
                CreditSegment(
                    namespace=namespace,
                    customer_id=customer_id,
                    allocation_id=advance.allocation_id,
                    state=UNCOVERED,
                    amount=advance.amount - covered[segment_id],
                )
            )
    await session.flush()


def put_behind(booking: Booking, share: Share, terms: Terms, grant_id: str, at: datetime) -> Filled:
    """Add the transactions that put a grant's value behind a share of an advance."""
    advance = share.advance
    annotations = {names.CHARGE_NAMESPACE: booking.namespace, names.CHARGE_ID: advance.charge_id}
    attribution, translation = steps.backfill(
        advance.terms,
        terms,
        advance.tax,
        share.amount,
        at,
        source=grant_id,
        spend=advance.charge_id,
        annotations=annotations,
    )
    return Filled(share, grant_id, booking.add(attribution), booking.add(translation))


async def fill_advances(session: WriteSession, namespace: str, customer_id: str) -> None:
    """Cover open advances with eligible credit that exists by now (charges section 11)."""
    if not await repository.open_segments(session, namespace, customer_id, [UNCOVERED]):
        return
    book = await accounts.hold(session, namespace, customer_id)
    now = clock.now()
    rows = await repository.open_segments(session, namespace, customer_id, [UNCOVERED])
    for currency in sorted({allocation.currency for _, allocation in rows}):
        advances = await open_advances(session, namespace, customer_id, currency)
        available = await sources(session, book, RouteFilter(currency=currency), now, lock=True)
        booking, filled = Booking(namespace), list[Filled]()
        for source in sorted(available, key=lambda one: one.rank):
            shares = distribute(_without(advances, filled), source.available, source.route.features)
            filled += [_pay(booking, share, source, now) for share in shares]
        if filled:
            group = await booking.post(session, book, f"credits.fill/{new_id()}")
            await record(session, namespace, customer_id, filled, group)


def _pay(booking: Booking, share: Share, source: Source, at: datetime) -> Filled:
    """Put stored credit behind a share: the credit pays the debt that it takes over from the advance."""
    terms = source.terms
    annotations = {names.CHARGE_NAMESPACE: booking.namespace, names.CHARGE_ID: share.advance.charge_id}
    filled = put_behind(booking, share, terms, source.grant_id, at)
    booking.add(steps.cover(terms, share.amount, at, source=source.grant_id, annotations=annotations))
    if source.plan:
        booking.expire(
            breakage.change("release", "advance_backfill", terms, share.amount, source.plan, source.grant_id)
        )
    return filled


def _without(advances: Sequence[OpenAdvance], filled: Sequence[Filled]) -> list[OpenAdvance]:
    """Return what of the advances is still open after some of it was filled."""
    covered: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for one in filled:
        covered[one.share.advance.segment_id] += one.share.amount
    rest = (replace(one, amount=one.amount - covered[one.segment_id]) for one in advances)
    return [one for one in rest if one.amount > 0]
