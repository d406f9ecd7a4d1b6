"""Which add-ons make sense (catalog sections 4.2, 4.3 and 7): pure, in a fixed order."""

from collections.abc import Collection, Iterator

from meterhouse.catalog.addons.addon import Addon, InstanceType
from meterhouse.catalog.cardrules import warning
from meterhouse.catalog.versions.rules import deck_issues, unknown_currency
from meterhouse.catalog.versions.version import card_path
from meterhouse.kernel.errors import Issue


def addon_issues(addon: Addon, custom: Collection[str] = ()) -> list[Issue]:
    """Return everything that can be said about an add-on by itself; `custom` holds the custom currencies that exist."""
    return [
        *_meta_issues(addon, custom),
        *deck_issues("$", addon.rate_cards, addon.currency, custom),
    ]


def _meta_issues(addon: Addon, custom: Collection[str]) -> Iterator[Issue]:
    if not addon.key:
        yield Issue("addon_key_empty", "the key must not be empty", "$.key")
    if not addon.name:
        yield warning("addon_name_empty", "the name must not be empty", "$.name")
    yield from unknown_currency(addon.currency, "$.currency", custom)
    if not addon.rate_cards:
        yield warning("addon_has_no_rate_cards", "an add-on needs at least one rate card", "$.rateCards")


def publish_issues(addon: Addon) -> list[Issue]:
    """Return what keeps an add-on from being published although it may be saved."""
    return [*_cadence_issues(addon), *_quantity_issues(addon)]


def _cadence_issues(addon: Addon) -> Iterator[Issue]:
    recurring = [card.billing_cadence for card in addon.rate_cards if card.price is not None and card.billing_cadence]
    if len({cadence.simplified() for cadence in recurring}) > 1:
        message = "all rate cards that are billed again and again must have the same billing cadence"
        yield warning("rate_card_multiple_billing_cadence", message, "$.ratecards[*].billingCadence")


def _quantity_issues(addon: Addon) -> Iterator[Issue]:
    if addon.instance_type is InstanceType.SINGLE:
        return
    for card in addon.rate_cards:
        if card.price is not None and not card.is_flat():
            message = "an add-on that can be taken several times has flat prices only"
            path = f"{card_path('$', card, 'ratecards')}.price"
            yield warning("addon_invalid_ratecard_price_for_multi_instance", message, path)
            return
