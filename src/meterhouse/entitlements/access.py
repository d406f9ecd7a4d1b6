"""What entitlements are worth at an instant (entitlements section 9)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from meterhouse.entitlements import burndown, repository
from meterhouse.entitlements.burndown import Balance
from meterhouse.entitlements.entitlement import Entitlement, EntitlementType
from meterhouse.entitlements.minutes import ceiled
from meterhouse.entitlements.runs import Note, Runs
from meterhouse.entitlements.sources import sources
from meterhouse.kernel.db import Database, ReadSession
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.reach import within_reach
from meterhouse.metering.marks import UsageMarks
from meterhouse.metering.query import MeterQueries

# Snapshots of one entitlement: the next older one serves where a late event made the latest stale.
KEPT_SNAPSHOTS = 3


@dataclass(frozen=True, slots=True)
class Value:
    """What an entitlement is worth.

    Attributes:
        config: of a static entitlement.
        balance: of a metered one.
    """

    has_access: bool
    config: str | None = None
    balance: Balance | None = None


NO_ACCESS = Value(has_access=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """Values in the order of the question, and what `Access.remember` should keep for the next time."""

    values: tuple[Value, ...]
    notes: tuple[Note, ...] = ()


class Access:
    """Tells what customers may use."""

    def __init__(self, queries: MeterQueries, marks: UsageMarks) -> None:
        self._runs = Runs(queries, marks)

    async def values(
        self, session: ReadSession, namespace: str, entitlements: Sequence[Entitlement], at: datetime
    ) -> Answer:
        """Return what each entitlement is worth at `at`.

        However many there are, the number of SQL statements is the same, and usage comes out of few of the other kind.

        Raises:
            InvalidInput: `at` is further away than can be computed.
        """
        at = within_reach(at, "time")
        metered = [one for one in entitlements if one.type is EntitlementType.METERED and one.active_at(at)]
        balances: dict[str, Balance] = {}
        notes: list[Note] = []
        if metered:
            found = await sources(session, namespace, metered)
            runs = await self._runs.prepare(session, found, metered, ceiled(at))
            await self._runs.begin(runs)
            await self._runs.note(runs)
            for run, usages in zip(runs, await self._runs.measure(runs), strict=True):
                segments = run.compute(usages)
                balances[run.entitlement.id] = burndown.balance_of(run.grants, segments[-1].leaving)
                note = run.noted_after(segments)
                notes += [note] if note is not None else []
        return Answer(tuple(_value(one, at, balances.get(one.id)) for one in entitlements), tuple(notes))

    async def remember(self, db: Database, notes: Sequence[Note]) -> None:
        """Keep snapshots for the next reading. What is being changed, or has been since, is passed over."""
        for note in notes:
            async with db.write() as session:
                if not await repository.hold_unless_busy(session, note.entitlement.id, note.entitlement.revision):
                    continue
                await repository.forget_snapshots(session, note.stale)
                if note.snapshot is not None:
                    note.snapshot.id = new_id()
                    await repository.keep_snapshot(session, note.snapshot, at_most=KEPT_SNAPSHOTS)


def _value(entitlement: Entitlement, at: datetime, balance: Balance | None) -> Value:
    if not entitlement.active_at(at):
        return NO_ACCESS
    if balance is None or entitlement.metered is None:
        return Value(has_access=True, config=entitlement.config)
    return Value(has_access=entitlement.metered.is_soft_limit or balance.balance > 0, balance=balance)
