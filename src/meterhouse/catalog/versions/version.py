"""One version of something that is sold, as an immutable value, and its status (catalog sections 3.1 and 4.1)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from meterhouse.catalog.prices import TaxConfig
from meterhouse.catalog.ratecards import RateCard


class VersionStatus(StrEnum):
    """What can be done with a version at an instant."""

    DRAFT = "draft"
    ACTIVE = "active"
    ARCHIVED = "archived"
    SCHEDULED = "scheduled"


@dataclass(frozen=True, slots=True)
class Version(ABC):
    """One version of a plan or add-on.

    Attributes:
        version: counts from 1 within (namespace, key); a number is never used again.
        effective_from, effective_to: the version is active on [effective_from, effective_to); both None for a draft.
    """

    id: str
    namespace: str
    key: str
    version: int
    name: str
    description: str | None
    metadata: Mapping[str, str]
    currency: str
    effective_from: datetime | None
    effective_to: datetime | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None

    @abstractmethod
    def decks(self) -> Sequence[tuple[str, Sequence[RateCard]]]:
        """Return the groups of rate cards, each with the path of what holds it."""

    @abstractmethod
    def with_cards(self, convert: Callable[[str, RateCard], RateCard]) -> Self:
        """Return the version with every rate card converted; `convert` is also given the path of what holds it."""

    def placed_cards(self) -> list[tuple[str, RateCard]]:
        """Return all rate cards, each with the path of what holds it."""
        return [(holder, card) for holder, cards in self.decks() for card in cards]

    def with_tax_configs(self, configs: Mapping[TaxConfig, TaxConfig]) -> Self:
        """Return the version with the tax config of every card replaced; `configs` has all of them."""

        def replaced(_: str, card: RateCard) -> RateCard:
            return card.model_copy(update={"tax_config": configs[card.tax_config]}) if card.tax_config else card

        return self.with_cards(replaced)


def card_path(holder: str, card: RateCard, segment: str = "rateCards") -> str:
    """Return where a rate card stands."""
    return f"{holder}.{segment}[?(@.key=='{card.key}')]"


def status(version: Version, at: datetime) -> VersionStatus:
    """Return the status at `at`: half-open, so every instant has exactly one."""
    if version.effective_from is None:
        return VersionStatus.DRAFT
    if version.effective_to is not None and version.effective_to <= at:
        return VersionStatus.ARCHIVED
    return VersionStatus.SCHEDULED if at < version.effective_from else VersionStatus.ACTIVE
