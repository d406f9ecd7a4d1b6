"""What the API derives from an invoice's state (billing section 6.3)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from meterhouse.billing.invoices.states import Facts, State, Trigger, defined, target

_FAILED = frozenset(
    {
        State.DRAFT_SYNC_FAILED,
        State.ISSUING_LINE_FINALIZATION_FAILED,
        State.ISSUING_FAILED,
        State.ISSUING_CHARGE_BOOKING_FAILED,
        State.DELETE_FAILED,
        State.PAYMENT_BOOKING_AUTHORIZED_FAILED,
        State.PAYMENT_BOOKING_SETTLED_FAILED,
        State.PAYMENT_BOOKING_AUTHORIZED_AND_SETTLED_FAILED,
        State.PAYMENT_FAILED,
    }
)

# Actions of the API and the triggers behind them.
_ACTIONS = {
    "advance": Trigger.NEXT,
    "approve": Trigger.APPROVE,
    "delete": Trigger.DELETE,
    "retry": Trigger.RETRY,
    "snapshot_quantities": Trigger.COLLECT,
}


@dataclass(frozen=True, slots=True)
class Flags:
    """`actions` maps each permitted action to the state in which it would end if nothing goes wrong."""

    failed: bool
    immutable: bool
    actions: Mapping[str, State]


def is_immutable(state: State) -> bool:
    """Tell whether the state does not permit an edit; a gathering invoice always does."""
    return state is not State.GATHERING and not defined(state, Trigger.UPDATED)


def chain_end(state: State, trigger: Trigger, facts: Facts) -> State | None:
    """Return where `trigger` and all automatic steps after it lead when no new issue appears; None: not permitted.

    A retry lowers critical issues first, and a deletion clears all of them.
    """
    if trigger in (Trigger.RETRY, Trigger.DELETE):
        facts = replace(facts, has_critical_issue=False)
    reached = target(state, trigger, facts)
    if reached is None:
        return None
    while (following := target(reached, Trigger.NEXT, facts)) is not None:
        if reached is State.DRAFT_COLLECTING:
            facts = replace(facts, collected=True)
        reached = following
    return reached


def flags(state: State, facts: Facts) -> Flags:
    """Derive the flags of an invoice in `state`."""
    ends = {action: chain_end(state, trigger, facts) for action, trigger in _ACTIONS.items()}
    return Flags(
        failed=state in _FAILED,
        immutable=is_immutable(state),
        actions={action: end for action, end in ends.items() if end is not None},
    )
