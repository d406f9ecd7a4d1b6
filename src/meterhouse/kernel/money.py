"""Money: exact decimals, rounded in one place.

Rounding is half away from zero to the digits of the currency (rating section 10); Python calls that mode
ROUND_HALF_UP. Nothing else in the code base rounds money.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Context, Decimal

from meterhouse.kernel.fiat import FIAT

ZERO = Decimal(0)

# Rounding must not fail on an amount of more digits than the default context holds (28).
_WIDE = Context(prec=1000)


def minor_digits(currency: str) -> int:
    """Return how many decimals an amount of a fiat currency has: USD 2, JPY 0, KWD 3.

    Raises:
        ValueError: `currency` is no fiat code in upper case.
    """
    if not is_fiat(currency):
        raise ValueError(f"unknown currency: {currency!r}")
    return FIAT[currency].digits


def is_fiat(currency: str) -> bool:
    """Tell whether `currency` is a fiat code in upper case."""
    return currency in FIAT


def minor_unit(currency: str) -> Decimal:
    """Return the smallest amount of `currency` that is paid."""
    return Decimal(1).scaleb(-minor_digits(currency))


def round_money(amount: Decimal, currency: str) -> Decimal:
    """Round `amount` to the minor unit of `currency`, half away from zero."""
    return amount.quantize(minor_unit(currency), rounding=ROUND_HALF_UP, context=_WIDE)


def is_rounded(amount: Decimal, currency: str) -> bool:
    """Tell whether `amount` has no more digits than the minor unit of `currency`."""
    return amount == round_money(amount, currency)


def plain(value: Decimal) -> str:
    """Write a decimal in its shortest form: no exponent, no trailing zeros, no negative zero (rating section 1)."""
    if value == 0:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Add decimals up; the sum of nothing is zero."""
    return sum(amounts, ZERO)


def largest_remainder(amount: Decimal, weights: list[Decimal], currency: str) -> list[Decimal]:
    """Split `amount` over `weights` in proportion, exactly, in whole minor units (ledger section 2.2).

    Each share is floored at the minor unit; the minor units that are left go one by one to the largest fractional
    remainders (ties: input order), and no share exceeds its own weight. Shares add up to
    `min(amount, sum(weights))`.
    """
    whole = total(weights)
    amount = min(amount, whole)
    if whole == 0:
        return [ZERO for _ in weights]
    unit = minor_unit(currency)
    exact = [amount * weight / whole for weight in weights]
    shares = [(share // unit) * unit for share in exact]
    left = int((amount - total(shares)) / unit)
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(exact[i] - shares[i]), i))
    while left > 0:
        moved = False
        for index in by_remainder:
            if left > 0 and shares[index] + unit <= weights[index]:
                shares[index] += unit
                left -= 1
                moved = True
        if not moved:
            break
    return shares
