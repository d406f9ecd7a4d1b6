"""Another plan, another version of it, and taking that back (subscriptions sections 8 and 9)."""

import asyncio
from typing import Any

import pytest

from meterhouse.catalog import plans
from meterhouse.catalog.prices import SettlementMode
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import Conflict, DomainError, Forbidden, InvalidInput, NotFound
from meterhouse.subscriptions import service
from meterhouse.subscriptions.service import Changed, Migration, PlanChange, PlanChoice, Restored
from meterhouse.subscriptions.timing import NamedTiming, Timing
from meterhouse.subscriptions.views import PREVIOUS, SUPERSEDING, SubscriptionView
from tests.catalog.builders import flat_card, new_plan, phase
from tests.fixtures.ticking import ticking
from tests.subscriptions.conftest import NS, Publish, Subscribe, at
from tests.subscriptions.test_subscriptions import cancel, custom_plan, delete, load

NEXT = NamedTiming.NEXT_BILLING_CYCLE
NOW = NamedTiming.IMMEDIATE


async def change(db: Database, view: SubscriptionView, when: str, timing: Timing = NOW, **members: Any) -> Changed:
    wanted = PlanChange(**{"plan": PlanChoice(key="team"), "timing": timing, **members})
    with clock.frozen(at(when)):
        async with db.write() as session:
            return await service.change(session, NS, view.id, wanted)


async def migrate(db: Database, view: SubscriptionView, when: str, version: int | None = None, **more: Any) -> Changed:
    with clock.frozen(at(when)):
        async with db.write() as session:
            return await service.migrate(session, NS, view.id, Migration(version, **more))


async def restore(db: Database, view: SubscriptionView, when: str) -> Restored:
    with ticking(at(when)):
        async with db.write() as session:
            return await service.restore(session, NS, view.id)


@pytest.fixture
async def sold(publish: Publish) -> None:
    """The plans `ws_pro` and `team`."""
    await publish(phase(flat_card()))
    await publish(phase(flat_card(), key="ramp", duration="P1M"), phase(flat_card(), key="full"), key="team")


async def test_a_change_keeps_the_billing_dates(db: Database, sold: None, subscribe: Subscribe) -> None:
    before = await subscribe("2025-01-15", name="Mine", metadata={"a": "b"})
    changed = await change(db, before, "2025-04-20T10")
    assert (changed.current.active_to, changed.next.active_from) == (at("2025-04-20T10"), at("2025-04-20T10"))
    assert changed.next.active_to is None
    assert changed.next.billing_anchor == at("2025-01-15")
    assert changed.next.recurrence().period_at(at("2025-04-21")).end == at("2025-05-15")
    assert changed.next.plan is not None
    assert (changed.next.plan.key, changed.next.name, changed.next.metadata) == ("team", "Pro", {})
    assert changed.next.annotations == {PREVIOUS: before.id}
    assert changed.current.annotations == {SUPERSEDING: changed.next.id}
    assert (changed.current, changed.next) == (await load(db, before), await load(db, changed.next))


async def test_what_a_change_takes_along(db: Database, sold: None, subscribe: Subscribe) -> None:
    before = await subscribe("2025-01-15", name="Mine", metadata={"a": "b"}, settlement_mode=SettlementMode.CREDIT_ONLY)
    kept = await change(
        db, before, "2025-02-01", NEXT, keeps_name=True, starting_phase="full", billing_anchor=at("2025-02-01")
    )
    after = kept.next
    assert (after.name, after.metadata, after.billing_anchor) == ("Mine", {"a": "b"}, at("2025-02-01"))
    assert after.settlement_mode is SettlementMode.CREDIT_THEN_INVOICE
    assert [one.active_to for one in after.phases] == [at("2025-02-15"), None]
    given = await change(
        db, after, "2025-02-16", keeps_name=True, metadata={"c": "d"}, settlement_mode=SettlementMode.CREDIT_ONLY
    )
    assert (given.next.name, given.next.metadata) == ("Mine", {"c": "d"})
    assert given.next.settlement_mode is SettlementMode.CREDIT_ONLY
    own = await change(db, given.next, "2025-02-17", plan=custom_plan(flat_card()))
    assert (own.next.plan, own.next.name) == (None, "Bespoke")


@pytest.mark.parametrize(
    ("timing", "end"), [(NOW, "2025-03-20"), (NEXT, "2025-04-15"), (at("2025-06-15"), "2025-06-15")]
)
async def test_timings(db: Database, sold: None, subscribe: Subscribe, timing: Timing, end: str) -> None:
    before = await subscribe("2025-01-15")
    changed = await change(db, before, "2025-03-20", timing)
    assert changed.current.active_to == changed.next.active_from == at(end)


@pytest.mark.parametrize(
    ("when", "members", "kind"),
    [
        ("2025-03-20", {"timing": at("2025-04-10")}, InvalidInput),
        ("2025-03-20", {"timing": at("2025-02-15")}, InvalidInput),
        ("2025-03-20", {"plan": PlanChoice(key="unknown")}, NotFound),
        ("2025-03-20", {"plan": PlanChoice(key="draft")}, InvalidInput),
        ("2025-03-20", {"starting_phase": "gold"}, InvalidInput),
        ("2025-01-10", {}, Forbidden),
    ],
)
async def test_a_refused_change_leaves_everything_as_it_was(
    db: Database, sold: None, subscribe: Subscribe, when: str, members: dict[str, Any], kind: type[DomainError]
) -> None:
    async with db.write() as session:
        await plans.create(session, NS, new_plan("draft"))
    before = await subscribe("2025-01-09", timing=at("2025-01-15"))
    with pytest.raises(kind):
        await change(db, before, when, **members)
    assert await load(db, before) == before


async def test_only_active_ones_are_changed(db: Database, sold: None, subscribe: Subscribe) -> None:
    before = await subscribe("2025-01-15")
    await cancel(db, before, "2025-01-20", NEXT)
    for when in ("2025-01-21", "2025-03-01"):
        with pytest.raises(Forbidden):
            await change(db, before, when)
        with pytest.raises(Forbidden):
            await migrate(db, before, when)


async def test_a_change_within_the_second_of_the_start_takes_its_place(
    db: Database, sold: None, subscribe: Subscribe
) -> None:
    before = await subscribe("2025-01-15T00:00:00.400")
    changed = await change(db, before, "2025-01-15T00:00:00.900")
    assert changed.current.active_from == changed.current.active_to == changed.next.active_from


async def test_what_is_canceled_within_the_second_of_its_start_lasted_no_time(
    db: Database, sold: None, subscribe: Subscribe
) -> None:
    before = await subscribe("2025-01-15T00:00:00.400")
    assert (await cancel(db, before, "2025-01-15T00:00:00.900", NOW)).active_to == before.active_from
    later = await subscribe("2025-01-16T00:00:00.400")
    assert (await cancel(db, later, "2025-01-16T00:00:01.900", NOW)).active_to == at("2025-01-16T00:00:01")


async def test_a_restored_subscription_runs_on(db: Database, sold: None, subscribe: Subscribe) -> None:
    before = await subscribe("2025-01-15")
    changed = await change(db, before, "2025-01-20", NEXT)
    restored = await restore(db, before, "2025-01-21")
    assert restored.subscription.active_to is None
    assert restored.subscription.annotations == {}
    assert [one.id for one in restored.deleted] == [changed.next.id]
    assert restored.subscription.phases == before.phases
    with pytest.raises(NotFound):
        await load(db, changed.next)
    async with db.read() as session:
        kept = await service.load(session, NS, changed.next.id, include_deleted=True)
    assert kept.phases == changed.next.phases
    with pytest.raises(Forbidden, match="transition continue in state active"):
        await restore(db, before, "2025-01-22")


async def test_nothing_is_restored_when_the_next_has_started(db: Database, sold: None, subscribe: Subscribe) -> None:
    before = await subscribe("2025-01-15")
    changed = await change(db, before, "2025-01-20")
    with pytest.raises(Forbidden):
        await restore(db, before, "2025-01-21")
    second = await change(db, changed.next, "2025-01-22", NEXT)
    with pytest.raises(Forbidden):
        await restore(db, before, "2025-01-23")
    assert (await load(db, second.next)).deleted_at is None


async def test_a_deleted_follower_is_taken_out_of_the_chain(db: Database, sold: None, subscribe: Subscribe) -> None:
    before = await subscribe("2025-01-15")
    changed = await change(db, before, "2025-01-20", NEXT)
    with pytest.raises(Conflict), clock.frozen(at("2025-01-20")):
        async with db.write() as session:
            await service.unschedule_cancelation(session, NS, before.id)
    await delete(db, changed.next, "2025-01-21")
    left = await load(db, before)
    assert (left.annotations, left.active_to) == ({}, at("2025-02-15"))


async def test_a_migration_to_the_active_or_a_named_version(
    db: Database, sold: None, publish: Publish, subscribe: Subscribe
) -> None:
    before = await subscribe(
        "2025-01-15", name="Mine", description="d", metadata={"a": "b"}, settlement_mode=SettlementMode.CREDIT_ONLY
    )
    with pytest.raises(InvalidInput, match="1 is not newer"):
        await migrate(db, before, "2025-01-20")
    await publish(phase(flat_card(), key="two"), when=at("2025-02-01"))
    await publish(phase(flat_card(), key="three"), when=at("2025-02-02"))
    second = (await migrate(db, before, "2025-02-10", 2, timing=NEXT)).next
    assert second.plan is not None
    assert (second.plan.version, second.active_from) == (2, at("2025-02-15"))
    assert (second.name, second.description, second.metadata) == ("Mine", "d", {"a": "b"})
    # What was agreed beside the plan stays agreed.
    assert (second.settlement_mode, second.billing_anchor) == (SettlementMode.CREDIT_ONLY, at("2025-01-15"))
    third = (await migrate(db, second, "2025-02-16", billing_anchor=at("2025-03-01"))).next
    assert third.plan is not None
    assert (third.plan.version, third.billing_anchor) == (3, at("2025-03-01"))
    assert third.annotations == {PREVIOUS: second.id}


@pytest.mark.parametrize(
    ("when", "timing", "phases"),
    [
        ("2025-01-20", NOW, {"trial": "2025-01-20", "ramp": "2025-02-15", "full": "2025-04-15"}),
        ("2025-01-20", NEXT, {"trial": "2025-02-15", "ramp": "2025-02-15", "full": "2025-04-15"}),
        ("2025-03-01", NOW, {"trial": "2025-03-01", "ramp": "2025-03-01", "full": "2025-04-15"}),
        ("2025-05-01", NEXT, {"trial": "2025-05-15", "ramp": "2025-05-15", "full": "2025-05-15"}),
    ],
)
async def test_a_migration_can_go_on_in_the_phase_of_the_changeover(
    db: Database, publish: Publish, subscribe: Subscribe, when: str, timing: Timing, phases: dict[str, str]
) -> None:
    """That phase ends when it would have ended; those before it last no time, those after it as long as they say."""
    plan = [
        phase(flat_card(price=None), key="trial", duration="P1M"),
        phase(flat_card(), key="ramp", duration="P2M"),
        phase(flat_card(), key="full"),
    ]
    await publish(*plan)
    before = await subscribe("2025-01-15")
    await publish(*plan, when=at("2025-01-16"))
    after = (await migrate(db, before, when, timing=timing, keeps_phase=True)).next
    assert {one.key: one.active_from for one in after.phases} == {key: at(start) for key, start in phases.items()}


async def test_a_phase_that_gets_an_end_lasts_its_length_from_the_changeover(
    db: Database, publish: Publish, subscribe: Subscribe
) -> None:
    await publish(phase(flat_card(), key="ramp"))
    before = await subscribe("2025-01-15")
    await publish(phase(flat_card(), key="ramp", duration="P2M"), phase(flat_card(), key="full"), when=at("2025-01-16"))
    after = (await migrate(db, before, "2025-01-20", keeps_phase=True)).next
    assert [one.active_from for one in after.phases] == [at("2025-01-20"), at("2025-03-20")]


async def test_a_phase_that_loses_its_end_goes_on(db: Database, publish: Publish, subscribe: Subscribe) -> None:
    await publish(phase(flat_card(), key="ramp", duration="P2M"), phase(flat_card(), key="full"))
    before = await subscribe("2025-01-15")
    await publish(phase(flat_card(), key="ramp"), when=at("2025-01-16"))
    (only,) = (await migrate(db, before, "2025-01-20", keeps_phase=True)).next.phases
    assert (only.key, only.active_from, only.active_to) == ("ramp", at("2025-01-20"), None)


async def test_a_migration_names_the_phase_that_it_cannot_go_on_in(
    db: Database, publish: Publish, subscribe: Subscribe
) -> None:
    await publish(phase(flat_card(price=None), key="trial", duration="P1M"), phase(flat_card(), key="full"))
    before = await subscribe("2025-01-15")
    await publish(phase(flat_card(), key="full"), when=at("2025-01-16"))
    with pytest.raises(InvalidInput, match="version 2 of plan ws_pro has no phase trial"):
        await migrate(db, before, "2025-01-20", keeps_phase=True)
    assert await load(db, before) == before
    changed = await migrate(db, before, "2025-01-20", keeps_phase=True, starting_phase="full")
    assert [one.key for one in changed.next.phases] == ["full"]


async def test_refused_migrations(db: Database, sold: None, publish: Publish, subscribe: Subscribe) -> None:
    before = await subscribe("2025-01-15")
    with clock.frozen(at("2025-01-16")):
        async with db.write() as session:
            draft = await plans.create(session, NS, new_plan())
    for version, kind, match in (
        (1, InvalidInput, "is not newer"),
        (2, InvalidInput, "never published"),
        (7, NotFound, "plan not found: ws_pro version 7"),
    ):
        with pytest.raises(kind, match=match):
            await migrate(db, before, "2025-01-20", version)
    with clock.frozen(at("2025-01-17")):
        async with db.write() as session:
            await plans.delete(session, NS, draft.id)
    with pytest.raises(InvalidInput, match="plan is deleted"):
        await migrate(db, before, "2025-01-20", 2)
    own = (await change(db, before, "2025-01-21", plan=custom_plan(flat_card()))).next
    with pytest.raises(InvalidInput, match="plan of its own"):
        await migrate(db, own, "2025-01-22")


async def test_what_moves_on_says_where_to_and_how_to_stay(db: Database, sold: None, subscribe: Subscribe) -> None:
    before = await subscribe("2025-01-15")
    moved = await change(db, before, "2025-01-20", NEXT)
    told = (
        rf"cancel in state canceled not allowed: it already moves to subscription {moved.next.id} at "
        rf"2025-02-15T00:00:00\+00:00; take that back first, with POST /api/v1/subscriptions/{before.id}/restore"
    )
    with pytest.raises(Forbidden, match=told):
        await change(db, before, "2025-01-21")
    with pytest.raises(Forbidden, match=told):
        await migrate(db, before, "2025-01-21")
    with pytest.raises(Forbidden, match=f"it moved to subscription {moved.next.id} at 2025-02-15"):
        await change(db, before, "2025-02-16")
    await delete(db, moved.next, "2025-01-22")
    with pytest.raises(Forbidden, match="it is canceled and ends at 2025-02-15"):
        await change(db, before, "2025-01-23")


async def test_commands_that_meet_leave_one_subscription(db: Database, sold: None, subscribe: Subscribe) -> None:
    before = await subscribe("2025-01-15")
    with clock.frozen(at("2025-01-20")):

        async def run(command: str) -> object:
            async with db.write() as session:
                match command:
                    case "change":
                        wanted = PlanChange(plan=PlanChoice(key="team"), timing=NEXT)
                        return await service.change(session, NS, before.id, wanted)
                    case "cancel":
                        return await service.cancel(session, NS, before.id, NEXT)
                    case "restore":
                        return await service.restore(session, NS, before.id)
                    case _:
                        return await service.unschedule_cancelation(session, NS, before.id)

        names = ["change", "cancel", "restore", "continue"] * 4
        results = await asyncio.gather(*(run(name) for name in names), return_exceptions=True)
    # Each came through or was refused for the status that the one before it left.
    assert all(isinstance(one, Forbidden | Conflict) for one in results if isinstance(one, BaseException))
    assert any(not isinstance(one, BaseException) for one in results)
    async with db.read() as session:
        live = await service.list_for_customer(session, NS, before.customer_id)
    spans = sorted((one.active_from, one.active_to) for one in live.items)
    assert spans[0][0] == at("2025-01-15")
    assert len(spans) == 1 or spans[0][1] == spans[1][0]
