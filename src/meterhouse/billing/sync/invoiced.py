"""What fees still come to beside what issued invoices bill of the same item and days (charges section 11). Pure.

An item that changes within a period has another version from then on, and by then the fee for the whole period may have
been invoiced in advance. That line stays as it is, and the version that follows bills only what it is more for the days
that they share; so does the item of the same key in a subscription that takes the place of another. What became cheaper
bills nothing until its next period, as nothing is given back when an item ends.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.views import ChargeState
from meterhouse.billing.sync.matching import item_of
from meterhouse.catalog.prices import FlatPrice
from meterhouse.kernel.money import ZERO, plain, total
from meterhouse.kernel.precision import exact

# The amount for the whole period, from which the charge takes its share: far finer than any currency, so that the share
# is right to its last digit, and short enough to be read.
_FINEST = Decimal("1e-10")


def beyond_invoiced(
    wanted: Sequence[ChargeIntent], existing: Sequence[ChargeState], replaced: Sequence[ChargeState] = ()
) -> tuple[ChargeIntent, ...]:
    """Return the charges that should exist when what invoices say already stays.

    `existing` are the subscription's charges, `replaced` those of the subscriptions whose place it took.
    """
    own = {state.unique_reference_id: state for state in existing}
    issued: defaultdict[str, list[ChargeState]] = defaultdict(list)
    for state in (*existing, *replaced):
        if state.invoiced is not None and state.intent.is_flat and _recurs(state.intent):
            issued[_key(state.intent)].append(state)
    return _owed_once(wanted, [_beside(intent, own, issued[_key(intent)]) for intent in wanted], own)


def _key(intent: ChargeIntent) -> str:
    return item_of(intent.unique_reference_id).rpartition("/")[2]


def _recurs(intent: ChargeIntent) -> bool:
    """Tell whether the charge is for one period of many; what is owed once has no period in its identity."""
    return "/period[" in (intent.unique_reference_id or "")


@exact
def _beside(intent: ChargeIntent, own: Mapping[str | None, ChargeState], issued: Sequence[ChargeState]) -> ChargeIntent:
    price, state = intent.price, own.get(intent.unique_reference_id)
    if not isinstance(price, FlatPrice):
        return intent
    if state is not None and state.invoiced is not None:
        return replace(intent, price=state.intent.price)
    billed = total(_billed(one, intent) for one in issued) if _recurs(intent) else ZERO
    off = intent.discounts.percentage.percentage if intent.discounts.percentage else ZERO
    if billed == 0 or off >= 100:
        return intent
    # The charge takes its share of the amount, and then its discount: what was billed has neither to go through.
    billed = billed * 100 / (100 - off)
    if intent.prorate:
        billed = billed * intent.full_service_period.seconds() / intent.service_period.seconds()
    amount = max(ZERO, price.amount - billed).quantize(_FINEST)
    return replace(intent, price=price.model_copy(update={"amount": Decimal(plain(amount))}))


def _billed(state: ChargeState, intent: ChargeIntent) -> Decimal:
    """Return what issued invoices bill of the days of `intent`."""
    if state.invoiced is None or state.intent.currency != intent.currency:
        return ZERO
    period = state.invoiced.period
    shared = period.clipped(intent.service_period.start, intent.service_period.end)
    return ZERO if shared.is_empty() else state.invoiced.amount * shared.seconds() / period.seconds()


@exact
def _owed_once(
    wanted: Sequence[ChargeIntent], kept: Sequence[ChargeIntent], own: Mapping[str | None, ChargeState]
) -> tuple[ChargeIntent, ...]:
    """Let a fee that is owed once for all versions of an item be owed once, also where a later version was paid first.

    What was realised of a version stays, also where a version that was put in before it leaves less to it; by that much
    the others bill less, the first one first.
    """
    too_much: defaultdict[str, Decimal] = defaultdict(Decimal)
    for intent in wanted:
        state = own.get(intent.unique_reference_id)
        if state is not None and state.has_runs and not _recurs(intent):
            too_much[item_of(intent.unique_reference_id)] += max(ZERO, _amount(state.intent) - _amount(intent))
    found = []
    for intent in sorted(kept, key=lambda one: one.service_period.start):
        item, state = item_of(intent.unique_reference_id), own.get(intent.unique_reference_id)
        if not _recurs(intent) and (state is None or not state.has_runs) and isinstance(intent.price, FlatPrice):
            less = min(too_much[item], intent.price.amount)
            too_much[item] -= less
            intent = replace(intent, price=intent.price.model_copy(update={"amount": intent.price.amount - less}))
        found.append(intent)
    return tuple(found)


def _amount(intent: ChargeIntent) -> Decimal:
    return intent.price.amount if isinstance(intent.price, FlatPrice) else ZERO
