"""A customer has one subscription at a time (subscriptions section 10). Pure; the schema holds the same rule."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from meterhouse.kernel.errors import Conflict, Issue

CODE = "only_single_subscription_allowed_per_customer_at_a_time"


@dataclass(frozen=True, slots=True)
class Span:
    """When a subscription runs; `end` None means open-ended."""

    start: datetime
    end: datetime | None


def overlap(spans: Iterable[Span]) -> bool:
    """Tell whether two of the spans share an instant. Touching is fine."""
    ordered = sorted(spans, key=lambda span: span.start)
    return any(earlier.end is None or earlier.end > later.start for earlier, later in pairwise(ordered))


def refusal() -> Conflict:
    """Make the conflict of two subscriptions that overlap: an issue for each side."""
    message = "a customer can have only one subscription at a time"
    return Conflict(message, issues=[Issue(CODE, message), Issue(CODE, message)])
