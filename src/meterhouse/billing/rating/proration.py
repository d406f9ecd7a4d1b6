"""A flat amount for a part of its full period (rating section 9, charges section 4)."""

from decimal import Decimal

from meterhouse.kernel.money import round_money
from meterhouse.kernel.periods import Period
from meterhouse.kernel.precision import exact


@exact
def prorated(amount: Decimal, service: Period, full: Period, currency: str) -> Decimal:
    """Return `amount` x service length / full length, rounded to the currency.

    The lengths are exact, so a month of 28 days has its own price per day. The whole amount is due where either period
    is empty or the service period is not the shorter one: a proration never makes anything dearer.
    """
    if service.is_empty() or full.is_empty() or service.seconds() >= full.seconds():
        return round_money(amount, currency)
    # The product comes first: a rounded factor would turn an exact half into slightly less than a half.
    return round_money(amount * service.seconds() / full.seconds(), currency)
