"""What fees still come to beside what issued invoices bill of the same item and days (charges section 11). Pure.

An item that changes within a period has another version from then on, and by then the fee for the whole period may have
been invoiced in advance. That line stays as it is, and the version that follows bills only what it is more for the days
that they share. What became cheaper bills nothing until its next period, as nothing is given back when an item ends.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.views import ChargeState
from meterhouse.billing.sync.matching import item_of
from meterhouse.catalog.prices import FlatPrice
from meterhouse.kernel.money import ZERO, round_money, total
from meterhouse.kernel.periods import Period
from meterhouse.kernel.precision import exact


def beyond_invoiced(wanted: Sequence[ChargeIntent], existing: Sequence[ChargeState]) -> tuple[ChargeIntent, ...]:
    """Return the charges that should exist when what invoices say already stays."""
    issued: defaultdict[str, list[ChargeState]] = defaultdict(list)
    for state in existing:
        if state.invoiced is not None and state.intent.is_flat:
            issued[item_of(state.unique_reference_id)].append(state)
    return tuple(_kept(intent, wanted, issued) for intent in wanted)


def _kept(
    intent: ChargeIntent, wanted: Sequence[ChargeIntent], issued: Mapping[str, Sequence[ChargeState]]
) -> ChargeIntent:
    states = issued.get(item_of(intent.unique_reference_id), ())
    own = next((one for one in states if one.unique_reference_id == intent.unique_reference_id), None)
    if own is None:
        return _beside(intent, states)
    intent = replace(intent, price=own.intent.price)
    return _whole(intent, own) if own.invoiced and _followed(intent, own.invoiced, wanted) else intent


def _followed(intent: ChargeIntent, invoiced: Period, wanted: Sequence[ChargeIntent]) -> bool:
    """Tell whether another version of the item takes over days that an invoice bills of this one."""
    given_up, item = Period(intent.service_period.end, invoiced.end), item_of(intent.unique_reference_id)
    others = (one for one in wanted if one.is_flat and item_of(one.unique_reference_id) == item)
    return any(not _shared(one.service_period, given_up).is_empty() for one in others)


def _whole(intent: ChargeIntent, own: ChargeState) -> ChargeIntent:
    stored = own.intent
    return replace(
        intent,
        service_period=stored.service_period,
        full_service_period=stored.full_service_period,
        billing_period=stored.billing_period,
        invoice_at=stored.invoice_at,
    )


@exact
def _beside(intent: ChargeIntent, states: Sequence[ChargeState]) -> ChargeIntent:
    price = intent.price
    billed = total(_billed(one, intent) for one in states)
    if billed == 0 or not isinstance(price, FlatPrice):
        return intent
    return replace(intent, price=price.model_copy(update={"amount": max(ZERO, price.amount - billed)}))


def _billed(state: ChargeState, intent: ChargeIntent) -> Decimal:
    """Return what an issued fee bills of the days of `intent`, as an amount for the whole period."""
    price, service = state.intent.price, intent.service_period
    if state.invoiced is None or not isinstance(price, FlatPrice):
        return ZERO
    shared = _shared(state.invoiced, service)
    if shared.is_empty() or state.intent.full_service_period != intent.full_service_period:
        return ZERO
    if shared == service:
        return price.amount
    return round_money(price.amount * shared.seconds() / service.seconds(), intent.currency)


def _shared(one: Period, other: Period) -> Period:
    return one.clipped(other.start, other.end)
