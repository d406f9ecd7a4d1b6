"""Which rate cards make sense (catalog sections 6 and 7).

A critical issue keeps the card from being stored; a warning keeps its plan from being published. Issues stand in the
order of section 6.1, and lists keep it.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal

import orjson

from meterhouse.catalog.pricerules import price_issues
from meterhouse.catalog.prices import Discounts, FlatPrice, TieredPrice, UnitPrice
from meterhouse.catalog.ratecards import (
    EntitlementTemplate,
    MeteredEntitlementTemplate,
    RateCard,
    StaticEntitlementTemplate,
)
from meterhouse.kernel.errors import Issue, Severity
from meterhouse.kernel.periods import Duration

_HOUR_SECONDS = 3600
_FULL_PERCENTAGE = Decimal(100)
_MAX_CONFIG_LEVELS = 100  # what is shown as JSON is written by recursion; no configuration is that deep


def warning(code: str, message: str, field: str | None) -> Issue:
    """Make an issue that does not keep a draft from being stored."""
    return Issue(code, message, field, Severity.WARNING)


def at_least_an_hour(duration: Duration) -> bool:
    """Tell whether a duration lasts an hour or longer; the largest calendar part decides before the clock's parts."""
    for part in (duration.years, duration.months, duration.weeks, duration.days):
        if part:
            return part > 0
    return duration.hours * _HOUR_SECONDS + duration.minutes * 60 + duration.seconds >= _HOUR_SECONDS


def completed(card: RateCard) -> RateCard:
    """Return the card with what is implied written out: the usage period of its template is the cadence."""
    template = card.entitlement_template
    if isinstance(template, MeteredEntitlementTemplate) and template.usage_period is None and card.billing_cadence:
        template = template.model_copy(update={"usage_period": card.billing_cadence})
        return card.model_copy(update={"entitlement_template": template})
    return card


def rate_card_issues(card: RateCard, path: str, currency: Iterable[Issue] = ()) -> list[Issue]:
    """Return what is wrong with a card; `path` is where it stands.

    `currency` has what is wrong with its currency, which depends on what holds the card, to stand in its place.
    """
    return list(_issues(card, path, currency))


def _issues(card: RateCard, path: str, currency: Iterable[Issue]) -> Iterator[Issue]:
    if card.entitlement_template is not None:
        if card.feature_key is None:
            message = "an entitlement template needs a feature"
            yield warning("entitlement_template_with_no_feature", message, f"{path}.featureKey")
        yield from _template_issues(card.entitlement_template, f"{path}.entitlementTemplate")
    if card.price is not None:
        yield from price_issues(card.price, f"{path}.price")
        if card.kind == "flat_fee" and not isinstance(card.price, FlatPrice):
            message = "a price by usage needs a billing cadence" if card.billing_cadence is None else "a fee is flat"
            yield Issue("", message, f"{path}.price")
        if card.feature_key is None and not isinstance(card.price, FlatPrice):
            message = "a price by usage needs a feature"
            yield warning("usage_based_price_with_no_feature", message, f"{path}.featureKey")
    yield from currency
    if card.feature_key is not None and card.feature_key != card.key:
        message = f"the key of the rate card must be the key of its feature, {card.feature_key}"
        yield Issue("rate_card_key_feature_key_mismatch", message, f"{path}.key")
    yield from _discount_issues(card, f"{path}.discounts")
    yield from _conversion_issues(card, f"{path}.unit_config")
    yield from _cadence_issues(card, f"{path}.billingCadence")


def _template_issues(template: EntitlementTemplate, path: str) -> Iterator[Issue]:
    if isinstance(template, StaticEntitlementTemplate):
        fault = config_fault(template.config)
        if fault is not None:
            yield Issue("entitlement_template_invalid_json_config", fault, f"{path}.config")
    elif isinstance(template, MeteredEntitlementTemplate):
        yield from _metered_issues(template, path)


def config_fault(config: str) -> str | None:
    """Tell what is wrong with the text of a static entitlement's configuration, None where nothing is.

    It is JSON that both API versions can show and take back.
    """
    try:
        level = [orjson.loads(config)]
    except ValueError:
        return "the configuration is not valid JSON"
    for _ in range(_MAX_CONFIG_LEVELS):
        if any(isinstance(value, str) and "\0" in value for value in level):
            return "the configuration must not contain the NUL character"
        level = [inner for value in level for inner in _parts(value)]
        if not level:
            return None
    return f"the configuration is nested deeper than {_MAX_CONFIG_LEVELS} levels"


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else ()


def _metered_issues(template: MeteredEntitlementTemplate, path: str) -> Iterator[Issue]:
    if template.issue_after_reset is None and template.issue_after_reset_priority is not None:
        code = "entitlement_template_invalid_issue_after_reset_with_priority"
        yield warning(code, "a priority needs an amount to issue after reset", f"{path}.issueAfterReset")
    if template.usage_period is None:
        yield Issue("", "a usage period or a billing cadence is required", f"{path}.usagePeriod")
    else:
        if not template.usage_period.is_positive():
            message = "the usage period must be positive"
            yield warning("entitlement_template_negative_usage_period", message, f"{path}.usagePeriod")
        if not at_least_an_hour(template.usage_period):
            message = "the usage period must be at least an hour"
            yield warning("entitlement_template_usage_period_less_then_an_hour", message, f"{path}.usagePeriod")
        if template.usage_period.seconds % 60:
            # Usage periods begin with minutes, so no entitlement could be made of it.
            yield Issue("", "the usage period must be whole minutes", f"{path}.usagePeriod")
    if template.issue_after_reset is None:
        message = "an amount to issue after reset is required"
        yield warning("entitlement_template_issue_after_reset_required", message, f"{path}.issueAfterReset")


def _discount_issues(card: RateCard, path: str) -> Iterator[Issue]:
    percentage, usage = card.discounts.percentage, card.discounts.usage
    if card.price is None and card.discounts != Discounts():
        yield Issue("", "a free rate card has nothing to discount", path)
    if percentage is not None and not 0 <= percentage.percentage <= _FULL_PERCENTAGE:
        message = "the percentage must be from 0 to 100"
        yield Issue("percentage_discount_invalid_value", message, f"{path}.percentage.percentage")
    if usage is not None and usage.quantity < 0:
        message = "the quantity of a usage discount must not be negative"
        yield warning("usage_discount_negative_quantity", message, f"{path}.usage.quantity")
    if usage is not None and isinstance(card.price, FlatPrice):
        yield warning("usage_discount_with_flat_price", "a flat price has no usage to discount", None)


def _conversion_issues(card: RateCard, path: str) -> Iterator[Issue]:
    if card.unit_conversion is None:
        return
    if card.unit_conversion.conversion_factor <= 0:
        yield Issue("", "the conversion factor must be positive", path)
    if not isinstance(card.price, UnitPrice | TieredPrice):
        message = "unit conversion needs a unit price or a tiered price"
        yield warning("unit_config_requires_usage_based_price", message, path)


def _cadence_issues(card: RateCard, path: str) -> Iterator[Issue]:
    cadence = effective_cadence(card)
    if cadence is None:
        return
    if not cadence.is_positive():
        yield warning("billing_cadence_invalid_value", "the billing cadence must be positive", path)
    if not at_least_an_hour(cadence):
        yield warning("billing_cadence_invalid_value", "the billing cadence must be at least an hour", path)


def effective_cadence(card: RateCard) -> Duration | None:
    """Return the card's cadence; a missing one of a price by usage counts as zero, which no rule accepts."""
    if card.billing_cadence is None and card.kind == "usage_based":
        return Duration()
    return card.billing_cadence
