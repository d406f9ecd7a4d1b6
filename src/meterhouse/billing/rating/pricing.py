"""Rating of one line: quantities, price, discounts, commitments, in one fixed order (rating section 2).

A slice of a period is rated from its own and its earlier usage. A charge rates its whole usage since its start as if it
were one line and subtracts what it booked before (`delta`).
"""

from dataclasses import dataclass
from decimal import Decimal

from meterhouse.billing.rating.commitments import cap, lift
from meterhouse.billing.rating.conversion import convert
from meterhouse.billing.rating.discounts import percentage_off, take_free_units
from meterhouse.billing.rating.results import DetailedLine, Totals, UsageDiscountApplied
from meterhouse.billing.rating.tiers import graduated, volume
from meterhouse.billing.rating.totals import total_of, with_totals
from meterhouse.catalog.prices import (
    Discounts,
    DynamicPrice,
    FlatPrice,
    PackagePrice,
    PaymentTerm,
    Price,
    TieredPrice,
    TierMode,
    UnitConversion,
    UnitPrice,
    UsagePrice,
)
from meterhouse.kernel.errors import invalid
from meterhouse.kernel.money import ZERO, plain, round_money
from meterhouse.kernel.precision import exact

_ONE = Decimal(1)
_NO_DISCOUNTS = Discounts()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineInput:
    """What is rated.

    Attributes:
        quantity, pre_line_quantity: raw units of the line's own period, and from the start of the full period up to
            it. Ignored by flat prices.
        first_in_period, last_in_period: whether the line's period starts (ends) with the full period.
        with_minimum: False leaves a minimum commitment out although the line is the last: a charge that is rated before
            its end prices all its usage so far but owes its minimum only at the end.
        previously_billed: money of earlier slices, after their discounts, before credits and taxes. Zero for a charge,
            whose limits act on the cumulative amount.
    """

    name: str
    price: Price
    currency: str
    quantity: Decimal = ZERO
    pre_line_quantity: Decimal = ZERO
    first_in_period: bool = True
    last_in_period: bool = True
    with_minimum: bool = True
    discounts: Discounts = _NO_DISCOUNTS
    unit_conversion: UnitConversion | None = None
    previously_billed: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Quantities:
    """Units as a line shows them: after conversion, each on its own, and after the usage discount.

    Attributes:
        shortfall: by how much the usage fell below what earlier slices counted; the quantity is zero then.
    """

    quantity: Decimal
    pre_line_quantity: Decimal
    usage_discount: UsageDiscountApplied | None
    shortfall: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Rated:
    """A rated line: detailed lines in display order with their totals, and the quantities to show.

    `warnings` are sentences for people, for instance that the usage decreased.
    """

    details: tuple[DetailedLine, ...]
    totals: Totals
    quantity: Decimal
    pre_line_quantity: Decimal
    usage_discount: UsageDiscountApplied | None
    warnings: tuple[str, ...] = ()


@exact
def rate(line: LineInput) -> Rated:
    """Rate a line. The same input always gives the same output.

    Raises:
        BillingError: the price cannot be applied: no tier contains the quantity, or a volume price in parts.
        InvalidInput: a unit conversion on a price that has none.
    """
    if isinstance(line.price, FlatPrice):
        details = _discounted(line, _flat(line, line.price))
        return Rated(tuple(details), total_of(details), _ONE, ZERO, None)
    shown = shown_quantities(line)
    details = _discounted(line, _usage(line, line.price))
    details = cap(details, line.price.maximum_amount, line.previously_billed, line.currency)
    if line.last_in_period and line.with_minimum:
        details = lift(line.name, details, line.price.minimum_amount, line.previously_billed, line.currency)
    return Rated(
        tuple(details),
        total_of(details),
        shown.quantity,
        shown.pre_line_quantity,
        shown.usage_discount,
        _warnings(shown),
    )


def _discounted(line: LineInput, details: list[DetailedLine]) -> list[DetailedLine]:
    with_money = [with_totals(detail, line.currency) for detail in details]
    return percentage_off(with_money, line.discounts.percentage, line.currency)


def _warnings(shown: Quantities) -> tuple[str, ...]:
    if not shown.shortfall:
        return ()
    return (f"usage is {plain(shown.shortfall)} below what was counted before; the decrease is not credited",)


@exact
def shown_quantities(line: LineInput) -> Quantities:
    """Return the quantities that a line shows beside its money.

    Quantity and pre-line quantity are converted independently, so after rounding they need not add up to what is
    billed (rating section 4.2).

    Raises:
        InvalidInput: a unit conversion on a price that has none.
    """
    before, now, shortfall = _clamped(line)
    shown = take_free_units(_converted(line, now), _converted(line, before), line.discounts.usage)
    return Quantities(shown.quantity, shown.pre_line_quantity, shown.applied, shortfall)


def _clamped(line: LineInput) -> tuple[Decimal, Decimal, Decimal]:
    """Return earlier units, units of this line, and the shortfall: usage that went down bills nothing."""
    before = max(line.pre_line_quantity, ZERO)
    now = line.pre_line_quantity + line.quantity - before
    return before, max(now, ZERO), max(-now, ZERO)


def _converted(line: LineInput, quantity: Decimal) -> Decimal:
    if line.unit_conversion is None:
        return quantity
    if not isinstance(line.price, UnitPrice | TieredPrice):
        raise invalid(
            f"a unit conversion does not apply to a {line.price.type} price",
            code="unit_config_requires_usage_based_price",
            field="$.unitConfig",
        )
    return convert(quantity, line.unit_conversion)


def _usage(line: LineInput, price: UsagePrice) -> list[DetailedLine]:
    before, now, _ = _clamped(line)
    # The difference of two conversions: converting a slice by itself would round each slice up anew.
    converted_before = _converted(line, before)
    billed = take_free_units(_converted(line, before + now) - converted_before, converted_before, line.discounts.usage)
    quantity, pre_line = billed.quantity, billed.pre_line_quantity
    match price:
        case UnitPrice():
            return _unit(line.name, price, quantity)
        case DynamicPrice():
            return _dynamic(line.name, price, quantity, line.currency)
        case PackagePrice():
            return _package(line.name, price, quantity, pre_line, first=line.first_in_period)
        case TieredPrice(mode=TierMode.VOLUME):
            return volume(line.name, price, quantity, pre_line, last=line.last_in_period)
        case TieredPrice():
            return graduated(line.name, price, quantity, pre_line, first=line.first_in_period)


def _flat(line: LineInput, price: FlatPrice) -> list[DetailedLine]:
    in_advance = price.payment_term is PaymentTerm.IN_ADVANCE
    if not (line.first_in_period if in_advance else line.last_in_period):
        return []
    return [
        DetailedLine(
            child_ref="flat-price",
            name=line.name,
            quantity=_ONE,
            unit_amount=price.amount,
            payment_term=price.payment_term,
        )
    ]


def _unit(name: str, price: UnitPrice, quantity: Decimal) -> list[DetailedLine]:
    if quantity <= 0:
        return []
    return [
        DetailedLine(
            child_ref="unit-price-usage",
            name=f"{name}: usage in period",
            quantity=quantity,
            unit_amount=price.amount,
        )
    ]


def _dynamic(name: str, price: DynamicPrice, quantity: Decimal, currency: str) -> list[DetailedLine]:
    if quantity <= 0:
        return []
    return [_usage_line(name, _ONE, round_money(quantity * price.multiplier, currency))]


def _package(
    name: str, price: PackagePrice, quantity: Decimal, pre_line_quantity: Decimal, *, first: bool
) -> list[DetailedLine]:
    before = ZERO if first else _packages(pre_line_quantity, price)
    started = _packages(pre_line_quantity + quantity, price) - before
    return [_usage_line(name, started, price.amount)] if started else []


def _packages(quantity: Decimal, price: PackagePrice) -> Decimal:
    if price.quantity_per_package <= 0:
        raise invalid("the size of a package must be positive", field="$.price.quantityPerPackage")
    # Floor division of the negative is the ceiling, without the rounding of a quotient.
    whole, rest = divmod(quantity, price.quantity_per_package)
    return whole + (1 if rest else 0)


def _usage_line(name: str, quantity: Decimal, unit_amount: Decimal) -> DetailedLine:
    return DetailedLine(child_ref="usage", name=f"{name}: usage in period", quantity=quantity, unit_amount=unit_amount)
