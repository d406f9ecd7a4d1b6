"""The messages of events that do not count (metering section 11)."""

import pytest

from meterhouse.kernel import clock
from meterhouse.metering.meters import Aggregation, Meter
from meterhouse.metering.validation import messages


def meter(aggregation: Aggregation, path: str | None) -> Meter:
    """A meter that is not stored."""
    now = clock.now()
    return Meter("id", "ns", "key", "name", None, "t", aggregation, path, {}, None, {}, {}, now, now, None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "null and missing value property"),
        ("null", "null and missing value property"),
        ("{}", 'missing value property: "$.v"'),
        ('{"v":null}', "value cannot be null"),
        ('{"v":1}', None),
        ('{"v":"1e3"}', None),
        ('{"v":"x"}', "value cannot be parsed as float64: x"),
        ('{"v":1e400}', "value cannot be parsed as float64: 1e400"),
        ('{"v":"NAN"}', "value cannot be NaN"),
        ('{"v":"-Inf"}', "value cannot be infinity"),
        ('{"v":true}', "unsupported value property type: boolean"),
        ('{"v":[1]}', "unsupported value property type: array"),
        ('{"v":{}}', "unsupported value property type: object"),
    ],
)
def test_sum_meter(data: str, message: str | None) -> None:
    found = messages("t", data, "s", [meter(Aggregation.SUM, "$.v")], has_customer=True)
    assert found == ([] if message is None else [f"invalid event: {message}"])


def test_other_meters() -> None:
    assert messages("t", "{", "s", [meter(Aggregation.COUNT, None)], has_customer=True)[0].startswith(
        "invalid event: failed to parse event data: "
    )
    assert messages("t", "", "s", [meter(Aggregation.COUNT, None)], has_customer=True) == []
    assert messages("t", '{"v":[1]}', "s", [meter(Aggregation.UNIQUE_COUNT, "$.v")], has_customer=True) == []
    assert messages("t", "", "s", [], has_customer=False) == [
        "no meter found for event type: t",
        "no customer found for event subject: s",
    ]
