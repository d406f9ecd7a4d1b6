"""Subscriptions through their service (subscriptions sections 4, 5, 8, 10 and 13)."""

import asyncio
import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from meterhouse.catalog import features, plans
from meterhouse.catalog.prices import SettlementMode
from meterhouse.customers import service as customers
from meterhouse.customers.customer import UNSET, Customer, CustomerChanges
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Sort, equals
from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from meterhouse.kernel.pages import PageRequest
from meterhouse.subscriptions import service
from meterhouse.subscriptions.customer_guards import GUARDS
from meterhouse.subscriptions.models import SubscriptionItemRow, SubscriptionRow
from meterhouse.subscriptions.service import CustomPlan, PlanChoice
from meterhouse.subscriptions.status import Status, status_of
from meterhouse.subscriptions.timing import NamedTiming, Timing
from meterhouse.subscriptions.views import SubscriptionView
from tests.catalog.builders import flat_card, new_plan, period, phase, unit_card
from tests.fixtures.ticking import ticking
from tests.subscriptions.conftest import MINUTE, NS, Publish, Subscribe, at

GOLDEN = Path(__file__).parent / "golden"


async def cancel(db: Database, view: SubscriptionView, when: str, timing: Timing) -> SubscriptionView:
    with clock.frozen(at(when)):
        async with db.write() as session:
            return await service.cancel(session, NS, view.id, timing)


async def resume(db: Database, view: SubscriptionView, when: str) -> SubscriptionView:
    with clock.frozen(at(when)):
        async with db.write() as session:
            return await service.unschedule_cancelation(session, NS, view.id)


async def delete(db: Database, view: SubscriptionView, when: str) -> None:
    with ticking(at(when)):
        async with db.write() as session:
            await service.delete(session, NS, view.id)


async def load(db: Database, view: SubscriptionView) -> SubscriptionView:
    async with db.read() as session:
        return await service.load(session, NS, view.id)


async def customer_now(db: Database, customer: Customer) -> Customer:
    async with db.read() as session:
        return await customers.get(session, NS, customer.id)


async def test_a_subscription_lays_its_plan_out(
    db: Database, publish: Publish, subscribe: Subscribe, customer: Customer
) -> None:
    await publish(
        phase(flat_card(price=None), unit_card(), key="trial", duration="P2W"),
        phase(flat_card(), unit_card(), key="ramp", duration="P1M"),
        phase(unit_card(), key="full"),
        settlement_mode=SettlementMode.CREDIT_ONLY,
    )
    created = await subscribe(metadata={"team": "x"}, description="first")
    assert await load(db, created) == created
    assert created.name == "Pro"
    assert created.plan is not None
    assert (created.plan.key, created.plan.version) == ("ws_pro", 1)
    assert (created.currency, created.settlement_mode) == ("USD", SettlementMode.CREDIT_ONLY)
    assert (created.active_from, created.active_to) == (at("2025-03-10T08"), None)
    assert created.billing_anchor == created.active_from
    assert [(p.key, p.active_from, p.active_to) for p in created.phases] == [
        ("trial", at("2025-03-10T08"), at("2025-03-24T08")),
        ("ramp", at("2025-03-24T08"), at("2025-04-24T08")),
        ("full", at("2025-04-24T08"), None),
    ]
    trial = created.phases[0]
    assert [(i.key, i.version, i.active_from, i.active_to) for i in trial.items] == [
        ("api_calls", 0, trial.active_from, trial.active_to),
        ("seats", 0, trial.active_from, trial.active_to),
    ]
    assert trial.items[0].rate_card.currency == "USD"
    assert (await customer_now(db, customer)).currency == "USD"


async def test_the_rate_card_is_stored_in_its_golden_form(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish(phase(unit_card()))
    await subscribe()
    async with db.read() as session:
        stored = await session.scalar(select(SubscriptionItemRow.rate_card))
    assert stored is not None
    assert {**stored, "feature_id": "a feature id"} == json.loads((GOLDEN / "rate_card.json").read_text())


async def test_anchor_and_starting_phase(publish: Publish, subscribe: Subscribe) -> None:
    await publish(
        phase(flat_card(), key="trial", duration="P2W"),
        phase(flat_card(), key="ramp", duration="P1M"),
        phase(flat_card(), key="full"),
    )
    created = await subscribe(starting_phase="ramp", billing_anchor=at("2025-01-31"))
    assert created.billing_anchor == at("2025-01-31")
    assert [(p.key, p.active_from, p.active_to) for p in created.phases] == [
        ("trial", at("2025-03-10T08"), at("2025-03-10T08")),
        ("ramp", at("2025-03-10T08"), at("2025-04-10T08")),
        ("full", at("2025-04-10T08"), None),
    ]
    assert created.recurrence().period_at(at("2025-04-01")).end == at("2025-04-30")
    trial = created.phases[0].items[0]
    assert (trial.active_from, trial.active_to) == (at("2025-03-10T08"), at("2025-03-10T08"))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"timing": NamedTiming.NEXT_BILLING_CYCLE}, "has no billing cycle yet"),
        ({"timing": at("2025-03-10T07:57:59")}, "cannot create subscription in the past"),
        ({"timing": at("2225-03-10")}, "more than 100 years away"),
        ({"billing_anchor": at("9999-12-31")}, "more than 100 years away"),
        ({"starting_phase": "gold"}, "no phase gold"),
        ({"plan": PlanChoice(key="ws_pro", version=2)}, "version 2 of plan ws_pro is not active, version 1 is"),
        ({"plan": PlanChoice(key="draft")}, "plan is not active: draft version 1"),
        ({"plan": PlanChoice()}, "named by id or by key"),
    ],
)
async def test_refused_creations(
    db: Database, publish: Publish, subscribe: Subscribe, members: dict[str, object], message: str
) -> None:
    await publish()
    async with db.write() as session:
        await plans.create(session, NS, new_plan("draft"))
    with pytest.raises(InvalidInput, match=message):
        await subscribe(**members)


async def test_unknown_plan_and_customer(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish()
    with pytest.raises(NotFound, match="plan not found"):
        await subscribe(plan=PlanChoice(key="unknown"))
    with pytest.raises(NotFound, match="customer not found"):
        await subscribe(customer_id="01JNX8T0000000000000000001")


async def test_a_start_just_past_and_one_to_come_are_possible(
    db: Database, publish: Publish, subscribe: Subscribe
) -> None:
    await publish()
    late = await subscribe(timing=at("2025-03-10T08") - 2 * MINUTE)
    assert late.active_from == at("2025-03-10T07:58")
    await cancel(db, late, "2025-03-10T08", NamedTiming.IMMEDIATE)
    future = await subscribe(timing=at("2025-06-01"))
    assert status_of(future, at("2025-05-31")) is Status.SCHEDULED


async def test_the_active_version_can_be_named(publish: Publish, subscribe: Subscribe) -> None:
    await publish()
    await publish(phase(flat_card()), when=at("2025-02-01"))
    created = await subscribe(plan=PlanChoice(key="ws_pro", version=2), name="Mine")
    assert created.plan is not None
    assert (created.plan.version, created.name) == (2, "Mine")


async def test_features_must_live_and_be_metered(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish()
    async with db.write() as session:
        await features.archive(session, NS, "api_calls", uses=())
    with pytest.raises(InvalidInput) as caught:
        await subscribe()
    assert [(issue.code, issue.field) for issue in caught.value.issues] == [
        ("rate_card_feature_not_found", "$.phases[?(@.key=='main')].itemsByKey.api_calls[0].featureKey")
    ]


async def test_a_feature_in_use_says_so(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish()
    view = await subscribe()
    async with db.read() as session:
        feature = await features.get(session, NS, "api_calls")
        with clock.frozen(at("2025-03-11")):
            assert await service.feature_use(session, NS, feature) == "1 subscription(s) use it"
    await cancel(db, view, "2025-03-12", NamedTiming.IMMEDIATE)
    async with db.read() as session:
        with clock.frozen(at("2025-03-13")):
            assert await service.feature_use(session, NS, feature) is None


def custom_plan(*cards, **members) -> CustomPlan:  # type: ignore[no-untyped-def]
    given = {"name": "Bespoke", "currency": "USD", "billing_cadence": period("P1M"), **members}
    return CustomPlan(phases=(phase(*cards),), **given)


async def test_a_custom_plan_makes_a_subscription_without_plan(
    db: Database, metered: None, subscribe: Subscribe
) -> None:
    created = await subscribe(plan=custom_plan(unit_card(), metadata={"deal": "7"}, description="for acme"))
    assert created.plan is None
    assert (created.name, created.description, created.metadata) == ("Bespoke", "for acme", {"deal": "7"})
    assert created.phases[0].items[0].rate_card.feature_id is not None
    async with db.read() as session:
        assert (await plans.list_plans(session, NS, plans.PlanQuery())).total_count == 0


async def test_issues_of_a_custom_plan_stand_under_plan(db: Database, metered: None, subscribe: Subscribe) -> None:
    with pytest.raises(InvalidInput) as caught:
        await subscribe(plan=custom_plan(unit_card("badge"), flat_card(cadence="P1W")))
    assert [(issue.code, issue.field) for issue in caught.value.issues] == [
        (
            "rate_card_billing_cadence_unaligned",
            "$.plan.phases[?(@.key=='main')].rateCards[?(@.key=='seats')].billingCadence",
        ),
        (
            "usage_based_price_with_feature_and_no_meter",
            "$.plan.phases[?(@.key=='main')].rateCards[?(@.key=='badge')].featureKey",
        ),
    ]


@pytest.mark.parametrize(
    ("currency", "priced", "expected"),
    [
        (None, True, "USD"),
        (None, False, None),
        ("EUR", False, "EUR"),
        ("EUR", True, InvalidInput),
        ("USD", True, "USD"),
    ],
)
async def test_currency_of_the_customer(
    db: Database,
    publish: Publish,
    subscribe: Subscribe,
    customer: Customer,
    currency: str | None,
    priced: bool,
    expected: object,
) -> None:
    await publish(phase(flat_card() if priced else flat_card(price=None)))
    if currency is not None:
        async with db.write() as session:
            await customers.set_currency(session, NS, customer.id, currency)
    if expected is InvalidInput:
        with pytest.raises(InvalidInput, match="currencies must match"):
            await subscribe()
        return
    await subscribe()
    assert (await customer_now(db, customer)).currency == expected


PHASES = (phase(unit_card(), key="a", duration="P6W"), phase(unit_card(), key="b"))
JAN = datetime.fromisoformat("2025-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("timing", "end"),
    [
        (NamedTiming.IMMEDIATE, "2025-03-15"),
        (NamedTiming.NEXT_BILLING_CYCLE, "2025-04-01"),
        (at("2025-04-01"), "2025-04-01"),
        (at("2025-04-21T08"), "2025-04-21T08"),
        (at("2025-05-01"), "2025-05-01"),
    ],
)
async def test_cancel_at_a_boundary(
    db: Database, publish: Publish, subscribe: Subscribe, timing: Timing, end: str
) -> None:
    await publish(*PHASES)
    created = await subscribe(billing_anchor=JAN)
    canceled = await cancel(db, created, "2025-03-15", timing)
    assert canceled.active_to == at(end)
    assert canceled.updated_at == at("2025-03-15")
    a, b = canceled.phases
    assert a.active_to == min(at(end), at("2025-04-21T08"))
    assert a.items[0].active_to == a.active_to
    assert b.active_to == max(at(end), b.active_from)
    assert (b.items[0].active_from, b.items[0].active_to) == (b.active_from, b.active_to)
    if timing is not NamedTiming.IMMEDIATE:
        assert await resume(db, canceled, "2025-03-16") == _resumed(created)


def _resumed(view: SubscriptionView) -> SubscriptionView:
    return replace(view, updated_at=at("2025-03-16"))


async def test_next_billing_cycle_can_be_a_phase_change(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish(*PHASES)
    created = await subscribe(billing_anchor=JAN)
    assert (await cancel(db, created, "2025-04-15", NamedTiming.NEXT_BILLING_CYCLE)).active_to == at("2025-04-21T08")


@pytest.mark.parametrize(
    ("timing", "told"),
    [
        ("2025-04-10", r"possible around it: 2025-04-01T00:00:00\+00:00 or 2025-04-21T08:00:00\+00:00$"),
        ("2025-03-20", r"possible around it: 2025-04-01T00:00:00\+00:00$"),
        ("2025-03-01", "in the past"),
        ("2025-03-10T08", "in the past"),
        ("2225-01-01", "100 years"),
    ],
)
async def test_cancel_refuses_other_instants(
    db: Database, publish: Publish, subscribe: Subscribe, timing: str, told: str
) -> None:
    await publish(*PHASES)
    created = await subscribe(billing_anchor=JAN)
    with pytest.raises(InvalidInput, match=told):
        await cancel(db, created, "2025-03-15", at(timing))
    assert await load(db, created) == created


async def test_commands_are_bound_to_the_status(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish()
    active = await subscribe()
    with pytest.raises(Forbidden, match="transition continue in state active not allowed: it runs without an end"):
        await resume(db, active, "2025-03-11")
    with pytest.raises(Forbidden, match="transition delete in state active not allowed"):
        await delete(db, active, "2025-03-11")
    canceled = await cancel(db, active, "2025-03-11", NamedTiming.NEXT_BILLING_CYCLE)
    assert status_of(canceled, at("2025-03-11")) is Status.CANCELED
    told = (
        r"cancel in state canceled not allowed: it is canceled and ends at 2025-04-10T08:00:00\+00:00; take that back"
    )
    with pytest.raises(Forbidden, match=told):
        await cancel(db, active, "2025-03-12", NamedTiming.IMMEDIATE)
    told = r"continue in state inactive not allowed: it ended at 2025-04-10T08:00:00\+00:00; create another"
    with pytest.raises(Forbidden, match=told):
        await resume(db, active, "2025-04-10T08")
    scheduled = await subscribe("2025-03-12", timing=at("2025-06-01"))
    told = f"scheduled subscription can only be deleted: DELETE /api/v1/subscriptions/{scheduled.id}"
    with pytest.raises(Forbidden, match=told):
        await cancel(db, scheduled, "2025-03-13", NamedTiming.IMMEDIATE)


async def test_a_scheduled_subscription_can_be_deleted(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish()
    scheduled = await subscribe(timing=at("2025-06-01"))
    await delete(db, scheduled, "2025-03-11")
    with pytest.raises(NotFound):
        await load(db, scheduled)
    with pytest.raises(NotFound):
        await delete(db, scheduled, "2025-03-11")
    async with db.read() as session:
        kept = await service.load(session, NS, scheduled.id, include_deleted=True)
    assert kept.deleted_at is not None
    assert kept.deleted_at - at("2025-03-11") < MINUTE
    assert [p.key for p in kept.phases] == ["main"]
    assert [item.key for item in kept.phases[0].items] == ["api_calls"]
    assert (await subscribe()).active_to is None


async def test_one_subscription_at_a_time(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish()
    first = await subscribe()
    with pytest.raises(Conflict) as caught:
        await subscribe("2025-03-11", timing=at("2025-06-01"))
    code = "only_single_subscription_allowed_per_customer_at_a_time"
    rule = "a customer can have only one subscription at a time"
    assert [(issue.code, issue.message) for issue in caught.value.issues] == [
        (code, f"{rule}: subscription {first.id} runs without an end; change it or cancel it"),
        (code, f"{rule}: the new one would run from 2025-06-01T00:00:00+00:00 on"),
    ]
    await cancel(db, first, "2025-03-11", NamedTiming.NEXT_BILLING_CYCLE)
    told = rf"subscription {first.id} ends at 2025-04-10T08:00:00\+00:00; begin then or later; the new one would run"
    with pytest.raises(Conflict, match=told):
        await subscribe("2025-03-11", timing=at("2025-04-10T07"))
    second = await subscribe("2025-03-11", timing=at("2025-04-10T08"))
    told = f"delete it with DELETE /api/v1/subscriptions/{second.id}; .*POST /api/v1/subscriptions/{first.id}/restore"
    with pytest.raises(Conflict, match=told):
        await resume(db, first, "2025-03-12")


async def test_a_scheduled_subscription_stands_in_the_way_of_an_open_one(
    publish: Publish, subscribe: Subscribe
) -> None:
    await publish()
    await subscribe(timing=at("2025-09-01"))
    with pytest.raises(Conflict):
        await subscribe()


async def test_simultaneous_creates_give_one_subscription(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish()
    results = await asyncio.gather(*(subscribe() for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(result, SubscriptionView) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 9


async def test_the_schema_alone_keeps_subscriptions_apart(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish()
    created = await subscribe()
    async with db.write() as session:
        with pytest.raises(Exception, match="ex_subscriptions_one_per_customer_at_a_time"):
            await session.execute(
                text(
                    "INSERT INTO subscriptions SELECT (jsonb_populate_record(s, jsonb_build_object('id', 'other',"
                    " 'active_from', s.active_from + interval '1 year'))).* FROM subscriptions s"
                )
            )
    async with db.read() as session:
        assert await session.scalar(select(func.count()).select_from(SubscriptionRow)) == 1
        assert await session.scalar(select(SubscriptionRow.id)) == created.id


@pytest.mark.parametrize(
    "change",
    [
        "subscriptions SET name = ''",
        "subscriptions SET name = repeat('x', 257)",
        "subscriptions SET description = repeat('x', 1025)",
        "subscription_phases SET name = ''",
        "subscription_phases SET key = 'Main phase'",
        "subscription_items SET key = repeat('x', 65)",
        """subscription_items SET rate_card = rate_card || '{"name": ""}'""",
    ],
)
async def test_the_schema_alone_keeps_what_answers_cannot_show_out(
    db: Database, publish: Publish, subscribe: Subscribe, change: str
) -> None:
    await publish()
    await subscribe()
    async with db.write() as session:
        with pytest.raises(IntegrityError, match="can_be_shown"):
            await session.execute(text(f"UPDATE {change}"))


async def test_lists(db: Database, publish: Publish, subscribe: Subscribe, customer: Customer) -> None:
    await publish()
    ended = await subscribe("2025-01-10")
    await cancel(db, ended, "2025-02-01", NamedTiming.IMMEDIATE)
    canceled = await subscribe("2025-02-02")
    await cancel(db, canceled, "2025-02-03", NamedTiming.NEXT_BILLING_CYCLE)
    scheduled = await subscribe("2025-02-03", timing=at("2025-04-01"))

    async def ids(*statuses: Status, page: PageRequest | None = None) -> list[str]:
        with clock.frozen(at("2025-02-15")):
            async with db.read() as session:
                found = await service.list_for_customer(session, NS, customer.id, statuses=statuses, page=page)
                return [view.id for view in found.items]

    assert await ids() == [scheduled.id, canceled.id, ended.id]
    assert await ids(Status.INACTIVE, Status.SCHEDULED) == [scheduled.id, ended.id]
    assert await ids(Status.CANCELED) == [canceled.id]
    assert await ids(Status.ACTIVE) == []
    assert await ids(page=PageRequest(2, 2)) == [ended.id]
    with clock.frozen(at("2025-02-15")):
        async with db.read() as session:
            assert [view.id for view in await service.running_of(session, NS, [customer.id])] == [canceled.id]
            among = (service.customers_on_plan(NS, equals("ws_pro")),)
            found = await customers.list_customers(session, NS, customers.CustomerFilter(among=among))
            assert [one.id for one in found.items] == [customer.id]
            among = (service.customers_on_plan(NS, equals("other")),)
            assert not (await customers.list_customers(session, NS, customers.CustomerFilter(among=among))).items
            chosen = service.SubscriptionFilter(at=clock.now(), plan_key=equals("ws_pro"))
            listed = await service.list_subscriptions(session, NS, chosen, sorts=[Sort("id")], page=PageRequest(1, 1))
            assert ([view.id for view in listed.items], listed.total_count) == ([ended.id], 3)
            active = await service.active_between(session, at("2025-01-15"), at("2025-01-20"))
            assert active == [(NS, ended.id)]


async def change(db: Database, customer: Customer, when: str, changes: CustomerChanges) -> Customer:
    with clock.frozen(at(when)):
        async with db.write() as session:
            return await customers.update(session, NS, customer.id, changes, GUARDS)


async def test_subject_keys_are_fixed_while_a_subscription_runs(
    db: Database, publish: Publish, subscribe: Subscribe, customer: Customer
) -> None:
    await publish()
    await change(db, customer, "2025-03-01", CustomerChanges(name="Acme", key=UNSET, subject_keys=("b", "a")))
    await subscribe(timing=at("2025-04-01"))
    await change(db, customer, "2025-03-20", CustomerChanges(name="Acme", key=UNSET, subject_keys=("c", "a", "b")))
    for keys in ((), ("a",), ("a", "b", "c", "d")):
        with pytest.raises(InvalidInput, match="cannot change subject keys"):
            await change(db, customer, "2025-04-02", CustomerChanges(name="Acme", key=UNSET, subject_keys=keys))
    same = CustomerChanges(name="New", key=UNSET, subject_keys=("c", "b", "a"))
    assert (await change(db, customer, "2025-04-02", same)).name == "New"


async def test_the_key_counts_usage_as_subject_keys_do(
    db: Database, publish: Publish, subscribe: Subscribe, customer: Customer
) -> None:
    await publish()
    await subscribe()
    keys = customer.subject_keys
    for key in ("renamed", None):
        with pytest.raises(InvalidInput, match="keep it among the subject keys") as refused:
            await change(db, customer, "2025-03-11", CustomerChanges("Acme", key, keys))
        assert [issue.field for issue in refused.value.issues] == ["$.key"]
    changed = await change(db, customer, "2025-03-11", CustomerChanges("Acme", "renamed", ("acme", *keys)))
    assert changed.usage_subjects() == ("renamed", "acme", *keys)
    with pytest.raises(InvalidInput, match="cannot change subject keys"):
        await change(db, customer, "2025-03-11", CustomerChanges("Acme", "renamed", keys))


async def test_the_currency_is_fixed_by_paid_subscriptions(
    db: Database, publish: Publish, subscribe: Subscribe, customer: Customer
) -> None:
    await publish()
    view = await subscribe()
    keys = customer.subject_keys
    for currency in ("EUR", None):
        with pytest.raises(Conflict, match="the currency is that of paid subscriptions"):
            await change(db, customer, "2025-03-11", CustomerChanges("Acme", UNSET, keys, currency=currency))
    await cancel(db, view, "2025-03-11", NamedTiming.IMMEDIATE)
    changed = await change(db, customer, "2025-03-12", CustomerChanges("Acme", UNSET, keys, currency="EUR"))
    assert changed.currency == "EUR"


async def test_a_customer_stays_while_a_subscription_runs_or_is_scheduled(
    db: Database, publish: Publish, subscribe: Subscribe, customer: Customer
) -> None:
    await publish()
    view = await subscribe(timing=at("2025-03-11"))

    async def go(when: str) -> None:
        with clock.frozen(at(when)):
            async with db.write() as session:
                await customers.delete(session, NS, customer.id, GUARDS)

    with pytest.raises(Conflict, match=view.id):
        await go("2025-03-10T09")
    with pytest.raises(InvalidInput, match=view.id):
        await go("2025-03-11")
    await cancel(db, view, "2025-03-12", NamedTiming.NEXT_BILLING_CYCLE)
    with pytest.raises(InvalidInput, match=view.id):
        await go("2025-03-13")
    await go("2025-05-01")
    with pytest.raises(customers.CustomerDeleted):
        await subscribe("2025-05-02")


async def test_a_customer_deleted_while_a_subscription_is_made_never_has_one(
    db: Database, publish: Publish, subscribe: Subscribe, customer: Customer
) -> None:
    await publish()

    async def go() -> None:
        with clock.frozen(at("2025-03-10T08") + timedelta(seconds=1)):
            async with db.write() as session:
                await customers.delete(session, NS, customer.id, GUARDS)

    results = await asyncio.gather(subscribe(), go(), return_exceptions=True)
    assert sum(isinstance(result, Exception) for result in results) == 1
