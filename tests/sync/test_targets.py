"""Which charges a subscription should have (subscription-sync sections 2 and 10)."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.billing.rating.proration import prorated
from meterhouse.billing.sync.targets import ended_at, has_billables, has_custom_currency, targets
from meterhouse.catalog.prices import PaymentTerm, SettlementMode, TaxConfig
from meterhouse.kernel.periods import Period
from meterhouse.subscriptions.views import SubscriptionView
from tests.sync.builders import (
    FEE,
    TOKENS,
    at,
    by_name,
    card,
    flat,
    item,
    phase,
    short,
    span,
    unit,
    view,
    worked,
)

SETUP = card("setup", flat("500"), None)


def test_identities() -> None:
    subscription = view(phase("main", item(FEE), item(TOKENS), item(SETUP)))
    references = {intent.unique_reference_id for intent in targets(subscription, at("1-15")).intents}
    assert references == {
        "S/main/fee/v[0]/period[0]",
        "S/main/fee/v[0]/period[1]",
        "S/main/tokens/v[0]/period[0]",
        "S/main/setup/v[0]",
    }


@pytest.mark.parametrize(
    ("as_of", "limit", "expected"),
    [
        ("1-10", "1-15", ["fee[0]"]),
        ("1-15", "2-15", ["fee[0]", "fee[1]", "seat[0]", "tokens[0]"]),
        ("1-15T00:00:01", "2-15", ["fee[0]", "fee[1]", "seat[0]", "tokens[0]"]),
        ("1-20", "2-15", ["fee[0]", "fee[1]", "seat[0]", "tokens[0]"]),
        ("2-15", "3-15", ["fee[0]", "fee[1]", "fee[2]", "seat[0]", "tokens[0]", "tokens[1]"]),
        ("2-16", "3-15", ["fee[0]", "fee[1]", "fee[2]", "seat[0]", "tokens[0]", "tokens[1]"]),
        ("4-14", "4-15", [*(f"fee[{n}]" for n in range(4)), "seat[0]", "tokens[0]", "tokens[1]", "tokens[2]"]),
    ],
)
def test_horizon(as_of: str, limit: str, expected: list[str]) -> None:
    """On a boundary the period that begins counts, and an item's current period is there however long it is."""
    found = targets(worked(), at(as_of))
    assert short(found.intents) == expected
    assert found.limit == at(limit)
    assert not found.complete


def test_right_after_creation_the_first_charges_are_known() -> None:
    found = targets(view(phase("main", item(FEE), item(TOKENS))), at("1-15"))
    assert (short(found.intents), found.limit) == (["fee[0]", "fee[1]", "tokens[0]"], at("2-15"))


def test_periods_and_invoice_at() -> None:
    charges = by_name(targets(worked(), at("1-20")).intents)
    assert charges["fee[0]"].invoice_at == at("1-15")
    assert charges["fee[1]"].invoice_at == at("2-15")
    assert charges["tokens[0]"].invoice_at == at("2-15")
    seat = charges["seat[0]"]
    assert (seat.service_period, seat.full_service_period) == (span("1-15", "4-15"), span("1-15", "4-15"))
    assert (seat.billing_period, seat.invoice_at) == (span("1-15", "2-15"), at("4-15"))


def test_a_cancellation_cuts_what_runs_and_bills_arrears() -> None:
    canceled = worked(end="2-01T12:00")
    found = targets(canceled, at("2-01T12:00"))
    charges = by_name(found.intents)
    assert sorted(charges) == ["fee[0]", "seat[0]", "tokens[0]"]
    assert (found.limit, found.complete) == (at("2-01T12:00"), True)
    tokens = charges["tokens[0]"]
    assert tokens.service_period == tokens.billing_period == span("1-15", "2-01T12:00")
    assert tokens.full_service_period == span("1-15", "2-15")
    assert tokens.invoice_at == at("2-01T12:00")
    seat = charges["seat[0]"]
    assert seat.service_period == span("1-15", "2-01T12:00")
    assert seat.full_service_period == span("1-15", "4-15")
    assert seat.invoice_at == at("2-01T12:00")


@pytest.mark.parametrize(
    ("pro_rating", "bill_full_period", "fee", "seat"),
    [(True, False, "35.00", "17.50"), (False, False, "62.00", "90.00"), (True, True, "62.00", "90.00")],
)
def test_what_a_shortened_period_costs(pro_rating: bool, bill_full_period: bool, fee: str, seat: str) -> None:
    subscription = worked(end="2-01T12:00", pro_rating_enabled=pro_rating)
    charges = by_name(targets(subscription, at("2-01T12:00"), bill_full_period=bill_full_period).intents)
    for name, amount in (("fee[0]", fee), ("seat[0]", seat)):
        intent = charges[name]
        price = intent.price.amount  # type: ignore[union-attr]
        due = prorated(price, intent.service_period, intent.full_service_period, "USD") if intent.prorate else price
        assert due == Decimal(amount), name


def test_bill_full_period_concerns_the_last_period_only() -> None:
    subscription = worked(end="3-01")
    charges = by_name(targets(subscription, at("3-01"), bill_full_period=True).intents)
    assert charges["fee[0]"].prorate
    assert not charges["fee[1]"].prorate


def test_usage_is_never_prorated() -> None:
    assert not by_name(targets(worked(), at("1-20")).intents)["tokens[0]"].prorate


def test_a_price_change_makes_a_new_version() -> None:
    subscription = view(
        phase("main", item(TOKENS, end="2-01"), item(card("tokens", unit("0.03")), start="2-01", version=1))
    )
    charges = by_name(targets(subscription, at("1-20")).intents)
    assert charges["tokens[0]"].service_period == span("1-15", "2-01")
    assert charges["tokens/v1[0]"].service_period == span("2-01", "2-15")
    assert charges["tokens/v1[0]"].full_service_period == span("1-15", "2-15")
    assert {charge.invoice_at for charge in charges.values()} == {at("2-15")}


def test_periods_shorter_than_a_second() -> None:
    start, end = "1-15T00:00:00.4", "1-15T00:00:00.9"
    subscription = view(phase("main", item(FEE, start, end), item(TOKENS, start, end), start=start))
    (charge,) = targets(subscription, at(start)).intents
    assert charge.name == "Fee"
    assert charge.service_period == span("1-15", "1-15")
    assert prorated(Decimal(62), charge.service_period, charge.full_service_period, "USD") == 62


def test_all_instants_are_whole_seconds() -> None:
    subscription = view(phase("main", item(FEE, "1-15T00:00:00.4"), start="1-15T00:00:00.4"), anchor="1-15T00:00:00.4")
    found = targets(subscription, at("1-20"))
    assert found.limit == at("2-15T00:00:00.4")
    for charge in found.intents:
        for period in (charge.service_period, charge.full_service_period, charge.billing_period):
            assert period == period.whole_seconds()
        assert charge.invoice_at.microsecond == 0


def test_items_billed_once() -> None:
    in_arrears = card("closing", flat("10", PaymentTerm.IN_ARREARS), None)
    usage = card("calls", unit("1"), None)

    def charges(end: str | None) -> dict[str, Period]:
        subscription = view(phase("main", item(SETUP), item(in_arrears), item(usage), end=end), end=end)
        found = by_name(targets(subscription, at("1-15")).intents)
        return {name: charge.service_period for name, charge in found.items()}

    assert charges(None) == {"setup": span("1-15", "1-15")}
    assert charges("3-01") == dict.fromkeys(("setup", "closing", "calls"), span("1-15", "3-01"))


def test_phases_follow_each_other() -> None:
    trial = phase("trial", item(card("access", None)), end="4-15")
    paid = phase("paid", item(FEE, "4-15"), item(TOKENS, "4-15"), start="4-15")
    subscription = view(trial, paid)
    before = targets(subscription, at("1-20"))
    assert (short(before.intents), before.limit) == (["fee[0]"], at("4-15"))
    started = targets(subscription, at("4-15"))
    assert (short(started.intents), started.limit) == (["fee[0]", "fee[1]", "tokens[0]"], at("5-15"))


def test_the_next_phase_waits_until_it_starts() -> None:
    first = phase("first", item(FEE), end="2-01")
    second = phase("second", item(FEE, "2-01"), start="2-01")
    subscription = view(first, second)
    assert targets(subscription, at("1-20")).limit == at("2-01")
    assert [intent.unique_reference_id for intent in targets(subscription, at("1-20")).intents] == [
        "S/first/fee/v[0]/period[0]"
    ]
    both = targets(subscription, at("2-01"))
    assert both.limit == at("2-15")
    assert [intent.unique_reference_id for intent in both.intents] == [
        "S/first/fee/v[0]/period[0]",
        "S/second/fee/v[0]/period[0]",
        "S/second/fee/v[0]/period[1]",
    ]
    assert both.intents[1].service_period == span("2-01", "2-15")


def test_a_phase_without_length_gives_nothing() -> None:
    skipped = phase("skipped", item(FEE, end="1-15"), end="1-15")
    found = targets(view(skipped, phase("main", item(TOKENS))), at("1-20"))
    assert short(found.intents) == ["tokens[0]"]


def test_nothing_has_a_price() -> None:
    free = view(phase("main", item(card("access", None))))
    assert not has_billables(free)
    assert targets(free, at("1-20")).limit is None
    assert has_billables(worked())


def test_currencies_that_are_not_fiat() -> None:
    assert not has_custom_currency(worked())
    assert has_custom_currency(view(phase("main", item(card("tokens", unit("1"), currency="CREDIT")))))


def test_a_deleted_customer_ends_the_subscription() -> None:
    ended = ended_at(worked(), at("2-01T12:00"))
    assert targets(ended, at("6-01")).intents == targets(worked(end="2-01T12:00"), at("6-01")).intents
    canceled = worked(end="2-01")
    assert ended_at(canceled, at("3-01")) == canceled


def test_what_a_charge_takes_from_its_rate_card() -> None:
    discounts = {"percentage": {"percentage": "10"}, "usage": {"quantity": "5"}}
    conversion = {"operation": "divide", "conversion_factor": "1000"}
    rate_card = card(
        "tokens",
        unit("0.02"),
        description="per token",
        metadata={"a": "b"},
        discounts=discounts,
        unit_conversion=conversion,
        tax_config=TaxConfig(behavior="exclusive"),
    )
    subscription = view(phase("main", item(rate_card)), settlement_mode=SettlementMode.CREDIT_ONLY)
    (charge,) = targets(subscription, at("1-20")).intents
    assert (charge.name, charge.description, charge.metadata) == ("Tokens", "per token", {"a": "b"})
    assert (charge.price, charge.feature_key, charge.currency) == (unit("0.02"), "tokens", "USD")
    assert (charge.discounts, charge.unit_conversion) == (rate_card.discounts, rate_card.unit_conversion)
    assert charge.tax_config == TaxConfig(behavior="exclusive")
    assert charge.settlement_mode is SettlementMode.CREDIT_ONLY
    assert charge.managed_by == "subscription"
    assert charge.subscription is not None
    assert (charge.subscription.subscription_id, charge.subscription.phase_id) == ("S", "phase-main")
    assert charge.subscription.item_id == "item-tokens-0"


instants = st.integers(0, 400 * 24 * 60).map(lambda minutes: at("1-01") + timedelta(minutes=minutes))
subscriptions = st.one_of(
    st.just(worked()),
    instants.filter(lambda end: end > at("1-15")).map(lambda end: replace(ended_at(worked(), end), active_to=end)),
)


@given(subscription=subscriptions, as_of=instants)
def test_periods_of_an_item_join_and_never_overlap(subscription: SubscriptionView, as_of: object) -> None:
    found = targets(subscription, as_of)  # type: ignore[arg-type]
    for key in ("fee", "tokens", "seat"):
        charges = [intent for intent in found.intents if f"/{key}/" in (intent.unique_reference_id or "")]
        assert len({intent.unique_reference_id for intent in charges}) == len(charges)
        for one, following in pairwise(charges):
            assert one.service_period.end == following.service_period.start
        for intent in charges:
            assert intent.full_service_period.start <= intent.service_period.start
            assert intent.service_period.end <= intent.full_service_period.end
            assert subscription.active_to is None or intent.service_period.end <= subscription.active_to


@given(first=instants, second=instants)
def test_a_later_sync_knows_all_of_an_earlier_one(first: object, second: object) -> None:
    early, late = sorted([first, second])  # type: ignore[type-var]
    known = {intent.unique_reference_id: intent for intent in targets(worked(), late).intents}  # type: ignore[arg-type]
    for intent in targets(worked(), early).intents:  # type: ignore[arg-type]
        assert known[intent.unique_reference_id] == intent
