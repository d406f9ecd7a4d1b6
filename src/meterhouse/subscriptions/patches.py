"""What the edits of a customer's subscription make of its schedule (subscriptions section 7). Pure.

History is never rewritten: a patch reaches only what runs at its instant, or comes later. Phases are stretched on the
calendar: a month more is a month more, however long it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from meterhouse.kernel.errors import Conflict, DomainError, Forbidden, InvalidInput, Issue
from meterhouse.kernel.periods import Duration
from meterhouse.kernel.reach import HORIZON
from meterhouse.subscriptions.spec import ItemSpec, PhaseSpec, SubscriptionSpec


class Shift(StrEnum):
    """What fills the gap of a removed phase: the next phases, moved earlier, or the previous one, lasting longer."""

    NEXT = "next"
    PREV = "prev"


@dataclass(frozen=True, slots=True)
class AddItem:
    """Give a phase an item: in the current phase from the edit on, in a future one for all of it."""

    phase_key: str
    item: ItemSpec


@dataclass(frozen=True, slots=True)
class RemoveItem:
    """End an item of the current phase, or take it out of a future one."""

    phase_key: str
    item_key: str


@dataclass(frozen=True, slots=True)
class AddPhase:
    """Insert a phase without items; those after it move so that it lasts `duration`.

    Attributes:
        start_after: from the subscription's start; None: at that start.
        duration: how long it lasts; None only where no phase follows.
    """

    key: str
    name: str
    start_after: Duration | None
    duration: Duration | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class RemovePhase:
    """Take out a phase that has not started."""

    phase_key: str
    shift: Shift


@dataclass(frozen=True, slots=True)
class StretchPhase:
    """Let a phase last longer, or shorter where `extend_by` is negative: all phases after it move."""

    phase_key: str
    extend_by: Duration


@dataclass(frozen=True, slots=True)
class UnscheduleEdit:
    """Forget what was planned for the items of the current phase."""


Patch = AddItem | RemoveItem | AddPhase | RemovePhase | StretchPhase | UnscheduleEdit


def apply(spec: SubscriptionSpec, patch: Patch, at: datetime) -> SubscriptionSpec:
    """Return the schedule with a patch that takes effect at `at`.

    It may have phases without items, which a later patch can fill.

    Raises:
        InvalidInput: the patch names what does not exist, or lengths that cannot be.
        Forbidden: it would change what is past, or what it must not replace.
        Conflict: it collides with what is scheduled.
    """
    match patch:
        case AddItem():
            return _add_item(spec, patch, at)
        case RemoveItem():
            return _remove_item(spec, patch, at)
        case AddPhase():
            return _add_phase(spec, patch, at)
        case RemovePhase():
            return _remove_phase(spec, patch, at)
        case StretchPhase():
            return _stretch_phase(spec, patch, at)
        case UnscheduleEdit():
            return _unschedule(spec, at)


def _refuse(kind: type[DomainError], message: str, field: str | None = None) -> DomainError:
    return kind(message, issues=[Issue("", message, field)])


# --- where a patch applies --------------------------------------------------------------------------------------------


def current_index(spec: SubscriptionSpec, at: datetime) -> int | None:
    """Return which phase runs at `at`: the last that has started, None before the first."""
    started = [index for index, phase in enumerate(spec.phases) if phase.active_from <= at]
    return started[-1] if started else None


def _find(spec: SubscriptionSpec, key: str, field: str = "$.phaseKey") -> int:
    for index, phase in enumerate(spec.phases):
        if phase.key == key:
            return index
    raise _refuse(InvalidInput, f"the subscription has no phase {key}", field)


def _not_past(spec: SubscriptionSpec, key: str, at: datetime) -> tuple[PhaseSpec, bool]:
    """Return the phase of the key, and whether it is the current one."""
    index, current = _find(spec, key), current_index(spec, at)
    if current is not None and index < current:
        raise _refuse(Forbidden, f"the phase {key} is over", "$.phaseKey")
    return spec.phases[index], index == current


def _with_items(spec: SubscriptionSpec, key: str, items: Mapping[str, Sequence[ItemSpec]]) -> SubscriptionSpec:
    """Return the schedule with other items in a phase; a key without versions is left out."""
    kept = {name: tuple(versions) for name, versions in items.items() if versions}
    phases = tuple(replace(phase, items=kept) if phase.key == key else phase for phase in spec.phases)
    return replace(spec, phases=phases)


def _start(phase: PhaseSpec, item: ItemSpec) -> datetime:
    return (
        phase.active_from if item.active_from_override is None else item.active_from_override.add_to(phase.active_from)
    )


def _end(phase: PhaseSpec, item: ItemSpec) -> datetime | None:
    """Return the end that a version has of its own; None where it lasts as long as the phase."""
    return None if item.active_to_override is None else item.active_to_override.add_to(phase.active_from)


# --- items ------------------------------------------------------------------------------------------------------------


def _add_item(spec: SubscriptionSpec, patch: AddItem, at: datetime) -> SubscriptionSpec:
    phase, is_current = _not_past(spec, patch.phase_key, at)
    key = patch.item.key
    versions = phase.items.get(key, ())
    if not is_current:
        if versions:
            message = f"the phase {phase.key} has the item {key} already, from its start on"
            raise _refuse(Forbidden, message, "$.rateCard.key")
        return _with_items(spec, phase.key, {**phase.items, key: (patch.item,)})
    offset = Duration.between(phase.active_from, at)
    if versions:
        versions = (*versions[:-1], _closed(phase, versions[-1], at))
    # At the phase's start there is nothing to override.
    added = patch.item if offset.is_zero() else replace(patch.item, active_from_override=offset)
    return _with_items(spec, phase.key, {**phase.items, key: (*versions, added)})


def _closed(phase: PhaseSpec, last: ItemSpec, at: datetime) -> ItemSpec:
    """Return the last version of an item as one that the next version can follow at `at`."""
    end = _end(phase, last)
    if end is not None and end > at:
        message = f"the item {last.key} is scheduled to end at {end.isoformat()}; unschedule that first"
        raise _refuse(Forbidden, message, "$.rateCard.key")
    _check_started(phase, last, at, "$.rateCard.key")
    return last if end is not None else replace(last, active_to_override=Duration.between(phase.active_from, at))


def _check_started(phase: PhaseSpec, item: ItemSpec, at: datetime, field: str) -> None:
    start = _start(phase, item)
    if start > at:
        message = f"a version of the item {item.key} is scheduled for {start.isoformat()}; unschedule it first"
        raise _refuse(Conflict, message, field)


def _remove_item(spec: SubscriptionSpec, patch: RemoveItem, at: datetime) -> SubscriptionSpec:
    phase, is_current = _not_past(spec, patch.phase_key, at)
    versions = phase.items.get(patch.item_key, ())
    if not versions:
        raise _refuse(InvalidInput, f"the phase {phase.key} has no item {patch.item_key}", "$.itemKey")
    kept, last = versions[:-1], versions[-1]
    if is_current:
        _check_started(phase, last, at, "$.itemKey")
        end = _end(phase, last)
        if end is not None and end <= at:
            message = f"the item {last.key} has ended at {end.isoformat()}"
            raise _refuse(Conflict, message, "$.itemKey")
        kept = (*kept, replace(last, active_to_override=Duration.between(phase.active_from, at)))
    return _with_items(spec, phase.key, {**phase.items, patch.item_key: kept})


def _unschedule(spec: SubscriptionSpec, at: datetime) -> SubscriptionSpec:
    current = current_index(spec, at)
    if current is None:
        raise _refuse(Conflict, "no phase runs then")
    phase = spec.phases[current]
    return _with_items(
        spec, phase.key, {key: _without_schedule(phase, versions, at) for key, versions in phase.items.items()}
    )


def _without_schedule(phase: PhaseSpec, versions: Sequence[ItemSpec], at: datetime) -> list[ItemSpec]:
    begun = [item for item in versions if _start(phase, item) <= at]
    if begun:
        end = _end(phase, begun[-1])
        if end is not None and end > at:
            begun[-1] = replace(begun[-1], active_to_override=None)
    return begun


# --- phases -----------------------------------------------------------------------------------------------------------


def _moved(instant: datetime, by: Duration, at: datetime, field: str) -> datetime:
    try:
        moved = by.add_to(instant)
        if at - HORIZON <= moved <= at + HORIZON:
            return moved
    except (OverflowError, ValueError):
        pass
    raise _refuse(InvalidInput, "a phase cannot start more than 100 years away", field)


def _shifted(phases: Sequence[PhaseSpec], by: timedelta) -> list[PhaseSpec]:
    return [replace(phase, active_from=phase.active_from + by) for phase in phases]


def _add_phase(spec: SubscriptionSpec, patch: AddPhase, at: datetime) -> SubscriptionSpec:
    if any(phase.key == patch.key for phase in spec.phases):
        raise _refuse(Conflict, f"the subscription has a phase {patch.key} already", "$.phase.key")
    start = _moved(spec.active_from, patch.start_after or Duration(), at, "$.phase.startAfter")
    if start <= at:
        message = f"a new phase must start in the future, not at {start.isoformat()}"
        raise _refuse(Forbidden, message, "$.phase.startAfter")
    if patch.duration is not None and _moved(start, patch.duration, at, "$.phase.duration") <= start:
        raise _refuse(InvalidInput, "a phase must last some time", "$.phase.duration")
    before = [phase for phase in spec.phases if phase.active_from < start]
    after = list(spec.phases[len(before) :])
    if after:
        if patch.duration is None:
            message = f"the phase {patch.key} needs a duration, because {after[0].key} follows it"
            raise _refuse(InvalidInput, message, "$.phase.duration")
        # The next phase starts where this one ends, and the others keep their distance from it.
        end = _moved(start, patch.duration, at, "$.phase.duration")
        shift = end - after[0].active_from
        _moved(after[-1].active_from, Duration.between(after[0].active_from, end), at, "$.phase.duration")
        after = _shifted(after, shift)
    hint = max((phase.sort_hint for phase in spec.phases), default=-1) + 1
    added = PhaseSpec(patch.key, patch.name, patch.description, {}, start, hint, {})
    return replace(spec, phases=(*before, added, *after))


def _remove_phase(spec: SubscriptionSpec, patch: RemovePhase, at: datetime) -> SubscriptionSpec:
    index = _find(spec, patch.phase_key)
    removed, before, after = spec.phases[index], spec.phases[:index], list(spec.phases[index + 1 :])
    if removed.active_from <= at:
        raise _refuse(Forbidden, f"the phase {removed.key} has started", "$.phaseKey")
    if after and patch.shift is Shift.NEXT:
        after = _shifted(after, removed.active_from - after[0].active_from)
    return replace(spec, phases=(*before, *after))


def _stretch_phase(spec: SubscriptionSpec, patch: StretchPhase, at: datetime) -> SubscriptionSpec:
    if patch.extend_by.is_zero():
        raise _refuse(InvalidInput, "a phase is stretched by some time", "$.extendBy")
    _not_past(spec, patch.phase_key, at)
    if len(spec.phases) == 1:
        raise _refuse(Conflict, "the only phase of a subscription has no end to move", "$.phaseKey")
    index = _find(spec, patch.phase_key)
    phases = list(spec.phases)
    for later in range(index + 1, len(phases)):
        start = _moved(phases[later].active_from, patch.extend_by, at, "$.extendBy")
        if start <= phases[later - 1].active_from or start <= at:
            message = f"the phase {phases[later].key} would start too early, at {start.isoformat()}"
            raise _refuse(Conflict, message, "$.extendBy")
        phases[later] = replace(phases[later], active_from=start)
    return replace(spec, phases=tuple(phases))
