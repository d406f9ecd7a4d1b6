"""The items of a subscription without its add-ons, as they are kept. Pure.

The stored form is JSON: by phase key and item key, the versions in order of time. Old rows must keep parsing.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from meterhouse.catalog.ratecards import RateCard
from meterhouse.kernel.periods import Duration
from meterhouse.subscriptions.spec import ItemSpec, SubscriptionSpec


def written(spec: SubscriptionSpec) -> dict[str, Any]:
    """Return the items of a schedule in their stored form."""
    return {
        phase.key: {key: [_written(item) for item in versions] for key, versions in phase.items.items()}
        for phase in spec.phases
    }


def _written(item: ItemSpec) -> dict[str, Any]:
    return {
        "rate_card": item.rate_card.model_dump(mode="json"),
        "active_from_override": item.active_from_override and str(item.active_from_override),
        "active_to_override": item.active_to_override and str(item.active_to_override),
        "annotations": dict(item.annotations),
    }


def without_addons(spec: SubscriptionSpec, items: Mapping[str, Any]) -> SubscriptionSpec:
    """Return the schedule with the items that were written."""
    phases = tuple(
        replace(
            phase,
            items={key: tuple(_read(key, item) for item in versions) for key, versions in items[phase.key].items()},
        )
        for phase in spec.phases
    )
    return replace(spec, phases=phases)


def _read(key: str, item: Mapping[str, Any]) -> ItemSpec:
    return ItemSpec(
        key,
        RateCard.model_validate(item["rate_card"]),
        _override(item["active_from_override"]),
        _override(item["active_to_override"]),
        item["annotations"],
    )


def _override(text: str | None) -> Duration | None:
    return None if text is None else Duration.parse(text)
