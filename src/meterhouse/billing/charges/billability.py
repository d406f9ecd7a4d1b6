"""What part of a pending line can be billed as of a moment (rating section 8, subscription-sync section 7). Pure."""

from datetime import datetime, timedelta

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.ports import Billability, NotBillable
from meterhouse.catalog.prices import TieredPrice, TierMode
from meterhouse.kernel.clock import whole_seconds
from meterhouse.kernel.periods import Period
from meterhouse.metering.meters import Aggregation

# What was counted once stays counted, so a part of the period can be billed before its end.
PROGRESSIVE = frozenset({Aggregation.SUM, Aggregation.COUNT, Aggregation.MAX, Aggregation.UNIQUE_COUNT})

_SECOND = timedelta(seconds=1)


def flat(period: Period, invoice_at: datetime, as_of: datetime) -> Billability:
    """Tell about a flat fee: the whole line from `invoice_at` on."""
    invoice_at = whole_seconds(invoice_at)
    if invoice_at <= whole_seconds(as_of):
        return Billability(period)
    return Billability(None, NotBillable.INVOICE_AT_IN_FUTURE, invoice_at)


def usage(
    intent: ChargeIntent,
    period: Period,
    invoice_at: datetime,
    as_of: datetime,
    *,
    progressive: bool,
    aggregation: Aggregation | None,
) -> Billability:
    """Tell about usage: the whole period once it is over, a prefix of it where billing is progressive.

    `aggregation` is None when the meter cannot be told; such a line is billed at its end only.
    """
    as_of, invoice_at, period = whole_seconds(as_of), whole_seconds(invoice_at), period.whole_seconds()
    indivisible = _indivisible(intent, aggregation)
    if progressive and indivisible is None:
        if as_of > period.start:
            return Billability(Period(period.start, min(period.end, as_of)))
        return Billability(None, NotBillable.PERIOD_NOT_OVER, period.start + _SECOND)
    due = period.end if progressive else max(period.end, invoice_at)
    if as_of >= due:
        return Billability(period)
    if as_of >= period.end:
        return Billability(None, NotBillable.INVOICE_AT_IN_FUTURE, due)
    if as_of <= period.start:
        return Billability(None, NotBillable.PERIOD_NOT_OVER, due)
    return Billability(None, indivisible or NotBillable.PROGRESSIVE_BILLING_DISABLED, due)


def _indivisible(intent: ChargeIntent, aggregation: Aggregation | None) -> NotBillable | None:
    if isinstance(intent.price, TieredPrice) and intent.price.mode is TierMode.VOLUME:
        return NotBillable.VOLUME_PRICE
    return None if aggregation in PROGRESSIVE else NotBillable.METER_NOT_PROGRESSIVE
