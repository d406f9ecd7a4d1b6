"""Where phases and items begin and end (subscriptions section 3), and what is current at an instant. Pure."""

from collections.abc import Sequence
from datetime import datetime

from meterhouse.kernel.periods import Duration
from meterhouse.subscriptions.views import ItemVersion, PhaseView, SubscriptionView


def phase_ends(starts: Sequence[datetime], end: datetime | None) -> list[datetime | None]:
    """Return the end of each phase from the starts in order: the next start, or `end` of the subscription if earlier.

    The last phase is open without an `end`. No phase ends before its own start: those that start after `end` last no
    time.
    """
    ends: list[datetime | None] = []
    for index, start in enumerate(starts):
        bounds = [bound for bound in (*starts[index + 1 : index + 2], end) if bound is not None]
        ends.append(max(start, min(bounds)) if bounds else None)
    return ends


def item_interval(
    start: datetime, end: datetime | None, from_override: Duration | None, to_override: Duration | None
) -> tuple[datetime, datetime | None]:
    """Return the interval of an item version in the phase [start, end).

    The overrides count from the phase's start and are cut at its end; a version that would begin after the end lasts no
    time there.
    """
    wanted_from = from_override.add_to(start) if from_override is not None else start
    wanted_to = to_override.add_to(start) if to_override is not None else None
    if end is None:
        return wanted_from, wanted_to
    return min(wanted_from, end), end if wanted_to is None else min(wanted_to, end)


def current_phase(view: SubscriptionView, at: datetime) -> PhaseView | None:
    """Return the phase that runs at `at`: the last that has started; None before the first and after the end."""
    if view.active_to is not None and at >= view.active_to:
        return None
    started = [phase for phase in view.phases if phase.active_from <= at]
    return started[-1] if started else None


def shown_items(view: SubscriptionView, phase: PhaseView, at: datetime) -> list[ItemVersion]:
    """Return the one version of each item that stands for it at `at`, by key (section 13).

    In the current phase that is the version active at `at`, in a future phase the first, in a past phase the last. An
    item of the current phase without an active version is left out.
    """
    current = current_phase(view, at)
    if current is not None and phase.id == current.id:
        return [item for item in phase.items if is_active(item, at)]
    versions = timelines(phase)
    chosen = 0 if phase.active_from > at else -1
    return [versions[key][chosen] for key in versions]


def timelines(phase: PhaseView) -> dict[str, list[ItemVersion]]:
    """Return all versions of each item in order of time, by key."""
    found: dict[str, list[ItemVersion]] = {}
    for item in phase.items:
        found.setdefault(item.key, []).append(item)
    return found


def is_active(item: ItemVersion, at: datetime) -> bool:
    """Tell whether the version holds at `at`."""
    return item.active_from <= at and (item.active_to is None or at < item.active_to)
