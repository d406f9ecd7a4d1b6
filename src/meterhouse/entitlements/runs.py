"""Runs of the engine for entitlements: from where, over which steps, with which usage (entitlements sections 7, 8, 12).

A run begins as late as it can: at a reset after which nothing of the past matters, at a snapshot that still holds, or
else where measuring begins. Which of them it is never changes what comes out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from meterhouse.entitlements import burndown, repository, rows
from meterhouse.entitlements.burndown import GrantTerms, Phase, Reset, RunTooLong, Segment, State, Step
from meterhouse.entitlements.entitlement import Entitlement, Metered
from meterhouse.entitlements.models import BalanceSnapshotRow
from meterhouse.entitlements.sources import Source
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import InvalidInput
from meterhouse.kernel.periods import Period
from meterhouse.metering.marks import STORING_TAKES_AT_MOST, Mark, UsageMarks
from meterhouse.metering.query import MeterQueries, UsageRow
from meterhouse.metering.usage import ClickHouseUsage

# From here on phases are not measured one by one: planning so many statements takes the engine longer than reading.
MANY_PHASES = 64
# Of minutes with usage, in one answer.
MINUTES_AT_ONCE = timedelta(days=60)
# Snapshots lie at least this far back, unless the usage period is younger: what is newer than that still gets events
# all the time, and each makes a snapshot useless.
GRACE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Note:
    """A snapshot to keep, and those that turned out to be stale. `snapshot` None: there is only what to forget."""

    entitlement: Entitlement
    snapshot: BalanceSnapshotRow | None
    stale: tuple[str, ...]


@dataclass(slots=True)
class Run:
    """A run that is being prepared.

    Attributes:
        granted: all grants that there ever were.
        until: where it ends, a whole minute.
        snapshots: those that it could begin at, the latest first.
        stale: ids of those that hold no longer.
        entering: the state it begins with.
        grants: those that had not ended by then.
        noted: the phase whose beginning is worth a snapshot, with the mark that was taken before measuring.
    """

    entitlement: Entitlement
    metered: Metered
    source: Source
    granted: Sequence[GrantTerms]
    until: datetime
    snapshots: Sequence[BalanceSnapshotRow]
    stale: list[str] = field(default_factory=list)
    entering: State | None = None
    grants: Sequence[GrantTerms] = ()
    steps: Sequence[Step] = ()
    noted: Phase | None = None
    counted_from: datetime | None = None
    mark: Mark | None = None

    def begin(self, cuts: Sequence[datetime] = ()) -> None:
        """Decide where to begin, and plan the steps; `cuts` as for `burndown.plan`.

        Raises:
            InvalidInput: there would be too many steps.
        """
        periods = self.metered.periods
        latest = self.snapshots[0] if self.snapshots else None
        self.entering = _state(latest) if latest else burndown.beginning(self.granted, min(periods.start, self.until))
        resets: list[Reset] = []
        try:
            for boundary in periods.boundaries(self.entering.at, self.until):
                reset = self.metered.reset_at(boundary)
                fresh = burndown.after_forgetting(self.granted, reset)
                if fresh is not None and not any(cut < boundary for cut in cuts):
                    self.entering = fresh
                    break
                resets.append(reset)
                if len(resets) > burndown.MAX_STEPS:
                    raise RunTooLong
            start = self.entering.at
            self.grants = [one for one in self.granted if one.ends_at is None or one.ends_at > start]
            self.steps = burndown.plan(
                self.grants, start, self.until, resets[::-1], period_start=periods.current(start).start, cuts=cuts
            )
        except RunTooLong:
            raise InvalidInput(
                f"from {self.entering.at.isoformat()} to {self.until.isoformat()} more happens to the grants and usage "
                f"periods of entitlement {self.entitlement.id} than can be computed; ask for an earlier time"
            ) from None

    def may_begin_earlier(self) -> bool:
        """Tell whether what the run begins with is a snapshot, which has to be checked."""
        return bool(self.snapshots) and self.entering is not None and self.entering.at == self.snapshots[0].at

    def note(self, now: datetime) -> None:
        """Choose where to take a snapshot: the last phase that begins long enough ago (section 12)."""
        if self.source.takes_latest or self.entering is None:
            return
        latest = min(now, max(self.metered.periods.current(self.until).start, now - GRACE))
        begins = self.entering.at
        phases = [step for step in self.steps if isinstance(step, Phase) and begins < step.start <= latest]
        if phases:
            self.noted, self.counted_from = phases[-1], now - STORING_TAKES_AT_MOST

    def phases(self) -> list[Phase]:
        """Return the steps that need usage."""
        return [step for step in self.steps if isinstance(step, Phase)]

    def compute(self, usages: Mapping[Phase, Decimal]) -> list[Segment]:
        """Compute the steps with what was measured."""
        entering = self.entering or burndown.beginning(self.granted, self.until)
        return burndown.run(self.grants, entering, self.steps, usages, refill_each_phase=self.source.takes_latest)

    def noted_after(self, segments: Sequence[Segment]) -> Note | None:
        """Return what to remember of the run."""
        snapshot = None
        if self.noted is not None and self.mark is not None and self.counted_from is not None:
            begun = next(one for one in segments if not one.is_rollover and one.start == self.noted.start)
            state = begun.entering
            snapshot = BalanceSnapshotRow(
                namespace=self.entitlement.namespace,
                entitlement_id=self.entitlement.id,
                at=state.at,
                balances={grant_id: str(balance) for grant_id, balance in state.balances.items()},
                overage=state.overage,
                usage=state.usage,
                burnt=state.burnt,
                basis=self.source.basis(),
                counted_from=self.counted_from,
                late_events=self.mark.late_events,
                voids_version=self.mark.voids_version,
                created_at=clock.now(),
            )
        if snapshot is None and not self.stale:
            return None
        return Note(self.entitlement, snapshot, tuple(self.stale))


def _state(row: BalanceSnapshotRow) -> State:
    balances = {grant_id: Decimal(text) for grant_id, text in row.balances.items()}
    return State(row.at, balances, row.overage, row.usage, row.burnt)


class Runs:
    """Prepares and measures runs, many at once."""

    def __init__(self, queries: MeterQueries, marks: UsageMarks) -> None:
        self._queries = queries
        self._usage = ClickHouseUsage(queries)
        self._marks = marks

    async def prepare(
        self,
        session: ReadSession,
        found: Mapping[str, Source],
        entitlements: Sequence[Entitlement],
        until: datetime,
    ) -> list[Run]:
        """Return a run for each of the metered entitlements, in order."""
        ids = list(found)
        granted = await repository.all_grants(session, ids)
        kept = await repository.snapshots(session, ids, until)
        runs = []
        for entitlement in entitlements:
            if entitlement.metered is None:
                continue
            source = found[entitlement.id]
            basis = source.basis()
            snapshots = kept.get(entitlement.id, [])
            runs.append(
                Run(
                    entitlement,
                    entitlement.metered,
                    source,
                    [rows.grant(row).terms() for row in granted.get(entitlement.id, [])],
                    until,
                    [row for row in snapshots if row.basis == basis],
                    [row.id for row in snapshots if row.basis != basis],
                )
            )
        return runs

    async def begin(self, runs: Sequence[Run], cuts: Sequence[datetime] = ()) -> None:
        """Let runs begin as late as they can; snapshots that they would begin at are checked first."""
        for run in runs:
            run.begin(cuts)
        doubtful = [run for run in runs if run.may_begin_earlier()]
        if not doubtful:
            return
        asked = [(run, row) for run in doubtful for row in run.snapshots]
        marks = await self._marks.take(
            [run.source.mark_request(Period(run.metered.periods.start, row.at), row.counted_from) for run, row in asked]
        )
        stale = {
            row.id
            for (_, row), mark in zip(asked, marks, strict=True)
            if (mark.late_events, mark.voids_version) != (row.late_events, row.voids_version)
        }
        for run in doubtful:
            run.stale += [row.id for row in run.snapshots if row.id in stale]
            run.snapshots = [row for row in run.snapshots if row.id not in stale]
            run.begin(cuts)

    async def note(self, runs: Sequence[Run]) -> None:
        """Take the marks of new snapshots. Before measuring: what comes in between makes them stale, not wrong."""
        now = clock.now()
        for run in runs:
            run.note(now)
        noting = [(run, run.noted.start, run.counted_from) for run in runs if run.noted and run.counted_from]
        marks = await self._marks.take(
            [
                run.source.mark_request(Period(run.metered.periods.start, at), counted_from)
                for run, at, counted_from in noting
            ]
        )
        for (run, _, _), mark in zip(noting, marks, strict=True):
            run.mark = mark

    async def measure(self, runs: Sequence[Run]) -> list[dict[Phase, Decimal]]:
        """Return the usage of each run's phases, all measured together but for runs of very many."""
        usages = [await self._by_minute(run) for run in runs]
        wanted = [(index, phase) for index, run in enumerate(runs) if not usages[index] for phase in run.phases()]
        requests = [runs[index].source.requests(phase) for index, phase in wanted]
        quantities = iter(await self._usage.quantities([one for some in requests for one in some]))
        for (index, phase), asked in zip(wanted, requests, strict=True):
            usages[index][phase] = runs[index].source.usage([next(quantities) for _ in asked])
        return usages

    async def _by_minute(self, run: Run) -> dict[Phase, Decimal]:
        """Return the usage of the phases of a run that has many, out of what was used in each minute; else nothing."""
        phases = [phase for phase in run.phases() if phase.start < phase.end]
        if len(phases) <= MANY_PHASES or not run.source.adds_up or not run.source.subjects:
            return {}
        used: list[UsageRow] = []
        start, end = phases[0].start, phases[-1].end
        try:
            while start < end:
                stop = min(start + MINUTES_AT_ONCE, end)
                used += await self._queries.usage(run.source.minutes(Period(start, stop)))
                start = stop
        except InvalidInput:
            return {}  # an answer may have fewer rows here than there are minutes
        return run.source.sums(run.phases(), phases, used)
