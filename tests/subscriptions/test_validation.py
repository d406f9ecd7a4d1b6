"""What a schedule may not be (subscriptions section 3)."""

from dataclasses import replace
from decimal import Decimal

import pytest

from meterhouse.catalog.prices import Discounts, PercentageDiscount
from meterhouse.catalog.ratecards import MeteredEntitlementTemplate
from meterhouse.kernel.errors import Issue
from meterhouse.subscriptions.spec import ItemSpec, SubscriptionSpec, from_plan
from meterhouse.subscriptions.validation import alignment_issues, feature_issues, schedule_issues
from tests.catalog.builders import flat_card, period, phase, plan, unit_card
from tests.subscriptions.conftest import at

START = at("2025-03-10T08")
TRIAL = "$.phases[?(@.key=='trial')].itemsByKey"


def spec(*cards, versions: dict[str, tuple[ItemSpec, ...]] | None = None) -> SubscriptionSpec:  # type: ignore[no-untyped-def]
    laid_out = from_plan(plan(phase(*cards, key="trial")), active_from=START, billing_anchor=START)
    if versions is None:
        return laid_out
    return replace(laid_out, phases=(replace(laid_out.phases[0], items=versions),))


def codes(issues: list[Issue]) -> list[tuple[str, str | None]]:
    return [(issue.code, issue.field) for issue in issues]


def item(card=None, start: str | None = None, end: str | None = None) -> ItemSpec:  # type: ignore[no-untyped-def]
    card = card or flat_card(currency="USD")
    return ItemSpec("seats", card, period(start) if start else None, period(end) if end else None)


def test_a_sound_schedule_has_no_issues() -> None:
    assert schedule_issues(spec(flat_card(), unit_card())) == []
    parts = {"seats": (item(end="PT100S"), item(start="PT100S"))}
    assert schedule_issues(spec(versions=parts)) == []


def test_a_phase_needs_items() -> None:
    assert codes(schedule_issues(spec(versions={}))) == [("subscription_phase_has_no_items", TRIAL)]


def test_versions_must_not_overlap() -> None:
    issues = schedule_issues(spec(versions={"seats": (item(end="PT101S"), item(start="PT100S"))}))
    assert codes(issues) == [
        ("subscription_item_history_overlap", f"{TRIAL}.seats[0]"),
        ("subscription_item_history_overlap", f"{TRIAL}.seats[1]"),
    ]


def test_keys_of_an_item_agree() -> None:
    issues = schedule_issues(spec(versions={"other": (item(),)}))
    assert codes(issues) == [("subscription_item_history_key_mismatch", f"{TRIAL}.other[0].key")]


def test_overrides_are_not_negative() -> None:
    issues = schedule_issues(spec(versions={"seats": (item(start="-PT1S", end="-PT1S"),)}))
    assert codes(issues) == [
        ("subscription_item_active_from_override_is_negative", f"{TRIAL}.seats[0].activeFromOverride"),
        ("subscription_item_active_to_override_is_negative", f"{TRIAL}.seats[0].activeToOverride"),
    ]


def test_rules_of_the_catalog_block_with_paths_of_the_schedule() -> None:
    wrong = flat_card(discounts=Discounts(percentage=PercentageDiscount(percentage="101")))
    issues = schedule_issues(spec(wrong))
    assert [issue.code for issue in issues] == ["percentage_discount_invalid_value"]
    assert issues[0].field == f"{TRIAL}.seats[0].discounts.percentage.percentage"
    assert issues[0].component == "rateCard"


def test_currency_follows_the_price() -> None:
    free = item(flat_card(price=None, currency="USD"))
    assert codes(schedule_issues(spec(versions={"seats": (free,)}))) == [
        ("rate_card_currency_requires_price", f"{TRIAL}.seats[0].currency")
    ]
    foreign = item(flat_card(currency="EUR"))
    assert codes(schedule_issues(spec(versions={"seats": (foreign,)}))) == [
        ("plan_multiple_fiat_currencies", f"{TRIAL}.seats[0].currency")
    ]


def test_cadences_of_priced_items_align_in_both_directions() -> None:
    assert alignment_issues(spec(flat_card(cadence="P1Y"), unit_card(cadence="P1D"))) == []
    assert alignment_issues(spec(flat_card(cadence=None))) == []
    assert alignment_issues(spec(flat_card(cadence="P1W", price=None))) == []
    assert codes(alignment_issues(spec(flat_card(cadence="P1W")))) == [
        ("rate_card_billing_cadence_unaligned", f"{TRIAL}.seats[0].billingCadence")
    ]


def test_a_feature_that_is_not_there_blocks() -> None:
    assert codes(feature_issues(spec(unit_card()), {})) == [
        ("rate_card_feature_not_found", f"{TRIAL}.api_calls[0].featureKey")
    ]


def test_cadences_stay_inside_the_calendar() -> None:
    assert schedule_issues(spec(flat_card(cadence="P100Y"))) == []
    assert codes(schedule_issues(spec(flat_card(cadence="P9999Y")))) == [
        ("billing_cadence_invalid_value", f"{TRIAL}.seats[0].billingCadence")
    ]


@pytest.mark.parametrize(
    ("amount", "refused"),
    [("9" * 38, False), ("1" + "0" * 38, True), ("0." + "0" * 37 + "1", False), ("1." + "0" * 37 + "1", True)],
)
def test_an_issued_amount_can_be_shown(amount: str, refused: bool) -> None:
    template = MeteredEntitlementTemplate(issue_after_reset=Decimal(amount), usage_period=period("P1M"))
    field = f"{TRIAL}.api_calls[0].entitlementTemplate.issueAfterReset"
    assert codes(schedule_issues(spec(unit_card(entitlement_template=template)))) == [("", field)] * refused
