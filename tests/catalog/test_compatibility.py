"""Which add-ons go with a plan (catalog section 5.1, catalog-extras section 3.5), and which can be published (4)."""

from decimal import Decimal
from typing import Any

import pytest

from meterhouse.catalog.addons import Addon, InstanceType, addon_issues
from meterhouse.catalog.addons.validation import publish_issues
from meterhouse.catalog.planaddons import compatibility
from meterhouse.catalog.plans import Plan
from meterhouse.catalog.plans.validation import cost_basis_issues, plan_issues
from meterhouse.catalog.prices import (
    Discounts,
    FlatPrice,
    PaymentTerm,
    PercentageDiscount,
    SettlementMode,
    UnitConversion,
    UnitPrice,
)
from meterhouse.catalog.ratecards import (
    BooleanEntitlementTemplate,
    MeteredEntitlementTemplate,
    RateCard,
    StaticEntitlementTemplate,
)
from meterhouse.kernel.clock import now
from meterhouse.kernel.errors import Severity
from tests.catalog.builders import addon, assignment, flat_card, period, phase, plan, unit_card

TEN = Decimal(10)
ARREARS = FlatPrice(amount=TEN, payment_term=PaymentTerm.IN_ARREARS)
HALF = Discounts(percentage=PercentageDiscount(percentage=Decimal(50)))
KILO = UnitConversion(operation="divide", conversion_factor=Decimal(1000))
MEGA = UnitConversion(operation="divide", conversion_factor=Decimal(1000000))
STATIC = StaticEntitlementTemplate(config="{}")
CUSTOM = {"CREDITS", "POINTS"}


def codes(sold: Plan, given: Addon, phase_key: str = "main", quantity: int | None = None) -> list[str]:
    """Return the codes of what stands against an assignment; no custom currency is worth anything."""
    found = compatibility.issues(sold, assignment(given, phase_key, quantity), now(), ())
    assert all(issue.severity is Severity.WARNING for issue in found)
    return [issue.code for issue in found]


def two_phases(*, trial: RateCard, main: RateCard) -> Plan:
    """Make a plan of two phases with a card each."""
    return plan(phase(trial, key="trial", duration="P1M"), phase(main))


BASE = plan(phase(key="trial", duration="P1M"), phase(flat_card(), unit_card()))


@pytest.mark.parametrize(
    ("given", "phase_key", "quantity", "expected"),
    [
        pytest.param(addon(flat_card("support")), "main", None, [], id="A1"),
        pytest.param(
            addon(flat_card("support"), instance_type=InstanceType.SINGLE),
            "main",
            3,
            ["plan_addon_max_quantity_must_not_be_set"],
            id="A2",
        ),
        pytest.param(addon(flat_card("support")), "main", 0, ["plan_addon_max_quantity_must_be_set"], id="A3"),
        pytest.param(addon(flat_card("support")), "main", 3, [], id="a maximum"),
        pytest.param(addon(flat_card(price=ARREARS)), "main", None, ["rate_card_price_payment_term_mismatch"], id="A4"),
        pytest.param(addon(unit_card()), "main", None, ["rate_card_only_flat_price_allowed"], id="A5"),
        pytest.param(
            addon(unit_card(price=FlatPrice(amount=TEN))),
            "main",
            None,
            ["rate_card_price_type_mismatch", "rate_card_only_flat_price_allowed"],
            id="A6",
        ),
        pytest.param(
            addon(flat_card(price=UnitPrice(amount=TEN))),
            "main",
            None,
            ["rate_card_price_type_mismatch", "rate_card_price_payment_term_mismatch"],
            id="A6b",
        ),
        pytest.param(addon(flat_card("support")), "gold", None, ["plan_addon_unknown_plan_phase_key"], id="A8"),
        pytest.param(
            addon(unit_card()), "gold", None, ["plan_addon_unknown_plan_phase_key"], id="unknown phase, no comparison"
        ),
        pytest.param(
            addon(flat_card("support", "P1W", price=None), flat_card("other", "P1W")),
            "main",
            None,
            ["rate_card_billing_cadence_unaligned"],
            id="A10",
        ),
        pytest.param(
            addon(flat_card("support"), effective_from=None),
            "main",
            None,
            ["plan_addon_incompatible_status"],
            id="draft",
        ),
        pytest.param(
            addon(flat_card("support"), effective_to=now()),
            "main",
            None,
            ["plan_addon_incompatible_status"],
            id="archived",
        ),
    ],
)
def test_an_assignment(given: Addon, phase_key: str, quantity: int | None, expected: list[str]) -> None:
    assert codes(BASE, given, phase_key, quantity) == expected


def test_only_phases_from_the_first_on_are_compared() -> None:
    sold = two_phases(trial=flat_card(price=ARREARS), main=flat_card())
    assert codes(sold, addon(flat_card()), "main") == []
    assert codes(sold, addon(flat_card()), "trial") == ["rate_card_price_payment_term_mismatch"]
    (issue,) = compatibility.issues(sold, assignment(addon(flat_card()), "trial"), now(), ())
    assert issue.field == "$.plan.phases[?(@.key=='trial')].rateCards[?(@.key=='seats')].price.paymentTerm"


def test_an_archived_plan_takes_no_addons() -> None:
    archived = plan(phase(flat_card()), effective_from=now(), effective_to=now())
    (issue,) = compatibility.issues(archived, assignment(addon(flat_card("support"))), now(), ())
    assert (issue.code, issue.field) == ("plan_addon_incompatible_status", "$.plan.status")


def metered(usage_period: str) -> MeteredEntitlementTemplate:
    """Make a limited access."""
    return MeteredEntitlementTemplate(issue_after_reset=TEN, usage_period=period(usage_period))


@pytest.mark.parametrize(
    ("base", "overlay", "expected"),
    [
        (
            {"entitlement_template": STATIC},
            {"entitlement_template": STATIC},
            ["static_entitlement_template_not_allowed"],
        ),
        (
            {"entitlement_template": BooleanEntitlementTemplate()},
            {"entitlement_template": STATIC},
            ["entitlement_template_type_mismatch"],
        ),
        (
            {"entitlement_template": metered("P1M")},
            {"entitlement_template": metered("P1W")},
            ["metered_entitlement_template_usage_period_mismatch"],
        ),
        ({"entitlement_template": metered("P1M")}, {"entitlement_template": metered("P1M")}, []),
        (
            {"entitlement_template": BooleanEntitlementTemplate()},
            {"entitlement_template": BooleanEntitlementTemplate()},
            [],
        ),
        ({"entitlement_template": STATIC}, {}, []),
        ({"cadence": "P12M"}, {"cadence": "P1Y"}, ["billing_cadence_mismatch"]),
        ({"cadence": None}, {"cadence": "P1M"}, []),
        ({"feature_key": "a"}, {"feature_key": "b"}, ["feature_key_mismatch"]),
        ({"feature_id": "a"}, {"feature_id": "b"}, ["feature_id_mismatch"]),
        ({"feature_key": "a"}, {}, []),
        ({"discounts": HALF}, {"discounts": HALF}, ["percentage_discount_not_allowed"]),
        ({"discounts": HALF}, {}, []),
        ({"unit_conversion": KILO}, {"unit_conversion": KILO}, []),
        ({"unit_conversion": KILO}, {}, []),
        ({"price": None}, {"price": UnitPrice(amount=TEN)}, []),
        ({"price": UnitPrice(amount=TEN)}, {"price": None}, []),
    ],
)
def test_cards_of_one_key_do_not_contradict_each_other(
    base: dict[str, Any], overlay: dict[str, Any], expected: list[str]
) -> None:
    sold, given = plan(phase(flat_card(**base))), addon(flat_card(**overlay))
    assert codes(sold, given) == [f"rate_card_{code}" for code in expected]


def test_unit_conversions_are_equal() -> None:
    sold, given = plan(phase(flat_card(unit_conversion=KILO))), addon(flat_card(unit_conversion=MEGA))
    assert codes(sold, given) == ["addon_rate_card_unit_config_mismatch"]


@pytest.mark.parametrize(
    ("currency", "given", "worth", "expected"),
    [
        ("USD", addon(flat_card("support")), (), []),
        ("USD", addon(flat_card("support"), currency="EUR"), (), ["plan_multiple_fiat_currencies"]),
        ("USD", addon(flat_card("support", currency="EUR")), (), ["plan_multiple_fiat_currencies"]),
        ("USD", addon(flat_card("support", price=None), currency="EUR"), (), ["plan_multiple_fiat_currencies"]),
        ("USD", addon(flat_card("support"), currency="CREDITS"), {"CREDITS"}, []),
        ("USD", addon(flat_card("support", currency="CREDITS")), {"CREDITS"}, []),
        ("USD", addon(flat_card("support", currency="CREDITS")), (), ["currency_cost_basis_not_found"]),
        ("USD", addon(flat_card("support"), currency="CREDITS"), (), ["currency_cost_basis_not_found"]),
        ("CREDITS", addon(flat_card("support"), currency="CREDITS"), (), []),
        ("CREDITS", addon(flat_card("support"), currency="POINTS"), (), ["rate_card_currency_override_not_allowed"]),
        ("CREDITS", addon(flat_card("support")), (), ["rate_card_currency_override_not_allowed"]),
        ("USD", addon(flat_card(currency="CREDITS")), {"CREDITS"}, ["plan_addon_currency_mismatch"]),
        ("USD", addon(flat_card(price=None), currency="CREDITS"), (), []),
    ],
)
def test_currencies_that_a_plan_can_have(currency: str, given: Addon, worth: set[str], expected: list[str]) -> None:
    sold = plan(phase(flat_card()), currency=currency)
    found = compatibility.currency_issues(sold, assignment(given), worth)
    assert [issue.code for issue in found] == expected


def test_every_phase_keeps_the_currency_of_its_price() -> None:
    credits, dollars = flat_card(currency="CREDITS"), flat_card()
    sold = plan(phase(credits, key="trial", duration="P1M"), phase(dollars))

    def found(given: Addon, start: str) -> list[str]:
        asked = assignment(given, from_plan_phase=start)
        return [issue.code for issue in compatibility.currency_issues(sold, asked, {"CREDITS"})]

    for given in (addon(dollars), addon(credits)):
        assert found(given, "trial") == ["plan_addon_currency_mismatch"]
    assert found(addon(dollars), "main") == []
    assert found(addon(credits), "main") == ["plan_addon_currency_mismatch"]


@pytest.mark.parametrize(
    ("default", "override", "worth", "mode", "expected"),
    [
        pytest.param("USD", "CREDITS", {"CREDITS"}, "credit_then_invoice", [], id="K1"),
        pytest.param("USD", "CREDITS", (), "credit_then_invoice", ["currency_cost_basis_not_found"], id="K2, K3"),
        pytest.param("USD", "CREDITS", (), "credit_only", [], id="K4"),
        pytest.param("CREDITS", "POINTS", (), "credit_only", ["rate_card_currency_override_not_allowed"], id="K5"),
        pytest.param("USD", "EUR", (), "credit_then_invoice", ["plan_multiple_fiat_currencies"], id="K6"),
        pytest.param("EUR", "EUR", (), "credit_then_invoice", ["rate_card_currency_override_redundant"], id="K7"),
        pytest.param("USD", "TOKENS", {"TOKENS"}, "credit_then_invoice", ["currency_not_found"], id="unknown"),
        pytest.param("CREDITS", None, (), "credit_then_invoice", [], id="custom default"),
    ],
)
def test_currencies_of_rate_cards(
    default: str, override: str | None, worth: set[str], mode: str, expected: list[str]
) -> None:
    sold = plan(phase(flat_card(currency=override)), currency=default, settlement_mode=SettlementMode(mode))
    found = [*plan_issues(sold, CUSTOM), *cost_basis_issues(sold, worth)]
    assert [issue.code for issue in found] == expected


@pytest.mark.parametrize(
    ("given", "saved", "published"),
    [
        (addon(flat_card("support")), [], []),
        (addon(), ["addon_has_no_rate_cards"], []),
        (addon(flat_card("support"), name=""), ["addon_name_empty"], []),
        (addon(flat_card("support"), key=""), ["addon_key_empty"], []),
        (addon(flat_card("support"), currency="XXZ"), ["currency_invalid"], []),
        (addon(flat_card("a"), flat_card("a")), ["rate_card_duplicated_key"], []),
        (addon(flat_card("a"), flat_card("b", "P1Y")), [], ["rate_card_multiple_billing_cadence"]),
        (addon(flat_card("a", "P12M"), flat_card("b", "P1Y")), [], []),
        (addon(flat_card("a", "PT60M"), flat_card("b", "PT1H"), flat_card("c", "PT3600S")), [], []),
        (addon(flat_card("a", "P1D"), flat_card("b", "PT24H")), [], ["rate_card_multiple_billing_cadence"]),
        (addon(flat_card("a"), flat_card("b", None), flat_card("c", "P1Y", price=None)), [], []),
        (addon(unit_card("a"), unit_card("b")), [], ["addon_invalid_ratecard_price_for_multi_instance"]),
        (addon(unit_card("a"), instance_type=InstanceType.SINGLE), [], []),
        (addon(flat_card("a", currency="EUR")), ["plan_multiple_fiat_currencies"], []),
        (addon(flat_card("a", currency="CREDITS")), [], []),
    ],
)
def test_an_addon_by_itself(given: Addon, saved: list[str], published: list[str]) -> None:
    assert [issue.code for issue in addon_issues(given, CUSTOM)] == saved
    assert [issue.code for issue in publish_issues(given)] == published


def test_places_in_an_addon() -> None:
    (issue,) = addon_issues(addon(unit_card(feature_key=None)))
    assert issue.field == "$.ratecards[?(@.key=='api_calls')].featureKey"
    fields = [issue.field for issue in publish_issues(addon(unit_card(), flat_card("b", "P1Y")))]
    assert fields == ["$.ratecards[*].billingCadence", "$.ratecards[?(@.key=='api_calls')].price"]
