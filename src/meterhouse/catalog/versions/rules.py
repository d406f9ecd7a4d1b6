"""Which versions make sense, whatever their kind (catalog sections 1.1, 6 and 7): pure, in a fixed order.

Paths keep the wire's spelling: rules of one card stand under `ratecards`, rules that compare cards with what holds them
or with features under `rateCards`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeVar

from meterhouse.catalog.cardrules import rate_card_issues, warning
from meterhouse.catalog.currencies.service import FIAT_LENGTH
from meterhouse.catalog.features import Feature
from meterhouse.catalog.prices import FlatPrice
from meterhouse.catalog.ratecards import RateCard
from meterhouse.catalog.versions.version import Version, card_path
from meterhouse.kernel.errors import InvalidInput, Issue, Severity
from meterhouse.kernel.money import is_fiat

V = TypeVar("V", bound=Version)


class InvalidVersion(InvalidInput):
    """A plan, an add-on or the assignment of one to the other has issues that block the request."""

    prefix = ""


def block(noun: str, issues: Sequence[Issue], *, critical_only: bool) -> None:
    """Refuse the request for its issues; saving a draft is refused for the critical ones only (section 1.1).

    Raises:
        InvalidVersion: there are such issues; it lists them.
    """
    blocking = [issue for issue in issues if not critical_only or issue.severity is Severity.CRITICAL]
    if blocking:
        raise InvalidVersion(f"invalid {noun}", issues=blocking)


def deck_issues(holder: str, cards: Sequence[RateCard], currency: str, custom: Collection[str]) -> Iterator[Issue]:
    """Yield what is wrong with rate cards that stand together, each by itself, by its key and by its currency.

    `currency` is that of cards which name none; `custom` holds the codes of the custom currencies that exist.
    """
    seen: set[str] = set()
    for card in cards:
        path = card_path(holder, card, "ratecards")
        if card.key in seen:
            yield Issue("rate_card_duplicated_key", f"two rate cards have the key {card.key}", f"{path}.key")
        seen.add(card.key)
        yield from rate_card_issues(card, path, _currency_issues(holder, card, currency, custom))


def codes_of(version: Version) -> set[str]:
    """Return every currency code that a version names."""
    return {version.currency, *(card.currency for _, card in version.placed_cards() if card.currency is not None)}


def unknown_currency(code: str, path: str, custom: Collection[str]) -> Iterator[Issue]:
    """Yield that a code names neither a fiat currency nor one of the custom ones."""
    if is_fiat(code) or code in custom:
        return
    if len(code) <= FIAT_LENGTH:
        yield Issue("currency_invalid", f"invalid currency: {code}", path)
    else:
        yield Issue("currency_not_found", f"currency not found: {code}", path)


def _currency_issues(holder: str, card: RateCard, default: str, custom: Collection[str]) -> Iterator[Issue]:
    """Yield what is wrong with the currency of a single card (catalog-extras section 3.5)."""
    if card.currency is None:
        return
    currency, path = card.currency, f"{card_path(holder, card)}.currency"
    unknown = list(unknown_currency(currency, path, custom))
    yield from unknown
    if card.price is None:
        # Critical, although listed as a warning elsewhere: such a card must not be stored.
        yield Issue("rate_card_currency_requires_price", "a free rate card has no currency", path)
    elif unknown:
        return
    elif not is_fiat(default):
        message = f"everything is in {default}, a rate card cannot have a currency of its own"
        yield warning("rate_card_currency_override_not_allowed", message, path)
    elif currency == default:
        message = f"{currency} is the currency without saying so"
        yield warning("rate_card_currency_override_redundant", message, path)
    elif is_fiat(currency):
        message = f"prices are in {default}; a second fiat currency is not possible"
        yield warning("plan_multiple_fiat_currencies", message, path)


def feature_ids(version: Version) -> set[str]:
    """Return the ids of all features that a version names."""
    return {card.feature_id for _, card in version.placed_cards() if card.feature_id is not None}


def feature_issues(version: Version, found: Collection[Feature]) -> list[Issue]:
    """Return what stands against a version's features now; `found` are those that exist (section 3.4)."""
    by_id = {feature.id: feature for feature in found}
    return [
        issue
        for holder, card in version.placed_cards()
        if card.feature_id is not None
        for issue in _feature_issues(card, by_id.get(card.feature_id), f"{card_path(holder, card)}.featureKey")
    ]


def _feature_issues(card: RateCard, feature: Feature | None, path: str) -> Iterator[Issue]:
    if feature is None:
        yield Issue("rate_card_feature_not_found", f"feature not found: {card.feature_key}", path)
    elif feature.archived_at is not None:
        yield Issue("rate_card_feature_archived", f"the feature {feature.key} is archived", path)
    elif feature.meter_id is None and card.price is not None and not isinstance(card.price, FlatPrice):
        message = f"the feature {feature.key} has no meter, so its usage has no price"
        yield warning("usage_based_price_with_feature_and_no_meter", message, path)


def with_features(noun: str, version: V, features: Sequence[Feature]) -> V:
    """Return the version with id and key of every named feature filled in; `features` are the live ones (section 2.5).

    Raises:
        InvalidVersion: a name matches no live feature, or id and key name different ones.
    """
    by_id = {feature.id: feature for feature in features}
    by_key = {feature.key: feature for feature in features}
    issues: list[Issue] = []

    def resolved(holder: str, card: RateCard) -> RateCard:
        found = _named(card, by_id, by_key, f"{card_path(holder, card)}.featureKey")
        if isinstance(found, Issue):
            issues.append(found)
        elif found is not None:
            return card.model_copy(update={"feature_id": found.id, "feature_key": found.key})
        return card

    resolved_version = version.with_cards(resolved)
    block(noun, issues, critical_only=False)
    return resolved_version


def _named(
    card: RateCard, by_id: Mapping[str, Feature], by_key: Mapping[str, Feature], path: str
) -> Feature | Issue | None:
    """Return the feature of a card, or why there is none, or None where it names none."""
    named = [by_id.get(card.feature_id)] if card.feature_id is not None else []
    named += [by_key.get(card.feature_key)] if card.feature_key is not None else []
    if not named:
        return None
    first, last = named[0], named[-1]
    if first is None or last is None:
        return Issue("rate_card_feature_not_found", f"feature not found: {card.feature_key or card.feature_id}", path)
    if first.id != last.id:
        message = f"feature {card.feature_id} has not the key {card.feature_key}"
        return Issue("rate_card_feature_mismatch", message, path)
    return first
