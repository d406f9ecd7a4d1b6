"""Proration of flat amounts (rating section 9, charges section 10)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from meterhouse.billing.rating.proration import prorated
from meterhouse.kernel.periods import Period

START = datetime(2025, 1, 1, tzinfo=UTC)


def span(**length: float) -> Period:
    return Period(START, START + timedelta(**length))


@pytest.mark.parametrize(
    ("amount", "service", "full", "currency", "result"),
    [
        ("30", span(days=21), span(days=31), "USD", "20.32"),
        ("100", span(days=10), span(days=30), "USD", "33.33"),
        ("1000", span(days=7), span(days=31), "JPY", "226"),
        ("59.90", span(hours=12), span(days=1), "USD", "29.95"),
        ("90", span(days=13, hours=5), span(days=31), "USD", "38.35"),
        ("0.01", span(days=1), span(days=31), "USD", "0"),
        ("99.00", span(days=21), span(days=31), "USD", "67.06"),
        ("1000", span(days=10), span(days=30), "JPY", "333"),
        ("45.00", span(days=7), span(days=28), "USD", "11.25"),
        ("0.04", span(days=1), span(days=31), "USD", "0"),
        ("62.00", span(days=17.5), span(days=31), "USD", "35"),
        ("90.00", span(days=17.5), span(days=90), "USD", "17.5"),
        ("0.15", span(days=1), span(days=30), "USD", "0.01"),
        ("10.005", span(days=0), span(days=31), "USD", "10.01"),
        ("10.005", span(days=3), span(days=0), "USD", "10.01"),
        ("10", span(days=40), span(days=31), "USD", "10"),
    ],
)
def test_prorated(amount: str, service: Period, full: Period, currency: str, result: str) -> None:
    assert prorated(Decimal(amount), service, full, currency) == Decimal(result)
