"""Unit conversion (rating section 4.2)."""

import pytest

from meterhouse.billing.rating.conversion import convert
from meterhouse.catalog.prices import UnitConversion
from tests.rating.builders import d


@pytest.mark.parametrize(
    ("operation", "factor", "rounding", "precision", "quantity", "converted"),
    [
        ("multiply", "1.5", "none", 0, "3", "4.5"),
        ("divide", "3", "none", 0, "1", "0.3333333333333333"),
        ("divide", "1000", "ceiling", 0, "6100", "7"),
        ("divide", "1000", "ceiling", 0, "6000", "6"),
        ("divide", "1000", "ceiling", 2, "6101", "6.11"),
        ("divide", "1000", "floor", 0, "6999", "6"),
        ("divide", "1000", "floor", 0, "-1", "-1"),
        ("divide", "10", "half_up", 0, "25", "3"),
        ("divide", "10", "half_up", 0, "-25", "-3"),
        ("multiply", "0.001", "half_up", 1, "6150", "6.2"),
        ("multiply", "2", "none", 4, "0.12345", "0.2469"),
    ],
)
def test_convert(operation: str, factor: str, rounding: str, precision: int, quantity: str, converted: str) -> None:
    conversion = UnitConversion.model_validate(
        {"operation": operation, "conversion_factor": factor, "rounding": rounding, "precision": precision}
    )
    assert convert(d(quantity), conversion) == d(converted)
