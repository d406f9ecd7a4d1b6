"""The state machine of a standard invoice as data (billing section 6.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class State(StrEnum):
    """Every state; the part before the dot is the short status of the API."""

    GATHERING = "gathering"
    DRAFT_CREATED = "draft.created"
    DRAFT_WAITING_FOR_COLLECTION = "draft.waiting_for_collection"
    DRAFT_COLLECTING = "draft.collecting"
    DRAFT_UPDATING = "draft.updating"
    DRAFT_VALIDATING = "draft.validating"
    DRAFT_INVALID = "draft.invalid"
    DRAFT_SYNCING = "draft.syncing"
    DRAFT_SYNC_FAILED = "draft.sync_failed"
    DRAFT_MANUAL_APPROVAL_NEEDED = "draft.manual_approval_needed"
    DRAFT_WAITING_AUTO_APPROVAL = "draft.waiting_auto_approval"
    DRAFT_READY_TO_ISSUE = "draft.ready_to_issue"
    ISSUING_LINE_FINALIZATION = "issuing.line_finalization"
    ISSUING_LINE_FINALIZATION_FAILED = "issuing.line_finalization_failed"
    ISSUING_SYNCING = "issuing.syncing"
    ISSUING_FAILED = "issuing.failed"
    ISSUING_CHARGE_BOOKING = "issuing.charge_booking"
    ISSUING_CHARGE_BOOKING_FAILED = "issuing.charge_booking_failed"
    ISSUED = "issued"
    PAYMENT_PENDING = "payment_processing.pending"
    PAYMENT_BOOKING_AUTHORIZED = "payment_processing.booking_authorized"
    PAYMENT_BOOKING_AUTHORIZED_FAILED = "payment_processing.booking_authorized_failed"
    PAYMENT_AUTHORIZED = "payment_processing.authorized"
    PAYMENT_BOOKING_SETTLED = "payment_processing.booking_settled"
    PAYMENT_BOOKING_SETTLED_FAILED = "payment_processing.booking_settled_failed"
    PAYMENT_BOOKING_AUTHORIZED_AND_SETTLED = "payment_processing.booking_authorized_and_settled"
    PAYMENT_BOOKING_AUTHORIZED_AND_SETTLED_FAILED = "payment_processing.booking_authorized_and_settled_failed"
    PAYMENT_FAILED = "payment_processing.failed"
    PAYMENT_ACTION_REQUIRED = "payment_processing.action_required"
    OVERDUE = "overdue"
    UNCOLLECTIBLE = "uncollectible"
    PAID = "paid"
    VOIDED = "voided"
    DELETE_IN_PROGRESS = "delete.in_progress"
    DELETE_SYNCING = "delete.syncing"
    DELETE_FAILED = "delete.failed"
    DELETED = "deleted"

    @property
    def short(self) -> str:
        """The status of the API without details."""
        return self.value.partition(".")[0]


class Trigger(StrEnum):
    """What moves an invoice on. `failed` is internal: a critical issue appeared while entering a state."""

    NEXT = "next"
    FAILED = "failed"
    APPROVE = "approve"
    RETRY = "retry"
    DELETE = "delete"
    UPDATED = "updated"
    COLLECT = "collect"
    VOID = "void"
    PAYMENT_AUTHORIZED = "authorized"
    PAYMENT_PAID = "paid"
    PAYMENT_FAILED = "payment_failed"
    PAYMENT_OVERDUE = "overdue"
    PAYMENT_UNCOLLECTIBLE = "payment_uncollectible"
    PAYMENT_ACTION_REQUIRED = "action_required"


class Guard(StrEnum):
    """Conditions of transitions, decided over `Facts`."""

    COLLECTION_CLOSED = "collection_closed"
    NO_CRITICAL_ISSUE = "no_critical_issue"
    AUTO_ADVANCE = "auto_advance"
    MANUAL_APPROVAL = "manual_approval"
    DRAFT_PERIOD_OVER = "draft_period_over"
    APP_AGREES = "app_agrees"
    HAS_LINES = "has_lines"
    NO_LINES = "no_lines"
    NOT_COLLECTED = "not_collected"


@dataclass(frozen=True, slots=True)
class Facts:
    """What guards may look at.

    Attributes:
        app_holds: states in which the app withholds its consent to go on.
        collected: whether the quantities were read after the collection closed, or on demand.
    """

    now: datetime
    collection_at: datetime | None
    draft_until: datetime | None
    auto_advance: bool
    has_critical_issue: bool
    has_lines: bool
    collected: bool
    app_holds: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Transition:
    """A target and all conditions that must hold."""

    to: State
    guards: tuple[Guard, ...] = ()


def _holds(guard: Guard, state: State, facts: Facts) -> bool:
    match guard:
        case Guard.COLLECTION_CLOSED:
            return facts.collection_at is None or facts.collection_at <= facts.now
        case Guard.NO_CRITICAL_ISSUE:
            return not facts.has_critical_issue
        case Guard.AUTO_ADVANCE:
            return facts.auto_advance
        case Guard.MANUAL_APPROVAL:
            return not facts.auto_advance
        case Guard.DRAFT_PERIOD_OVER:
            return facts.draft_until is None or facts.draft_until <= facts.now
        case Guard.APP_AGREES:
            return state.value not in facts.app_holds
        case Guard.HAS_LINES:
            return facts.has_lines
        case Guard.NO_LINES:
            return not facts.has_lines
        case Guard.NOT_COLLECTED:
            return not facts.collected


_S, _T, _G = State, Trigger, Guard
_Row = dict[Trigger, tuple[Transition, ...]]


def _to(state: State, *guards: Guard) -> tuple[Transition, ...]:
    return (Transition(state, guards),)


_DELETE: _Row = {_T.DELETE: _to(_S.DELETE_IN_PROGRESS)}
_EDIT: _Row = {_T.UPDATED: _to(_S.DRAFT_UPDATING)}
_INVALID: _Row = {_T.FAILED: _to(_S.DRAFT_INVALID)}
_VOID: _Row = {_T.VOID: _to(_S.VOIDED)}
_TO_VALIDATING: _Row = {_T.RETRY: _to(_S.DRAFT_VALIDATING)}
_READY = _to(_S.DRAFT_READY_TO_ISSUE, _G.NO_CRITICAL_ISSUE)

_AUTHORIZED: _Row = {_T.PAYMENT_AUTHORIZED: _to(_S.PAYMENT_BOOKING_AUTHORIZED)}
_SETTLED: _Row = {_T.PAYMENT_PAID: _to(_S.PAYMENT_BOOKING_SETTLED)}
_AUTHORIZED_AND_SETTLED: _Row = {_T.PAYMENT_PAID: _to(_S.PAYMENT_BOOKING_AUTHORIZED_AND_SETTLED)}
_PAYMENT_FAILED: _Row = {_T.PAYMENT_FAILED: _to(_S.PAYMENT_FAILED)}
_OVERDUE: _Row = {_T.PAYMENT_OVERDUE: _to(_S.OVERDUE)}
_UNCOLLECTIBLE: _Row = {_T.PAYMENT_UNCOLLECTIBLE: _to(_S.UNCOLLECTIBLE)}
_ACTION_REQUIRED: _Row = {_T.PAYMENT_ACTION_REQUIRED: _to(_S.PAYMENT_ACTION_REQUIRED)}
_RETRY_PAYMENT: _Row = {_T.RETRY: _to(_S.PAYMENT_PENDING)}


def _booking(step: State, failed: State, done: State) -> dict[State, _Row]:
    return {
        step: {_T.NEXT: _to(done), _T.FAILED: _to(failed)},
        failed: {_T.RETRY: _to(step), **_VOID},
    }


TRANSITIONS: Mapping[State, Mapping[Trigger, tuple[Transition, ...]]] = {
    _S.GATHERING: {},
    _S.DRAFT_CREATED: {_T.NEXT: _to(_S.DRAFT_WAITING_FOR_COLLECTION), **_INVALID, **_DELETE, **_EDIT},
    _S.DRAFT_WAITING_FOR_COLLECTION: {
        _T.NEXT: _to(_S.DRAFT_COLLECTING, _G.COLLECTION_CLOSED),
        _T.COLLECT: _to(_S.DRAFT_COLLECTING),
        **_DELETE,
        **_EDIT,
    },
    _S.DRAFT_COLLECTING: {_T.NEXT: _to(_S.DRAFT_VALIDATING), **_INVALID, **_DELETE, **_EDIT},
    _S.DRAFT_UPDATING: {_T.NEXT: _to(_S.DRAFT_WAITING_FOR_COLLECTION), **_INVALID, **_DELETE},
    _S.DRAFT_VALIDATING: {_T.NEXT: _to(_S.DRAFT_SYNCING, _G.NO_CRITICAL_ISSUE), **_INVALID, **_DELETE, **_EDIT},
    # Going straight to validation would issue an invoice whose quantities were never read.
    _S.DRAFT_INVALID: {
        _T.RETRY: (
            Transition(_S.DRAFT_WAITING_FOR_COLLECTION, (_G.NOT_COLLECTED,)),
            Transition(_S.DRAFT_VALIDATING),
        ),
        **_DELETE,
        **_EDIT,
    },
    _S.DRAFT_SYNCING: {
        _T.NEXT: (
            Transition(_S.DRAFT_WAITING_AUTO_APPROVAL, (_G.AUTO_ADVANCE, _G.NO_CRITICAL_ISSUE, _G.APP_AGREES)),
            Transition(_S.DRAFT_MANUAL_APPROVAL_NEEDED, (_G.MANUAL_APPROVAL, _G.NO_CRITICAL_ISSUE, _G.APP_AGREES)),
        ),
        _T.FAILED: _to(_S.DRAFT_SYNC_FAILED),
        **_DELETE,
    },
    _S.DRAFT_SYNC_FAILED: {**_TO_VALIDATING, **_DELETE, **_EDIT},
    _S.DRAFT_MANUAL_APPROVAL_NEEDED: {_T.APPROVE: _READY, **_DELETE, **_EDIT},
    _S.DRAFT_WAITING_AUTO_APPROVAL: {
        _T.NEXT: _to(_S.DRAFT_READY_TO_ISSUE, _G.DRAFT_PERIOD_OVER, _G.NO_CRITICAL_ISSUE),
        _T.APPROVE: _READY,
        **_DELETE,
        **_EDIT,
    },
    _S.DRAFT_READY_TO_ISSUE: {
        _T.NEXT: (
            Transition(_S.ISSUING_LINE_FINALIZATION, (_G.HAS_LINES,)),
            Transition(_S.DELETE_SYNCING, (_G.NO_LINES,)),
        ),
        **_DELETE,
        **_EDIT,
    },
    _S.ISSUING_LINE_FINALIZATION: {
        _T.NEXT: _to(_S.ISSUING_SYNCING),
        _T.FAILED: _to(_S.ISSUING_LINE_FINALIZATION_FAILED),
        **_DELETE,
    },
    _S.ISSUING_LINE_FINALIZATION_FAILED: {_T.RETRY: _to(_S.ISSUING_LINE_FINALIZATION), **_DELETE},
    _S.ISSUING_SYNCING: {
        _T.NEXT: _to(_S.ISSUING_CHARGE_BOOKING, _G.APP_AGREES),
        _T.FAILED: _to(_S.ISSUING_FAILED),
        **_DELETE,
    },
    _S.ISSUING_FAILED: {_T.RETRY: _to(_S.ISSUING_SYNCING), **_DELETE},
    _S.ISSUING_CHARGE_BOOKING: {
        _T.NEXT: _to(_S.ISSUED),
        _T.FAILED: _to(_S.ISSUING_CHARGE_BOOKING_FAILED),
        **_DELETE,
    },
    _S.ISSUING_CHARGE_BOOKING_FAILED: {_T.RETRY: _to(_S.ISSUING_CHARGE_BOOKING), **_DELETE},
    _S.ISSUED: {_T.NEXT: _to(_S.PAYMENT_PENDING), **_VOID},
    _S.PAYMENT_PENDING: {
        **_AUTHORIZED,
        **_AUTHORIZED_AND_SETTLED,
        **_PAYMENT_FAILED,
        **_OVERDUE,
        **_UNCOLLECTIBLE,
        **_ACTION_REQUIRED,
        **_VOID,
    },
    **_booking(_S.PAYMENT_BOOKING_AUTHORIZED, _S.PAYMENT_BOOKING_AUTHORIZED_FAILED, _S.PAYMENT_AUTHORIZED),
    _S.PAYMENT_AUTHORIZED: {
        **_SETTLED,
        **_PAYMENT_FAILED,
        **_OVERDUE,
        **_UNCOLLECTIBLE,
        **_ACTION_REQUIRED,
        **_VOID,
    },
    **_booking(_S.PAYMENT_BOOKING_SETTLED, _S.PAYMENT_BOOKING_SETTLED_FAILED, _S.PAID),
    **_booking(_S.PAYMENT_BOOKING_AUTHORIZED_AND_SETTLED, _S.PAYMENT_BOOKING_AUTHORIZED_AND_SETTLED_FAILED, _S.PAID),
    _S.PAYMENT_FAILED: {
        **_AUTHORIZED,
        **_AUTHORIZED_AND_SETTLED,
        **_OVERDUE,
        **_UNCOLLECTIBLE,
        **_ACTION_REQUIRED,
        **_RETRY_PAYMENT,
        **_VOID,
    },
    _S.PAYMENT_ACTION_REQUIRED: {
        **_AUTHORIZED,
        **_AUTHORIZED_AND_SETTLED,
        **_PAYMENT_FAILED,
        **_OVERDUE,
        **_UNCOLLECTIBLE,
        **_RETRY_PAYMENT,
        **_VOID,
    },
    _S.OVERDUE: {
        **_AUTHORIZED,
        **_AUTHORIZED_AND_SETTLED,
        **_PAYMENT_FAILED,
        **_UNCOLLECTIBLE,
        **_ACTION_REQUIRED,
        **_RETRY_PAYMENT,
    },
    _S.UNCOLLECTIBLE: {**_AUTHORIZED, **_AUTHORIZED_AND_SETTLED, **_VOID},
    _S.PAID: {},
    _S.VOIDED: {},
    _S.DELETE_IN_PROGRESS: {_T.NEXT: _to(_S.DELETE_SYNCING), _T.FAILED: _to(_S.DELETE_FAILED)},
    _S.DELETE_SYNCING: {_T.NEXT: _to(_S.DELETED), _T.FAILED: _to(_S.DELETE_FAILED)},
    _S.DELETE_FAILED: {**_DELETE},
    _S.DELETED: {},
}

# Final for the question whether a customer or an app may go (billing section 6.1).
FINAL = frozenset({State.DELETED, State.PAID, State.UNCOLLECTIBLE, State.VOIDED})


def target(state: State, trigger: Trigger, facts: Facts) -> State | None:
    """Return where `trigger` leads from `state`, None where it is not permitted."""
    for transition in TRANSITIONS[state].get(trigger, ()):
        if all(_holds(guard, state, facts) for guard in transition.guards):
            return transition.to
    return None


def defined(state: State, trigger: Trigger) -> bool:
    """Tell whether `state` knows `trigger` at all, whatever its guards say."""
    return trigger in TRANSITIONS[state]
