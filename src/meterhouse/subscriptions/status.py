"""The status of a subscription and what each status allows (subscriptions section 5). Never stored."""

from datetime import datetime
from enum import StrEnum

from meterhouse.kernel.errors import Forbidden
from meterhouse.subscriptions.views import SUPERSEDING, SubscriptionView


class Status(StrEnum):
    """Where a subscription stands. Canceled means: still running, with an end set."""

    SCHEDULED = "scheduled"
    ACTIVE = "active"
    CANCELED = "canceled"
    INACTIVE = "inactive"


class Command(StrEnum):
    """What can be asked of a stored subscription."""

    UPDATE = "update"
    CHANGE_ADDONS = "change_addons"
    CANCEL = "cancel"
    CONTINUE = "continue"
    DELETE = "delete"


_ALLOWED = {
    Command.UPDATE: Status.ACTIVE,
    Command.CHANGE_ADDONS: Status.ACTIVE,
    Command.CANCEL: Status.ACTIVE,
    Command.CONTINUE: Status.CANCELED,
    Command.DELETE: Status.SCHEDULED,
}

# What is possible instead of a command that is refused.
_WAYS_OUT = {
    Status.SCHEDULED: "a scheduled subscription can only be deleted: DELETE /api/v1/subscriptions/{id}",
    Status.ACTIVE: "it runs without an end and can be edited, changed or canceled",
    Status.CANCELED: "it is canceled and ends at {end}; take that back first, with unschedule-cancelation",
    Status.INACTIVE: "it ended at {end}; create another one",
}
# The same where another subscription takes the place of this one.
_WAYS_OUT_OF_A_CHANGE = {
    **_WAYS_OUT,
    Status.CANCELED: "it already moves to subscription {next} at {end}; "
    "take that back first, with POST /api/v1/subscriptions/{id}/restore",
    Status.INACTIVE: "it moved to subscription {next} at {end}; that one may take it",
}


def status_of(view: SubscriptionView, at: datetime) -> Status:
    """Return the status at `at`."""
    if view.deleted_at is not None and view.deleted_at <= at:
        return Status.INACTIVE
    if view.active_from > at:
        return Status.SCHEDULED
    if view.active_to is None:
        return Status.ACTIVE
    return Status.CANCELED if view.active_to > at else Status.INACTIVE


def require(view: SubscriptionView, command: Command, at: datetime) -> None:
    """Check that the status at `at` allows `command`.

    Raises:
        Forbidden: it does not.
    """
    status = status_of(view, at)
    if status is not _ALLOWED[command]:
        raise Forbidden(f"transition {command} in state {status} not allowed: {_way_out(view, status)}")


def _way_out(view: SubscriptionView, status: Status) -> str:
    following = view.annotations.get(SUPERSEDING)
    ways_out = _WAYS_OUT if following is None else _WAYS_OUT_OF_A_CHANGE
    end = view.active_to and view.active_to.isoformat()
    return ways_out[status].format(id=view.id, next=following, end=end)
