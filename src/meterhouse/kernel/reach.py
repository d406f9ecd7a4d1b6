"""How far away the instants of requests may lie: calendar arithmetic on them must not leave the calendar."""

from datetime import datetime, timedelta

from meterhouse.kernel import clock
from meterhouse.kernel.errors import invalid

# No business looks further, and the calendar of the code ends with the year 9999.
HORIZON = timedelta(days=100 * 366)


def within_reach(instant: datetime, field: str) -> datetime:
    """Return the instant in UTC; `field` is where the request names it.

    Raises:
        InvalidInput: it is more than a hundred years away.
    """
    now = clock.now()
    if not now - HORIZON <= instant <= now + HORIZON:
        raise invalid(f"an instant cannot be more than 100 years away: {instant.isoformat()}", field=field)
    return clock.as_utc(instant)
