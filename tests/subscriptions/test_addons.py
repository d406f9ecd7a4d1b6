"""Add-ons of subscriptions through their service (subscriptions section 12)."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from meterhouse.catalog.addons import Addon, InstanceType
from meterhouse.catalog.prices import FlatPrice, PaymentTerm
from meterhouse.catalog.ratecards import BooleanEntitlementTemplate, MeteredEntitlementTemplate
from meterhouse.customers import service as customers
from meterhouse.customers.customer import Customer
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from meterhouse.subscriptions import service
from meterhouse.subscriptions.addons import service as purchases
from meterhouse.subscriptions.addons.instances import Instance, quantity_at
from meterhouse.subscriptions.addons.purchase import Purchase
from meterhouse.subscriptions.addons.service import NewPurchase
from meterhouse.subscriptions.patches import AddItem, Patch, RemoveItem
from meterhouse.subscriptions.service import PlanChange, PlanChoice
from meterhouse.subscriptions.spec import ItemSpec, of_view
from meterhouse.subscriptions.timing import NamedTiming, Timing
from meterhouse.subscriptions.views import SubscriptionView
from tests.catalog.builders import flat_card, period, phase, unit_card
from tests.subscriptions.conftest import NS, Publish, Subscribe, at
from tests.subscriptions.offers import addon, plan_with

NOW = NamedTiming.IMMEDIATE
LATER = NamedTiming.NEXT_BILLING_CYCLE


def flat(amount: str, key: str = "seats", **members: Any) -> Any:
    return flat_card(key, price=FlatPrice(amount=Decimal(amount)), **members)


async def buy(
    db: Database, view: SubscriptionView, bought: Addon | str, when: str, quantity: int = 1, timing: Timing = NOW
) -> Purchase:
    new = NewPurchase(bought if isinstance(bought, str) else bought.id, quantity, timing, {"team": "x"})
    with clock.frozen(at(when)):
        async with db.write() as session:
            return await purchases.buy(session, NS, view.id, new)


async def set_quantity(db: Database, had: Purchase, when: str, quantity: int, timing: Timing = NOW) -> Purchase:
    with clock.frozen(at(when)):
        async with db.write() as session:
            return await purchases.change_quantity(session, NS, had.subscription.id, had.id, quantity, timing)


async def load(db: Database, view: SubscriptionView) -> SubscriptionView:
    async with db.read() as session:
        return await service.load(session, NS, view.id)


def amounts(view: SubscriptionView, key: str = "seats") -> list[tuple[datetime, datetime | None, str]]:
    return [
        (item.active_from, item.active_to, str(item.rate_card.price.amount))  # type: ignore[union-attr]
        for one in view.phases
        for item in one.items
        if item.key == key
    ]


@pytest.fixture
async def extra(db: Database, metered: None) -> Addon:
    """Seats for 30 in any quantity, offered beside a plan with seats for 100."""
    made = await addon(db, "extra_seats", flat("30"))
    await plan_with(db, [phase(flat("100"), unit_card())], made)
    return made


async def test_bought_raised_and_removed(db: Database, extra: Addon, subscribe: Subscribe) -> None:
    plain = await subscribe("2025-04-01")
    first, second, third = at("2025-04-10"), at("2025-04-20"), at("2025-05-05")
    bought = await buy(db, plain, extra, "2025-04-10")
    assert (bought.addon.key, bought.metadata) == ("extra_seats", {"team": "x"})
    assert bought.timeline == (Instance(first, None, 1),)
    bought = await set_quantity(db, bought, "2025-04-20", 3)
    bought = await set_quantity(db, bought, "2025-04-25", 0, third)
    assert bought.timeline == (Instance(first, second, 1), Instance(second, third, 3), Instance(third, None, 0))
    assert amounts(bought.subscription) == [
        (at("2025-04-01"), first, "100"),
        (first, second, "130"),
        (second, third, "190"),
        (third, None, "100"),
    ]
    # The version that the purchase began in keeps its place; what the add-on does not touch keeps its row.
    before, after = (
        {item.key: item.id for item in one.phases[0].items if item.version == 0} for one in (plain, bought.subscription)
    )
    assert before["api_calls"] == after["api_calls"]
    affected = {item.id for item in bought.affected(extra.rate_cards[0])}
    assert affected == {item.id for item in bought.subscription.phases[0].items if item.active_from in (first, second)}
    # Never there at all, it leaves the schedule as it was sold.
    nothing = await set_quantity(db, await set_quantity(db, bought, "2025-04-26", 0, first), "2025-04-26", 0, second)
    assert of_view(await load(db, plain)) == of_view(plain) == of_view(nothing.subscription)


async def test_a_purchase_at_the_next_billing_cycle_is_known_now(
    db: Database, extra: Addon, subscribe: Subscribe
) -> None:
    bought = await buy(db, await subscribe("2025-04-01"), extra, "2025-04-10", 2, LATER)
    assert bought.timeline == (Instance(at("2025-05-01"), None, 2),)
    assert quantity_at(bought.timeline, at("2025-04-10")) == 0
    async with db.read() as session:
        assert await purchases.get(session, NS, bought.id) == bought
        assert (await purchases.list_purchases(session, NS, bought.subscription.id)).items == [bought]
        with pytest.raises(NotFound):
            await purchases.get(session, "other", bought.id)


async def test_several_addons_add_up_and_leave_one_by_one(db: Database, metered: None, subscribe: Subscribe) -> None:
    limit = MeteredEntitlementTemplate(issue_after_reset=Decimal(250), usage_period=period("P1M"))
    more = await addon(db, "more", flat("30"), unit_card(price=None, entitlement_template=limit))
    badge = flat_card("badge", price=None, feature_key="badge", entitlement_template=BooleanEntitlementTemplate())
    support = await addon(db, "support", flat("7"), flat("40", "support"), badge)
    own = limit.model_copy(update={"issue_after_reset": Decimal(1000)})
    await plan_with(db, [phase(flat("100"), unit_card(entitlement_template=own))], more, support)
    plain = await subscribe("2025-04-01")
    one = await buy(db, plain, more, "2025-04-10", 2)
    two = await buy(db, plain, support, "2025-04-20", 3)
    (main,) = two.subscription.phases
    assert [amount for _, _, amount in amounts(two.subscription)] == ["100", "160", "181"]
    assert [amount for _, _, amount in amounts(two.subscription, "support")] == ["120"]
    templates = [item.rate_card.entitlement_template for item in main.items if item.key == "api_calls"]
    assert [template.issue_after_reset for template in templates] == [Decimal(1000), Decimal(1500)]  # type: ignore[union-attr]
    assert [item.annotations for item in main.items if item.key == "badge"] == [
        {"subscription.entitlement.boolean.count": 3}
    ]
    one = await set_quantity(db, one, "2025-05-01", 0)
    assert [amount for _, _, amount in amounts(one.subscription)] == ["100", "160", "181", "121"]
    two = await set_quantity(db, two, "2025-05-01", 0)
    assert [amount for _, _, amount in amounts(two.subscription)] == ["100", "160", "181", "100"]
    assert all(item.active_to is not None for item in two.subscription.phases[0].items if item.key == "support")


async def test_addons_outlive_a_cancellation_that_is_taken_back(
    db: Database, extra: Addon, subscribe: Subscribe
) -> None:
    plain = await subscribe("2025-04-01")
    bought = await buy(db, plain, extra, "2025-04-10", 1, at("2025-06-10"))
    with clock.frozen(at("2025-04-20")):
        async with db.write() as session:
            canceled = await service.cancel(session, NS, plain.id, LATER)
        assert amounts(canceled)[-1] == (at("2025-05-01"), at("2025-05-01"), "130")
        for call in (buy(db, plain, extra, "2025-04-20"), set_quantity(db, bought, "2025-04-20", 2)):
            with pytest.raises(Forbidden, match="transition change_addons in state canceled"):
                await call
        async with db.write() as session:
            await service.unschedule_cancelation(session, NS, plain.id)
    assert amounts(await load(db, plain)) == amounts(bought.subscription)


async def test_a_subscription_with_addons_is_not_edited_and_leaves_them_behind(
    db: Database, extra: Addon, publish: Publish, subscribe: Subscribe
) -> None:
    plain = await subscribe("2025-04-01")
    bought = await buy(db, plain, extra, "2025-04-10")
    await set_quantity(db, bought, "2025-04-20", 0)
    await publish(phase(flat("10")), key="other")
    with clock.frozen(at("2025-05-10")):
        async with db.write() as session:
            with pytest.raises(Forbidden, match="subscription with addons cannot be edited"):
                await service.edit(session, NS, plain.id, [RemoveItem("main", "seats")], NOW)
        async with db.write() as session:
            changed = await service.change(session, NS, plain.id, PlanChange(PlanChoice(key="other"), NOW))
        async with db.read() as session:
            assert (await purchases.list_purchases(session, NS, changed.next.id)).items == []
    assert [amount for _, _, amount in amounts(changed.next)] == ["10"]


async def test_what_the_plan_does_not_offer_is_refused(db: Database, metered: None, subscribe: Subscribe) -> None:
    made = await addon(db, "extra_seats", flat("30"))
    phases = [phase(flat("1"), key="trial", duration="P2M"), phase(flat("100"), key="full")]
    await plan_with(db, phases, made, from_plan_phase="full", max_quantity=5)
    plain = await subscribe("2025-04-01")
    refusals: list[tuple[int, Timing, str]] = [
        (0, NOW, "from 1 to 5"),
        (6, NOW, "from 1 to 5"),
        (1, at("2025-03-31"), "does not run then"),
        (1, at("2300-01-01"), "100 years"),
        (1, at("2025-04-05"), "offered from phase full"),
        (1, NOW, "offered from phase full"),
    ]
    for quantity, timing, message in refusals:
        with pytest.raises(InvalidInput, match=message):
            await buy(db, plain, made, "2025-04-10", quantity, timing)
    bought = await buy(db, plain, made, "2025-04-10", 5, at("2025-06-01"))
    assert amounts(bought.subscription) == [
        (at("2025-04-01"), at("2025-06-01"), "1"),
        (at("2025-06-01"), None, "250"),
    ]


async def test_once_and_only_what_is_linked(
    db: Database, metered: None, subscribe: Subscribe, customer: Customer
) -> None:
    once = await addon(db, "once", flat("30"), instance_type=InstanceType.SINGLE)
    stranger = await addon(db, "stranger", flat("30"))
    await plan_with(db, [phase(unit_card(price=None))], once)
    plain = await subscribe("2025-04-01")
    async with db.read() as session:
        assert (await customers.get(session, NS, customer.id)).currency is None
    for wrong, quantity, message in ((once, 2, "from 1 to 1"), (stranger, 1, "not linked")):
        with pytest.raises(InvalidInput, match=message):
            await buy(db, plain, wrong, "2025-04-10", quantity)
    with pytest.raises(NotFound):
        await buy(db, plain, "01JNX8T0000000000000000001", "2025-04-10")
    bought = await buy(db, plain, once, "2025-04-10")
    # The first price that the customer has decides the currency.
    async with db.read() as session:
        assert (await customers.get(session, NS, customer.id)).currency == "USD"
    with pytest.raises(InvalidInput, match="from 0 to 1"):
        await set_quantity(db, bought, "2025-04-20", 2)
    bought = await set_quantity(db, bought, "2025-04-20", 0)
    with pytest.raises(Conflict, match=bought.id):
        await buy(db, plain, once, "2025-04-21")
    bought = await set_quantity(db, bought, "2025-04-22", 1)
    assert [(start.day, end and end.day) for start, end, _ in amounts(bought.subscription)] == [(10, 20), (22, None)]


async def test_an_amount_that_cannot_be_shown_is_refused(db: Database, metered: None, subscribe: Subscribe) -> None:
    template = MeteredEntitlementTemplate(issue_after_reset=Decimal("9e37"), usage_period=period("P1M"))
    calls = await addon(db, "more_calls", unit_card(price=None, entitlement_template=template))
    await plan_with(db, [phase(flat("100"))], calls)
    bought = await buy(db, await subscribe("2025-04-01"), calls, "2025-04-10")
    with pytest.raises(InvalidInput) as refused:
        await set_quantity(db, bought, "2025-04-20", 10)
    (issue,) = refused.value.issues
    assert issue.field == "$.phases[?(@.key=='main')].itemsByKey.api_calls[1].entitlementTemplate.issueAfterReset"


async def test_what_changes_within_a_second_lasts_no_time(db: Database, extra: Addon, subscribe: Subscribe) -> None:
    bought = await buy(db, await subscribe("2025-04-01"), extra, "2025-04-10T00:00:00.200000", 5)
    bought = await set_quantity(db, bought, "2025-04-10T00:00:00.900000", 2)
    second = at("2025-04-10")
    assert bought.timeline == (Instance(second, second, 5), Instance(second, None, 2))
    assert [amount for _, _, amount in amounts(bought.subscription)] == ["100", "160"]


async def test_a_quantity_that_begins_within_a_second_gives_way_to_the_next(
    db: Database, extra: Addon, subscribe: Subscribe
) -> None:
    bought = await buy(db, await subscribe("2025-04-01T00:00:00.5"), extra, "2025-04-10", 5, LATER)
    bought = await set_quantity(db, bought, "2025-05-01T00:00:00.9", 2)
    boundary = at("2025-05-01T00:00:00.5")
    assert bought.timeline == (Instance(boundary, boundary, 5), Instance(boundary, None, 2))
    assert [amount for _, _, amount in amounts(bought.subscription)] == ["100", "160"]


async def test_an_addon_that_no_longer_fits_is_refused(db: Database, extra: Addon, subscribe: Subscribe) -> None:
    """An edit between the sale and the purchase may have made the item one that nothing can be added to."""
    plain = await subscribe("2025-04-01")
    item = next(item for item in plain.phases[0].items if item.key == "seats")
    arrears = FlatPrice(amount=Decimal(100), payment_term=PaymentTerm.IN_ARREARS)
    card = item.rate_card.model_copy(update={"price": arrears, "currency": None})
    with clock.frozen(at("2025-04-05")):
        async with db.write() as session:
            wishes: list[Patch] = [RemoveItem("main", "seats"), AddItem("main", ItemSpec("seats", card))]
            await service.edit(session, NS, plain.id, wishes, NOW)
    with pytest.raises(InvalidInput) as refused:
        await buy(db, plain, extra, "2025-04-10")
    (issue,) = refused.value.issues
    assert issue.code == "rate_card_price_payment_term_mismatch"
    assert issue.field == "$.phases[?(@.key=='main')].itemsByKey.seats[1].price.paymentTerm"
    async with db.read() as session:
        assert (await purchases.list_purchases(session, NS, plain.id)).items == []
