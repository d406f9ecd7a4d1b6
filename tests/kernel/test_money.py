"""Rounding and splitting of money (rating section 10, ledger section 2.2 and vector V7)."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.kernel.money import is_fiat, largest_remainder, plain, round_money, total


@pytest.mark.parametrize(
    ("amount", "currency", "rounded"),
    [
        ("10.005", "USD", "10.01"), ("-10.005", "USD", "-10.01"), ("99.6", "JPY", "100"), ("1.0005", "KWD", "1.001"),
        ("2.675", "USD", "2.68"), ("4.3375", "USD", "4.34"), ("9" * 60 + ".005", "USD", "9" * 60 + ".01"),
        ("1249.5", "JPY", "1250"), ("1.23456", "KWD", "1.235"), ("99.5", "HUF", "100"),
    ],
)  # fmt: skip
def test_half_is_rounded_away_from_zero(amount: str, currency: str, rounded: str) -> None:
    assert round_money(Decimal(amount), currency) == Decimal(rounded)


@pytest.mark.parametrize(
    ("value", "text"),
    [("50.00", "50"), ("-0.50", "-0.5"), ("1E+3", "1000"), ("0E-9", "0"), ("-0", "0"), ("100", "100")],
)
def test_plain_is_the_shortest_text(value: str, text: str) -> None:
    assert plain(Decimal(value)) == text


@pytest.mark.parametrize(
    ("amount", "weights", "shares"),
    [
        ("5.00", ["4.00", "3.40"], ["2.70", "2.30"]),
        ("10.00", ["3.33", "3.33", "6.67"], ["2.50", "2.50", "5.00"]),
        ("9.00", ["4.00"], ["4.00"]),
        ("1.00", [], []),
    ],
)
def test_largest_remainder(amount: str, weights: list[str], shares: list[str]) -> None:
    assert largest_remainder(Decimal(amount), [Decimal(w) for w in weights], "USD") == [Decimal(s) for s in shares]


_cents = st.integers(0, 10_000).map(lambda n: Decimal(n) / 100)


@given(amount=_cents, weights=st.lists(_cents, max_size=6))
def test_shares_add_up_and_stay_within_their_weight(amount: Decimal, weights: list[Decimal]) -> None:
    shares = largest_remainder(amount, weights, "USD")
    assert total(shares) == min(amount, total(weights))
    assert all(0 <= share <= weight for share, weight in zip(shares, weights, strict=True))


def test_currency_codes_are_upper_case_iso_codes() -> None:
    assert is_fiat("USD")
    assert not is_fiat("usd")
    assert not is_fiat("CRED")
