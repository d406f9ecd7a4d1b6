"""The rows of an answer to a meter query, out of what the engine returns (metering section 10)."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from operator import itemgetter
from typing import NamedTuple

from meterhouse.metering.clickhouse import Row
from meterhouse.metering.meter import Aggregation
from meterhouse.metering.question import CUSTOMER, SUBJECT, MeterQuery, Window

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# An average has as many digits as a stored number can have.
_AVERAGE = Context(prec=38)
_NO_GROUPS: Mapping[str, str | None] = {}


class UsageRow(NamedTuple):
    """One number of an answer. A tuple, because an answer may have many of them.

    Attributes:
        start, end: the window in the query's zone, or the whole range in UTC.
        subject, customer_id: None unless split by.
        groups: dimension to text; None where the event has none.
    """

    value: Decimal
    start: datetime
    end: datetime
    subject: str | None
    customer_id: str | None
    groups: Mapping[str, str | None]


def number(query: MeterQuery, measured: str, counted: int) -> Decimal:
    """Return the value of a row from its text and, for an average, the number of values that it sums up."""
    value = Decimal(measured)
    return _AVERAGE.divide(value, Decimal(counted)) if query.meter.aggregation is Aggregation.AVG else value


def rows(query: MeterQuery, found: Sequence[Row]) -> list[UsageRow]:
    """Return rows in their fixed order (section 10.7): windows, then values from the greatest on, then groups.

    Args:
        found: value, count of values, start of the window or first time, last time, and the groups.
    """
    place = {name: index for index, name in enumerate(query.groups(), 4)}
    dimensions = [(name, place[name]) for name in query.dimensions()]
    subject, customer = place.get(SUBJECT), place.get(CUSTOMER)
    order = [one for one in (subject, customer, *(at for _, at in dimensions)) if one is not None]
    bounds = {times: _bounds(query, *times) for times in {row[2:4] for row in found}}
    # Three sorts, each of which keeps the order of the one before among equals: cheaper than one by several members.
    if order:
        found = sorted(found, key=itemgetter(*order))
    answer = [
        (
            row[2],
            UsageRow(
                number(query, row[0], row[1]),
                *bounds[row[2:4]],
                None if subject is None else row[subject],
                None if customer is None else row[customer],
                {name: row[at] or None for name, at in dimensions} if dimensions else _NO_GROUPS,
            ),
        )
        for row in found
    ]
    answer.sort(key=lambda pair: pair[1].value, reverse=True)
    if query.window is not None:
        # By the instant itself: local times come twice when clocks go back.
        answer.sort(key=itemgetter(0))
    return [one for _, one in answer]


def _bounds(query: MeterQuery, first: int, last: int) -> tuple[datetime, datetime]:
    if query.window is None:
        return query.start or _minute(first), query.end or _minute(last) + timedelta(minutes=1)
    start = _at(first).astimezone(query.zone)
    return start, window_end(start, query.window)


def _at(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _minute(micros: int) -> datetime:
    return _at(micros).replace(second=0, microsecond=0)


def window_end(start: datetime, window: Window) -> datetime:
    """Return the end of a window: the next local day or month start, or the elapsed minute or hour."""
    if window in (Window.MINUTE, Window.HOUR):
        size = timedelta(minutes=1) if window is Window.MINUTE else timedelta(hours=1)
        return (start.astimezone(UTC) + size).astimezone(start.tzinfo)
    local = start.replace(hour=0, minute=0, second=0, fold=0)
    if window is Window.DAY:
        following = local + timedelta(days=1)
    else:
        following = (local.replace(day=1) + timedelta(days=32)).replace(day=1)
    # Over UTC and back: where local midnight does not exist, the window ends at the moment of the change.
    return following.astimezone(UTC).astimezone(start.tzinfo)
