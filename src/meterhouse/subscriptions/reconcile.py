"""From the schedule that a subscription has to the one it shall have, by as few rows as can be (section 7.3).

What has the same identity (phase key; phase key, item key and version) and the same content keeps its row. The rest is
deleted and made anew, so rows are never changed. Where only the end of a phase moves, nothing is stored of it.
"""

from dataclasses import dataclass

from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.subscriptions import repository
from meterhouse.subscriptions.models import SubscriptionRow
from meterhouse.subscriptions.spec import ItemSpec, PhaseSpec, SubscriptionSpec, of_view
from meterhouse.subscriptions.views import PhaseView, SubscriptionView


@dataclass(frozen=True, slots=True)
class NewItem:
    """A version of an item to store in a phase whose row stays."""

    phase_id: str
    version: int
    item: ItemSpec


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows to delete, by id, and what to store then. Deleted and new phases go and come with all their items."""

    deleted_phases: tuple[str, ...] = ()
    deleted_items: tuple[str, ...] = ()
    new_phases: tuple[PhaseSpec, ...] = ()
    new_items: tuple[NewItem, ...] = ()

    def are_none(self) -> bool:
        """Tell whether the schedule is as it shall be."""
        return self == Changes()


def diff(current: SubscriptionView, wanted: SubscriptionSpec) -> Changes:
    """Return what leads from the stored schedule to `wanted`. Pure."""
    stored = {phase.key: phase for phase in current.phases}
    specs = {phase.key: phase for phase in of_view(current).phases}
    kept = {phase.key for phase in wanted.phases if phase.key in specs and _same_phase(specs[phase.key], phase)}
    deleted_items: list[str] = []
    new_items: list[NewItem] = []
    for phase in wanted.phases:
        if phase.key in kept:
            _diff_items(stored[phase.key], specs[phase.key], phase, deleted_items, new_items)
    return Changes(
        deleted_phases=tuple(phase.id for key, phase in stored.items() if key not in kept),
        deleted_items=tuple(deleted_items),
        new_phases=tuple(phase for phase in wanted.phases if phase.key not in kept),
        new_items=tuple(new_items),
    )


def _same_phase(one: PhaseSpec, other: PhaseSpec) -> bool:
    def content(phase: PhaseSpec) -> tuple[object, ...]:
        return (phase.active_from, phase.name, phase.description, dict(phase.metadata), phase.sort_hint)

    return content(one) == content(other)


def _diff_items(stored: PhaseView, spec: PhaseSpec, wanted: PhaseSpec, deleted: list[str], new: list[NewItem]) -> None:
    ids = {(item.key, item.version): item.id for item in stored.items}
    before = _by_identity(spec)
    after = _by_identity(wanted)
    deleted += [ids[identity] for identity, item in before.items() if after.get(identity) != item]
    new += [NewItem(stored.id, identity[1], item) for identity, item in after.items() if before.get(identity) != item]


def _by_identity(phase: PhaseSpec) -> dict[tuple[str, int], ItemSpec]:
    return {(key, index): item for key, versions in phase.items.items() for index, item in enumerate(versions)}


async def apply(session: WriteSession, row: SubscriptionRow, changes: Changes) -> SubscriptionView:
    """Store the changes and return the subscription as it is then.

    The caller holds the customer's lock and has validated the schedule: `service.update` does both.
    """
    now = clock.now()
    await repository.delete_rows(session, changes.deleted_phases, changes.deleted_items, now)
    await repository.insert_phases(session, row, changes.new_phases)
    for new in changes.new_items:
        await repository.insert_item(session, row, new.phase_id, new.version, new.item)
    row.touch()
    await session.flush()
    return (await repository.views(session, [row]))[0]
