"""What a failure says: something of the subscription that was tried, or of a server that may be better later."""

from sqlalchemy import exc

from meterhouse.billing.planmigrations.values import Failure
from meterhouse.kernel.errors import DomainError, Unavailable

# Classes of SQLSTATE: connection, rollback to let another transaction end, resources, an object in use, intervention of
# an operator, system.
_PASSING = ("08", "40", "53", "55", "57", "58")


def may_pass(error: Exception) -> bool:
    """Tell whether the same may go well at another time."""
    if isinstance(error, exc.DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        # Without a state it comes from the connection, not from the server.
        return state is None or state.startswith(_PASSING)
    return isinstance(error, OSError | exc.TimeoutError | Unavailable)


def failure_of(error: Exception) -> Failure:
    """Return what is shown of a failure; of one that nobody foresaw nothing but that it was one."""
    if isinstance(error, DomainError):
        return Failure(code=error.issues[0].code if error.issues else "", message=error.message)
    return Failure(code="internal", message="an internal failure; the logs of the server tell more")
