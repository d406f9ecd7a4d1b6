"""An add-on version as an immutable value, and its status (catalog section 4)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from meterhouse.catalog import versions
from meterhouse.catalog.ratecards import RateCard
from meterhouse.catalog.versions import Version, VersionStatus


class InstanceType(StrEnum):
    """Whether a subscription takes an add-on once, or in any quantity."""

    SINGLE = "single"
    MULTIPLE = "multiple"


class AddonStatus(StrEnum):
    """What can be done with an add-on version at an instant."""

    DRAFT = "draft"
    ACTIVE = "active"
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class NewAddon:
    """What a client writes to make the next version of a key."""

    key: str
    name: str
    currency: str
    instance_type: InstanceType
    rate_cards: tuple[RateCard, ...]
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AddonContent:
    """What a client writes when it replaces a draft. None of an optional member keeps what is stored (section 1.4)."""

    name: str
    instance_type: InstanceType
    rate_cards: tuple[RateCard, ...]
    description: str | None = None
    metadata: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Addon(Version):
    """One version of an add-on: rate cards that a subscription can take beside those of its plan."""

    instance_type: InstanceType
    rate_cards: tuple[RateCard, ...]

    def decks(self) -> Sequence[tuple[str, Sequence[RateCard]]]:
        """Return the rate cards with the path of what holds them."""
        return [("$", self.rate_cards)]

    def with_cards(self, convert: Callable[[str, RateCard], RateCard]) -> "Addon":
        """Return the add-on with every rate card converted."""
        return replace(self, rate_cards=tuple(convert("$", card) for card in self.rate_cards))


def status(addon: Addon, at: datetime) -> AddonStatus:
    """Return the status at `at`. Nothing schedules an add-on: one that is published is active until it is archived."""
    found = versions.status(addon, at)
    return AddonStatus.ACTIVE if found is VersionStatus.SCHEDULED else AddonStatus(found)
