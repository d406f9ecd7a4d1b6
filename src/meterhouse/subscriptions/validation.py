"""Which schedules make sense (subscriptions section 3): pure. Warnings of the catalog block here like anything else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from meterhouse.catalog.cardrules import rate_card_issues
from meterhouse.catalog.features import Feature
from meterhouse.catalog.ratecards import MeteredEntitlementTemplate, RateCard
from meterhouse.kernel.errors import InvalidInput, Issue
from meterhouse.kernel.money import plain
from meterhouse.kernel.reach import HORIZON
from meterhouse.subscriptions.spec import ItemSpec, PhaseSpec, SubscriptionSpec
from meterhouse.subscriptions.timeline import item_interval

COMPONENT = "rateCard"
_LONGEST_CADENCE = HORIZON  # keeps the periods that billing counts out inside what a date can be
_MOST_DIGITS = 38  # of an issued amount: what answers can show, and add-ons can multiply what a request could say


class InvalidSchedule(InvalidInput):
    """The schedule of a subscription breaks rules; the issues name them."""

    prefix = ""


def block(issues: Sequence[Issue]) -> None:
    """Refuse the request for its issues, whatever their severity.

    Raises:
        InvalidSchedule: there are any.
    """
    if issues:
        raise InvalidSchedule("invalid subscription: " + "; ".join(issue.message for issue in issues), issues=issues)


def _phase_path(phase: PhaseSpec) -> str:
    return f"$.phases[?(@.key=='{phase.key}')]"


def item_path(phase: PhaseSpec, key: str, version: int) -> str:
    """Return where a version of an item stands."""
    return f"{_phase_path(phase)}.itemsByKey.{key}[{version}]"


def _versions(phase: PhaseSpec) -> Iterator[tuple[str, ItemSpec]]:
    """Yield every item version with the path where it stands."""
    for key, versions in phase.items.items():
        for index, item in enumerate(versions):
            yield item_path(phase, key, index), item


def schedule_issues(spec: SubscriptionSpec, *, complete: bool = True) -> list[Issue]:
    """Return what is wrong with the schedule, in the order of checking.

    `complete` False: between two patches, where a phase may still wait for its items.
    """
    return [issue for phase in spec.phases for issue in _phase_issues(spec, phase, complete=complete)]


def _phase_issues(spec: SubscriptionSpec, phase: PhaseSpec, *, complete: bool) -> Iterator[Issue]:
    path = _phase_path(phase)
    if phase.active_from < spec.active_from:
        message = "a phase cannot start before its subscription"
        yield Issue("subscription_phase_start_after_is_negative", message, f"{path}.startAfter")
    if complete and not any(phase.items.values()):
        yield Issue("subscription_phase_has_no_items", "a phase needs at least one item", f"{path}.itemsByKey")
    for key, versions in phase.items.items():
        yield from _history_issues(phase, key, versions)
    for item_path, item in _versions(phase):
        yield from _override_issues(item_path, item)
        yield from card_issues(item.rate_card, item_path)
        yield from _currency_issues(spec, item_path, item.rate_card)


def added_path(phase_key: str, item_key: str) -> str:
    """Return where an item stands that a patch adds, before it is in the schedule."""
    return f"$.phases[?(@.key=='{phase_key}')].items.{item_key}"


def card_issues(card: RateCard, path: str) -> Iterator[Issue]:
    """Yield what is wrong with a rate card by itself; `path` is where it stands."""
    for issue in rate_card_issues(card, path):
        # A rule without a field of its own has none here either.
        field = None if issue.field == path else issue.field
        yield replace(issue, field=field, component=COMPONENT)
    cadence = card.billing_cadence
    if cadence is not None and cadence.approximate_seconds() > _LONGEST_CADENCE.total_seconds():
        message = f"the billing cadence {cadence} is longer than 100 years"
        yield Issue("billing_cadence_invalid_value", message, f"{path}.billingCadence", component=COMPONENT)
    template = card.entitlement_template
    issued = template.issue_after_reset if isinstance(template, MeteredEntitlementTemplate) else None
    if issued is not None and len(plain(issued).lstrip("0").replace(".", "")) > _MOST_DIGITS:
        message = f"the amount to issue after a reset has more than {_MOST_DIGITS} digits"
        yield Issue("", message, f"{path}.entitlementTemplate.issueAfterReset", component=COMPONENT)


def _history_issues(phase: PhaseSpec, key: str, versions: Sequence[ItemSpec]) -> Iterator[Issue]:
    path = f"{_phase_path(phase)}.itemsByKey.{key}"
    for index, item in enumerate(versions):
        if item.key != key or item.rate_card.key != key:
            message = f"the item {item.key} stands among the versions of {key}"
            yield Issue("subscription_item_history_key_mismatch", message, f"{path}[{index}].key")
    intervals = [
        item_interval(phase.active_from, None, item.active_from_override, item.active_to_override) for item in versions
    ]
    for index, ((_, end), (start, _)) in enumerate(pairwise(intervals)):
        if end is None or end > start:
            message = f"two versions of {key} overlap"
            yield Issue("subscription_item_history_overlap", message, f"{path}[{index}]")
            yield Issue("subscription_item_history_overlap", message, f"{path}[{index + 1}]")


def _override_issues(path: str, item: ItemSpec) -> Iterator[Issue]:
    for name, override in (("active_from", item.active_from_override), ("active_to", item.active_to_override)):
        if override is not None and not (override.is_zero() or override.is_positive()):
            message = "an item cannot begin or end before its phase"
            camel = "activeFromOverride" if name == "active_from" else "activeToOverride"
            yield Issue(f"subscription_item_{name}_override_is_negative", message, f"{path}.{camel}")


def _currency_issues(spec: SubscriptionSpec, path: str, card: RateCard) -> Iterator[Issue]:
    if not card.is_billable() and card.currency is not None:
        yield Issue(
            "rate_card_currency_requires_price", "a free item has no currency", f"{path}.currency", component=COMPONENT
        )
    elif card.is_billable() and card.currency != spec.currency:
        message = f"the item is priced in {card.currency}, the subscription in {spec.currency}"
        yield Issue("plan_multiple_fiat_currencies", message, f"{path}.currency", component=COMPONENT)


def alignment_issues(spec: SubscriptionSpec) -> list[Issue]:
    """Return the priced items whose cadence does not align with the subscription's, in either direction."""
    issues = []
    for phase in spec.phases:
        for path, item in _versions(phase):
            cadence = item.rate_card.billing_cadence
            if item.rate_card.is_billable() and cadence is not None and not cadence.aligns_with(spec.billing_cadence):
                message = f"the billing cadence {cadence} does not align with the subscription's {spec.billing_cadence}"
                code = "rate_card_billing_cadence_unaligned"
                issues.append(Issue(code, message, f"{path}.billingCadence", component=COMPONENT))
    return issues


def feature_issues(spec: SubscriptionSpec, live: Mapping[str, Feature]) -> list[Issue]:
    """Return the items whose feature is not there, or has no meter to price; `live` holds the live ones by key.

    Without this the item would fail when it is billed, long after it was sold (subscription-sync section 9.3).
    """
    return [
        issue
        for phase in spec.phases
        for path, item in _versions(phase)
        for issue in card_feature_issues(item.rate_card, path, live)
    ]


def card_feature_issues(card: RateCard, path: str, live: Mapping[str, Feature]) -> Iterator[Issue]:
    """Yield what is wrong with the feature of a rate card; see `feature_issues`."""
    if card.feature_key is None:
        return
    feature, field = live.get(card.feature_key), f"{path}.featureKey"
    if feature is None:
        message = f"there is no live feature {card.feature_key}"
        yield Issue("rate_card_feature_not_found", message, field, component=COMPONENT)
    elif card.is_billable() and not card.is_flat() and feature.meter_id is None:
        message = f"the feature {feature.key} has no meter, so its usage has no price"
        code = "usage_based_price_with_feature_and_no_meter"
        yield Issue(code, message, field, component=COMPONENT)
