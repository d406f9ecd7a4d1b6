"""Which charges a subscription should have, up to a horizon (subscription-sync sections 2 and 3). Pure.

The horizon is the end of the billing period that contains the given instant, so that the next fee in advance is known
one period ahead; beside it every item has the charge of its current period, however long that is.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.ports import SubscriptionReference
from meterhouse.catalog.prices import FlatPrice, PaymentTerm, Price
from meterhouse.kernel.clock import whole_seconds
from meterhouse.kernel.money import ZERO, is_fiat
from meterhouse.kernel.periods import Period
from meterhouse.subscriptions.billing_period import aligned_period
from meterhouse.subscriptions.spec import PATCH_ID
from meterhouse.subscriptions.views import ItemVersion, PhaseView, SubscriptionView


@dataclass(frozen=True, slots=True)
class Targets:
    """The charges that should exist.

    Attributes:
        limit: up to when they are known; None where nothing is ever billable.
        complete: whether none will be added by time, because they are known up to the subscription's end.
    """

    intents: tuple[ChargeIntent, ...] = ()
    limit: datetime | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True)
class _ItemPeriod:
    """One period of an item; all untruncated. `index` is None for an item billed once."""

    index: int | None
    service: Period
    full: Period
    billing: Period


def has_billables(view: SubscriptionView) -> bool:
    """Tell whether any item has a price."""
    return any(item.rate_card.is_billable() for phase in view.phases for item in phase.items)


def has_custom_currency(view: SubscriptionView) -> bool:
    """Tell whether an item with a price is in a currency that is not fiat."""
    return any(
        item.rate_card.is_billable() and not is_fiat(item.rate_card.currency or view.currency)
        for phase in view.phases
        for item in phase.items
    )


def ended_at(view: SubscriptionView, end: datetime) -> SubscriptionView:
    """Return the subscription as if it ended at `end`, or earlier where it does."""
    if view.active_to is not None and view.active_to <= end:
        return view

    def cut(start: datetime, stop: datetime | None) -> datetime:
        return max(start, end if stop is None else min(stop, end))

    phases = tuple(
        replace(
            phase,
            active_to=cut(phase.active_from, phase.active_to),
            items=tuple(replace(item, active_to=cut(item.active_from, item.active_to)) for item in phase.items),
        )
        for phase in view.phases
    )
    return replace(view, active_to=max(end, view.active_from), phases=phases)


def targets(view: SubscriptionView, as_of: datetime, *, bill_full_period: bool = False) -> Targets:
    """Return the charges of a subscription up to the end of the billing period that contains `as_of`.

    `bill_full_period`: the billing profile owes a period in full in which the subscription ends.
    """
    horizon = _horizon(view, as_of)
    limit: datetime | None = None
    intents: list[ChargeIntent] = []
    for phase in view.phases:
        items = [item for item in phase.items if item.rate_card.is_billable() and _lasts(view, phase, item)]
        if not items:
            continue
        if phase.active_from > horizon:
            horizon = min(item.active_from for item in items)
        limit = horizon
        for item in items:
            for period in _within(_periods(view, phase, item), item, horizon, as_of):
                intents += _intents(view, phase, item, period, bill_full_period=bill_full_period)
        if phase.active_to is None or phase.active_to > as_of:
            break
    return Targets(tuple(intents), limit, complete=view.active_to is not None and view.active_to <= as_of)


def _horizon(view: SubscriptionView, as_of: datetime) -> datetime:
    if as_of < view.active_from:
        return view.active_from
    period = aligned_period(view, as_of)
    return as_of if period is None else period.end


def _lasts(view: SubscriptionView, phase: PhaseView, item: ItemVersion) -> bool:
    """Tell whether the item runs for any time in its phase and the subscription."""
    ends = [end for end in (view.active_to, phase.active_to, item.active_to) if end is not None]
    return all(item.active_from < end for end in ends)


def _within(
    periods: Iterable[_ItemPeriod], item: ItemVersion, horizon: datetime, as_of: datetime
) -> Iterator[_ItemPeriod]:
    """Pass the periods that are invoiced by the horizon, and the one that runs at `as_of`."""
    price = item.rate_card.price
    for period in periods:
        due = whole_seconds(_invoice_at(price, period)) <= whole_seconds(horizon)
        if not due and not period.service.contains(as_of):
            return
        yield period


def _periods(view: SubscriptionView, phase: PhaseView, item: ItemVersion) -> Iterator[_ItemPeriod]:
    """Yield the periods of an item in order of time, without end where the item has none.

    A cadence is an hour at least, so a caller with a horizon gets a bounded number.
    """

    def billing(at: datetime) -> Period:
        return view.recurrence().period_at(at).clipped(phase.active_from, phase.active_to)

    cadence, start = item.rate_card.billing_cadence, item.active_from
    if cadence is None:
        full = Period(start, phase.active_to or item.active_to or start)
        yield _ItemPeriod(None, full.clipped(start, item.active_to), full, billing(start))
        return
    recurrence = view.recurrence(cadence)
    index = 0
    while item.active_to is None or start < item.active_to:
        full = recurrence.period_at(start)
        service = full.clipped(start, item.active_to)
        yield _ItemPeriod(index, service, full, billing(start))
        index, start = index + 1, service.end


def _invoice_at(price: Price | None, period: _ItemPeriod) -> datetime:
    if isinstance(price, FlatPrice) and price.payment_term is PaymentTerm.IN_ADVANCE:
        return period.billing.start
    return max(period.service.end, period.billing.end)


def _intents(
    view: SubscriptionView, phase: PhaseView, item: ItemVersion, period: _ItemPeriod, *, bill_full_period: bool
) -> Iterator[ChargeIntent]:
    """Yield the charge of one period of an item, or nothing where the period cannot be billed (yet)."""
    card = item.rate_card
    price = card.price if period.index is not None else _more_than_before(phase, item)
    if price is None:
        return
    service, full = period.service.whole_seconds(), period.full.whole_seconds()
    flat = isinstance(price, FlatPrice)
    if service.is_empty() and not flat:
        return
    if isinstance(price, FlatPrice) and price.payment_term is PaymentTerm.IN_ARREARS and _open(period):
        return
    ends_within = view.active_to is not None and view.active_to <= period.service.end
    yield ChargeIntent(
        namespace=view.namespace,
        customer_id=view.customer_id,
        currency=card.currency or view.currency,
        managed_by="subscription",
        settlement_mode=view.settlement_mode,
        name=card.name,
        description=card.description,
        metadata=card.metadata or {},
        price=price,
        feature_key=card.feature_key,
        discounts=card.discounts,
        unit_conversion=card.unit_conversion,
        tax_config=card.tax_config,
        prorate=flat and view.pro_rating_enabled and not (bill_full_period and ends_within),
        service_period=service,
        full_service_period=full,
        billing_period=period.billing.whole_seconds(),
        invoice_at=whole_seconds(_invoice_at(price, period)),
        unique_reference_id=_identity(view, phase, item, period),
        subscription=SubscriptionReference(view.id, phase.id, item.id),
    )


def _more_than_before(phase: PhaseView, item: ItemVersion) -> Price | None:
    """Return the price of an item billed once, without what its versions right before it came to.

    Add-ons cut an item into versions that follow each other; what is owed once is owed once for all of them. An edit
    sells anew, and is told apart by its annotation.
    """
    price, start = item.rate_card.price, item.active_from
    if not isinstance(price, FlatPrice):
        return price
    due = ZERO
    for one in reversed([one for one in phase.items if one.key == item.key and one.version < item.version]):
        same = one.annotations.get(PATCH_ID) == item.annotations.get(PATCH_ID)
        if one.active_to != start or not same or not isinstance(one.rate_card.price, FlatPrice):
            break
        due, start = max(due, one.rate_card.price.amount), one.active_from
    return price.model_copy(update={"amount": max(ZERO, price.amount - due)})


def _open(period: _ItemPeriod) -> bool:
    """Tell whether an item billed once runs without a known end, so that its end cannot be billed."""
    return period.index is None and period.full.is_empty()


def _identity(view: SubscriptionView, phase: PhaseView, item: ItemVersion, period: _ItemPeriod) -> str:
    """Return the identity of a charge, which no repeated sync and no recreated row changes."""
    base = f"{view.id}/{phase.key}/{item.key}/v[{item.version}]"
    return base if period.index is None else f"{base}/period[{period.index}]"
