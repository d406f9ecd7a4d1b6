"""Usage of days that issued invoices bill is never billed again, wherever versions begin later (charges section 11)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.states import Status
from meterhouse.billing.charges.views import ChargeState, Invoiced
from meterhouse.billing.sync.diff import diff
from meterhouse.billing.sync.issued_days import around_issued
from meterhouse.billing.sync.matching import matched
from meterhouse.billing.sync.targets import targets
from meterhouse.kernel.periods import Period
from tests.sync.builders import TOKENS, at, by_name, card, flat, item, phase, span, view
from tests.sync.test_diff import applied


def intents(*starts: str) -> tuple[ChargeIntent, ...]:
    """Return the charges of usage whose versions begin at `starts`, and that ends with the month."""
    bounds = pairwise([*starts, "2-15"])
    versions = [item(TOKENS, start, end, number) for number, (start, end) in enumerate(bounds)]
    return targets(view(phase("main", *versions), end="2-15"), at("2-14")).intents


def stored(charges: Sequence[ChargeIntent], until: dict[str, str]) -> list[ChargeState]:
    """Pretend that the charges exist, and up to when invoices bill them by name."""
    return [
        ChargeState(
            id=name,
            unique_reference_id=intent.unique_reference_id,
            intent=intent,
            status=Status.ACTIVE,
            has_runs=name in until,
            subscription_item_id=None,
            invoiced=Invoiced(Period(intent.service_period.start, at(until[name])), Decimal(1))
            if name in until
            else None,
        )
        for name, intent in by_name(charges).items()
    ]


def settled(wanted: Sequence[ChargeIntent], existing: Sequence[ChargeState]) -> tuple[ChargeIntent, ...]:
    return matched(around_issued(wanted, existing), existing)


def told(charges: Sequence[ChargeIntent]) -> dict[str, Period]:
    return {name: intent.service_period for name, intent in by_name(charges).items()}


def test_a_version_put_in_later_bills_what_no_invoice_does() -> None:
    issued = stored(intents("1-15"), {"tokens[0]": "2-15"})
    assert told(settled(intents("1-15", "2-01"), issued)) == {"tokens[0]": span("1-15", "2-15")}
    # Of a part that was invoiced in between, too; the charge that billed it ends there.
    part = stored(intents("1-15"), {"tokens[0]": "2-05"})
    wanted = settled(intents("1-15", "2-01"), part)
    assert told(wanted) == {"tokens[0]": span("1-15", "2-05"), "tokens/v1[0]": span("2-05", "2-15")}
    # And again, once the rest was invoiced and another version is put in before it.
    both = stored(wanted, {"tokens[0]": "2-05", "tokens/v1[0]": "2-15"})
    assert told(settled(intents("1-15", "1-20", "2-01"), both)) == told(wanted)
    assert told(settled(intents("1-15", "2-01", "2-10"), both)) == told(wanted)


def test_fees_of_the_same_key_stay_as_they_are() -> None:
    issued = stored(intents("1-15"), {"tokens[0]": "2-05"})
    once = card("tokens", flat("5"), None)
    versions = (item(TOKENS, "1-15", "2-01"), item(once, "2-01", None, 1))
    wanted = targets(view(phase("main", *versions)), at("2-14")).intents
    kept = told(settled(wanted, issued))
    assert (kept["tokens[0]"], kept["tokens/v1"]) == (span("1-15", "2-01"), Period(at("2-01"), at("2-01")))


def test_what_no_invoice_bills_moves_freely() -> None:
    before = stored(intents("1-15"), {"tokens[0]": "1-25"})
    wanted = intents("1-15", "2-01")
    assert settled(wanted, before) == wanted
    nothing = stored(intents("1-15"), {})
    assert settled(wanted, nothing) == wanted


def test_an_item_that_ends_is_cut_as_ever() -> None:
    issued = stored(intents("1-15"), {"tokens[0]": "2-15"})
    cut = targets(view(phase("main", item(TOKENS, "1-15", "2-01")), end="2-15"), at("2-14")).intents
    assert told(settled(cut, issued)) == {"tokens[0]": span("1-15", "2-01")}


def test_a_version_that_is_no_more_keeps_what_it_billed_and_bills_the_rest() -> None:
    issued = stored(intents("1-15", "2-01"), {"tokens[0]": "2-01", "tokens/v1[0]": "2-05"})
    kept = settled(intents("1-15"), issued)
    billed = {"tokens[0]": span("1-15", "2-01"), "tokens/v1[0]": span("2-01", "2-05")}
    assert told(kept) == {**billed, "tokens/v2[0]": span("2-05", "2-15")}
    # The rest is a charge of the version that is there, and another version gets another identity.
    assert by_name(kept)["tokens/v2[0]"].subscription == by_name(intents("1-15"))["tokens[0]"].subscription
    kept = settled(intents("1-15", "2-10"), issued)
    assert told(kept) == {**billed, "tokens/v2[0]": span("2-05", "2-10"), "tokens/v3[0]": span("2-10", "2-15")}


days = st.integers(1, 30)


@st.composite
def steps(draw: st.DrawFn) -> tuple[list[int], int, int]:
    """On which days versions begin, and which charge is invoiced up to which day after that."""
    return sorted(draw(st.sets(days, max_size=4))), draw(st.integers(0, 5)), draw(days)


@settings(max_examples=60)
@given(st.lists(steps(), min_size=1, max_size=6))
def test_every_day_is_billed_once_whatever_moves(moves: list[tuple[list[int], int, int]]) -> None:
    first = at("1-15")
    billed: dict[str, Invoiced] = {}
    charges: list[ChargeIntent] = []
    for starts, chosen, day in moves:
        texts = [(first + timedelta(days=offset)).strftime("%-m-%d") for offset in [0, *starts]]
        states = _states(charges, billed)
        wanted = settled(intents(*texts), states)
        marks = {one.unique_reference_id or "": one.content_digest() for one in charges}
        charges = applied(diff(wanted, states, marks), charges)
        in_order = sorted(charges, key=lambda one: one.service_period.start)
        assert in_order[0].service_period.start == first
        assert in_order[-1].service_period.end == at("2-15")
        for one, following in pairwise(in_order):
            assert one.service_period.end == following.service_period.start
        # What invoices bill lies within its charge.
        for one in charges:
            invoiced = billed.get(one.unique_reference_id or "")
            assert invoiced is None or invoiced.period.end <= one.service_period.end
        assert set(billed) <= {one.unique_reference_id for one in charges}
        again = _states(charges, billed)
        assert settled(intents(*texts), again) == wanted
        target = in_order[chosen % len(in_order)]
        until = min(first + timedelta(days=day), target.service_period.end)
        reference = target.unique_reference_id or ""
        known = billed.get(reference)
        if until > (known.period.end if known else target.service_period.start):
            billed[reference] = Invoiced(Period(target.service_period.start, until), Decimal(1))


def _states(charges: Sequence[ChargeIntent], billed: dict[str, Invoiced]) -> list[ChargeState]:
    return [
        replace(state, has_runs=reference in billed, invoiced=billed.get(reference))
        for state in stored(charges, {})
        for reference in [state.unique_reference_id or ""]
    ]
