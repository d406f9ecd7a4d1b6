"""Rules of prices, rate cards and plans (catalog sections 3.5, 3.6, 6 and 7)."""

from decimal import Decimal
from typing import Any

import pytest

from meterhouse.catalog.addons import addon_issues
from meterhouse.catalog.cardrules import at_least_an_hour, completed, rate_card_issues
from meterhouse.catalog.plans import plan_issues
from meterhouse.catalog.pricerules import price_issues
from meterhouse.catalog.prices import (
    Discounts,
    DynamicPrice,
    FlatPrice,
    PackagePrice,
    PercentageDiscount,
    Price,
    Tier,
    TieredPrice,
    TierMode,
    UnitConversion,
    UnitPrice,
    UsageDiscount,
)
from meterhouse.catalog.ratecards import (
    BooleanEntitlementTemplate,
    MeteredEntitlementTemplate,
    RateCard,
    StaticEntitlementTemplate,
)
from meterhouse.kernel.errors import Issue, Severity
from tests.catalog.builders import addon, flat_card, period, phase, plan, unit_card

ONE = Decimal(1)
CARD = "$.phases[?(@.key=='main')].ratecards[?(@.key=='api_calls')]"


def codes(issues: list[Issue]) -> list[str]:
    """Return the codes in order."""
    return [issue.code for issue in issues]


def tiers(*steps: Tier) -> TieredPrice:
    """Make a graduated price."""
    return TieredPrice(mode=TierMode.GRADUATED, tiers=steps)


@pytest.mark.parametrize(
    ("price", "message"),
    [
        (FlatPrice(amount=-ONE), "must not be negative"),
        (UnitPrice(amount=-ONE), "must not be negative"),
        (UnitPrice(amount=ONE, minimum_amount=-ONE), "must not be negative"),
        (UnitPrice(amount=ONE, maximum_amount=-ONE), "must not be negative"),
        (UnitPrice(amount=ONE, minimum_amount=Decimal(3), maximum_amount=Decimal(2)), "must not be greater"),
        (DynamicPrice(multiplier=-ONE), "must not be negative"),
        (PackagePrice(amount=-ONE, quantity_per_package=ONE), "must not be negative"),
        (PackagePrice(amount=ONE, quantity_per_package=Decimal(0)), "must be positive"),
        (tiers(), "at least one tier"),
        (tiers(Tier(up_to=ONE, unit_amount=ONE)), "exactly one open-ended tier"),
        (tiers(Tier(unit_amount=ONE), Tier(unit_amount=ONE)), "exactly one open-ended tier"),
        (
            tiers(Tier(up_to=ONE, unit_amount=ONE), Tier(up_to=ONE, unit_amount=ONE), Tier(unit_amount=ONE)),
            "same upper",
        ),
        (tiers(Tier()), "a flat price or a unit price"),
        (tiers(Tier(up_to=-ONE, unit_amount=ONE), Tier(unit_amount=ONE)), "must not be negative"),
        (tiers(Tier(up_to=Decimal(0), unit_amount=ONE), Tier(unit_amount=ONE)), "must be positive"),
        (tiers(Tier(flat_amount=-ONE)), "must not be negative"),
        (tiers(Tier(unit_amount=-ONE)), "must not be negative"),
    ],
)
def test_a_price_without_sense_is_critical(price: Price, message: str) -> None:
    (issue,) = price_issues(price, "$.price")
    assert (issue.code, issue.field, issue.severity) == ("", "$.price", Severity.CRITICAL)
    assert message in issue.message


@pytest.mark.parametrize(
    "price",
    [
        FlatPrice(amount=Decimal(0)),
        UnitPrice(amount=ONE, minimum_amount=Decimal(5), maximum_amount=Decimal(0)),
        DynamicPrice(multiplier=Decimal(0)),
        tiers(Tier(unit_amount=ONE), Tier(up_to=Decimal(100), flat_amount=Decimal(5), unit_amount=ONE)),
    ],
)
def test_zero_unsorted_tiers_and_an_unset_bound_are_fine(price: Price) -> None:
    assert price_issues(price, "$.price") == []


@pytest.mark.parametrize(
    ("text", "long_enough"),
    [("PT59M", False), ("PT60M", True), ("PT90M", True), ("P1D", True), ("PT0S", False), ("-P1D", False)],
)
def test_an_hour_is_told_field_by_field(text: str, long_enough: bool) -> None:
    assert at_least_an_hour(period(text)) is long_enough


@pytest.mark.parametrize(
    ("plan_cadence", "card_cadence", "aligned"),
    [
        ("P1M", "P1M", True),
        ("P1M", "P3M", True),
        ("P1M", "P1D", True),
        ("P1M", "P1W", False),
        ("P4W", "P1M", False),
        ("P4W", "P2W", True),
        ("P6M", "P4M", False),
        ("P12M", "P1Y", True),
        ("P1M", "PT24H", False),
        ("P1M", "PT1H", True),
        ("P1W", "P7D", True),
        ("P1Y", "P1W", False),
        ("P3M", "P2M", False),
        ("P1M", "P30D", False),
    ],
)
def test_a_priced_cadence_aligns_with_the_plans(plan_cadence: str, card_cadence: str, aligned: bool) -> None:
    found = plan_issues(plan(phase(flat_card(cadence=card_cadence)), cadence=plan_cadence))
    assert codes(found) == ([] if aligned else ["rate_card_billing_cadence_unaligned"])
    free = plan(phase(flat_card(cadence=card_cadence, price=None)), cadence=plan_cadence)
    assert plan_issues(free) == []


@pytest.mark.parametrize("cadence", ["P7D", "P30D", "P2M"])
def test_the_plans_cadence_is_one_of_a_literal_list(cadence: str) -> None:
    (issue,) = plan_issues(plan(phase(flat_card(cadence=None)), cadence=cadence))
    assert (issue.code, issue.field) == ("plan_billing_cadence_invalid", "$.billingCadence")
    assert issue.severity is Severity.CRITICAL


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"feature_key": None}, ["usage_based_price_with_no_feature"]),
        ({"feature_key": "other"}, ["rate_card_key_feature_key_mismatch"]),
        (
            {"feature_key": None, "price": None, "entitlement_template": BooleanEntitlementTemplate()},
            ["entitlement_template_with_no_feature"],
        ),
        ({"entitlement_template": StaticEntitlementTemplate(config='{"seats": 3}')}, []),
        (
            {"entitlement_template": StaticEntitlementTemplate(config="{seats: 3}")},
            ["entitlement_template_invalid_json_config"],
        ),
        (
            {"entitlement_template": StaticEntitlementTemplate(config="[" * 100_000)},
            ["entitlement_template_invalid_json_config"],
        ),
        ({"entitlement_template": MeteredEntitlementTemplate()}, ["entitlement_template_issue_after_reset_required"]),
        (
            {"entitlement_template": MeteredEntitlementTemplate(issue_after_reset_priority=1, usage_period="PT0S")},
            [
                "entitlement_template_invalid_issue_after_reset_with_priority",
                "entitlement_template_negative_usage_period",
                "entitlement_template_usage_period_less_then_an_hour",
                "entitlement_template_issue_after_reset_required",
            ],
        ),
        (
            {"discounts": Discounts(percentage=PercentageDiscount(percentage=Decimal("100.1")))},
            ["percentage_discount_invalid_value"],
        ),
        ({"discounts": Discounts(percentage=PercentageDiscount(percentage=Decimal(100)))}, []),
        ({"discounts": Discounts(usage=UsageDiscount(quantity=-ONE))}, ["usage_discount_negative_quantity"]),
        (
            {"price": FlatPrice(amount=ONE), "discounts": Discounts(usage=UsageDiscount(quantity=ONE))},
            ["usage_discount_with_flat_price"],
        ),
        ({"price": None, "discounts": Discounts(usage=UsageDiscount(quantity=ONE))}, [""]),
        (
            {
                "price": FlatPrice(amount=ONE),
                "unit_conversion": UnitConversion(operation="divide", conversion_factor=ONE),
            },
            ["unit_config_requires_usage_based_price"],
        ),
        ({"unit_conversion": UnitConversion(operation="divide", conversion_factor=Decimal(0))}, [""]),
        ({"kind": "flat_fee"}, [""]),
        *(
            (
                {"entitlement_template": StaticEntitlementTemplate(config=config)},
                ["entitlement_template_invalid_json_config"],
            )
            for config in (r'"\u0000"', r'[{"a": ["b\u0000"]}]', r'{"\u0000": 1}')
        ),
        ({"entitlement_template": StaticEntitlementTemplate(config=r'["\\u0000"]')}, []),
        (
            {"entitlement_template": StaticEntitlementTemplate(config="[" * 101 + "]" * 101)},
            ["entitlement_template_invalid_json_config"],
        ),
        *(
            (
                {"entitlement_template": MeteredEntitlementTemplate(issue_after_reset=ONE, usage_period=period(text))},
                found,
            )
            for text, found in (("PT61M", []), ("PT3660S", []), ("PT3601S", [""]), ("PT1H0.5S", [""]))
        ),
        ({"cadence": "PT0S"}, ["billing_cadence_invalid_value", "billing_cadence_invalid_value"]),
        ({"cadence": "PT30M"}, ["billing_cadence_invalid_value"]),
        ({"cadence": None}, ["billing_cadence_invalid_value", "billing_cadence_invalid_value"]),
    ],
)
def test_a_card_by_itself(members: dict[str, Any], expected: list[str]) -> None:
    assert codes(rate_card_issues(completed(unit_card(**members)), CARD)) == expected


def test_a_template_takes_the_cadence_as_its_usage_period() -> None:
    template = MeteredEntitlementTemplate(issue_after_reset=ONE)
    card = completed(unit_card(entitlement_template=template))
    assert isinstance(card.entitlement_template, MeteredEntitlementTemplate)
    assert card.entitlement_template.usage_period == period("P1M")
    one_time = flat_card("api_calls", None, feature_key="api_calls", entitlement_template=template)
    (issue,) = rate_card_issues(completed(one_time), CARD)
    assert (issue.code, issue.field) == ("", f"{CARD}.entitlementTemplate.usagePeriod")


def test_fields_name_the_place() -> None:
    trial = phase(unit_card(feature_key=None), key="trial", duration="P1M")
    main = phase(flat_card(price=FlatPrice(amount=-ONE)), flat_card("support", "P1W"))
    assert [(issue.code, issue.field) for issue in plan_issues(plan(trial, main))] == [
        (
            "usage_based_price_with_no_feature",
            "$.phases[?(@.key=='trial')].ratecards[?(@.key=='api_calls')].featureKey",
        ),
        ("", "$.phases[?(@.key=='main')].ratecards[?(@.key=='seats')].price"),
        (
            "rate_card_billing_cadence_unaligned",
            "$.phases[?(@.key=='main')].rateCards[?(@.key=='support')].billingCadence",
        ),
    ]


def test_the_issues_of_a_card_stand_in_a_fixed_order() -> None:
    card = unit_card(
        feature_key="other",
        cadence="PT30M",
        price=UnitPrice(amount=-ONE),
        currency="USD",
        discounts=Discounts(usage=UsageDiscount(quantity=-ONE)),
        unit_conversion=UnitConversion(operation="divide", conversion_factor=Decimal(0)),
        entitlement_template=MeteredEntitlementTemplate(usage_period=period("PT30M")),
    )
    of_card = [
        "entitlement_template_usage_period_less_then_an_hour",
        "entitlement_template_issue_after_reset_required",
        "",
        "rate_card_currency_override_redundant",
        "rate_card_key_feature_key_mismatch",
        "usage_discount_negative_quantity",
        "",
        "billing_cadence_invalid_value",
    ]
    found = plan_issues(plan(phase(card, unit_card("b", currency="EUR"))))
    assert codes(found) == [*of_card, "plan_multiple_fiat_currencies"]
    assert codes(addon_issues(addon(card, unit_card("b", currency="EUR")))) == codes(found)
    assert found[3].field == "$.phases[?(@.key=='main')].rateCards[?(@.key=='api_calls')].currency"


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        ([], ["plan_with_no_phases"]),
        ([phase()], ["plan_phase_has_no_rate_cards"]),
        ([phase(flat_card(), duration="P1M")], ["plan_has_last_phase_with_duration"]),
        ([phase(flat_card(), key="a"), phase(flat_card())], ["plan_has_non_last_phase_with_no_duration"]),
        ([phase(flat_card(), duration="P1M"), phase(flat_card())], ["plan_phase_duplicated_key"]),
        (
            [phase(flat_card(), key="a", duration="-P1D"), phase(flat_card())],
            ["plan_phase_with_negative_duration", "plan_phase_duration_less_then_an_hour"],
        ),
        (
            [phase(flat_card(), key="a", duration="PT59M"), phase(flat_card())],
            ["plan_phase_duration_less_then_an_hour"],
        ),
        ([phase(flat_card(), flat_card())], ["rate_card_duplicated_key"]),
        ([phase(flat_card(currency="USD"))], ["rate_card_currency_override_redundant"]),
        ([phase(flat_card(currency="EUR"))], ["plan_multiple_fiat_currencies"]),
        ([phase(flat_card(currency="EUR", price=None))], ["rate_card_currency_requires_price"]),
        ([phase(flat_card(currency="XYZ"))], ["currency_invalid"]),
        ([phase(flat_card(currency="CREDITS"))], ["currency_not_found"]),
    ],
)
def test_phases_and_currencies(phases: list[Any], expected: list[str]) -> None:
    assert codes(plan_issues(plan(*phases))) == expected


@pytest.mark.parametrize(("code", "expected"), [("XYZ", "currency_invalid"), ("CREDITS", "currency_not_found")])
def test_the_plans_currency_exists(code: str, expected: str) -> None:
    (issue,) = plan_issues(plan(phase(flat_card()), currency=code))
    assert (issue.code, issue.field) == (expected, "$.currency")


def test_a_discount_on_a_flat_price_has_no_place_of_its_own() -> None:
    card: RateCard = flat_card(discounts=Discounts(usage=UsageDiscount(quantity=ONE)))
    (issue,) = rate_card_issues(card, CARD)
    assert issue.field is None
