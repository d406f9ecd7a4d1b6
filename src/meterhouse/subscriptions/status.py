"""The status of a subscription and what each status allows (subscriptions section 5). Never stored."""

from datetime import datetime
from enum import StrEnum

from meterhouse.kernel.errors import Forbidden
from meterhouse.subscriptions.views import SubscriptionView


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
        hint = "; a scheduled subscription can only be deleted" if status is Status.SCHEDULED else ""
        raise Forbidden(f"transition {command} in state {status} not allowed{hint}")
