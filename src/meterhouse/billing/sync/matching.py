"""Which wanted charge a realised one is, where versions of an item were put in before it. Pure.

Versions are counted in order of time, and a quantity of an add-on may be set for the past. Then the versions after it
count one more, but what was realised of them keeps its identity, and the version that came between takes a free one.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.views import ChargeState


def item_of(reference: str | None) -> str:
    """Return what the identities of all versions and periods of an item begin with."""
    return (reference or "").rpartition("/v[")[0]


def matched(wanted: Sequence[ChargeIntent], existing: Sequence[ChargeState]) -> tuple[ChargeIntent, ...]:
    """Return the wanted charges, those that begin where a realised charge of the same item does with its identity."""
    realised = {
        (item_of(state.unique_reference_id), state.intent.service_period.start): state.unique_reference_id
        for state in existing
        if state.has_runs and state.unique_reference_id is not None
    }
    moved: dict[str | None, str] = {}
    for intent in wanted:
        reference = realised.get((item_of(intent.unique_reference_id), intent.service_period.start))
        if reference is not None and reference != intent.unique_reference_id:
            moved[intent.unique_reference_id] = reference
    taken = set(moved.values())
    free: defaultdict[str, list[str]] = defaultdict(list)
    for reference in sorted({reference for reference in moved if reference is not None} - taken, reverse=True):
        free[item_of(reference)].append(reference)
    found = []
    for intent in wanted:
        reference = intent.unique_reference_id
        if reference in moved:
            intent = replace(intent, unique_reference_id=moved[reference])
        elif reference in taken:
            intent = replace(intent, unique_reference_id=free[item_of(reference)].pop())
        found.append(intent)
    return tuple(found)
