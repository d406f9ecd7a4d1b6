"""Short ways to write the prices, lines and results of the rating spec's vectors."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from meterhouse.billing.rating.pricing import LineInput, Rated, rate
from meterhouse.billing.rating.results import DetailedLine
from meterhouse.catalog.prices import (
    Discounts,
    FlatPrice,
    PaymentTerm,
    PercentageDiscount,
    Price,
    Tier,
    TieredPrice,
    TierMode,
    UnitConversion,
    UnitPrice,
    UsageDiscount,
)
from meterhouse.kernel.money import plain

Slice = Literal["whole", "first", "mid", "last"]
CORRELATION = "01JAAAAAAAAAAAAAAAAAAAAAAA"


def d(value: str | int) -> Decimal:
    return Decimal(value)


def unit(amount: str, minimum: str | None = None, maximum: str | None = None) -> UnitPrice:
    return UnitPrice(
        amount=d(amount),
        minimum_amount=None if minimum is None else d(minimum),
        maximum_amount=None if maximum is None else d(maximum),
    )


def flat(amount: str, term: PaymentTerm = PaymentTerm.IN_ADVANCE) -> FlatPrice:
    return FlatPrice(amount=d(amount), payment_term=term)


def tiered(
    mode: TierMode, *tiers: tuple[str | None, str | None, str | None], maximum: str | None = None
) -> TieredPrice:
    """Make a tiered price of (up to, flat amount, unit amount) triples."""
    values = [tuple(None if text is None else d(text) for text in tier) for tier in tiers]
    return TieredPrice(
        mode=mode,
        tiers=tuple(
            Tier(up_to=up_to, flat_amount=flat_amount, unit_amount=unit_amount)
            for up_to, flat_amount, unit_amount in values
        ),
        maximum_amount=None if maximum is None else d(maximum),
    )


GRADUATED_TIERS = (("100", "20", None), ("250", None, "0.4"), (None, "5", "0.25"))
GRADUATED = tiered(TierMode.GRADUATED, *GRADUATED_TIERS)
VOLUME = tiered(TierMode.VOLUME, ("100", "12", "0.5"), ("500", None, "0.3"), (None, "30", "0.2"))
PER_THOUSAND = UnitConversion(operation="divide", conversion_factor=d(1000), rounding="ceiling")


def line(
    price: Price,
    quantity: str = "0",
    pre: str = "0",
    part: Slice = "whole",
    *,
    pct: str | None = None,
    usage: str | None = None,
    prev: str = "0",
    currency: str = "USD",
    conversion: UnitConversion | None = None,
    with_minimum: bool = True,
) -> LineInput:
    return LineInput(
        name="N",
        price=price,
        currency=currency,
        quantity=d(quantity),
        pre_line_quantity=d(pre),
        first_in_period=part in ("whole", "first"),
        last_in_period=part in ("whole", "last"),
        with_minimum=with_minimum,
        discounts=Discounts(
            percentage=PercentageDiscount(percentage=d(pct), correlation_id=CORRELATION) if pct else None,
            usage=UsageDiscount(quantity=d(usage), correlation_id=CORRELATION) if usage else None,
        ),
        unit_conversion=conversion,
        previously_billed=d(prev),
    )


def written(details: Sequence[DetailedLine]) -> list[str]:
    """Write detailed lines in the notation of the spec: `ref qty x unit = amount -kind:discount cr:credit => total`."""
    return [_written(detail) for detail in details]


def _written(detail: DetailedLine) -> str:
    totals = detail.totals
    text = f"{detail.child_ref} {plain(detail.quantity)} x {plain(detail.unit_amount)}"
    text += f" = {plain(totals.amount + totals.charges_total)}"
    kinds = {"ratecard_percentage": "pct", "maximum_spend": "max"}
    for discount in detail.discounts:
        text += f" -{kinds[discount.reason]}:{plain(discount.amount)}"
    for share in detail.credits:
        text += f" cr:{plain(share.amount)}"
    return text if not detail.discounts and not detail.credits else f"{text} => {plain(totals.total)}"


def rated(*args: object, **kwargs: object) -> Rated:
    return rate(line(*args, **kwargs))  # type: ignore[arg-type]


def money(result: Rated) -> tuple[str, str, str, str]:
    """Return amount, charges, discounts and total as text."""
    totals = result.totals
    return (plain(totals.amount), plain(totals.charges_total), plain(totals.discounts_total), plain(totals.total))
