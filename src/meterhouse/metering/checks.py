"""What a meter query may ask (metering section 10.2)."""

from collections.abc import Mapping
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from meterhouse.kernel.errors import InvalidInput, invalid
from meterhouse.metering.query import CUSTOMER, SUBJECT, MeterQuery

# Names on some systems that mean "whatever the machine has"; the engine does not know them.
_NO_ZONES = frozenset({"localtime", "Factory"})


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones() - _NO_ZONES)


def zone_of(name: str | None) -> ZoneInfo:
    """Return the zone with an IANA name; none means UTC.

    Raises:
        InvalidInput: no zone has the name.
    """
    if not name:
        return ZoneInfo("UTC")
    if name not in _zones():
        raise invalid(f"invalid time zone: {name}", code="invalid_time_zone", field="$.time_zone", value=name)
    return ZoneInfo(name)


def check(query: MeterQuery) -> None:
    """Check a query against its meter.

    Raises:
        InvalidInput: the range is empty or reversed, or a dimension is unknown.
    """
    if query.start is not None and query.end is not None:
        if query.start == query.end:
            raise InvalidInput("from and to cannot be equal")
        if query.start > query.end:
            raise InvalidInput("from must be before to")
    for name in query.group_by:
        if name == CUSTOMER and not query.customers:
            raise _bad_group(name, "customer_id group by requires a customer filter")
        if name not in (SUBJECT, CUSTOMER) and name not in query.meter.group_by:
            raise _bad_group(name, f"invalid group by: {name}")
    for name in query.filters:
        if name not in query.meter.group_by:
            raise invalid(
                f"invalid group by filter: {name}",
                code="invalid_dimension_filter",
                field=f"$.filters.dimensions.{name}",
                value=name,
            )


def _bad_group(name: str, message: str) -> InvalidInput:
    return invalid(message, code="invalid_group_by", field="$.group_by_dimensions", value=name)


def check_attribution(subjects: Mapping[str, object]) -> None:
    """Check that every customer of a filter has something its events could carry.

    Raises:
        InvalidInput: a customer has neither a key nor subject keys.
    """
    for customer_id, found in subjects.items():
        if not found:
            raise InvalidInput(f"usage attribution must have a key or subject keys: customer {customer_id}")
