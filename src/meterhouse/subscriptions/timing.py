"""When a command takes effect (subscriptions sections 4.2 and 8)."""

from datetime import datetime, timedelta
from enum import StrEnum

from meterhouse.kernel import clock
from meterhouse.kernel.clock import whole_seconds
from meterhouse.kernel.errors import invalid
from meterhouse.kernel.reach import within_reach
from meterhouse.subscriptions.billing_period import aligned_period_or_refuse
from meterhouse.subscriptions.timeline import current_phase
from meterhouse.subscriptions.views import SubscriptionView

START_TOLERANCE = timedelta(minutes=2)  # a client's clock and the way of its request


class NamedTiming(StrEnum):
    """The instants that have a name."""

    IMMEDIATE = "immediate"
    NEXT_BILLING_CYCLE = "next_billing_cycle"


Timing = NamedTiming | datetime
_FIELD = "$.timing"


def start_of_new(timing: Timing) -> datetime:
    """Return when a new subscription starts.

    Raises:
        InvalidInput: the instant has passed, or is bound to a billing cycle that does not exist yet.
    """
    now = clock.now()
    if timing is NamedTiming.IMMEDIATE:
        return now
    if isinstance(timing, NamedTiming):
        message = f"a new subscription has no billing cycle yet: timing {timing} is not possible"
        raise invalid(message, field=_FIELD)
    if timing < now - START_TOLERANCE:
        raise invalid("cannot create subscription in the past", field=_FIELD)
    return within_reach(timing, _FIELD)


def end_of(view: SubscriptionView, timing: Timing) -> datetime:
    """Return when a subscription ends: now, or at a boundary of a billing period or phase that is still to come.

    Raises:
        InvalidInput: the instant has passed or is no boundary.
    """
    now = clock.now()
    if timing is NamedTiming.IMMEDIATE:
        return _second_of(view, now)
    if timing is NamedTiming.NEXT_BILLING_CYCLE:
        return aligned_period_or_refuse(view, now).end
    if timing < now:
        raise invalid("a subscription cannot end in the past: take a later instant, or immediate", field=_FIELD)
    period = aligned_period_or_refuse(view, within_reach(timing, _FIELD))
    if period.start != timing:
        message = "a subscription ends at a boundary of a billing period or of a phase"
        nearest = " or ".join(one.isoformat() for one in (period.start, period.end) if one >= now)
        raise invalid(f"{message}, at {timing.isoformat()} is none; possible around it: {nearest}", field=_FIELD)
    return clock.as_utc(timing)


def of_edit(view: SubscriptionView, timing: Timing) -> datetime:
    """Return when an edit takes effect: now, or at the next billing cycle of the current phase.

    Raises:
        InvalidInput: the timing is an instant, or the next billing cycle belongs to another phase.
    """
    if timing is NamedTiming.IMMEDIATE:
        return _second_of(view, clock.now())
    if not isinstance(timing, NamedTiming):
        raise invalid(f"an edit takes effect at once or at the next billing cycle, not at {timing}", field=_FIELD)
    now = clock.now()
    at = aligned_period_or_refuse(view, now).end
    before, after = current_phase(view, now), current_phase(view, at)
    if before is None or after is None or before.key != after.key:
        message = "the next billing cycle begins with another phase; edit that phase, or edit this one now"
        raise invalid(message, field=_FIELD)
    return at


def of_quantity(view: SubscriptionView, timing: Timing) -> datetime:
    """Return when a quantity of an add-on begins to hold: any second in which the subscription runs, past ones too.

    Raises:
        InvalidInput: it does not run then.
    """
    now = clock.now()
    if timing is NamedTiming.NEXT_BILLING_CYCLE:
        return aligned_period_or_refuse(view, now).end
    at = now if isinstance(timing, NamedTiming) else within_reach(timing, _FIELD)
    if current_phase(view, at) is None:
        raise invalid("the subscription does not run then", field=_FIELD)
    return _second_of(view, at)


def _second_of(view: SubscriptionView, at: datetime) -> datetime:
    """Return when the second of `at` began, or what began last within it: the phase, or a version of an item of it.

    Billing counts in whole seconds and owes a fee for each version of an item that lasted at all. So what ends
    within the second of its beginning lasts no time, instead of costing a whole fee.
    """
    phase = current_phase(view, at)
    if phase is None:
        return whole_seconds(at)
    begun = [item.active_from for item in phase.items if item.active_from <= at]
    return max(whole_seconds(at), phase.active_from, *begun)
