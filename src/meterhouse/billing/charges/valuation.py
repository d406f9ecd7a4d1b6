"""What a run is worth: cumulative rating less what was booked, and the credits on it (charges section 6). Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.errors import BillingError
from meterhouse.billing.rating.delta import delta
from meterhouse.billing.rating.pricing import LineInput, Rated, rate, shown_quantities
from meterhouse.billing.rating.proration import prorated
from meterhouse.billing.rating.results import DetailedLine, Totals, UsageDiscountApplied
from meterhouse.billing.rating.totals import total_of
from meterhouse.catalog.prices import FlatPrice, PaymentTerm
from meterhouse.kernel.money import plain, round_money
from meterhouse.kernel.precision import exact


@dataclass(frozen=True, slots=True)
class Valued:
    """A run's lines before credits, and the quantities that its invoice line shows."""

    details: tuple[DetailedLine, ...]
    totals: Totals
    quantity: Decimal
    pre_line_quantity: Decimal | None
    usage_discount: UsageDiscountApplied | None
    metered_quantity: Decimal | None = None
    metered_pre_line_quantity: Decimal | None = None
    warnings: tuple[str, ...] = ()


def amount_after_proration(intent: ChargeIntent) -> Decimal | None:
    """Return what a flat fee comes to, None for usage (section 4)."""
    if not isinstance(intent.price, FlatPrice):
        return None
    if not intent.prorate:
        return round_money(intent.price.amount, intent.currency)
    return prorated(intent.price.amount, intent.service_period, intent.full_service_period, intent.currency)


def booking_time(intent: ChargeIntent) -> datetime:
    """Return when a charge as a whole counts: usage and fees in arrears at the service end, others at its start."""
    in_advance = isinstance(intent.price, FlatPrice) and intent.price.payment_term is PaymentTerm.IN_ADVANCE
    return intent.service_period.start if in_advance else intent.service_period.end


def value_flat(intent: ChargeIntent, amount: Decimal) -> Valued:
    """Value a flat fee of the prorated `amount`."""
    assert isinstance(intent.price, FlatPrice)
    price = intent.price.model_copy(update={"amount": amount})
    rated = rate(LineInput(name=intent.name, price=price, discounts=intent.discounts, currency=intent.currency))
    return Valued(rated.details, rated.totals, rated.quantity, None, None)


def rate_cumulative(intent: ChargeIntent, quantity: Decimal, *, reaches_end: bool) -> Rated:
    """Rate usage from the charge's start. A minimum commitment counts only when the charge's end is reached."""
    return rate(
        LineInput(
            name=intent.name,
            price=intent.price,
            currency=intent.currency,
            quantity=quantity,
            with_minimum=reaches_end,
            discounts=intent.discounts,
            unit_conversion=intent.unit_conversion,
        )
    )


@exact
def value_usage(
    intent: ChargeIntent,
    *,
    cumulative: Decimal,
    previous: Decimal,
    booked: Sequence[Sequence[DetailedLine]],
    reaches_end: bool,
) -> Valued:
    """Value what `cumulative` units add to what earlier runs booked; `previous` is the count of the last of them.

    Raises:
        BillingError: code `charge_total_is_negative`: more was booked than all usage is worth.
    """
    details = delta(rate_cumulative(intent, cumulative, reaches_end=reaches_end), booked, intent.currency)
    totals = total_of(details)
    if totals.total < 0:
        raise BillingError(
            "charge_total_is_negative",
            f"usage from the start is worth {plain(-totals.total)} {intent.currency} less than what was billed for it",
        )
    shown = shown_quantities(
        LineInput(
            name=intent.name,
            price=intent.price,
            currency=intent.currency,
            quantity=cumulative - previous,
            pre_line_quantity=previous,
            discounts=intent.discounts,
            unit_conversion=intent.unit_conversion,
        )
    )
    warnings = (f"usage is {plain(shown.shortfall)} below what was counted before",) if shown.shortfall else ()
    return Valued(
        details,
        totals,
        shown.quantity,
        shown.pre_line_quantity,
        shown.usage_discount,
        cumulative - previous,
        previous,
        warnings,
    )


def credit_difference(gross: Decimal, allocated: Decimal, currency: str) -> Decimal:
    """Return how much credit to take (positive) or to give back (negative) so that a run's whole is covered."""
    return round_money(gross - allocated, currency)
