"""How it is refused that a customer has two subscriptions at a time (subscriptions section 10). Pure.

The schema holds the rule; the services ask first who stands in the way, to say so.
"""

from collections.abc import Sequence
from datetime import datetime

from meterhouse.kernel.errors import Conflict, Issue
from meterhouse.subscriptions.status import Status, status_of
from meterhouse.subscriptions.views import SubscriptionView

CODE = "only_single_subscription_allowed_per_customer_at_a_time"
_RULE = "a customer can have only one subscription at a time"
_WAYS_OUT = {
    Status.SCHEDULED: "subscription {id} begins at {start}; delete it with DELETE /api/v1/subscriptions/{id}",
    Status.ACTIVE: "subscription {id} runs without an end; change it or cancel it",
    Status.CANCELED: "subscription {id} ends at {end}; begin then or later",
    Status.INACTIVE: "subscription {id} ended at {end}; begin then or later",
}


def refusal(others: Sequence[SubscriptionView], asked: str, at: datetime) -> Conflict:
    """Make the conflict of subscriptions that are there with what was `asked` for: an issue for each side."""
    there = "; ".join(_way_out(one, at) for one in others)
    sides = [there or "another one runs then", asked]
    return Conflict(f"{_RULE}: {'; '.join(sides)}", issues=[Issue(CODE, f"{_RULE}: {side}") for side in sides])


def _way_out(one: SubscriptionView, at: datetime) -> str:
    start, end = one.active_from.isoformat(), one.active_to and one.active_to.isoformat()
    return _WAYS_OUT[status_of(one, at)].format(id=one.id, start=start, end=end)
