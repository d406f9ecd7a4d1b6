"""The aligned billing period of a subscription (subscriptions section 6). Pure."""

from datetime import datetime

from meterhouse.kernel.errors import invalid
from meterhouse.kernel.periods import Period
from meterhouse.subscriptions.timeline import current_phase
from meterhouse.subscriptions.views import SubscriptionView


def aligned_period(view: SubscriptionView, at: datetime) -> Period | None:
    """Return the billing period at `at`, cut to the phase that runs then; None before the start and from the end on."""
    phase = current_phase(view, at)
    if phase is None:
        return None
    return view.recurrence().period_at(at).clipped(phase.active_from, phase.active_to)


def aligned_period_or_refuse(view: SubscriptionView, at: datetime) -> Period:
    """Return the billing period at `at`.

    Raises:
        InvalidInput: the subscription does not run then; code
            `subscription_billing_period_queried_before_subscription_start` before its start.
    """
    period = aligned_period(view, at)
    if period is not None:
        return period
    if at < view.active_from:
        raise invalid(
            "the billing period of a subscription begins with the subscription",
            code="subscription_billing_period_queried_before_subscription_start",
            field="$.timing",
            queried_at=at.isoformat(),
            subscription_start=view.active_from.isoformat(),
        )
    raise invalid("the subscription has ended by then", field="$.timing")
