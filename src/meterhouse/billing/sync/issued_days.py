"""Days that issued invoices bill stay with the charges that bill them (charges section 11). Pure.

Versions of an item can begin elsewhere after their days were invoiced: a quantity of an add-on may be set for the past.
There are no credit notes, so a charge keeps the days that its invoice bills where another version takes them over, and
that version does not bill usage of these days again. Fees bill differences instead, see `invoiced`.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.views import ChargeState
from meterhouse.billing.sync.matching import MORE, item_of, recurs
from meterhouse.kernel.periods import Period

T = TypeVar("T")


def around_issued(wanted: Sequence[ChargeIntent], existing: Sequence[ChargeState]) -> tuple[ChargeIntent, ...]:
    """Return the wanted charges with the days that are left to each.

    What is left to usage between the days of other charges are charges of their own, which have one identity still.
    """
    issued: defaultdict[tuple[str, bool], list[ChargeState]] = defaultdict(list)
    for state in sorted(existing, key=lambda one: one.intent.service_period.start):
        if state.invoiced is not None:
            issued[_item(state.intent)].append(state)
    versions: defaultdict[tuple[str, bool], list[ChargeIntent]] = defaultdict(list)
    for intent in sorted(wanted, key=lambda one: one.service_period.start):
        versions[_item(intent)].append(intent)
    found: list[ChargeIntent] = []
    for item, intents in versions.items():
        found += _gone(intents, issued[item])
        found += intents if intents[0].is_flat else _left(intents, issued[item])
    return tuple(found)


def _item(intent: ChargeIntent) -> tuple[str, bool]:
    return item_of(intent.unique_reference_id), intent.is_flat


def _gone(versions: Sequence[ChargeIntent], issued: Sequence[ChargeState]) -> Iterator[ChargeIntent]:
    """Yield what invoices bill of versions that are no more, where others have their days."""
    starts = {one.service_period.start for one in versions}
    for state in issued:
        reference, days = state.unique_reference_id or "", _days(state)
        gone = recurs(reference) and MORE not in reference and days.start not in starts
        if gone and _within(days, versions, _service):
            yield _whole(state.intent, state)


def _left(versions: Sequence[ChargeIntent], issued: Sequence[ChargeState]) -> Iterator[ChargeIntent]:
    # Both are in order of time and do not overlap, and there can be very many.
    own = {_days(state).start: state for state in issued}
    for intent in versions:
        start, end = intent.service_period.start, intent.service_period.end
        itself = own.get(start)
        if itself is not None and _within(Period(end, max(end, _days(itself).end)), versions, _service):
            yield _whole(intent, itself)
        else:
            others = _within(intent.service_period, issued, _days)
            yield from _free(intent, [_days(one) for one in others if one is not itself])


def _service(intent: ChargeIntent) -> Period:
    return intent.service_period


def _within(days: Period, ordered: Sequence[T], period_of: Callable[[T], Period]) -> Sequence[T]:
    """Return those whose period has some of the days."""
    if days.is_empty():
        return ()
    low = bisect_right(ordered, days.start, key=lambda one: period_of(one).end)
    return ordered[low : bisect_left(ordered, days.end, key=lambda one: period_of(one).start)]


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


def _days(state: ChargeState) -> Period:
    """Return the days that invoices bill of a charge; of a charge they bill from the start on."""
    assert state.invoiced is not None
    return Period(state.intent.service_period.start, state.invoiced.period.end)
