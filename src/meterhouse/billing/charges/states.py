"""The life of a charge as data: detailed statuses, triggers, and what leads where (charges sections 2 to 4).

A table lists the transitions of one kind of charge in one settlement mode. The first transition of a status whose
trigger fits and whose guard holds is taken; what has to be done on the way is named by its effect and carried out by
`machine`. Deleting, extending and shrinking are possible in nearly every status and are planned in `periods` instead.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from meterhouse.catalog.prices import SettlementMode

# Events on their way into the store when collection ends still get in (section 6: "collection closes").
COLLECTION_GRACE = timedelta(minutes=1)


class PublicStatus(StrEnum):
    """The status that the wire shows and filters by."""

    CREATED = "created"
    ACTIVE = "active"
    FINAL = "final"
    DELETED = "deleted"


class Status(StrEnum):
    """The detailed status. Those between `started` and `completed` accompany one run."""

    CREATED = "created"
    ACTIVE = "active"
    STARTED = "active.realization.started"
    WAITING = "active.realization.waiting_for_collection"
    PROCESSING = "active.realization.processing"
    ISSUING = "active.realization.issuing"
    COMPLETED = "active.realization.completed"
    AWAITING_PAYMENT = "active.awaiting_payment_settlement"
    FINAL = "final"
    DELETED = "deleted"

    @property
    def public(self) -> PublicStatus:
        """The first segment."""
        return PublicStatus(self.value.partition(".")[0])


class Kind(StrEnum):
    """What a charge is made of."""

    FLAT_FEE = "flat_fee"
    USAGE_BASED = "usage_based"


class Trigger(StrEnum):
    """What moves a charge: `next` is tried by time and after every step, the others are invoice events."""

    NEXT = "next"
    INVOICE_CREATED = "invoice_created"
    COLLECTION_COMPLETED = "collection_completed"
    INVOICE_ISSUED = "invoice_issued"


class Effect(StrEnum):
    """What is done when a transition is taken."""

    SNAPSHOT_FEATURE = "snapshot_feature"
    REALIZE = "realize"  # a run without a line, all of it paid by credits
    START_RUN = "start_run"  # a run bound to an invoice line, with the credits there are
    RERATE = "rerate"
    SEAL = "seal"
    CLEAR_RUN = "clear_run"


@dataclass(frozen=True, slots=True)
class Situation:
    """What guards look at.

    Attributes:
        starts_at: when the charge becomes active: usage at its service start, a flat fee at its `invoice_at`.
        books_at: when it is due: usage at its service end, a flat fee at its booking time.
        collection_closes_at: of the current run, None without one or for a flat fee.
        is_free: a flat fee that comes to zero.
        is_covered: no run is open and the last one is final and reaches the service end.
        reaches_end: the last run reaches the service end.
        is_settled: no run waits for money.
    """

    now: datetime
    starts_at: datetime
    books_at: datetime
    collection_closes_at: datetime | None = None
    is_free: bool = False
    is_covered: bool = False
    reaches_end: bool = False
    is_settled: bool = False


Guard = Callable[[Situation], bool]


def _started(at: Situation) -> bool:
    return at.now >= at.starts_at


def _due(at: Situation) -> bool:
    return at.now >= at.books_at


def _collected(at: Situation) -> bool:
    return at.collection_closes_at is not None and at.now >= at.collection_closes_at


def _started_free(at: Situation) -> bool:
    return at.is_free and _started(at)


def _free(at: Situation) -> bool:
    return at.is_free


def _covered(at: Situation) -> bool:
    return at.is_covered


def _reaches_end(at: Situation) -> bool:
    return at.reaches_end


def _settled(at: Situation) -> bool:
    return at.is_settled


def _always(_: Situation) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Transition:
    """From a status by a trigger to the next, where the guard holds."""

    status: Status
    trigger: Trigger
    next: Status
    guard: Guard = _always
    effect: Effect | None = None


_T = Transition
_NEXT = Trigger.NEXT
_CREATED, _COLLECTED, _ISSUED = Trigger.INVOICE_CREATED, Trigger.COLLECTION_COMPLETED, Trigger.INVOICE_ISSUED

_USAGE_BY_CREDITS = (
    _T(Status.CREATED, _NEXT, Status.ACTIVE, _started, Effect.SNAPSHOT_FEATURE),
    _T(Status.ACTIVE, _NEXT, Status.STARTED, _due, Effect.REALIZE),
    _T(Status.STARTED, _NEXT, Status.WAITING),
    _T(Status.WAITING, _NEXT, Status.PROCESSING, _collected, Effect.RERATE),
    _T(Status.PROCESSING, _NEXT, Status.COMPLETED, effect=Effect.CLEAR_RUN),
    _T(Status.COMPLETED, _NEXT, Status.FINAL),
)
_USAGE_BY_INVOICE = (
    _T(Status.CREATED, _NEXT, Status.ACTIVE, _started, Effect.SNAPSHOT_FEATURE),
    _T(Status.ACTIVE, _NEXT, Status.AWAITING_PAYMENT, _covered),
    # A line typed by hand on a draft may be invoiced before its period starts.
    _T(Status.CREATED, _CREATED, Status.STARTED, effect=Effect.START_RUN),
    _T(Status.ACTIVE, _CREATED, Status.STARTED, effect=Effect.START_RUN),
    _T(Status.STARTED, _NEXT, Status.WAITING),
    _T(Status.WAITING, _COLLECTED, Status.PROCESSING, effect=Effect.RERATE),
    # A snapshot forced before the collection closed is repeated when an edited invoice collects again.
    _T(Status.PROCESSING, _COLLECTED, Status.PROCESSING, effect=Effect.RERATE),
    _T(Status.PROCESSING, _ISSUED, Status.ISSUING, effect=Effect.SEAL),
    _T(Status.ISSUING, _NEXT, Status.COMPLETED),
    _T(Status.COMPLETED, _NEXT, Status.AWAITING_PAYMENT, _reaches_end),
    _T(Status.COMPLETED, _NEXT, Status.ACTIVE),
    _T(Status.AWAITING_PAYMENT, _NEXT, Status.FINAL, _settled),
)
_FLAT_BY_CREDITS = (
    _T(Status.CREATED, _NEXT, Status.ACTIVE, _started, Effect.SNAPSHOT_FEATURE),
    _T(Status.ACTIVE, _NEXT, Status.FINAL, _due, Effect.REALIZE),
)
_FLAT_BY_INVOICE = (
    _T(Status.CREATED, _NEXT, Status.FINAL, _started_free),
    _T(Status.CREATED, _NEXT, Status.ACTIVE, _started, Effect.SNAPSHOT_FEATURE),
    _T(Status.ACTIVE, _NEXT, Status.FINAL, _free),
    _T(Status.CREATED, _CREATED, Status.PROCESSING, effect=Effect.START_RUN),
    _T(Status.ACTIVE, _CREATED, Status.STARTED, effect=Effect.START_RUN),
    _T(Status.STARTED, _NEXT, Status.WAITING),
    _T(Status.WAITING, _COLLECTED, Status.PROCESSING),
    _T(Status.PROCESSING, _COLLECTED, Status.PROCESSING),
    # A flat fee waits for no usage, so an invoice may be issued without a collection.
    _T(Status.WAITING, _ISSUED, Status.ISSUING, effect=Effect.SEAL),
    _T(Status.PROCESSING, _ISSUED, Status.ISSUING, effect=Effect.SEAL),
    _T(Status.ISSUING, _NEXT, Status.COMPLETED),
    _T(Status.COMPLETED, _NEXT, Status.AWAITING_PAYMENT),
    _T(Status.AWAITING_PAYMENT, _NEXT, Status.FINAL, _settled),
)

_TABLES = {
    (Kind.USAGE_BASED, SettlementMode.CREDIT_ONLY): _USAGE_BY_CREDITS,
    (Kind.USAGE_BASED, SettlementMode.CREDIT_THEN_INVOICE): _USAGE_BY_INVOICE,
    (Kind.FLAT_FEE, SettlementMode.CREDIT_ONLY): _FLAT_BY_CREDITS,
    (Kind.FLAT_FEE, SettlementMode.CREDIT_THEN_INVOICE): _FLAT_BY_INVOICE,
}

# Steps that pass within one transaction; a change of periods that meets one is to be tried again (section 3).
CHANGE_REFUSED = frozenset({Status.ISSUING, Status.COMPLETED, Status.DELETED})


def find(kind: Kind, mode: SettlementMode, status: Status, trigger: Trigger, situation: Situation) -> Transition | None:
    """Return the transition to take, None when the trigger does nothing in this status and situation."""
    return next(
        (
            one
            for one in _TABLES[kind, mode]
            if one.status is status and one.trigger is trigger and one.guard(situation)
        ),
        None,
    )


def advance_after(
    kind: Kind, mode: SettlementMode, status: Status, situation: Situation, service_end: datetime
) -> datetime | None:
    """Return the next instant at which time alone may move the charge on, None where only events do."""
    match status:
        case Status.CREATED:
            return situation.starts_at
        case Status.ACTIVE:
            return situation.books_at if mode is SettlementMode.CREDIT_ONLY else service_end
        case Status.WAITING if kind is Kind.USAGE_BASED:
            return situation.collection_closes_at
        case _:
            return None
