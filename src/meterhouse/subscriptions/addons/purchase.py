"""An add-on of a subscription as an immutable value: what the service returns and the wire shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from meterhouse.catalog.addons import Addon
from meterhouse.catalog.ratecards import RateCard
from meterhouse.subscriptions.addons.instances import Instance, stretches
from meterhouse.subscriptions.addons.overlay import Layer
from meterhouse.subscriptions.views import ItemVersion, SubscriptionView


@dataclass(frozen=True, slots=True)
class Purchase:
    """An add-on version that a subscription has, or had, and how many of it in time.

    Attributes:
        subscription: the subscription with what the add-on gives it.
        timeline: all quantities in order of time, of the future too.
    """

    id: str
    subscription: SubscriptionView
    addon: Addon
    metadata: Mapping[str, str]
    timeline: tuple[Instance, ...]
    created_at: datetime
    updated_at: datetime

    def affected(self, card: RateCard) -> list[ItemVersion]:
        """Return the versions of items that a rate card of the add-on changes, in order of time."""
        times = stretches(self.timeline)
        return [
            item
            for phase in self.subscription.phases
            for item in phase.items
            if item.key == card.key and any(_meet(item, one) for one in times)
        ]

    def layer(self) -> Layer:
        """Return what is laid over the schedule."""
        return Layer(tuple(_priced(card, self.addon.currency) for card in self.addon.rate_cards), self.timeline)


def _meet(item: ItemVersion, one: Instance) -> bool:
    starts_before = one.active_to is None or item.active_from < one.active_to
    return starts_before and (item.active_to is None or one.active_from < item.active_to)


def _priced(card: RateCard, currency: str) -> RateCard:
    return card.model_copy(update={"currency": card.currency or currency}) if card.is_billable() else card
