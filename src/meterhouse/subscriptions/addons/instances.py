"""How many of an add-on a subscription has, in time (subscriptions section 12.1). Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class QuantityChange:
    """From `active_from` on the subscription has `quantity` of the add-on, until the next change."""

    active_from: datetime
    quantity: int


@dataclass(frozen=True, slots=True)
class Instance:
    """A quantity and when it holds: [active_from, active_to), open-ended where `active_to` is None."""

    active_from: datetime
    active_to: datetime | None
    quantity: int

    def gives(self) -> bool:
        """Tell whether it gives anything: some quantity for some time."""
        return self.quantity > 0 and self.active_from != self.active_to


def instances(changes: Iterable[QuantityChange]) -> tuple[Instance, ...]:
    """Return the timeline of changes that come in the order in which they were made.

    A later change at the same instant wins; the earlier one then lasts no time.
    """
    ordered = sorted(changes, key=lambda change: change.active_from)
    ends = [*(change.active_from for change in ordered[1:]), None]
    return tuple(Instance(change.active_from, end, change.quantity) for change, end in zip(ordered, ends, strict=False))


def quantity_at(timeline: Sequence[Instance], at: datetime) -> int:
    """Return the quantity at an instant, 0 before the first."""
    return next((one.quantity for one in reversed(timeline) if one.active_from <= at), 0)


def stretches(timeline: Sequence[Instance]) -> list[Instance]:
    """Return the times in which the add-on gives something, each as long as its quantity stays the same."""
    found: list[Instance] = []
    for one in timeline:
        if not one.gives():
            continue
        if found and found[-1].active_to == one.active_from and found[-1].quantity == one.quantity:
            found[-1] = Instance(found[-1].active_from, one.active_to, one.quantity)
        else:
            found.append(one)
    return found
