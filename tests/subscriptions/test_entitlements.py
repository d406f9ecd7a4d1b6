"""Entitlements from the items of subscriptions (subscriptions section 11)."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from meterhouse.catalog.prices import UnitConversion
from meterhouse.catalog.ratecards import (
    BooleanEntitlementTemplate,
    MeteredEntitlementTemplate,
    RateCard,
    StaticEntitlementTemplate,
)
from meterhouse.customers.customer import Customer
from meterhouse.entitlements import grants
from meterhouse.entitlements import service as entitlements
from meterhouse.entitlements.access import Access
from meterhouse.entitlements.entitlement import Entitlement, EntitlementType, NewEntitlement
from meterhouse.entitlements.service import EntitlementFilter, Stretch
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import Conflict, Forbidden
from meterhouse.kernel.periods import Duration
from meterhouse.metering.marks import UsageMarks
from meterhouse.subscriptions import access, service
from meterhouse.subscriptions.patches import AddItem, RemoveItem
from meterhouse.subscriptions.service import PlanChange, PlanChoice
from meterhouse.subscriptions.spec import ItemSpec
from meterhouse.subscriptions.timing import NamedTiming
from meterhouse.subscriptions.views import SubscriptionView
from tests.catalog.builders import flat_card, phase, unit_card
from tests.metering.conftest import House, event, house
from tests.subscriptions.conftest import NS, Publish, Subscribe, at

__all__ = ["house"]

MONTH = Duration(months=1)
BADGE = flat_card("badge", feature_key="badge", entitlement_template=BooleanEntitlementTemplate())
Line = tuple[str, datetime, datetime | None]


def calls(limit: int, **members: Any) -> RateCard:
    """Make a card that gives so many calls a month."""
    template = MeteredEntitlementTemplate(issue_after_reset=Decimal(limit), usage_period=MONTH, **members)
    return unit_card(entitlement_template=template)


async def stored(db: Database) -> list[Entitlement]:
    async with db.read() as session:
        every = EntitlementFilter()
        found, _ = await entitlements.list_entitlements(session, NS, every, [Sort("created_at")], Stretch(0, 100))
        return sorted(found, key=lambda one: (one.feature_key, one.active_from))


async def lines(db: Database) -> list[Line]:
    return [(one.feature_key, one.active_from, one.active_to) for one in await stored(db)]


async def edit(db: Database, view: SubscriptionView, when: str, *wishes: Any) -> SubscriptionView:
    with clock.frozen(at(when)):
        async with db.write() as session:
            return await service.edit(session, NS, view.id, wishes, NamedTiming.IMMEDIATE)


def add(card: RateCard) -> AddItem:
    return AddItem("main", ItemSpec(card.key, card))


async def test_each_version_of_an_item_gives_its_own(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    static = flat_card("badge", feature_key="badge", entitlement_template=StaticEntitlementTemplate(config='{"n": 1}'))
    await publish(phase(calls(10), key="trial", duration="P1M"), phase(calls(20, is_soft_limit=True), static))
    view = await subscribe("2025-03-10T08:15:42")
    trial, main, badge = await stored(db)
    assert await lines(db) == [
        ("api_calls", at("2025-03-10T08:15:42"), at("2025-04-10T08:15:42")),
        ("api_calls", at("2025-04-10T08:15:42"), None),
        ("badge", at("2025-04-10T08:15:42"), None),
    ]
    assert (badge.type, badge.config) == (EntitlementType.STATIC, '{"n": 1}')
    assert trial.annotations == {"subscription.id": view.id}
    assert trial.metered is not None
    assert main.metered is not None
    assert (trial.metered.is_soft_limit, main.metered.is_soft_limit) == (False, True)
    # A phase counts from its start, cut to the minute, on the rhythm of billing.
    assert main.metered.periods.start == at("2025-04-10T08:15")
    async with db.write() as session:
        await access.follow(session, view)
    assert await stored(db) == [trial, main, badge]


@pytest.mark.parametrize(
    ("anchor", "start", "first"),
    [
        ("2025-01-01T00:00:30", "2025-03-10T08:15:42", ("2025-03-10T08:15", "2025-04-01")),
        (None, "2025-03-10T08:15:42", ("2025-03-10T08:15", "2025-04-10T08:15")),
        ("2025-01-31T10:20:45", "2025-02-28T12", ("2025-02-28T12", "2025-03-31T10:20")),
    ],
)
async def test_first_usage_period(
    db: Database, publish: Publish, subscribe: Subscribe, anchor: str | None, start: str, first: tuple[str, str]
) -> None:
    await publish(phase(calls(10, issue_after_reset_priority=4)))
    await subscribe(start, **({} if anchor is None else {"billing_anchor": at(anchor)}))
    (given,) = await stored(db)
    period = given.current_usage_period(at(start))
    assert period is not None
    assert (period.start, period.end) == (at(first[0]), at(first[1]))
    async with db.read() as session:
        (grant,), _ = await grants.list_of(session, NS, given.id, (), Stretch(0, 9))
    assert (grant.effective_at, grant.amount, grant.priority, grant.expires_at) == (period.start, 10, 4, None)
    assert (grant.rollover_min, grant.rollover_max) == (10, 10)


async def test_a_new_version_sees_what_the_old_one_saw(
    house: House, publish: Publish, subscribe: Subscribe, customer: Customer
) -> None:
    conversion = UnitConversion(operation="divide", conversion_factor=Decimal(2))
    await publish(phase(calls(1000)))
    view = await subscribe("2025-04-01")
    await house.send(event("1", "2025-04-10T00:00:00Z", "acme-1", {"n": "600"}, type="call"))
    values = Access(house.queries, UsageMarks(house.clickhouse))

    async def balance(when: str) -> Decimal:
        with clock.frozen(at(when)):
            async with house.db.read() as session:
                found = await entitlements.active_of(session, NS, [customer.id], at(when))
                (value,) = (await values.values(session, NS, found, at(when))).values
        assert value.balance is not None
        return value.balance.balance

    assert await balance("2025-04-14") == 400
    await edit(house.db, view, "2025-04-15", RemoveItem("main", "api_calls"), add(calls(1500)))
    assert await balance("2025-04-14") == 400
    assert await balance("2025-04-16") == 900
    await edit(
        house.db,
        view,
        "2025-04-20",
        RemoveItem("main", "api_calls"),
        add(calls(1500).model_copy(update={"unit_conversion": conversion})),
    )
    assert await balance("2025-04-21") == 1200
    assert await balance("2025-05-02") == 1500


async def test_cancelling_cuts(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish(phase(calls(10), key="trial", duration="P1M"), phase(calls(20), BADGE))
    view = await subscribe("2025-03-10T08")
    with clock.frozen(at("2025-03-12")):
        async with db.write() as session:
            await service.cancel(session, NS, view.id, NamedTiming.IMMEDIATE)
    assert await lines(db) == [
        ("api_calls", at("2025-03-10T08"), at("2025-03-12")),
        ("api_calls", at("2025-04-10T08"), at("2025-04-10T08")),
        ("badge", at("2025-04-10T08"), at("2025-04-10T08")),
    ]


async def test_a_cancellation_that_has_not_come_is_taken_back(
    db: Database, publish: Publish, subscribe: Subscribe
) -> None:
    await publish(phase(calls(10), BADGE))
    view = await subscribe("2025-03-10T08")
    before = [(one.id, one.active_from, one.active_to) for one in await stored(db)]
    with clock.frozen(at("2025-03-12")):
        async with db.write() as session:
            await service.cancel(session, NS, view.id, NamedTiming.NEXT_BILLING_CYCLE)
        assert {end for _, _, end in await lines(db)} == {at("2025-04-10T08")}
        # What is given meanwhile for the time after it stands in the way.
        async with db.write() as session:
            await session.execute(
                text(
                    "INSERT INTO entitlements SELECT (jsonb_populate_record(e, jsonb_build_object("
                    "'id', 'OTHER', 'subscription_id', NULL, 'active_from', '2025-05-01', 'active_to', NULL))).* "
                    "FROM entitlements e WHERE feature_key = 'badge'"
                )
            )
        with pytest.raises(Conflict):
            async with db.write() as session:
                await service.unschedule_cancelation(session, NS, view.id)
        async with db.write() as session:
            await session.execute(text("DELETE FROM entitlements WHERE id = 'OTHER'"))
        async with db.write() as session:
            await service.unschedule_cancelation(session, NS, view.id)
    assert [(one.id, one.active_from, one.active_to) for one in await stored(db)] == before


async def test_items_that_go_take_their_entitlements(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish(phase(calls(5), BADGE))
    view = await subscribe("2025-03-10T08")
    await edit(db, view, "2025-03-20", RemoveItem("main", "badge"))
    assert await lines(db) == [
        ("api_calls", at("2025-03-10T08"), None),
        ("badge", at("2025-03-10T08"), at("2025-03-20")),
    ]


async def test_another_plan_begins_anew(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish(phase(calls(10)))
    await publish(phase(calls(10)), key="ws_max")
    view = await subscribe("2025-03-10T08")
    with clock.frozen(at("2025-03-15")):
        async with db.write() as session:
            change = PlanChange(PlanChoice(key="ws_max"), NamedTiming.IMMEDIATE)
            await service.change(session, NS, view.id, change)
    first, second = await stored(db)
    assert (first.active_to, second.active_from) == (at("2025-03-15"), at("2025-03-15"))
    assert second.metered is not None
    assert second.metered.periods.start == at("2025-03-15")


async def test_a_scheduled_subscription_takes_its_entitlements_along(
    db: Database, publish: Publish, subscribe: Subscribe
) -> None:
    await publish(phase(calls(10), BADGE))
    view = await subscribe("2025-03-10T08", timing=at("2025-04-01"))
    assert len(await stored(db)) == 2
    with clock.frozen(at("2025-03-11")):
        async with db.write() as session:
            await service.delete(session, NS, view.id)
    assert await stored(db) == []


async def test_one_that_was_given_by_hand_stands_in_the_way(
    db: Database, publish: Publish, subscribe: Subscribe, customer: Customer
) -> None:
    await publish(phase(BADGE))
    with clock.frozen(at("2025-03-01")):
        async with db.write() as session:
            new = NewEntitlement(EntitlementType.BOOLEAN, feature_key="badge")
            made = await entitlements.create(session, NS, customer.id, new)
    with pytest.raises(Conflict) as conflict:
        await subscribe("2025-03-10T08")
    assert conflict.value.extensions == {"conflictingEntityId": made.id}
    assert await lines(db) == [("badge", at("2025-03-01"), None)]


async def test_they_belong_to_the_subscription(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish(phase(BADGE))
    view = await subscribe("2025-03-10T08")
    (given,) = await stored(db)
    with clock.frozen(at("2025-03-11")), pytest.raises(Forbidden, match=view.id):
        async with db.write() as session:
            await entitlements.delete(session, NS, given.id)
