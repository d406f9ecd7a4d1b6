"""What to do so that a subscription's charges become what they should be (subscription-sync section 4). Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.views import ChargeState
from meterhouse.billing.ports import SubscriptionReference


@dataclass(frozen=True, slots=True)
class Delete:
    """The charge is not wanted any more."""

    reference: str
    charge_id: str


@dataclass(frozen=True, slots=True)
class Move:
    """The charge ends at another time: extend or shrink it to the ends of `intent`."""

    reference: str
    charge_id: str
    intent: ChargeIntent


@dataclass(frozen=True, slots=True)
class Redate:
    """Usage that was realised stays as it is, but what is left of it is billed at another time."""

    reference: str
    charge_id: str
    intent: ChargeIntent


@dataclass(frozen=True, slots=True)
class Replace:
    """The charge is to be billed otherwise."""

    reference: str
    charge_id: str
    intent: ChargeIntent


@dataclass(frozen=True, slots=True)
class Relink:
    """The item that the charge comes from has another row since."""

    reference: str
    charge_id: str
    source: SubscriptionReference


@dataclass(frozen=True, slots=True)
class Create:
    """The charge is missing."""

    reference: str
    intent: ChargeIntent


Patch = Delete | Move | Redate | Replace | Relink | Create


def diff(wanted: Sequence[ChargeIntent], existing: Sequence[ChargeState], synced: Mapping[str, str]) -> list[Patch]:
    """Return the patches, deletions first, each kind in order of identity.

    `synced` holds the digest of the content that each charge was last synced with: what a charge stores is normalized,
    and so cannot be compared with what is wanted. A charge that is fixed keeps its content; only its end can move, when
    the rest of its usage is billed, and the rows it comes from, which an edit of the subscription makes anew.
    """
    targets = {intent.unique_reference_id: intent for intent in wanted if intent.unique_reference_id is not None}
    stored = {state.unique_reference_id: state for state in existing if state.unique_reference_id is not None}
    gone: list[Patch] = [Delete(key, stored[key].id) for key in sorted(stored.keys() - targets.keys())]
    changed: list[Patch] = []
    missing: list[Patch] = []
    for reference in sorted(targets):
        intent, state = targets[reference], stored.get(reference)
        if state is None:
            missing.append(Create(reference, intent))
        elif not state.has_runs and _starts_anew(intent, state.intent):
            gone.append(Delete(reference, state.id))
            missing.append(Create(reference, intent))
        else:
            changed += _changes(reference, intent, state, synced.get(reference))
    return gone + changed + missing


def _starts_anew(wanted: ChargeIntent, stored: ChargeIntent) -> bool:
    """Tell whether the charge cannot become what is wanted: another kind, another start, or no length left."""
    if _kind(wanted) != _kind(stored):
        return True
    if wanted.service_period == stored.service_period:
        return False
    return wanted.service_period.start != stored.service_period.start or wanted.service_period.is_empty()


def _kind(intent: ChargeIntent) -> tuple[object, ...]:
    return (intent.is_flat, intent.feature_key, intent.currency, intent.settlement_mode)


def _changes(reference: str, wanted: ChargeIntent, state: ChargeState, synced: str | None) -> list[Patch]:
    stored = state.intent
    patches: list[Patch] = []
    end = wanted.service_period.end
    moves = end != stored.service_period.end and end > stored.service_period.start
    if moves:
        patches.append(Move(reference, state.id, wanted))
    fixed = state.is_fixed or _kind(wanted) != _kind(stored)
    redated = not moves and _dates(wanted) != _dates(stored)
    if fixed and redated and not stored.is_flat:
        patches.append(Redate(reference, state.id, wanted))
    if not fixed and (redated or synced != wanted.content_digest()):
        patches.append(Replace(reference, state.id, wanted))
    elif wanted.subscription is not None and wanted.subscription != stored.subscription:
        patches.append(Relink(reference, state.id, wanted.subscription))
    return patches


def _dates(intent: ChargeIntent) -> tuple[object, ...]:
    return (intent.full_service_period, intent.billing_period, intent.invoice_at)
