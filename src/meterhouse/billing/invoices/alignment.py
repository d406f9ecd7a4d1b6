"""When pending lines are collected automatically (billing sections 5.1, 5.3 and 11).

`anchored` collection happens at the ticks of a recurrence, each computed from its anchor; otherwise (no recurrence) a
line is collected at its own moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from meterhouse.kernel.clock import whole_seconds
from meterhouse.kernel.periods import Recurrence

# A line that was just made or changed is left to an explicit request first (billing section 11).
SETTLE_TIME = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class PendingLine:
    """What decides when a gathering line is collected."""

    invoice_at: datetime
    changed_at: datetime


def cut_off(as_of: datetime, ticks: Recurrence | None) -> datetime:
    """Return the moment up to which the collector bills at `as_of`: the latest tick, or `as_of` itself."""
    as_of = whole_seconds(as_of)
    return as_of if ticks is None else ticks.period_at(as_of).start


def collected_at(invoice_at: datetime, ticks: Recurrence | None) -> datetime:
    """Return when a line is collected: its own moment, or the first tick at or after it."""
    invoice_at = whole_seconds(invoice_at)
    if ticks is None:
        return invoice_at
    around = ticks.period_at(invoice_at)
    return around.start if around.start == invoice_at else around.end


def collectable_at(lines: Sequence[PendingLine], ticks: Recurrence | None) -> datetime | None:
    """Return the first instant at which a line is due and every line due by then was left alone long enough."""
    due = sorted((collected_at(line.invoice_at, ticks), line.changed_at + SETTLE_TIME) for line in lines)
    if not due:
        return None
    moment = due[0][0]
    for at, settled in due:
        if at > moment:
            break
        moment = max(moment, settled)
    return moment
