"""Why a stored event does not count, found when it is read (metering section 11)."""

import json
from collections.abc import Sequence
from decimal import Decimal

from meterhouse.metering import extraction, jsonpath
from meterhouse.metering.extraction import Number
from meterhouse.metering.meter import Aggregation, Meter

_INFINITIES = frozenset({"inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"})


def messages(event_type: str, data: str, subject: str, meters: Sequence[Meter], *, has_customer: bool) -> list[str]:
    """Return what keeps an event from counting, in the fixed order of section 11.

    Args:
        meters: the live meters of the event's type.
        has_customer: whether its subject belongs to a customer.
    """
    found = [f"invalid event: {problem}" for meter in meters if (problem := _problem(meter, data)) is not None]
    if not meters:
        found.append(f"no meter found for event type: {event_type}")
    if not has_customer:
        found.append(f"no customer found for event subject: {subject}")
    return found


def _problem(meter: Meter, data: str) -> str | None:
    try:
        document = json.loads(data, parse_float=Number, parse_int=Number, parse_constant=Number) if data else None
    except (ValueError, RecursionError) as error:
        return f"failed to parse event data: {error}"
    if meter.aggregation is Aggregation.COUNT or meter.value_property is None:
        return None
    if document is None:
        return "null and missing value property"
    values = list(jsonpath.parse(meter.value_property).matches(document))
    if not values:
        return f'missing value property: "{meter.value_property}"'
    value = values[0]
    if value is None:
        return "value cannot be null"
    return None if meter.aggregation is Aggregation.UNIQUE_COUNT else _not_numeric(value)


def _not_numeric(value: object) -> str | None:
    if isinstance(value, str):
        if value.lower() == "nan":
            return "value cannot be NaN"
        if value.lower() in _INFINITIES:
            return "value cannot be infinity"
        number: Decimal | None = extraction.number_of(value)
        return f"value cannot be parsed as float64: {value}" if number is None else None
    names = {bool: "boolean", list: "array", dict: "object"}
    return f"unsupported value property type: {names.get(type(value), type(value).__name__)}"
