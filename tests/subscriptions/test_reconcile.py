"""Which rows an edit replaces (subscriptions section 7.3)."""

from dataclasses import replace
from datetime import timedelta

from meterhouse.subscriptions.reconcile import Changes, NewItem, diff
from meterhouse.subscriptions.spec import PhaseSpec, SubscriptionSpec, of_view
from meterhouse.subscriptions.timeline import item_interval, phase_ends
from meterhouse.subscriptions.views import ItemVersion, PhaseView, SubscriptionView
from tests.catalog.builders import flat_card, period
from tests.subscriptions.conftest import at
from tests.subscriptions.test_timeline import view as empty_view

SOLD = flat_card("seats", currency="USD")
DEARER = SOLD.model_copy(update={"name": "dearer"})


def view() -> SubscriptionView:
    """Two phases; `seats` has two versions in the first."""
    first = (("seats", 0, None, "PT10S"), ("seats", 1, "PT10S", None), ("extra", 0, None, None))
    phases = []
    found = empty_view([("a", "2025-03-10T08"), ("b", "2025-04-21T08")])
    ends = phase_ends([one.active_from for one in found.phases], None)
    for phase, end, items in zip(found.phases, ends, (first, (("seats", 0, None, None),)), strict=True):
        versions = []
        for key, number, start, stop in items:
            low, high = start and period(start), stop and period(stop)
            interval = item_interval(phase.active_from, end, low or None, high or None)
            card = SOLD.model_copy(update={"key": key})
            versions.append(
                ItemVersion(f"{phase.key}-{key}-{number}", key, number, card, *interval, low or None, high or None)
            )
        phases.append(replace(phase, items=tuple(versions)))
    return replace(found, phases=tuple(phases))


STORED = view()
SPEC = of_view(STORED)


def changed(index: int, phase: PhaseSpec) -> SubscriptionSpec:
    phases = list(SPEC.phases)
    phases[index] = phase
    return replace(SPEC, phases=tuple(phases))


def with_items(index: int, **items: tuple[object, ...]) -> SubscriptionSpec:
    phase = SPEC.phases[index]
    return changed(index, replace(phase, items={**phase.items, **items}))  # type: ignore[dict-item]


def test_the_same_schedule_changes_nothing() -> None:
    assert diff(STORED, SPEC) == Changes()
    assert diff(STORED, SPEC).are_none()


def test_a_changed_version_is_replaced_alone() -> None:
    first, second = SPEC.phases[0].items["seats"]
    dearer = replace(second, rate_card=DEARER)
    assert diff(STORED, with_items(0, seats=(first, dearer))) == Changes(
        deleted_items=("a-seats-1",), new_items=(NewItem("a", 1, dearer),)
    )


def test_versions_come_and_go() -> None:
    first, second = SPEC.phases[0].items["seats"]
    closed = replace(second, active_to_override=period("PT20S"))
    third = replace(second, rate_card=DEARER, active_from_override=period("PT20S"))
    made = diff(STORED, with_items(0, seats=(first, closed, third)))
    assert made.deleted_items == ("a-seats-1",)
    assert made.new_items == (NewItem("a", 1, closed), NewItem("a", 2, third))
    gone = {key: items for key, items in SPEC.phases[0].items.items() if key != "seats"}
    made = diff(STORED, changed(0, replace(SPEC.phases[0], items=gone)))
    assert made == Changes(deleted_items=("a-seats-0", "a-seats-1"))


def test_a_phase_that_moves_is_replaced_with_its_items_and_the_one_before_stays() -> None:
    later = replace(SPEC.phases[1], active_from=SPEC.phases[1].active_from + timedelta(days=1))
    assert diff(STORED, changed(1, later)) == Changes(deleted_phases=("b",), new_phases=(later,))


def test_phases_come_and_go() -> None:
    added = PhaseSpec("x", "X", None, {}, at("2025-06-01"), 2, {"seats": (SPEC.phases[1].items["seats"])})
    made = diff(STORED, replace(SPEC, phases=(SPEC.phases[0], added)))
    assert made == Changes(deleted_phases=("b",), new_phases=(added,))


def test_annotations_count() -> None:
    (only,) = SPEC.phases[1].items["seats"]
    marked = replace(only, annotations={"by": "hand"})
    assert diff(STORED, with_items(1, seats=(marked,))).new_items == (NewItem("b", 0, marked),)


def test_a_phase_view_without_items_is_a_phase_without_items() -> None:
    bare = replace(STORED, phases=(PhaseView("a", "a", "a", None, at("2025-03-10T08"), None, ()),))
    assert [phase.items for phase in of_view(bare).phases] == [{}]
