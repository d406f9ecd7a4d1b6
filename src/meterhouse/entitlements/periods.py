"""Usage periods: they roll over by themselves, and a manual reset cuts one short (entitlements section 5). Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from meterhouse.kernel.periods import Period, Recurrence


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `valid_from` on, usage periods recur like this, until the next stretch begins."""

    valid_from: datetime
    recurrence: Recurrence


@dataclass(frozen=True, slots=True)
class UsagePeriods:
    """All usage periods of an entitlement.

    Attributes:
        stretches: in order of time: the first from the start of measuring, then one for each manual reset.
    """

    stretches: tuple[Stretch, ...]

    @property
    def start(self) -> datetime:
        """Since when usage is measured."""
        return self.stretches[0].valid_from

    @property
    def last_manual_reset(self) -> datetime:
        """The last manual reset, or the start of measuring when there was none."""
        return self.stretches[-1].valid_from

    def stretch_at(self, at: datetime) -> Stretch:
        """Return the stretch that `at` lies in; before the start of measuring, the first."""
        found = [stretch for stretch in self.stretches if stretch.valid_from <= at]
        return found[-1] if found else self.stretches[0]

    def current(self, at: datetime) -> Period:
        """Return the usage period that `at` lies in; before the start of measuring, the first."""
        stretch = self.stretch_at(at)
        at = max(at, stretch.valid_from)
        following = (other.valid_from for other in self.stretches if other.valid_from > stretch.valid_from)
        return stretch.recurrence.period_at(at).clipped(stretch.valid_from, next(following, None))

    def boundaries(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the instants in (after, until] at which one usage period follows another, the latest first."""
        ends: Sequence[datetime | None] = [*(stretch.valid_from for stretch in self.stretches[1:]), None]
        for index in range(len(self.stretches) - 1, -1, -1):
            stretch, end = self.stretches[index], ends[index]
            if stretch.valid_from > until:
                continue
            recurrence = stretch.recurrence
            n = recurrence.index_at(until if end is None else min(until, end))
            while (boundary := recurrence.occurrence(n)) > max(stretch.valid_from, after):
                if end is None or boundary < end:
                    yield boundary
                n -= 1
            if stretch.valid_from <= after:
                return
            if index > 0:
                yield stretch.valid_from
