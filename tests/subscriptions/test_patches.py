"""Patches of a schedule, as values (subscriptions section 7)."""

from dataclasses import replace
from datetime import datetime

import pytest

from meterhouse.kernel.errors import Conflict, DomainError, Forbidden, InvalidInput
from meterhouse.subscriptions.patches import (
    AddItem,
    AddPhase,
    Patch,
    RemoveItem,
    RemovePhase,
    Shift,
    StretchPhase,
    UnscheduleEdit,
    apply,
)
from meterhouse.subscriptions.spec import ItemSpec, PhaseSpec, SubscriptionSpec
from tests.catalog.builders import flat_card, period
from tests.subscriptions.conftest import at

NOW = at("2025-01-15")
CYCLE = at("2025-02-01")


def item(key: str = "seats", start: str | None = None, end: str | None = None, name: str = "as sold") -> ItemSpec:
    card = flat_card(key, currency="USD").model_copy(update={"name": name})
    return ItemSpec(key, card, start and period(start), end and period(end))  # type: ignore[arg-type]


def phase(key: str, start: str, *items: ItemSpec) -> PhaseSpec:
    versions: dict[str, tuple[ItemSpec, ...]] = {}
    for one in items or (item(),):
        versions[one.key] = (*versions.get(one.key, ()), one)
    return PhaseSpec(key, key, None, {}, at(start), 0, versions)


def spec(*phases: PhaseSpec) -> SubscriptionSpec:
    start = phases[0].active_from
    return SubscriptionSpec("USD", period("P1M"), start, start, phases)


ABC = spec(phase("a", "2025-01-01"), phase("b", "2025-04-01"), phase("c", "2025-07-01"))
# A trial that is over, the current phase, and one to come.
MID = spec(phase("a", "2024-11-01"), phase("b", "2025-01-01"), phase("c", "2025-07-01"))


def starts(made: SubscriptionSpec) -> dict[str, datetime]:
    return {one.key: one.active_from for one in made.phases}


def versions(made: SubscriptionSpec, key: str = "seats", index: int = 0) -> list[tuple[str, str | None, str | None]]:
    """Return name, from and to of each version; the overrides as text."""
    return [
        (
            one.rate_card.name,
            one.active_from_override and str(one.active_from_override),
            one.active_to_override and str(one.active_to_override),
        )
        for one in made.phases[index].items.get(key, ())
    ]


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        # On the calendar: a month more is a month more, also of what is stored as an instant.
        (StretchPhase("a", period("P1M")), {"a": "2025-01-01", "b": "2025-05-01", "c": "2025-08-01"}),
        (StretchPhase("a", period("-PT336H")), {"a": "2025-01-01", "b": "2025-03-18", "c": "2025-06-17"}),
        (StretchPhase("a", period("-P2W")), {"a": "2025-01-01", "b": "2025-03-18", "c": "2025-06-17"}),
        (StretchPhase("b", period("P1D")), {"a": "2025-01-01", "b": "2025-04-01", "c": "2025-07-02"}),
        (StretchPhase("c", period("P1D")), {"a": "2025-01-01", "b": "2025-04-01", "c": "2025-07-01"}),
        (
            AddPhase("x", "X", period("P2M"), period("P2M")),
            {"a": "2025-01-01", "x": "2025-03-01", "b": "2025-05-01", "c": "2025-07-31"},
        ),
        (
            AddPhase("x", "X", period("P2M"), period("P1M")),
            {"a": "2025-01-01", "x": "2025-03-01", "b": "2025-04-01", "c": "2025-07-01"},
        ),
        (
            AddPhase("x", "X", period("P3M"), period("P1D")),
            {"a": "2025-01-01", "x": "2025-04-01", "b": "2025-04-02", "c": "2025-07-02"},
        ),
        (
            AddPhase("x", "X", period("P1Y")),
            {"a": "2025-01-01", "b": "2025-04-01", "c": "2025-07-01", "x": "2026-01-01"},
        ),
        (RemovePhase("b", Shift.NEXT), {"a": "2025-01-01", "c": "2025-04-01"}),
        (RemovePhase("b", Shift.PREV), {"a": "2025-01-01", "c": "2025-07-01"}),
        (RemovePhase("c", Shift.NEXT), {"a": "2025-01-01", "b": "2025-04-01"}),
    ],
)
def test_phases_move(patch: Patch, expected: dict[str, str]) -> None:
    moved = starts(apply(ABC, patch, NOW))
    assert list(moved.items()) == [(key, at(text)) for key, text in expected.items()]


def test_a_month_more_is_a_month_more() -> None:
    made = apply(spec(phase("a", "2025-01-15"), phase("b", "2025-02-15")), StretchPhase("a", period("P1M")), NOW)
    assert starts(made)["b"] == at("2025-03-15")


def test_a_new_phase_is_empty_and_comes_after_those_that_start_with_it() -> None:
    made = apply(ABC, AddPhase("x", "X", period("P2M"), period("P1M"), "for a while"), NOW).phases[1]
    assert (made.key, made.name, made.description, made.items) == ("x", "X", "for a while", {})


@pytest.mark.parametrize(
    ("patch", "kind", "field"),
    [
        (StretchPhase("a", period("-P3M")), Conflict, "$.extendBy"),
        (StretchPhase("b", period("-P3M")), Conflict, "$.extendBy"),
        # The current phase cannot end in the past.
        (StretchPhase("a", period("-P80D")), Conflict, "$.extendBy"),
        (StretchPhase("a", period("PT0S")), InvalidInput, "$.extendBy"),
        (StretchPhase("a", period("P9999Y")), InvalidInput, "$.extendBy"),
        (StretchPhase("z", period("P1D")), InvalidInput, "$.phaseKey"),
        (AddPhase("b", "B", period("P1Y")), Conflict, "$.phase.key"),
        (AddPhase("x", "X", period("P14D")), Forbidden, "$.phase.startAfter"),
        (AddPhase("x", "X", None, period("P1D")), Forbidden, "$.phase.startAfter"),
        (AddPhase("x", "X", period("-P1M"), period("P1D")), Forbidden, "$.phase.startAfter"),
        (AddPhase("x", "X", period("P9999Y")), InvalidInput, "$.phase.startAfter"),
        (AddPhase("x", "X", period("P2M")), InvalidInput, "$.phase.duration"),
        (AddPhase("x", "X", period("P2M"), period("PT0S")), InvalidInput, "$.phase.duration"),
        (AddPhase("x", "X", period("P2M"), period("P9999Y")), InvalidInput, "$.phase.duration"),
        (RemovePhase("a", Shift.NEXT), Forbidden, "$.phaseKey"),
        (RemovePhase("z", Shift.NEXT), InvalidInput, "$.phaseKey"),
        (AddItem("z", item()), InvalidInput, "$.phaseKey"),
        (AddItem("b", item()), Forbidden, "$.rateCard.key"),
        (RemoveItem("z", "seats"), InvalidInput, "$.phaseKey"),
        (RemoveItem("a", "other"), InvalidInput, "$.itemKey"),
    ],
)
def test_refused_patches(patch: Patch, kind: type[DomainError], field: str) -> None:
    with pytest.raises(DomainError) as caught:
        apply(ABC, patch, NOW)
    assert (type(caught.value), caught.value.issues[0].field) == (kind, field)


@pytest.mark.parametrize("patch", [AddItem("a", item("x")), RemoveItem("a", "seats"), StretchPhase("a", period("P1D"))])
def test_what_is_over_stays(patch: Patch) -> None:
    with pytest.raises(Forbidden, match="the phase a is over"):
        apply(MID, patch, NOW)


def test_the_only_phase_has_no_end_to_move() -> None:
    with pytest.raises(Conflict, match="only phase"):
        apply(spec(phase("a", "2025-01-01")), StretchPhase("a", period("P1D")), NOW)


# 2025-01-15 is 1 209 600 seconds after the phase's start, 2025-02-01 2 678 400.
EDIT, NEXT = "PT1209600S", "PT2678400S"


def test_an_item_takes_the_place_of_its_last_version() -> None:
    made = apply(ABC, AddItem("a", item(name="new")), NOW)
    assert versions(made) == [("as sold", None, EDIT), ("new", EDIT, None)]
    scheduled = apply(ABC, AddItem("a", item(name="new")), CYCLE)
    assert versions(scheduled) == [("as sold", None, NEXT), ("new", NEXT, None)]
    twice = apply(made, AddItem("a", item(name="newer")), CYCLE)
    assert versions(twice) == [("as sold", None, EDIT), ("new", EDIT, NEXT), ("newer", NEXT, None)]


def test_an_item_of_another_key_starts_with_the_edit_and_in_a_future_phase_with_the_phase() -> None:
    made = apply(ABC, AddItem("a", item("other")), NOW)
    assert versions(made, "other") == [("as sold", EDIT, None)]
    assert versions(made) == [("as sold", None, None)]
    later = apply(ABC, AddItem("b", item("other")), NOW)
    assert versions(later, "other", index=1) == [("as sold", None, None)]


def test_an_edit_at_the_start_of_the_phase_overrides_nothing() -> None:
    made = apply(ABC, AddItem("a", item(name="new")), at("2025-01-01"))
    assert versions(made) == [("as sold", None, "P0D"), ("new", None, None)]


def test_a_removed_item_ends_and_can_come_again() -> None:
    removed = apply(ABC, RemoveItem("a", "seats"), NOW)
    assert versions(removed) == [("as sold", None, EDIT)]
    replaced = apply(removed, AddItem("a", item(name="new")), NOW)
    assert versions(replaced) == [("as sold", None, EDIT), ("new", EDIT, None)]
    with_gap = apply(removed, AddItem("a", item(name="new")), CYCLE)
    assert versions(with_gap) == [("as sold", None, EDIT), ("new", NEXT, None)]
    with pytest.raises(Conflict, match="has ended"):
        apply(removed, RemoveItem("a", "seats"), CYCLE)
    earlier = apply(apply(ABC, RemoveItem("a", "seats"), CYCLE), RemoveItem("a", "seats"), NOW)
    assert versions(earlier) == [("as sold", None, EDIT)]


def test_an_item_of_a_future_phase_is_dropped() -> None:
    made = apply(ABC, RemoveItem("b", "seats"), NOW)
    assert made.phases[1].items == {}
    assert made.phases[0] == ABC.phases[0]


def test_what_is_scheduled_must_be_unscheduled_first() -> None:
    scheduled = apply(ABC, AddItem("a", item(name="new")), CYCLE)
    for patch in (AddItem("a", item(name="other")), RemoveItem("a", "seats")):
        with pytest.raises(Conflict, match="scheduled for 2025-02-01"):
            apply(scheduled, patch, NOW)
    ending = apply(ABC, RemoveItem("a", "seats"), CYCLE)
    with pytest.raises(Forbidden, match="scheduled to end at 2025-02-01"):
        apply(ending, AddItem("a", item(name="other")), NOW)
    free = apply(scheduled, UnscheduleEdit(), NOW)
    assert versions(apply(free, AddItem("a", item(name="other")), NOW))[-1] == ("other", EDIT, None)


def test_unscheduling_forgets_what_comes_and_nothing_else() -> None:
    scheduled = ABC
    for patch in (AddItem("a", item(name="new")), AddItem("a", item("other")), RemoveItem("a", "other")):
        scheduled = apply(scheduled, patch, CYCLE)
    assert apply(scheduled, UnscheduleEdit(), NOW) == ABC
    # What has ended stays, also where its key has no version that runs.
    ended = apply(ABC, RemoveItem("a", "seats"), at("2025-01-10"))
    again = apply(ended, AddItem("a", item(name="new")), CYCLE)
    assert apply(again, UnscheduleEdit(), NOW) == ended
    assert apply(ended, UnscheduleEdit(), NOW) == ended
    # Scheduled for the instant of the edit itself: it runs then.
    assert apply(scheduled, UnscheduleEdit(), CYCLE).phases[0].items["seats"][-1].rate_card.name == "new"
    with pytest.raises(Conflict):
        apply(ABC, UnscheduleEdit(), at("2024-12-31"))


def test_other_phases_keep_their_value() -> None:
    made = apply(MID, AddItem("b", item(name="new")), NOW)
    assert replace(made, phases=(made.phases[0], MID.phases[1], made.phases[2])) == MID
