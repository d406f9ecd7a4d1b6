"""Which wanted charge a realised one is, where versions of an item were put in before it. Pure.

Versions are counted in order of time, and a quantity of an add-on may be set for the past. Then the versions after it
count one more, but what was realised of them keeps its identity, and what has no identity of its own any more takes
a free one.
"""

from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import replace
from itertools import count

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.views import ChargeState

# An identity with this and a number at its end bills what the charge of the identity before it became dearer or longer
# after an invoice billed it.
MORE = "/more["


def item_of(reference: str | None) -> str:
    """Return what the identities of all versions and periods of an item begin with."""
    return (reference or "").rpartition("/v[")[0]


def recurs(reference: str | None) -> bool:
    """Tell whether an identity is of one period of many; what is owed once has no period in it."""
    return "/period[" in (reference or "")


def matched(wanted: Sequence[ChargeIntent], existing: Sequence[ChargeState]) -> tuple[ChargeIntent, ...]:
    """Return the wanted charges, those that begin where a realised charge of the same item does with its identity."""
    realised = {
        (item_of(state.unique_reference_id), state.intent.service_period.start): state.unique_reference_id
        for state in existing
        if state.has_runs and state.unique_reference_id is not None and MORE not in state.unique_reference_id
    }
    own = [realised.get((item_of(intent.unique_reference_id), intent.service_period.start)) for intent in wanted]
    # What was realised of a period that begins elsewhere is another charge.
    taken: set[str | None] = {reference for reference in realised.values() if recurs(reference)}
    taken |= {reference for reference in own if reference is not None}
    moved = {one.unique_reference_id or "" for one, found in zip(wanted, own, strict=True) if found is not None}
    free: defaultdict[str, list[str]] = defaultdict(list)
    for one in sorted(moved - taken, reverse=True):
        free[item_of(one)].append(one)
    used = {intent.unique_reference_id for intent in wanted} | set(realised.values())
    given = []
    for intent, found in zip(wanted, own, strict=True):
        reference = found or intent.unique_reference_id
        if found is None and reference is not None and reference in taken:
            others = [one for one in free[item_of(reference)] if one not in taken]
            reference = others[-1] if others else _fresh(reference, used | taken)
        taken.add(reference)
        given.append(replace(intent, unique_reference_id=reference))
    return tuple(given)


def _fresh(reference: str, used: Container[str | None]) -> str:
    """Return an identity of the item that nothing has."""
    item, _, number = reference.rpartition("/v[")
    period = number.partition("]")[2]
    return next(one for n in count() if (one := f"{item}/v[{n}]{period}") not in used)
