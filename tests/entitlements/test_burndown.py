"""The engine against its vectors (entitlements section 17), and what must hold of every run."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse.entitlements import burndown
from meterhouse.entitlements.burndown import GrantTerms, Phase, Reset, Segment, Step
from meterhouse.entitlements.expiration import Expiration, ExpirationUnit
from meterhouse.entitlements.minutes import ceiled
from meterhouse.kernel.periods import Duration, Recurrence

VECTORS = yaml.load((Path(__file__).parent / "engine_vectors.yaml").read_text(), Loader=yaml.BaseLoader)
INTERVALS = {"DAY": "P1D", "WEEK": "P1W", "MONTH": "P1M"}
START = datetime(2025, 3, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def grant(given: Mapping[str, Any]) -> GrantTerms:
    effective = at(given.get("eff", "2025-03-01T00:00Z"))
    expires = recurrence = None
    if "exp" in given:
        expires = Expiration(int(given["exp"][0]), ExpirationUnit(given["exp"][1])).after(effective)
    if "rec" in given:
        recurrence = Recurrence(Duration.parse(INTERVALS[given["rec"][1]]), at(given["rec"][0]))
    return GrantTerms(
        id=given["id"],
        amount=Decimal(given["amount"]),
        priority=int(given["prio"]),
        effective_at=effective,
        expires_at=expires,
        ends_at=burndown.ends_at(expires, at(given["void"]) if "void" in given else None),
        rollover_min=Decimal(given.get("min", 0)),
        rollover_max=Decimal(given.get("max", given["amount"])),
        recurrence=recurrence,
        created_at=START + timedelta(seconds=int(given.get("seq", 0))),
    )


def used(vector: Mapping[str, Any], phase: Phase) -> Decimal:
    """Measure a phase as a meter would."""
    events = [(at(time), value) for time, value in vector["usage"]]
    options = vector.get("opts", {})

    def between(start: datetime, end: datetime) -> list[str]:
        return [value for time, value in events if start <= time < end]

    inside = between(phase.start, phase.end)
    if options.get("agg") == "LATEST":
        return Decimal(inside[-1]) if inside else Decimal(0)
    if options.get("agg") == "UNIQUE_COUNT":
        return Decimal(
            len(set(between(phase.period_start, phase.end))) - len(set(between(phase.period_start, phase.start)))
        )
    return sum((Decimal(value) for value in inside), Decimal(0)) / Decimal(options.get("divideBy", 1))


def run(vector: Mapping[str, Any]) -> tuple[list[GrantTerms], list[Segment]]:
    options = vector.get("opts", {})
    start, until = at(options.get("start", "2025-03-01T00:00Z")), ceiled(at(vector["at"]))
    grants = [
        grant({**given, **({"eff": start.isoformat()} if "start" in options else {})}) for given in vector["grants"]
    ]
    resets = [Reset(at(text), options["preserve"] == "true") for text in options.get("resets", [])]
    steps = burndown.plan(grants, start, until, resets, period_start=start)
    usages = {step: used(vector, step) for step in steps if isinstance(step, Phase)}
    latest = options.get("agg") == "LATEST"
    entering = burndown.beginning(grants, start)
    return grants, burndown.run(grants, entering, steps, usages, refill_each_phase=latest)


def numbers(given: Mapping[str, Any]) -> dict[str, Decimal]:
    return {name: Decimal(value) for name, value in given.items()}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_vector(vector: Mapping[str, Any]) -> None:
    grants, segments = run(vector)
    balance = burndown.balance_of(grants, segments[-1].leaving)
    expected = vector["expect"]
    assert balance.grants == numbers(expected["grants"])
    found = {
        "balance": balance.balance,
        "usage": balance.usage,
        "overage": balance.overage,
        "total": balance.total_available,
    }
    assert found == numbers({name: expected[name] for name in found})
    if "segments" in vector:
        assert [
            (one.start, one.end, dict(one.start_balances), one.usage, dict(one.burnt), one.leaving.overage)
            for one in segments
            if one.is_rollover or one.start < one.end
        ] == [
            (at(start), at(end), numbers(balances), Decimal(usage), numbers(burnt), Decimal(overage))
            for start, end, balances, usage, burnt, overage in vector["segments"]
        ]


def test_a_grant_that_begins_at_the_reset_pays_preserved_overage_once() -> None:
    before = grant({"id": "A", "amount": 10, "prio": 1, "max": 0})
    new = grant({"id": "B", "amount": 100, "prio": 1, "eff": "2025-04-01T00:00Z", "min": 40})
    reset = Reset(at("2025-04-01T00:00Z"), preserve_overage=True)
    steps = burndown.plan([before, new], START, reset.at, [reset], period_start=START)
    usages = {step: Decimal(70) if step.start == START else Decimal(0) for step in steps if isinstance(step, Phase)}
    segments = burndown.run([before, new], burndown.beginning([before, new], START), steps, usages)
    balance = burndown.balance_of([before, new], segments[-1].leaving)
    assert (balance.balance, balance.overage, balance.total_available) == (40, 0, 100)


def test_what_happens_at_the_instant_of_reading_counts() -> None:
    grants = [
        grant({"id": "A", "amount": 100, "prio": 1, "exp": ["2", "DAY"]}),
        grant({"id": "B", "amount": 7, "prio": 2, "eff": "2025-03-03T00:00Z"}),
    ]
    until = at("2025-03-03T00:00Z")
    steps = burndown.plan(grants, START, until, [], period_start=START)
    segments = burndown.run(grants, burndown.beginning(grants, START), steps, dict.fromkeys(steps, Decimal(0)))  # type: ignore[arg-type]
    assert burndown.balance_of(grants, segments[-1].leaving).grants == {"B": 7}


# --- what holds of every run ---

HOURS = 24 * 10
UNTIL = START + timedelta(hours=HOURS)
hours = st.integers(0, HOURS).map(lambda n: START + timedelta(hours=n))
amounts = st.integers(0, 400).map(lambda n: Decimal(n) / 4)


@st.composite
def any_grants(draw: st.DrawFn) -> list[GrantTerms]:
    grants = []
    for index in range(draw(st.integers(0, 4))):
        effective = draw(hours)
        amount = draw(amounts) + Decimal("0.25")
        ends = draw(st.none() | hours)
        every = draw(st.none() | st.integers(5, 90))
        anchor = START + timedelta(hours=draw(st.integers(-20, 20)))
        grants.append(
            GrantTerms(
                id=f"G{index}",
                amount=amount,
                priority=draw(st.integers(0, 2)),
                effective_at=effective,
                expires_at=ends,
                ends_at=ends,
                rollover_min=draw(st.sampled_from([Decimal(0), amount / 2, amount])),
                rollover_max=draw(st.sampled_from([Decimal(0), amount / 2, amount])),
                recurrence=Recurrence(Duration(hours=every), anchor) if every else None,
                created_at=START + timedelta(seconds=draw(st.integers(0, 2))),
            )
        )
    return grants


@st.composite
def any_resets(draw: st.DrawFn) -> list[Reset]:
    instants = sorted(draw(st.sets(st.integers(1, HOURS), max_size=3)))
    return [Reset(START + timedelta(hours=n), draw(st.booleans())) for n in instants]


any_usage = st.lists(st.tuples(st.integers(0, HOURS - 1), amounts), max_size=12)


def measured(events: Sequence[tuple[int, Decimal]], steps: Sequence[Step]) -> dict[Phase, Decimal]:
    def total(phase: Phase) -> Decimal:
        inside = (value for n, value in events if phase.start <= START + timedelta(hours=n) < phase.end)
        return sum(inside, Decimal(0))

    return {step: total(step) for step in steps if isinstance(step, Phase)}


def whole_run(grants: list[GrantTerms], resets: list[Reset], events: Sequence[tuple[int, Decimal]]) -> list[Segment]:
    steps = burndown.plan(grants, START, UNTIL, resets, period_start=START)
    return burndown.run(grants, burndown.beginning(grants, START), steps, measured(events, steps))


@settings(max_examples=150, deadline=None)
@given(any_grants(), any_resets(), any_usage)
def test_going_on_from_any_segment_comes_to_the_same(
    grants: list[GrantTerms], resets: list[Reset], events: list[tuple[int, Decimal]]
) -> None:
    segments = whole_run(grants, resets, events)
    for index, segment in enumerate(segments):
        if segment.is_rollover:
            continue
        before = [reset.at for reset in resets if reset.at <= segment.start]
        later = [reset for reset in resets if reset.at > segment.start]
        steps = burndown.plan(grants, segment.start, UNTIL, later, period_start=before[-1] if before else START)
        again = burndown.run(grants, segment.entering, steps, measured(events, steps))
        assert burndown.balance_of(grants, again[-1].leaving) == burndown.balance_of(grants, segments[-1].leaving)
        assert [one.leaving for one in again] == [one.leaving for one in segments[index:]]


@settings(max_examples=150, deadline=None)
@given(any_grants(), any_resets(), any_usage)
def test_a_reset_that_forgets_makes_the_time_before_it_irrelevant(
    grants: list[GrantTerms], resets: list[Reset], events: list[tuple[int, Decimal]]
) -> None:
    segments = whole_run(grants, resets, events)
    for reset in resets:
        entering = burndown.after_forgetting(grants, reset)
        if entering is None:
            continue
        later = [one for one in resets if one.at > reset.at]
        steps = burndown.plan(grants, reset.at, UNTIL, later, period_start=reset.at)
        again = burndown.run(grants, entering, steps, measured(events, steps))
        assert burndown.balance_of(grants, again[-1].leaving) == burndown.balance_of(grants, segments[-1].leaving)


@settings(max_examples=150, deadline=None)
@given(any_grants(), any_resets(), any_usage)
def test_balance_is_never_created_from_nothing(
    grants: list[GrantTerms], resets: list[Reset], events: list[tuple[int, Decimal]]
) -> None:
    by_id = {one.id: one for one in grants}
    segments = whole_run(grants, resets, events)
    for segment in segments:
        burnt = dict(segment.burnt)
        for grant_id, balance in segment.start_balances.items():
            assert 0 <= balance <= max(by_id[grant_id].amount, by_id[grant_id].rollover_max)
            assert segment.leaving.balances[grant_id] == balance - burnt.get(grant_id, Decimal(0)) >= 0
            if not by_id[grant_id].active_at(segment.start):
                assert balance == 0
        if not segment.is_rollover:
            # All usage is burnt or owed, and nothing is owed while something is left.
            assert sum(burnt.values()) + segment.leaving.overage == segment.usage + segment.entering.overage
            assert segment.leaving.overage == 0 or not any(segment.leaving.balances.values())
    for earlier, later in pairwise(segments):
        assert earlier.end == later.start
        rises = {
            grant_id
            for grant_id, balance in later.start_balances.items()
            if balance > earlier.leaving.balances.get(grant_id, Decimal(0))
        }
        assert all(
            by_id[grant_id].refills_at(later.start) or (later.is_rollover and by_id[grant_id].rollover_min > 0)
            for grant_id in rises
        )
    assert sum((one.usage for one in segments), Decimal(0)) == sum((value for _, value in events), Decimal(0))
