"""What fees still come to beside what issued invoices bill of the same item and days (charges section 11). Pure.

An item that changes within a period has another version from then on, and by then the fee for the whole period may have
been invoiced in advance. That line stays as it is, and the version that follows bills only what it is more for the days
that they share; so does the item of the same key in a subscription that takes the place of another. What became cheaper
bills nothing until its next period, as nothing is given back when an item ends.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.states import Status
from meterhouse.billing.charges.views import ChargeState
from meterhouse.billing.sync.matching import MORE, item_of, recurs
from meterhouse.catalog.prices import FlatPrice
from meterhouse.kernel.money import ZERO, minor_unit, plain, round_money, total
from meterhouse.kernel.periods import Period
from meterhouse.kernel.precision import exact


def beyond_invoiced(
    wanted: Sequence[ChargeIntent],
    existing: Sequence[ChargeState],
    *,
    besides: Sequence[ChargeState] = (),
    following: Sequence[ChargeIntent] = (),
) -> tuple[ChargeIntent, ...]:
    """Return the charges that should exist when what invoices say already stays.

    Args:
        existing: the subscription's charges.
        besides: charges that are no more and that invoices still bill, and those of subscriptions whose place it took.
        following: what is wanted of the subscription that takes its place.
    """
    own = {state.unique_reference_id: state for state in existing if state.invoiced is not None}
    issued: defaultdict[str, list[ChargeState]] = defaultdict(list)
    for state in (*existing, *besides):
        if state.invoiced is not None and state.intent.is_flat and recurs(state.unique_reference_id):
            issued[_key(state.intent)].append(state)
    versions: defaultdict[str, list[ChargeIntent]] = defaultdict(list)
    for intent in (*wanted, *following):
        if intent.is_flat:
            versions[_key(intent)].append(intent)
    found: list[ChargeIntent] = []
    for intent in wanted:
        key = _key(intent)
        found += _owed(intent, versions[key], own, issued[key]) if intent.is_flat else [intent]
    found += _handed_on(existing, {intent.unique_reference_id for intent in found}, following)
    owed = _owed_once(found, _too_much(wanted, own), own)
    return tuple(intent for intent in owed if _amount(intent) or MORE not in (intent.unique_reference_id or ""))


def _handed_on(
    existing: Sequence[ChargeState], wanted: Collection[str | None], following: Sequence[ChargeIntent]
) -> Iterator[ChargeIntent]:
    """Yield fees that are not wanted any more and that invoices bill for days that the following subscription has."""
    versions: defaultdict[str, list[ChargeIntent]] = defaultdict(list)
    for intent in following:
        if intent.is_flat:
            versions[_key(intent)].append(intent)
    for state in existing:
        billed, intent = state.invoiced, state.intent
        gone = intent.is_flat and recurs(intent.unique_reference_id) and intent.unique_reference_id not in wanted
        if gone and billed is not None and _taken_over(billed.period, versions[_key(intent)]):
            yield replace(intent, service_period=billed.period)


def _key(intent: ChargeIntent) -> str:
    return item_of(intent.unique_reference_id).rpartition("/")[2]


def _amount(intent: ChargeIntent) -> Decimal:
    return intent.price.amount if isinstance(intent.price, FlatPrice) else ZERO


def _costing(intent: ChargeIntent, amount: Decimal) -> ChargeIntent:
    assert isinstance(intent.price, FlatPrice)
    return replace(intent, price=intent.price.model_copy(update={"amount": amount}))


def _own(intent: ChargeIntent, own: Mapping[str | None, ChargeState]) -> list[ChargeState]:
    """Return what invoices bill of the charge itself, and then of what it became dearer for the same days."""
    found: list[ChargeState] = []
    reference = intent.unique_reference_id
    while (state := own.get(reference)) is not None:
        found.append(state)
        reference = f"{intent.unique_reference_id}{MORE}{len(found)}]"
    return found


def _owed(
    intent: ChargeIntent,
    versions: Sequence[ChargeIntent],
    own: Mapping[str | None, ChargeState],
    issued: Sequence[ChargeState],
) -> Iterator[ChargeIntent]:
    """Yield a fee as invoices bill it, if any does, and what it is more; `versions` are all of items of its key."""
    kept = _own(intent, own)
    for state in kept:
        yield _as_invoiced(intent, state, versions)
    if len(kept) == 1 and _unchanged(intent, kept[0]):
        return
    rest = intent
    if kept:
        rest = replace(intent, unique_reference_id=f"{intent.unique_reference_id}{MORE}{len(kept)}]")
    if recurs(intent.unique_reference_id) and kept and (_off(intent) >= 100 or intent.service_period.is_empty()):
        return
    if recurs(intent.unique_reference_id):
        yield _beside(rest, issued, kept)
    else:
        yield _costing(rest, max(ZERO, _amount(intent) - total(_amount(state.intent) for state in kept)))


def _as_invoiced(intent: ChargeIntent, own: ChargeState, versions: Sequence[ChargeIntent]) -> ChargeIntent:
    """Return a fee that an invoice bills, cut only where nobody has its days any more."""
    assert own.invoiced is not None
    stored, end = own.intent, own.invoiced.period.end
    intent = replace(intent, price=stored.price, unique_reference_id=own.unique_reference_id)
    until = intent.service_period.end
    if until == end or (until < end and not _taken_over(Period(until, end), versions)):
        return intent
    return replace(
        intent,
        service_period=Period(stored.service_period.start, end),
        full_service_period=stored.full_service_period,
        billing_period=stored.billing_period,
        invoice_at=stored.invoice_at,
    )


def _unchanged(intent: ChargeIntent, own: ChargeState) -> bool:
    """Tell whether an invoice bills all of the fee, as nearly always: periods can be many."""
    assert own.invoiced is not None
    same_price = _amount(intent) == _amount(own.intent) and _off(intent) == _off(own.intent)
    return same_price and intent.service_period.end <= own.invoiced.period.end


def _taken_over(days: Period, versions: Sequence[ChargeIntent]) -> bool:
    """Tell whether another version of the item has any of the days."""
    return any(not one.service_period.clipped(days.start, days.end).is_empty() for one in versions)


def _uncovered(intent: ChargeIntent, kept: Sequence[ChargeState]) -> Period:
    """Return the days of a fee that no invoice bills of it; all where each is billed, so that it can only be dearer."""
    ends = [state.invoiced.period.end for state in kept if state.invoiced is not None]
    rest = intent.service_period.clipped(max(ends, default=None), None)
    return intent.service_period if rest.is_empty() else rest


@exact
def _beside(intent: ChargeIntent, issued: Sequence[ChargeState], kept: Sequence[ChargeState]) -> ChargeIntent:
    """Return what the fee is more than invoices bill of its days, for the days that none bills if there are any."""
    billed = total(_billed(one, intent) for one in issued)
    if (billed == 0 and not kept) or _off(intent) >= 100:
        return intent
    paid_part, days = (100 - _off(intent)) / 100, _uncovered(intent, kept)
    owed = _amount(intent) * _share(intent, intent.service_period) * paid_part - billed
    if owed < minor_unit(intent.currency):
        owed = ZERO  # it became no dearer; what is left comes from rounding the lines
    # A charge rounds its price, then its share of it, then its discount: so that the share comes to what is owed, the
    # price is found from that once it is rounded.
    currency = intent.currency
    amount = round_money(round_money(owed / paid_part, currency) / _share(intent, days), currency)
    return replace(_costing(intent, Decimal(plain(amount))), service_period=days)


def _off(intent: ChargeIntent) -> Decimal:
    return intent.discounts.percentage.percentage if intent.discounts.percentage else ZERO


def _share(intent: ChargeIntent, days: Period) -> Decimal:
    return Decimal(days.seconds()) / intent.full_service_period.seconds() if intent.prorate else Decimal(1)


def _billed(state: ChargeState, intent: ChargeIntent) -> Decimal:
    """Return what issued invoices bill of the days of `intent`."""
    if state.invoiced is None or state.intent.currency != intent.currency:
        return ZERO
    period = state.invoiced.period
    shared = period.clipped(intent.service_period.start, intent.service_period.end)
    if shared.is_empty():
        return ZERO
    # What somebody took off the line by hand stays taken off.
    worth = _amount(state.intent) * _share(state.intent, period) * (100 - _off(state.intent)) / 100
    paid = state.invoiced.amount if state.status is Status.DELETED else max(state.invoiced.amount, worth)
    # Fees that are the same for any part of their periods are paid with any of their days.
    spread = intent.prorate or state.intent.prorate
    return paid * shared.seconds() / period.seconds() if spread else paid


@exact
def _too_much(wanted: Sequence[ChargeIntent], own: Mapping[str | None, ChargeState]) -> dict[str, Decimal]:
    """Return by item what invoices bill of fees owed once beyond what they should be by now."""
    found: defaultdict[str, Decimal] = defaultdict(Decimal)
    for intent in wanted:
        if intent.is_flat and not recurs(intent.unique_reference_id):
            paid = total(_amount(state.intent) for state in _own(intent, own))
            found[item_of(intent.unique_reference_id)] += max(ZERO, paid - _amount(intent))
    return found


@exact
def _owed_once(
    owed: Sequence[ChargeIntent], too_much: dict[str, Decimal], own: Mapping[str | None, ChargeState]
) -> list[ChargeIntent]:
    """Let a fee that is owed once for all versions of an item be owed once, also where a later version was paid first.

    A version that was put in before it leaves less to it, but what was paid stays: by that much the others bill less,
    the first one first.
    """
    found = []
    for intent in sorted(owed, key=lambda one: one.service_period.start):
        item = item_of(intent.unique_reference_id)
        if intent.is_flat and not recurs(intent.unique_reference_id) and intent.unique_reference_id not in own:
            less = min(too_much[item], _amount(intent))
            too_much[item] -= less
            intent = _costing(intent, _amount(intent) - less)
        found.append(intent)
    return found
