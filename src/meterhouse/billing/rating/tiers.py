"""Tiered prices: volume and graduated (rating sections 3.5 and 3.6)."""

from collections.abc import Iterator
from decimal import Decimal

from meterhouse.billing.errors import BillingError
from meterhouse.billing.rating.results import DetailedLine
from meterhouse.catalog.prices import Tier, TieredPrice

_ONE = Decimal(1)


def _no_open_end() -> BillingError:
    return BillingError("invoice_line_missing_open_ended_tier", "no tier of the price contains the quantity")


def volume(
    name: str, price: TieredPrice, quantity: Decimal, pre_line_quantity: Decimal, *, last: bool
) -> list[DetailedLine]:
    """Price the whole quantity by the one tier that contains it; a tier's upper bound belongs to it.

    Only the last slice of a period bills. A flat amount of the tier is due even without usage.

    Raises:
        BillingError: part of the period was billed before, or no tier contains the quantity.
    """
    if pre_line_quantity:
        raise BillingError(
            "invoice_line_graduated_split_not_supported", "a volume price cannot be billed in parts of a period"
        )
    if not last:
        return []
    for number, tier in enumerate(price.sorted_tiers(), 1):
        if tier.up_to is None or quantity <= tier.up_to:
            return list(_volume_lines(name, number, tier, quantity))
    raise _no_open_end()


def _volume_lines(name: str, number: int, tier: Tier, quantity: Decimal) -> Iterator[DetailedLine]:
    if tier.flat_amount is not None:
        yield DetailedLine(
            child_ref="volume-flat-price",
            name=f"{name}: flat price for tier {number}",
            quantity=_ONE,
            unit_amount=tier.flat_amount,
        )
    if tier.unit_amount is not None and quantity:
        yield DetailedLine(
            child_ref="volume-tiered-price",
            name=f"{name}: unit price for tier {number}",
            quantity=quantity,
            unit_amount=tier.unit_amount,
        )


def graduated(
    name: str, price: TieredPrice, quantity: Decimal, pre_line_quantity: Decimal, *, first: bool
) -> list[DetailedLine]:
    """Price each unit of (pre-line, pre-line + quantity] by the tier it falls into.

    A tier's flat amount is due from the slice whose usage enters the tier; the first tier's from the first slice, also
    without usage.

    Raises:
        BillingError: the quantity reaches beyond the last tier.
    """
    end = pre_line_quantity + quantity
    lines: list[DetailedLine] = []
    lower = Decimal(0)
    for number, tier in enumerate(price.sorted_tiers(), 1):
        upper = end if tier.up_to is None else min(tier.up_to, end)
        start = max(lower, pre_line_quantity)
        if start < upper or end == 0:
            enters = start == lower and (number > 1 or first)
            lines += _graduated_lines(name, number, tier, upper - start, enters=enters)
        if tier.up_to is None or end <= tier.up_to:
            return lines
        lower = tier.up_to
    raise _no_open_end()


def _graduated_lines(name: str, number: int, tier: Tier, units: Decimal, *, enters: bool) -> Iterator[DetailedLine]:
    if tier.unit_amount is not None:
        yield DetailedLine(
            child_ref=f"graduated-tiered-{number}-price-usage",
            name=f"{name}: usage price for tier {number}",
            quantity=units,
            unit_amount=tier.unit_amount,
        )
    if tier.flat_amount is not None and enters:
        yield DetailedLine(
            child_ref=f"graduated-tiered-{number}-flat-price",
            name=f"{name}: flat price for tier {number}",
            quantity=_ONE,
            unit_amount=tier.flat_amount,
        )
