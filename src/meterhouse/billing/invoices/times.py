"""Time fields of a standard invoice (billing section 4.2)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from meterhouse.kernel.clock import whole_seconds
from meterhouse.kernel.periods import Duration, Period


@dataclass(frozen=True, slots=True)
class InvoiceTimes:
    """When an invoice's collection closes, when its draft ends and when it is due; None where that is not known."""

    collection_at: datetime | None
    draft_until: datetime | None
    due_at: datetime | None


def invoice_times(
    *,
    created_at: datetime,
    issued_at: datetime | None,
    closes: Iterable[datetime | None],
    auto_advance: bool,
    draft_period: Duration,
    due_after: Duration,
) -> InvoiceTimes:
    """Compute the time fields from the collection closes of the live lines; all results are whole seconds."""
    collection_at = max((close for close in closes if close is not None), default=None)
    base = max(collection_at or created_at, created_at)
    draft_until = whole_seconds(draft_period.add_to(base)) if auto_advance else None
    due_from = issued_at or draft_until
    due_at = whole_seconds(due_after.add_to(due_from)) if due_from is not None else None
    return InvoiceTimes(collection_at, draft_until, due_at)


def spanned(periods: Sequence[Period]) -> Period | None:
    """Return the period from the earliest start to the latest end, None without periods."""
    if not periods:
        return None
    return Period(min(period.start for period in periods), max(period.end for period in periods))
