"""Editing stored subscriptions (subscriptions sections 7, 10 and 14)."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import pytest
from sqlalchemy import select

from meterhouse.catalog import features
from meterhouse.catalog.prices import FlatPrice, TaxConfig
from meterhouse.catalog.ratecards import BooleanEntitlementTemplate, MeteredEntitlementTemplate, RateCard
from meterhouse.customers import service as customers
from meterhouse.customers.customer import Customer
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import Forbidden, InvalidInput, NotFound
from meterhouse.subscriptions import service
from meterhouse.subscriptions.models import SubscriptionItemRow
from meterhouse.subscriptions.patches import AddItem, AddPhase, Patch, RemoveItem, StretchPhase, UnscheduleEdit
from meterhouse.subscriptions.spec import BOOLEAN_COUNT, OWNER, PATCH_ID, ItemSpec
from meterhouse.subscriptions.timing import NamedTiming, Timing
from meterhouse.subscriptions.views import ItemVersion, PhaseView, SubscriptionView
from tests.catalog.builders import flat_card, period, phase, unit_card
from tests.subscriptions.conftest import NS, Publish, Subscribe, at
from tests.subscriptions.test_subscriptions import cancel, load

NEXT = NamedTiming.NEXT_BILLING_CYCLE
DEARER = flat_card(price=FlatPrice(amount=Decimal(20)))


async def edit(
    db: Database, view: SubscriptionView, when: str, *wishes: Patch, timing: Timing = NamedTiming.IMMEDIATE
) -> SubscriptionView:
    with clock.frozen(at(when)):
        async with db.write() as session:
            return await service.edit(session, NS, view.id, wishes, timing)


def add(card: RateCard, phase_key: str = "main") -> AddItem:
    return AddItem(phase_key, ItemSpec(card.key, card))


def timeline(phase: PhaseView, key: str = "seats") -> list[tuple[object, object]]:
    return [(item.active_from, item.active_to) for item in phase.items if item.key == key]


def ids(items: Sequence[ItemVersion]) -> set[str]:
    return {item.id for item in items}


async def test_an_item_is_replaced_from_now_on(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish(phase(flat_card(), unit_card()))
    created = await subscribe("2025-04-01")
    edited = await edit(db, created, "2025-04-15", add(DEARER))
    assert edited == await load(db, created)
    (main,) = edited.phases
    assert timeline(main) == [(at("2025-04-01"), at("2025-04-15")), (at("2025-04-15"), None)]
    old, new = (item for item in main.items if item.key == "seats")
    assert (old.version, str(old.active_to_override), old.active_from_override) == (0, "PT1209600S", None)
    assert (new.version, str(new.active_from_override), new.active_to_override) == (1, "PT1209600S", None)
    assert new.rate_card == DEARER.model_copy(update={"currency": "USD"})
    assert new.annotations[OWNER] == ["subscription"]
    assert len(new.annotations[PATCH_ID]) == 26
    # What did not change keeps its rows; what did is made anew.
    assert main.id == created.phases[0].id
    assert ids(main.items) & ids(created.phases[0].items) == {main.items[0].id}
    assert main.items[0].key == "api_calls"
    assert edited.updated_at == at("2025-04-15")
    async with db.read() as session:
        rows = (await session.scalars(select(SubscriptionItemRow))).all()
    assert sorted(row.deleted_at is None for row in rows) == [False, True, True, True]


async def test_next_billing_cycle_and_its_undoing(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish(phase(flat_card(), unit_card()))
    created = await subscribe("2025-04-01")
    wishes = (add(DEARER), RemoveItem("main", "api_calls"), add(flat_card("extra")))
    edited = await edit(db, created, "2025-04-15", *wishes, timing=NEXT)
    assert timeline(edited.phases[0]) == [(at("2025-04-01"), at("2025-05-01")), (at("2025-05-01"), None)]
    assert timeline(edited.phases[0], "api_calls") == [(at("2025-04-01"), at("2025-05-01"))]
    assert timeline(edited.phases[0], "extra") == [(at("2025-05-01"), None)]
    assert str(edited.phases[0].items[-1].active_from_override) == "PT2592000S"
    undone = await edit(db, created, "2025-04-20", UnscheduleEdit())
    assert timeline(undone.phases[0]) == [(at("2025-04-01"), None)]
    assert [(item.key, item.version) for item in undone.phases[0].items] == [("api_calls", 0), ("seats", 0)]


async def test_the_next_billing_cycle_must_be_in_the_same_phase(
    db: Database, publish: Publish, subscribe: Subscribe
) -> None:
    await publish(phase(flat_card(), key="a", duration="P6W"), phase(flat_card(), key="b"))
    created = await subscribe("2025-04-01")
    assert (await edit(db, created, "2025-04-15", add(DEARER, "a"), timing=NEXT)).phases[0].items[1].active_from == at(
        "2025-05-01"
    )
    with pytest.raises(InvalidInput, match="begins with another phase"):
        await edit(db, created, "2025-05-05", add(DEARER, "a"), timing=NEXT)
    with pytest.raises(InvalidInput, match="at once or at the next billing cycle"):
        await edit(db, created, "2025-04-15", add(DEARER, "a"), timing=at("2025-05-01"))


async def test_all_patches_or_none(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish(phase(flat_card()))
    created = await subscribe("2025-04-01")
    with pytest.raises(InvalidInput) as caught:
        await edit(db, created, "2025-04-15", add(DEARER), RemoveItem("main", "nothing"))
    assert [issue.field for issue in caught.value.issues] == ["$.customizations[1].itemKey"]
    assert await load(db, created) == created


async def test_a_phase_gets_its_items_in_the_same_edit(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish(phase(flat_card(), key="a", duration="P2M"), phase(flat_card(), key="b"))
    created = await subscribe("2025-04-01")
    promotion = AddPhase("promo", "Promotion", period("P1M"), period("P1M"))
    with pytest.raises(InvalidInput) as caught:
        await edit(db, created, "2025-04-15", promotion)
    assert [issue.code for issue in caught.value.issues] == ["subscription_phase_has_no_items"]
    edited = await edit(db, created, "2025-04-15", promotion, add(flat_card("free", price=None), "promo"))
    assert [(one.key, one.active_from, one.active_to) for one in edited.phases] == [
        ("a", at("2025-04-01"), at("2025-05-01")),
        ("promo", at("2025-05-01"), at("2025-06-01")),
        ("b", at("2025-06-01"), None),
    ]
    # The first phase ends earlier, but nothing that is stored of it changed.
    assert (edited.phases[0].id, edited.phases[2].id) == (created.phases[0].id, created.phases[1].id)
    stretched = await edit(db, created, "2025-04-16", StretchPhase("a", period("P1W")))
    assert [one.active_from for one in stretched.phases] == [at("2025-04-01"), at("2025-05-08"), at("2025-06-08")]


async def test_new_rate_cards_are_checked_together(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish(phase(flat_card(), key="trial"))
    created = await subscribe("2025-04-01")
    wishes = (
        add(flat_card(price=FlatPrice(amount=Decimal(-1)), cadence="PT1M"), "trial"),
        add(unit_card("badge"), "trial"),
        add(unit_card("unknown"), "trial"),
    )
    with pytest.raises(InvalidInput) as caught:
        await edit(db, created, "2025-04-15", *wishes)
    trial = "$.phases[?(@.key=='trial')].items"
    assert [(issue.code, issue.field) for issue in caught.value.issues] == [
        ("", f"{trial}.seats.price"),
        ("billing_cadence_invalid_value", f"{trial}.seats.billingCadence"),
        ("usage_based_price_with_feature_and_no_meter", f"{trial}.badge.featureKey"),
        ("rate_card_feature_not_found", f"{trial}.unknown.featureKey"),
    ]
    assert {issue.component for issue in caught.value.issues} == {"rateCard"}
    with pytest.raises(InvalidInput) as caught:
        await edit(db, created, "2025-04-15", add(flat_card(cadence="P1W"), "trial"))
    assert [(issue.code, issue.field) for issue in caught.value.issues] == [
        (
            "rate_card_billing_cadence_unaligned",
            "$.phases[?(@.key=='trial')].itemsByKey.seats[1].billingCadence",
        )
    ]
    config = TaxConfig(tax_code_id="01JNX8T0000000000000000001")
    with pytest.raises(InvalidInput, match="tax code not found"):
        await edit(db, created, "2025-04-15", add(flat_card(tax_config=config), "trial"))


async def test_what_a_new_item_is_completed_with(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish(phase(flat_card()))
    created = await subscribe("2025-04-01")
    metered = unit_card(entitlement_template=MeteredEntitlementTemplate(issue_after_reset=Decimal(5)))
    badge = flat_card("badge", price=None, feature_key="badge", entitlement_template=BooleanEntitlementTemplate())
    edited = await edit(db, created, "2025-04-15", add(metered), add(badge))
    api_calls, badge_item, _ = edited.phases[0].items
    async with db.read() as session:
        feature = await features.get(session, NS, "api_calls")
    assert api_calls.rate_card.feature_id == feature.id
    assert isinstance(api_calls.rate_card.entitlement_template, MeteredEntitlementTemplate)
    assert api_calls.rate_card.entitlement_template.usage_period == period("P1M")
    assert badge_item.annotations[BOOLEAN_COUNT] == 1
    assert badge_item.rate_card.currency is None


async def test_the_first_price_decides_the_currency(
    db: Database, publish: Publish, subscribe: Subscribe, customer: Customer
) -> None:
    await publish(phase(flat_card(price=None)))
    created = await subscribe("2025-04-01")
    await edit(db, created, "2025-04-15", add(DEARER))
    async with db.read() as session:
        assert (await customers.get(session, NS, customer.id)).currency == "USD"


async def test_a_price_must_be_in_the_currency_of_the_customer(
    db: Database, publish: Publish, subscribe: Subscribe, customer: Customer
) -> None:
    await publish(phase(flat_card(price=None)))
    async with db.write() as session:
        await customers.set_currency(session, NS, customer.id, "EUR")
    created = await subscribe("2025-04-01")
    with pytest.raises(InvalidInput, match="currencies must match"):
        await edit(db, created, "2025-04-15", add(DEARER))


async def test_only_active_subscriptions_are_edited(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish(phase(flat_card()))
    scheduled = await subscribe("2025-04-01", timing=at("2025-06-01"))
    with pytest.raises(Forbidden, match="transition update in state scheduled not allowed"):
        await edit(db, scheduled, "2025-04-15", add(DEARER))
    await cancel(db, scheduled, "2025-06-02", NEXT)
    with pytest.raises(Forbidden, match="transition update in state canceled not allowed"):
        await edit(db, scheduled, "2025-06-03", add(DEARER))
    with pytest.raises(Forbidden, match="transition update in state inactive not allowed"):
        await edit(db, scheduled, "2025-08-01", add(DEARER))
    with pytest.raises(NotFound):
        async with db.write() as session:
            await service.edit(session, NS, "01JNX8T0000000000000000001", [UnscheduleEdit()], NamedTiming.IMMEDIATE)


async def test_a_cancellation_keeps_what_edits_planned(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish(phase(flat_card()))
    created = await subscribe("2025-04-01")
    edited = await edit(db, created, "2025-04-15", add(DEARER), timing=NEXT)
    canceled = await cancel(db, created, "2025-04-16", NEXT)
    assert timeline(canceled.phases[0]) == [(at("2025-04-01"), at("2025-05-01")), (at("2025-05-01"), at("2025-05-01"))]
    with clock.frozen(at("2025-04-17")):
        async with db.write() as session:
            resumed = await service.unschedule_cancelation(session, NS, created.id)
    assert resumed.phases == edited.phases


async def test_what_is_replaced_within_its_second_lasts_no_time(
    db: Database, publish: Publish, subscribe: Subscribe
) -> None:
    """Otherwise a fee would be owed for the part of a second."""
    await publish(phase(flat_card()))
    created = await subscribe("2025-04-01T00:00:00.400")
    first = await edit(db, created, "2025-04-01T00:00:00.900", add(DEARER))
    assert timeline(first.phases[0]) == [(created.active_from, created.active_from), (created.active_from, None)]
    await edit(db, created, "2025-04-15T00:00:00.300", add(DEARER))
    third = await edit(db, created, "2025-04-15T00:00:00.700", add(DEARER))
    assert timeline(third.phases[0])[1:] == [
        (created.active_from, at("2025-04-15")),
        (at("2025-04-15"), at("2025-04-15")),
        (at("2025-04-15"), None),
    ]


@pytest.mark.parametrize("moment", ["2025-05-01T00:00:00.5", "2025-05-01T00:00:00.9"])
async def test_a_version_that_begins_within_a_second_runs_from_then_on(
    db: Database, publish: Publish, subscribe: Subscribe, moment: str
) -> None:
    """What begins at a boundary inside the second of an edit is no plan any more."""
    await publish(phase(flat_card(), unit_card()))
    created = await subscribe("2025-04-01T00:00:00.5")
    boundary = at("2025-05-01T00:00:00.5")
    planned = await edit(db, created, "2025-04-15", add(DEARER), timing=NEXT)
    begun = timeline(planned.phases[0])
    assert begun == [(created.active_from, boundary), (boundary, None)]
    unscheduled = await edit(db, created, moment, UnscheduleEdit())
    assert timeline(unscheduled.phases[0]) == begun
    replaced = await edit(db, created, moment, add(flat_card()))
    assert timeline(replaced.phases[0]) == [(created.active_from, boundary), (boundary, boundary), (boundary, None)]
    removed = await edit(db, created, moment, RemoveItem("main", "seats"))
    assert timeline(removed.phases[0])[1:] == [(boundary, boundary), (boundary, boundary)]
    assert (await cancel(db, created, moment, NamedTiming.IMMEDIATE)).active_to == boundary


async def test_edits_that_meet_follow_each_other(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish(phase(flat_card()))
    created = await subscribe("2025-04-01")
    with clock.frozen(at("2025-04-15")):

        async def one(key: str) -> SubscriptionView:
            async with db.write() as session:
                return await service.edit(session, NS, created.id, [add(flat_card(key))], NamedTiming.IMMEDIATE)

        await asyncio.gather(*(one(key) for key in ("x", "y", "seats", "seats", "z", "seats")))
    items = (await load(db, created)).phases[0].items
    assert sorted(f"{item.key}{item.version}" for item in items) == [
        "seats0",
        "seats1",
        "seats2",
        "seats3",
        "x0",
        "y0",
        "z0",
    ]
    assert len({created.updated_at, (await load(db, created)).updated_at}) == 2
