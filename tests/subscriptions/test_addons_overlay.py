"""Add-ons laid over a schedule: the pure part (subscriptions sections 12.1 to 12.4)."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse.catalog.prices import (
    Discounts,
    FlatPrice,
    PaymentTerm,
    PercentageDiscount,
    Price,
    UnitConversion,
    UnitPrice,
    UsageDiscount,
)
from meterhouse.catalog.ratecards import (
    BooleanEntitlementTemplate,
    EntitlementTemplate,
    MeteredEntitlementTemplate,
    RateCard,
    StaticEntitlementTemplate,
)
from meterhouse.kernel.money import total
from meterhouse.subscriptions.addons import baseline
from meterhouse.subscriptions.addons.instances import Instance, QuantityChange, instances, quantity_at
from meterhouse.subscriptions.addons.merging import Unmergeable, merged
from meterhouse.subscriptions.addons.overlay import Layer, overlay
from meterhouse.subscriptions.spec import BOOLEAN_COUNT, OWNER, ItemSpec, SubscriptionSpec, from_plan
from meterhouse.subscriptions.timeline import item_interval, phase_ends
from meterhouse.subscriptions.validation import InvalidSchedule, schedule_issues
from tests.catalog.builders import flat_card, period, phase, plan, unit_card
from tests.subscriptions.conftest import at

START = at("2025-04-01")
DAYS = ("2025-04-10", "2025-04-20", "2025-05-05")


def layer(*cards: RateCard, rows: Sequence[tuple[str, int]] = tuple(zip(DAYS, (1, 3, 0), strict=True))) -> Layer:
    priced = tuple(card.model_copy(update={"currency": "USD"}) if card.price else card for card in cards)
    return Layer(priced, instances(QuantityChange(at(day), quantity) for day, quantity in rows))


def sold(*cards: RateCard) -> SubscriptionSpec:
    return from_plan(plan(phase(*cards)), active_from=START, billing_anchor=START)


def flat(amount: str, term: PaymentTerm = PaymentTerm.IN_ADVANCE) -> FlatPrice:
    return FlatPrice(amount=Decimal(amount), payment_term=term)


def limit(issued: str | None, **members: Any) -> MeteredEntitlementTemplate:
    return MeteredEntitlementTemplate(
        issue_after_reset=None if issued is None else Decimal(issued), usage_period=period("P1M"), **members
    )


def free_units(quantity: str) -> Discounts:
    return Discounts(usage=UsageDiscount(quantity=Decimal(quantity)))


def timeline(spec: SubscriptionSpec, key: str) -> list[tuple[datetime, datetime | None, ItemSpec]]:
    """Return the versions of an item in all phases with the time that each covers."""
    ends = phase_ends([one.active_from for one in spec.phases], None)
    return [
        (*item_interval(one.active_from, end, item.active_from_override, item.active_to_override), item)
        for one, end in zip(spec.phases, ends, strict=True)
        for item in one.items.get(key, ())
    ]


def test_quantities_in_time() -> None:
    found = instances(QuantityChange(at(day), quantity) for day, quantity in zip(DAYS, (1, 3, 0), strict=True))
    first, second, third = (at(day) for day in DAYS)
    assert found == (Instance(first, second, 1), Instance(second, third, 3), Instance(third, None, 0))
    asked = ("2025-04-09", *DAYS, "2026-01-01")
    assert [quantity_at(found, at(day)) for day in asked] == [0, 1, 3, 0, 0]
    # Made later for an earlier instant it counts until the next row; for the same instant it takes the place.
    late = instances([QuantityChange(third, 2), QuantityChange(first, 5), QuantityChange(third, 7)])
    assert late == (Instance(first, third, 5), Instance(third, third, 2), Instance(third, None, 7))
    assert quantity_at(late, third) == 7


def amount(item: ItemSpec) -> str | None:
    price = item.rate_card.price
    return None if price is None else str(price.amount)  # type: ignore[union-attr]


def issued(item: ItemSpec) -> str | None:
    template = item.rate_card.entitlement_template
    assert isinstance(template, MeteredEntitlementTemplate)
    return None if template.issue_after_reset is None else str(template.issue_after_reset)


def count(item: ItemSpec) -> Any:
    assert isinstance(item.rate_card.entitlement_template, BooleanEntitlementTemplate)
    return item.annotations[BOOLEAN_COUNT]


def free(item: ItemSpec) -> str:
    usage = item.rate_card.discounts.usage
    assert usage is not None
    return str(usage.quantity)


def card(price: Price | None = None, template: EntitlementTemplate | None = None, **members: Any) -> RateCard:
    return unit_card(price=price, entitlement_template=template, **members)


@pytest.mark.parametrize(
    ("base", "added", "shown", "values"),
    [
        (flat_card(price=flat("100")), flat_card(price=flat("30")), amount, ["100", "130", "190", "100"]),
        (card(template=limit("1000")), card(template=limit("250")), issued, ["1000", "1250", "1750", "1000"]),
        (card(template=limit(None)), card(template=limit("250")), issued, [None, "250", "750", None]),
        (card(template=BooleanEntitlementTemplate()),) * 2 + (count, [1, 2, 4, 1]),
        (
            unit_card(price=UnitPrice(amount=Decimal(2)), discounts=free_units("10")),
            card(discounts=free_units("5")),
            free,
            ["10", "15", "25", "10"],
        ),
    ],
)
def test_an_addon_is_there_as_many_times_as_its_quantity_says(
    base: RateCard, added: RateCard, shown: Callable[[ItemSpec], Any], values: list[Any]
) -> None:
    laid = overlay(sold(base), [layer(added)])
    found = timeline(laid, base.key)
    bounds = [START, *(at(day) for day in DAYS), None]
    assert [(start, end) for start, end, _ in found] == list(pairwise(bounds))
    assert [shown(item) for _, _, item in found] == values
    assert all(item.annotations[OWNER] == ["subscription"] for _, _, item in found)
    assert found[0][2].active_from_override is None
    assert found[-1][2].active_to_override is None


def test_what_the_plan_lacks_becomes_an_item_of_its_own() -> None:
    support = flat_card("support", price=flat("40"))
    badge = card(template=BooleanEntitlementTemplate())
    laid = overlay(sold(flat_card()), [layer(support, badge)])
    assert [(start, end, amount(item)) for start, end, item in timeline(laid, "support")] == [
        (at("2025-04-10"), at("2025-04-20"), "40"),
        (at("2025-04-20"), at("2025-05-05"), "120"),
    ]
    assert [item.annotations for _, _, item in timeline(laid, "api_calls")] == [{BOOLEAN_COUNT: 1}, {BOOLEAN_COUNT: 3}]
    assert {item.rate_card.currency for _, _, item in timeline(laid, "support")} == {"USD"}


def test_a_free_item_takes_the_price_with_what_belongs_to_it() -> None:
    base = flat_card("api_calls", cadence=None, price=None, feature_key="api_calls")
    price = UnitPrice(amount=Decimal("0.5"))
    conversion = UnitConversion(operation="divide", conversion_factor=Decimal(1000))
    half = PercentageDiscount(percentage=Decimal(50))
    added = unit_card(price=price, unit_conversion=conversion, discounts=Discounts(percentage=half))
    added = added.model_copy(update={"name": "Extra"})
    laid = overlay(sold(base), [layer(added, rows=[("2025-04-10", 1), ("2025-05-05", 0)])])
    before, during, after = (item.rate_card for _, _, item in timeline(laid, "api_calls"))
    assert before == after == base
    assert (during.price, during.currency, during.unit_conversion) == (price, "USD", conversion)
    assert (during.kind, str(during.billing_cadence)) == ("usage_based", "P1M")
    assert during.discounts.percentage == half
    assert during.name == "api_calls"
    assert schedule_issues(laid) == []


HALF = Discounts(percentage=PercentageDiscount(percentage=Decimal(50)))


CONVERTED = UnitConversion(operation="divide", conversion_factor=Decimal(1000))


@pytest.mark.parametrize(
    ("base", "added", "codes"),
    [
        (
            flat_card(price=flat("100")),
            flat_card(price=flat("30", PaymentTerm.IN_ARREARS)),
            {"price.paymentTerm": "rate_card_price_payment_term_mismatch"},
        ),
        (unit_card(), unit_card(), {"price.type": "rate_card_only_flat_price_allowed"}),
        (flat_card(), flat_card(cadence="P3M"), {"billingCadence": "rate_card_billing_cadence_mismatch"}),
        (
            flat_card(discounts=HALF),
            flat_card(discounts=HALF),
            {"discounts.percentage": "rate_card_percentage_discount_not_allowed"},
        ),
        (
            card(template=limit("1")),
            card(template=BooleanEntitlementTemplate()),
            {"entitlementTemplate.type": "rate_card_entitlement_template_type_mismatch"},
        ),
        (
            *(card(template=StaticEntitlementTemplate(config="{}")),) * 2,
            {"entitlementTemplate": "rate_card_static_entitlement_template_not_allowed"},
        ),
        (
            card(template=limit("1")),
            card(template=limit("1").model_copy(update={"usage_period": period("P1W")})),
            {"entitlementTemplate.usagePeriod": "rate_card_metered_entitlement_template_usage_period_mismatch"},
        ),
        (
            unit_card(unit_conversion=CONVERTED),
            card(unit_conversion=CONVERTED.model_copy(update={"operation": "multiply"})),
            {"unitConfig": "addon_rate_card_unit_config_mismatch"},
        ),
    ],
)
def test_what_does_not_fit_is_refused(base: RateCard, added: RateCard, codes: dict[str, str]) -> None:
    with pytest.raises(InvalidSchedule) as refused:
        overlay(sold(base), [layer(added, rows=[(DAYS[0], 1)])])
    path = f"$.phases[?(@.key=='main')].itemsByKey.{base.key}[0]."
    assert {issue.field: issue.code for issue in refused.value.issues} == {
        path + field: code for field, code in codes.items()
    }


def test_a_price_in_another_currency_is_refused() -> None:
    dollars, euros = (flat_card().model_copy(update={"currency": code}) for code in ("USD", "EUR"))
    with pytest.raises(Unmergeable) as refused:
        merged(dollars, euros)
    assert [issue.code for issue in refused.value.issues] == ["plan_addon_currency_mismatch"]


def test_the_items_of_the_subscription_keep_their_own_share_off() -> None:
    added = flat_card(price=flat("30"), discounts=HALF)
    assert merged(flat_card(), flat_card(discounts=HALF)).discounts == Discounts()
    assert merged(flat_card(discounts=HALF), flat_card()).discounts == HALF
    # Of its own item it takes off as it is, however many there are.
    (bought,) = overlay(sold(unit_card()), [layer(added, rows=[(DAYS[0], 3)])]).phases[0].items["seats"]
    assert (amount(bought), bought.rate_card.discounts) == ("90", HALF)


def test_an_addon_reaches_into_later_phases() -> None:
    base = from_plan(
        plan(
            phase(flat_card(price=flat("5")), key="trial", duration="P1M"),
            phase(flat_card(price=flat("100")), key="ramp", duration="P1M"),
            phase(unit_card(), key="full"),
        ),
        active_from=START,
        billing_anchor=START,
    )
    laid = overlay(base, [layer(flat_card(price=flat("30")), rows=[("2025-04-10", 2), ("2025-07-01", 0)])])
    assert [(start, end, amount(item)) for start, end, item in timeline(laid, "seats")] == [
        (START, at("2025-04-10"), "5"),
        (at("2025-04-10"), at("2025-05-01"), "65"),
        (at("2025-05-01"), at("2025-06-01"), "160"),
        (at("2025-06-01"), at("2025-07-01"), "60"),
    ]
    # Bounds that are the phase's own are not written down.
    assert [(item.active_from_override, item.active_to_override) for _, _, item in timeline(laid, "seats")] == [
        (None, period("PT777600S")),
        (period("PT777600S"), None),
        (None, None),
        (None, period("PT2592000S")),
    ]


def edited() -> SubscriptionSpec:
    """Return a schedule in which an item was removed after a week and added again a week later."""
    base = sold(flat_card(price=flat("10")))
    (first,) = base.phases[0].items["seats"]
    versions = (
        replace(first, active_to_override=period("P1W")),
        replace(first, active_from_override=period("P2W"), annotations={"subscription.workflow.patchid": "x"}),
    )
    return replace(base, phases=(replace(base.phases[0], items={"seats": versions}),))


def test_the_stored_form_of_items_without_addons() -> None:
    stored = json.loads((Path(__file__).parent / "golden" / "base_items.json").read_text())
    assert baseline.written(edited()) == stored
    assert baseline.without_addons(overlay(edited(), [layer(flat_card())]), stored) == edited()


def test_versions_of_edits_and_their_gaps() -> None:
    laid = overlay(edited(), [layer(flat_card(price=flat("1")), rows=[("2025-04-05", 1), ("2025-04-20", 0)])])
    assert [(start.day, end and end.day, amount(item)) for start, end, item in timeline(laid, "seats")] == [
        (1, 5, "10"),
        (5, 8, "11"),
        (8, 15, "1"),
        (15, 20, "11"),
        (20, None, "10"),
    ]
    assert schedule_issues(laid) == []


days = st.integers(0, 90).map(lambda day: START + timedelta(days=day))
rows = st.lists(st.builds(QuantityChange, days, st.integers(0, 4)), max_size=5)
addons = st.sampled_from(
    [
        (flat_card(price=flat("30")),),
        (flat_card("support", price=flat("0.01")), card(template=limit("250"))),
        (card(template=limit("7")), flat_card("support", price=flat("11"))),
        (flat_card("badge", price=None, feature_key="badge", entitlement_template=BooleanEntitlementTemplate()),),
    ]
)
purchases = st.lists(
    st.builds(
        lambda cards, changes: Layer(
            tuple(one.model_copy(update={"currency": "USD"}) if one.price else one for one in cards), instances(changes)
        ),
        addons,
        rows,
    ),
    max_size=4,
)
BASE = from_plan(
    plan(
        phase(flat_card(price=flat("5")), key="trial", duration="P3W"),
        phase(flat_card(price=flat("100")), card(template=limit("1000")), key="full"),
    ),
    active_from=START,
    billing_anchor=START,
)
KEYS = ("seats", "support", "api_calls", "badge")


def given_at(spec: SubscriptionSpec, key: str, instant: datetime) -> tuple[Decimal | None, Decimal | None, int] | None:
    found = [item for start, end, item in timeline(spec, key) if start <= instant and (end is None or instant < end)]
    if not found:
        return None
    (item,) = found
    price, template = item.rate_card.price, item.rate_card.entitlement_template
    assert price is None or isinstance(price, FlatPrice)
    metered = template if isinstance(template, MeteredEntitlementTemplate) else None
    issued = None if metered is None else metered.issue_after_reset
    return None if price is None else price.amount, issued, item.annotations.get(BOOLEAN_COUNT, 0)


@settings(max_examples=60, deadline=None)
@given(purchases, days)
def test_every_addon_counts_as_often_as_it_is_there_and_leaves_nothing_behind(
    bought: list[Layer], instant: datetime
) -> None:
    laid = overlay(BASE, bought)
    assert schedule_issues(laid) == []
    for key in KEYS:
        assert given_at(laid, key, instant) == given_at(overlay(BASE, reversed(bought)), key, instant)
        plain = given_at(BASE, key, instant)
        quantities = [
            (one, quantity_at(bought_one.timeline, instant))
            for bought_one in bought
            for one in bought_one.rate_cards
            if one.key == key
        ]
        if not any(quantity for _, quantity in quantities):
            assert given_at(laid, key, instant) == plain
            continue
        expected = (plain and plain[0]) or Decimal(0)
        expected += total(
            quantity * one.price.amount for one, quantity in quantities if isinstance(one.price, FlatPrice)
        )
        now = given_at(laid, key, instant)
        assert now is not None
        assert (now[0] or Decimal(0)) == expected
    # What was stored when the first add-on came gives the schedule back.
    stored = baseline.written(BASE)
    assert overlay(baseline.without_addons(laid, stored), []) == BASE
    gone = [replace(one, timeline=instances([QuantityChange(START, 0)])) for one in bought]
    assert overlay(BASE, gone) == BASE
    assert overlay(baseline.without_addons(laid, stored), bought) == laid
