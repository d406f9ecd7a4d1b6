"""The engine: usage burns grants down, resets roll them over (entitlements section 7). Pure, exact, in whole minutes.

A run is first planned (`plan`): which stretches of time the grants stay the same in. That needs no usage, so all usage
of a run can be measured at once. Then it is computed (`run`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

from meterhouse.entitlements.minutes import floored
from meterhouse.kernel.money import ZERO, total
from meterhouse.kernel.periods import Recurrence
from meterhouse.kernel.precision import exact

# Phases and resets of one run. Each costs a measurement; an hourly period has some nine thousand a year.
MAX_STEPS = 20_000


class RunTooLong(ValueError):
    """The run would have more than `MAX_STEPS` steps."""


@dataclass(frozen=True, slots=True)
class GrantTerms:
    """What the engine knows of a grant. It is active in [effective_at, ends_at).

    Attributes:
        expires_at: decides the order of burning among equal priorities; None never expires.
        ends_at: when it stops for whatever reason: it expires, is voided or deleted.
        rollover_min, rollover_max: bounds of what is left of it after a reset.
        recurrence: when it is filled up again to its amount.
    """

    id: str
    amount: Decimal
    priority: int
    effective_at: datetime
    expires_at: datetime | None
    ends_at: datetime | None
    rollover_min: Decimal
    rollover_max: Decimal
    recurrence: Recurrence | None
    created_at: datetime

    def active_at(self, at: datetime) -> bool:
        """Tell whether usage at `at` burns it."""
        return self.effective_at <= at and (self.ends_at is None or at < self.ends_at)

    def refills_at(self, at: datetime) -> bool:
        """Tell whether it has its full amount at `at`, whatever was left: it begins or recurs."""
        if not self.active_at(at):
            return False
        if self.effective_at == at:
            return True
        return self.recurrence is not None and self.recurrence.occurrence(self.recurrence.index_at(at)) == at

    def rolled_over(self, balance: Decimal) -> Decimal:
        """Return what is left of a balance after a reset."""
        return min(self.rollover_max, max(self.rollover_min, balance))

    def forgets(self) -> bool:
        """Tell whether what is left after a reset does not depend on what was there before."""
        return self.rollover_min >= self.rollover_max


def burn_order(grant: GrantTerms) -> tuple[object, ...]:
    """Return the sort key of the order in which grants burn."""
    expires = (grant.expires_at is None, grant.expires_at and grant.expires_at.replace(microsecond=0))
    return (grant.priority, expires, grant.created_at, grant.id)


@dataclass(frozen=True, slots=True)
class Reset:
    """One usage period ends and the next begins."""

    at: datetime
    preserve_overage: bool


@dataclass(frozen=True, slots=True)
class Phase:
    """Time in which the same grants are active; it may last no time. `period_start`: of the usage period it is in."""

    start: datetime
    end: datetime
    period_start: datetime


Step = Reset | Phase


@dataclass(frozen=True, slots=True)
class State:
    """Where a run stands on entering `at`, before anything that begins, ends or recurs at `at`.

    Because that comes after, a run can go on from here and come to the same as if it had never stopped.

    Attributes:
        balances: by grant; a grant that is missing has nothing.
        overage: usage of the period that no grant has covered yet.
        usage, burnt: of the usage period so far.
    """

    at: datetime
    balances: Mapping[str, Decimal]
    overage: Decimal = ZERO
    usage: Decimal = ZERO
    burnt: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Segment:
    """What one step did.

    Attributes:
        start_balances: after what began, ended or recurred at the start.
        burnt: amounts by grant, in the order of burning; 0 for one that had something and was not needed.
        leaving: the state at the end. Only for reading: to go on, take what the next segment enters with.
    """

    entering: State
    end: datetime
    start_balances: Mapping[str, Decimal]
    usage: Decimal
    burnt: tuple[tuple[str, Decimal], ...]
    leaving: State
    is_rollover: bool = False

    @property
    def start(self) -> datetime:
        """When it begins."""
        return self.entering.at


def beginning(grants: Sequence[GrantTerms], at: datetime) -> State:
    """Return the state that measuring begins with: active grants are full."""
    return State(at, {grant.id: grant.amount for grant in grants if grant.active_at(at)})


def after_forgetting(grants: Sequence[GrantTerms], reset: Reset) -> State | None:
    """Return the state after a reset if nothing of the time before it matters, else None."""
    if reset.preserve_overage:
        return None
    rolled = [grant for grant in grants if grant.active_at(reset.at) and grant.effective_at < reset.at]
    if not all(grant.forgets() for grant in rolled):
        return None
    return State(reset.at, {grant.id: grant.rollover_max for grant in rolled})


def plan(
    grants: Sequence[GrantTerms],
    start: datetime,
    until: datetime,
    resets: Sequence[Reset],
    *,
    period_start: datetime,
    cuts: Sequence[datetime] = (),
) -> list[Step]:
    """Return the steps from `start` to `until`.

    Args:
        resets: those in (start, until], in order of time.
        period_start: start of the usage period that `start` lies in.
        cuts: further instants to begin a phase at.

    Raises:
        RunTooLong: there are too many.
    """
    steps: list[Step] = []
    begin = start
    for reset in (*resets, None):
        end = until if reset is None else reset.at
        for first, last in _pairs(_instants(grants, begin, end, cuts, closed=reset is None)):
            steps.append(Phase(first, last, period_start))
        if reset is not None:
            steps.append(reset)
            period_start = begin = reset.at
        if len(steps) > MAX_STEPS:
            raise RunTooLong
    return steps


def _instants(
    grants: Sequence[GrantTerms], start: datetime, end: datetime, cuts: Sequence[datetime], *, closed: bool
) -> list[datetime]:
    """Return where phases begin in [start, end), in order, and the end of the last.

    `closed`: what happens at the end itself counts too, in a phase that lasts no time.
    """
    found = set(cuts)
    for grant in grants:
        found |= {grant.effective_at, *([grant.ends_at] if grant.ends_at is not None else [])}
        for occurrence in _occurrences(grant, start, end):
            found.add(occurrence)
            if len(found) > MAX_STEPS:
                raise RunTooLong
    inner = {instant for instant in found if start < instant < end}
    at_end = [end] if start == end or (closed and end in found) else []
    return [*sorted({start, *inner}), end, *at_end]


def _occurrences(grant: GrantTerms, start: datetime, end: datetime) -> Iterator[datetime]:
    if grant.recurrence is None:
        return
    low = max(grant.effective_at, start)
    n = grant.recurrence.index_at(low)
    while (occurrence := grant.recurrence.occurrence(n)) <= end and (
        grant.ends_at is None or occurrence < grant.ends_at
    ):
        if occurrence >= low:
            yield occurrence
        n += 1


def _pairs(instants: Sequence[datetime]) -> Iterator[tuple[datetime, datetime]]:
    pairs = list(pairwise(instants))
    # Where a stretch lasts no time, its one phase does neither.
    yield from pairs[:1] if pairs and pairs[0][0] == pairs[0][1] else pairs


@exact
def run(
    grants: Sequence[GrantTerms],
    entering: State,
    steps: Sequence[Step],
    usages: Mapping[Phase, Decimal],
    *,
    refill_each_phase: bool = False,
) -> list[Segment]:
    """Compute the steps one after the other.

    Args:
        entering: the state at the first step's start.
        usages: what was used in each phase.
        refill_each_phase: fill every active grant up at each phase, because the usage of a phase is not what was added
            in it but all there is (meters that take the latest value).
    """
    ordered = sorted(grants, key=burn_order)
    segments: list[Segment] = []
    state = entering
    for step in steps:
        if isinstance(step, Reset):
            segment = _reset(ordered, state, step)
        else:
            segment = _phase(ordered, state, step, usages[step], refill_each_phase=refill_each_phase)
        segments.append(segment)
        state = segment.leaving
    return segments


def _phase(
    ordered: Sequence[GrantTerms], state: State, phase: Phase, usage: Decimal, *, refill_each_phase: bool
) -> Segment:
    balances = {}
    for grant in ordered:
        active = grant.active_at(phase.start)
        full = active and (refill_each_phase or grant.refills_at(phase.start))
        balances[grant.id] = grant.amount if full else state.balances.get(grant.id, ZERO) if active else ZERO
    burnt, overage = _burn(ordered, balances, usage + state.overage)
    leaving = State(
        phase.end,
        _minus(balances, burnt),
        overage,
        state.usage + usage,
        state.burnt + total(amount for _, amount in burnt),
    )
    return Segment(replace(state, at=phase.start), phase.end, balances, usage, burnt, leaving)


def _reset(ordered: Sequence[GrantTerms], state: State, reset: Reset) -> Segment:
    """Roll over what was there before; a grant that begins now was not."""
    balances = {
        grant.id: grant.rolled_over(state.balances.get(grant.id, ZERO))
        if grant.active_at(reset.at) and grant.effective_at < reset.at
        else ZERO
        for grant in ordered
    }
    owed = state.overage if reset.preserve_overage else ZERO
    burnt, overage = _burn(ordered, balances, owed) if owed > 0 else ((), ZERO)
    leaving = State(reset.at, _minus(balances, burnt), overage, ZERO, total(amount for _, amount in burnt))
    return Segment(state, reset.at, balances, ZERO, burnt, leaving, is_rollover=True)


def _burn(
    ordered: Sequence[GrantTerms], balances: Mapping[str, Decimal], amount: Decimal
) -> tuple[tuple[tuple[str, Decimal], ...], Decimal]:
    """Take an amount from the balances; returns what each gave and what none could give."""
    left = max(amount, ZERO)  # corrections can make usage negative, which gives nothing back
    burnt = []
    for grant in ordered:
        if balances[grant.id] > 0:
            taken = min(balances[grant.id], left)
            burnt.append((grant.id, taken))
            left -= taken
    return tuple(burnt), left


def _minus(balances: Mapping[str, Decimal], burnt: Sequence[tuple[str, Decimal]]) -> dict[str, Decimal]:
    taken = dict(burnt)
    return {grant_id: balance - taken.get(grant_id, ZERO) for grant_id, balance in balances.items()}


@dataclass(frozen=True, slots=True)
class Balance:
    """What a metered entitlement is worth at an instant.

    Attributes:
        grants: balances of the grants that are active then.
        usage: since the start of the usage period.
        total_available: what was burnt in the usage period, and the balance.
    """

    grants: Mapping[str, Decimal]
    usage: Decimal
    overage: Decimal
    balance: Decimal
    total_available: Decimal


@exact
def balance_of(grants: Sequence[GrantTerms], state: State) -> Balance:
    """Return what a run has come to; `state` is the one it was left with."""
    active = {grant.id: state.balances.get(grant.id, ZERO) for grant in grants if grant.active_at(state.at)}
    balance = total(active.values())
    return Balance(active, state.usage, state.overage, balance, state.burnt + balance)


def ends_at(*instants: datetime | None) -> datetime | None:
    """Return the earliest of the instants at which a grant stops, in whole minutes."""
    return min((floored(instant) for instant in instants if instant is not None), default=None)
