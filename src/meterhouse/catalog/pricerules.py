"""Which prices make sense (rating section 3.7, catalog section 6.1).

Every rule is critical: a price that breaks one is never stored. The issues carry no code, only the place.
"""

from collections.abc import Iterator
from decimal import Decimal

from meterhouse.catalog.prices import DynamicPrice, FlatPrice, PackagePrice, Price, Tier, TieredPrice, UnitPrice
from meterhouse.kernel.errors import Issue


def price_issues(price: Price, path: str) -> list[Issue]:
    """Return what is wrong with a price; `path` is where it stands, such as `$.price`."""
    return [Issue("", message, path) for message in _faults(price)]


def _faults(price: Price) -> Iterator[str]:
    match price:
        case FlatPrice() | UnitPrice():
            yield from _not_negative("amount", price.amount)
        case TieredPrice():
            yield from _tier_faults(price.tiers)
        case DynamicPrice():
            yield from _not_negative("multiplier", price.multiplier)
        case PackagePrice():
            yield from _not_negative("amount", price.amount)
            if price.quantity_per_package <= 0:
                yield "the quantity per package must be positive"
    if not isinstance(price, FlatPrice):
        yield from _commitment_faults(price.minimum_amount, price.maximum_amount)


def _not_negative(what: str, value: Decimal | None) -> Iterator[str]:
    if value is not None and value < 0:
        yield f"the {what} must not be negative"


def _tier_faults(tiers: tuple[Tier, ...]) -> Iterator[str]:
    if not tiers:
        yield "a tiered price needs at least one tier"
        return
    if sum(tier.up_to is None for tier in tiers) != 1:
        # A second open-ended tier could never be reached, and without one some quantities had no price.
        yield "a tiered price needs exactly one open-ended tier"
    bounds = [tier.up_to for tier in tiers if tier.up_to is not None]
    if len(set(bounds)) < len(bounds):
        yield "two tiers have the same upper bound"
    for tier in tiers:
        yield from _not_negative("upper bound of a tier", tier.up_to)
        if tier.up_to == 0:
            yield "the upper bound of a tier must be positive"
        yield from _not_negative("flat amount of a tier", tier.flat_amount)
        yield from _not_negative("unit amount of a tier", tier.unit_amount)
        if tier.flat_amount is None and tier.unit_amount is None:
            yield "a tier needs a flat price or a unit price"


def _commitment_faults(minimum: Decimal | None, maximum: Decimal | None) -> Iterator[str]:
    yield from _not_negative("minimum amount", minimum)
    yield from _not_negative("maximum amount", maximum)
    if minimum and maximum and minimum > maximum:
        yield "the minimum amount must not be greater than the maximum amount"
