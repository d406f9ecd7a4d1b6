"""Usage of days that issued invoices bill stays with the charges that bill it (charges section 11). Pure.

Versions of an item can begin elsewhere after their days were invoiced: a quantity of an add-on may be set for the past.
There are no credit notes, so a charge keeps the days that its invoice bills where another version takes them over, and
that version does not bill usage of these days again. Fees bill differences instead, see `invoiced`.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.views import ChargeState
from meterhouse.billing.sync.matching import item_of
from meterhouse.kernel.periods import Period


def around_issued(wanted: Sequence[ChargeIntent], existing: Sequence[ChargeState]) -> tuple[ChargeIntent, ...]:
    """Return the wanted charges with the days that are left to each.

    What is left to usage between the days of other charges are charges of their own, which have one identity still.
    """
    issued: defaultdict[str, list[ChargeState]] = defaultdict(list)
    for state in sorted(existing, key=_start):
        if state.invoiced is not None and not state.intent.is_flat:
            issued[item_of(state.unique_reference_id)].append(state)
    usage: defaultdict[str, list[ChargeIntent]] = defaultdict(list)
    for intent in wanted:
        if not intent.is_flat:
            usage[item_of(intent.unique_reference_id)].append(intent)
    left = [one for item, versions in usage.items() for one in _left(versions, issued[item])]
    return (*(intent for intent in wanted if intent.is_flat), *left)


def _left(versions: Sequence[ChargeIntent], issued: Sequence[ChargeState]) -> Iterator[ChargeIntent]:
    starts = {one.service_period.start for one in versions}
    for state in issued:
        # The version is no more, but others have its days.
        if _start(state) not in starts and _wanted(_days(state), versions):
            yield _whole(state.intent, state)
    for intent in versions:
        start, end = intent.service_period.start, intent.service_period.end
        own = next((state for state in issued if _start(state) == start), None)
        if own is not None and _wanted(Period(end, max(end, _days(own).end)), versions):
            yield _whole(intent, own)
        else:
            yield from _free(intent, [_days(state) for state in issued if state is not own])


def _wanted(days: Period, versions: Sequence[ChargeIntent]) -> bool:
    return any(not one.service_period.clipped(days.start, days.end).is_empty() for one in versions)


def _whole(intent: ChargeIntent, state: ChargeState) -> ChargeIntent:
    """Return the charge with all days that invoices bill of it."""
    stored = state.intent
    return replace(
        intent,
        service_period=_days(state),
        full_service_period=stored.full_service_period,
        billing_period=stored.billing_period,
        invoice_at=stored.invoice_at,
    )


def _free(intent: ChargeIntent, billed: Sequence[Period]) -> Iterator[ChargeIntent]:
    """Yield what is left of usage around the days that other charges bill, which are in order of time."""
    start, end = intent.service_period.start, intent.service_period.end
    for other in [*billed, Period(end, end)]:
        rest = Period(start, max(start, min(other.start, end)))
        if not rest.is_empty():
            yield replace(intent, service_period=rest)
        start = max(start, other.end)


def _start(state: ChargeState) -> datetime:
    return state.intent.service_period.start


def _days(state: ChargeState) -> Period:
    """Return the days that invoices bill of a charge; of a charge they bill from the start on."""
    assert state.invoiced is not None
    return Period(_start(state), state.invoiced.period.end)
