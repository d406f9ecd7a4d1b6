"""Taking credit for what was consumed (ledger section 6)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from meterhouse.catalog.prices import SettlementMode
from meterhouse.credits import breakage, repository, steps
from meterhouse.credits.advances import fill_advances
from meterhouse.credits.allocations import Allocation, allocations, shown
from meterhouse.credits.booking import Booking
from meterhouse.credits.corrections import correct
from meterhouse.credits.labels import charge_annotations
from meterhouse.credits.models import CreditAllocation, CreditSegment
from meterhouse.credits.sources import Slice, take
from meterhouse.credits.steps import Tax
from meterhouse.credits.supply import sources
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.money import total
from meterhouse.ledger import accounts, journal
from meterhouse.ledger.accounts import AccountType
from meterhouse.ledger.journal import Group, Posted
from meterhouse.ledger.postings import Draft, Posting
from meterhouse.ledger.routes import RouteFilter
from meterhouse.ledger.templates import Template

__all__ = ["Allocation", "CollectRequest", "allocations", "collect", "correct", "fill_advances"]


@dataclass(frozen=True, slots=True)
class CollectRequest:
    """What to take, from which credit and in whose name.

    Attributes:
        amount: in `currency`, rounded to its minor unit, >= 0.
        feature_key: the charge's feature; None uses unrestricted credit only.
        booked_at: when the consumption counts.
        source_balance_as_of: only credit there was at this instant (inclusive) is used.
        labels: shown on the customer's transaction list: `subscription_id`, `subscription_phase_id`,
            `subscription_item_id`, `feature_id` (`charge_id` is added here).
        name: how the consumption is called on that list, the charge's name.
        operation_key: names the step; asking again with the same key takes nothing and returns what the first
            call took. Without one every call is a step of its own.
    """

    namespace: str
    customer_id: str
    charge_id: str
    run_id: str
    currency: str
    feature_key: str | None
    amount: Decimal
    settlement_mode: SettlementMode
    booked_at: datetime
    source_balance_as_of: datetime
    tax_code_id: str | None = None
    tax_behavior: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    operation_key: str | None = None

    @property
    def tax(self) -> Tax:
        """The tax the consumption is booked with."""
        return Tax(self.tax_code_id, self.tax_behavior)


async def collect(session: WriteSession, request: CollectRequest) -> list[Allocation]:
    """Take credit in the order of ledger section 6 and return what this call took.

    `credit_only` takes the whole amount, the shortfall as an advance; `credit_then_invoice` takes what there is.
    """
    if request.amount == 0:
        return []
    book = await accounts.hold(session, request.namespace, request.customer_id)
    operation_key = f"credits.collect/{request.operation_key or new_id()}"
    earlier = await journal.find(session, book.namespace, operation_key)
    if earlier is not None:
        rows = await repository.group_allocations(session, book.namespace, earlier.id)
        return await shown(session, book.namespace, rows)
    route_filter = RouteFilter(currency=request.currency, match_feature=request.feature_key)
    available = await sources(session, book, route_filter, request.source_balance_as_of, lock=True)
    slices = take(available, request.amount)
    booking = Booking(book.namespace)
    annotations = charge_annotations(book.namespace, request.charge_id, request.labels, request.name)
    if slices:
        booking.add(_collection(request, slices, annotations))
    for one in slices:
        if one.source.plan:
            source = one.source
            booking.expire(
                breakage.change("release", "usage", source.terms, one.amount, one.source.plan, source.grant_id)
            )
    shortfall = request.amount - total(one.amount for one in slices)
    if shortfall > 0 and request.settlement_mode is SettlementMode.CREDIT_ONLY:
        lent = steps.advance_terms(request.currency, request.feature_key)
        drafts = steps.advance(
            lent, request.tax, shortfall, request.booked_at, spend=request.charge_id, annotations=annotations
        )
        for draft in drafts:
            booking.add(draft)
    if not booking.drafts:
        return []
    group = await booking.post(session, book, operation_key)
    rows = _allocations(request, booking.drafts, group)
    await _record(session, rows)
    return await shown(session, book.namespace, rows)


def _collection(request: CollectRequest, slices: Sequence[Slice], annotations: Mapping[str, str]) -> Draft:
    """Return the transaction that takes the slices: one leg per source, one of consumption per value and source."""
    legs = [
        Posting(
            AccountType.FBO,
            one.source.route,
            -one.amount,
            source_charge_id=one.source.grant_id,
            spend_charge_id=request.charge_id,
            source_order=order,
        )
        for order, one in enumerate(slices)
    ]
    consumed: dict[tuple[Decimal | None, str], list[Decimal]] = defaultdict(list)
    for one in slices:
        consumed[one.source.route.cost_basis, one.source.grant_id].append(one.amount)
    for (cost_basis, grant_id), amounts in consumed.items():
        route = request.tax.accrued(request.currency, cost_basis)
        legs.append(
            Posting(
                AccountType.ACCRUED,
                route,
                total(amounts),
                source_charge_id=grant_id,
                spend_charge_id=request.charge_id,
            )
        )
    return Draft(Template.COLLECT, request.booked_at, tuple(legs), annotations=annotations)


def _allocations(request: CollectRequest, drafts: Sequence[Draft], group: Group) -> list[CreditAllocation]:
    """Return one allocation for each entry that took credit."""
    taken: list[tuple[str, Posted, str, Decimal]] = []
    for draft, posted in zip(drafts, group.transactions, strict=True):
        if draft.template not in (Template.COLLECT, Template.ADVANCE_COLLECT):
            continue
        origin = "real_credit" if draft.template is Template.COLLECT else "advance"
        for posting, entry_id in zip(draft.postings, posted.entry_ids, strict=True):
            if posting.account is AccountType.FBO:
                taken.append((origin, posted, entry_id, -posting.amount))
    return [
        CreditAllocation(
            id=new_id(),
            namespace=request.namespace,
            customer_id=request.customer_id,
            charge_id=request.charge_id,
            run_id=request.run_id,
            currency=request.currency,
            feature_key=request.feature_key,
            tax_code_id=request.tax_code_id,
            tax_behavior=request.tax_behavior,
            origin=origin,
            amount=amount,
            group_id=group.id,
            transaction_id=posted.id,
            entry_id=entry_id,
            sort_hint=order,
            created_at=group.created_at,
        )
        for order, (origin, posted, entry_id, amount) in enumerate(taken)
    ]


async def _record(session: WriteSession, rows: Sequence[CreditAllocation]) -> None:
    session.add_all(rows)
    await session.flush()
    for row in rows:
        session.add(
            CreditSegment(
                namespace=row.namespace,
                customer_id=row.customer_id,
                allocation_id=row.id,
                state="real_credit" if row.origin == "real_credit" else "advance_uncovered",
                amount=row.amount,
            )
        )
    await session.flush()
