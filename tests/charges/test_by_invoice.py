"""Usage and fees that an invoice settles: the whole walk, in values (charges sections 3, 4 and 6)."""

from datetime import timedelta
from decimal import Decimal

import pytest

from meterhouse.billing.errors import BillingError
from meterhouse.catalog.prices import PaymentTerm, Tier, TieredPrice, TierMode
from meterhouse.kernel.errors import PreconditionFailed
from tests.charges.world import World, at, between, flat, unit

GRADUATED = TieredPrice(
    mode=TierMode.GRADUATED,
    tiers=(Tier(up_to=Decimal(1000), unit_amount=Decimal("0.10")), Tier(unit_amount=Decimal("0.05"))),
)
VOLUME = TieredPrice(
    mode=TierMode.VOLUME,
    tiers=(Tier(up_to=Decimal(100), unit_amount=Decimal(1)), Tier(unit_amount=Decimal("0.80"))),
)


async def test_usage_walks_from_created_to_final(world: World) -> None:
    charge = await world.create(world.intent(unit("0.02")))
    assert await world.state(charge.id) == ("created", at("3-1"))
    pending = world.book.pending(charge.id)
    assert pending is not None
    assert pending.period == between("3-1", "4-1")
    await world.advance(charge.id, "3-1")
    assert await world.state(charge.id) == ("active", at("4-1"))
    world.events.add("3-10", 1250)
    world.time.at = at("4-1")
    line = await world.invoice(charge.id)
    assert line.projection is not None
    assert line.projection.totals.total == Decimal("25.00")
    assert line.projection.metered_quantity == 1250
    assert line.projection.metered_pre_line_quantity == 0
    assert line.projection.collection_closes_at == at("4-1 1:01:00")
    assert await world.state(charge.id) == ("active.realization.waiting_for_collection", at("4-1 1:01:00"))
    world.events.add("3-31 23:30:00", 50, stored="4-1 0:30:00")
    world.time.at = at("4-1 1:01:00")
    assert (await world.collect(line)).totals.total == Decimal("26.00")
    assert await world.state(charge.id) == ("active.realization.processing", None)
    await world.issue(line)
    assert await world.state(charge.id) == ("active.awaiting_payment_settlement", None)
    assert (await world.row(charge.id)).current_run_id is None
    await world.pay(line)
    assert await world.state(charge.id) == ("final", None)
    run = await world.run(charge.id)
    assert (run.type, run.payment, run.sealed_at) == ("final_realization", "settled", at("4-1 1:01:00"))


async def test_usage_of_nothing_needs_no_payment(world: World) -> None:
    charge = await world.create(world.intent(unit("0.02")))
    world.time.at = at("4-2")
    await world.bill(charge.id)
    assert (await world.state(charge.id))[0] == "final"
    assert (await world.run(charge.id)).no_money_needed


async def test_usage_rounds_half_away_from_zero(world: World) -> None:
    charge = await world.create(world.intent(unit("0.0125")))
    world.events.add("3-2", 347)
    world.time.at = at("4-2")
    await world.bill(charge.id)
    assert (await world.run(charge.id)).total == Decimal("4.34")


async def test_progressive_parts_add_up(world: World) -> None:
    charge = await world.create(world.intent(GRADUATED))
    world.events.add("3-5", 800)
    world.time.at = at("3-16")
    first = await world.bill(charge.id, "3-16")
    assert first.projection is not None
    assert first.projection.totals.total == Decimal("80.00")
    assert first.projection.collection_closes_at == at("3-16 0:01:00")
    assert await world.state(charge.id) == ("active", at("4-1"))
    world.events.add("3-20", 700)
    world.time.at = at("4-2")
    last = await world.bill(charge.id)
    assert last.projection is not None
    assert last.projection.totals.total == Decimal("45.00")
    assert [(d.quantity, d.totals.total) for d in last.projection.details] == [
        (Decimal(200), Decimal("20.00")),
        (Decimal(500), Decimal("25.00")),
    ]
    assert (last.projection.quantity, last.projection.pre_line_quantity) == (Decimal(700), Decimal(800))
    assert [run.type for run in await world.runs(charge.id)] == ["partial_invoice", "final_realization"]
    assert (await world.state(charge.id))[0] == "active.awaiting_payment_settlement"
    await world.pay(last)
    assert (await world.state(charge.id))[0] == "active.awaiting_payment_settlement"
    await world.pay(first)
    assert (await world.state(charge.id))[0] == "final"


async def test_late_usage_of_a_billed_part_comes_with_the_next(world: World) -> None:
    charge = await world.create(world.intent(unit("10.00")))
    world.events.add("3-5", 5)
    world.time.at = at("3-16")
    await world.bill(charge.id, "3-16")
    world.events.add("3-15", 3, stored="3-17")
    world.time.at = at("4-2")
    line = await world.bill(charge.id)
    assert line.projection is not None
    assert line.projection.totals.total == Decimal("30.00")


async def test_volume_price_that_changes_tier_takes_the_old_price_back(world: World) -> None:
    charge = await world.create(world.intent(VOLUME))
    world.events.add("3-5", 90)
    world.time.at = at("4-2")
    await world.bill(charge.id)
    await world.change_end(charge.id, "4-10")
    world.events.add("4-5", 30)
    world.time.at = at("4-11")
    line = await world.bill(charge.id)
    assert line.projection is not None
    assert [(d.quantity, d.unit_amount) for d in line.projection.details] == [
        (Decimal(120), Decimal("0.80")),
        (Decimal(-90), Decimal(1)),
    ]
    assert line.projection.totals.total == Decimal("6.00")


async def test_a_negative_run_is_refused(world: World) -> None:
    charge = await world.create(world.intent(VOLUME))
    world.events.add("3-5", 100)
    world.time.at = at("4-2")
    await world.bill(charge.id)
    await world.change_end(charge.id, "4-10")
    world.events.add("4-5", 1)
    world.time.at = at("4-11")
    pending = world.book.pending(charge.id)
    assert pending is not None
    async with world.db.read() as session:
        preview = await world.charges.preview(session, world.ref(pending))
    assert (preview.totals.total, len(preview.warnings)) == (0, 1)
    with pytest.raises(BillingError) as refused:
        await world.invoice(charge.id)
    assert refused.value.code == "charge_total_is_negative"


async def test_minimum_commitment_counts_at_the_end_only(world: World) -> None:
    charge = await world.create(world.intent(unit("1.00", minimum_amount="50.00")))
    world.events.add("3-5", 20)
    world.time.at = at("3-16")
    first = await world.bill(charge.id, "3-16")
    assert first.projection is not None
    assert first.projection.totals.total == Decimal("20.00")
    (listed,) = await world.listed(realtime=True)
    assert listed.realtime is not None
    assert listed.realtime.total == Decimal("20.00")
    world.events.add("3-20", 12)
    world.time.at = at("4-2")
    last = await world.bill(charge.id)
    assert last.projection is not None
    assert last.projection.totals.total == Decimal("30.00")
    assert last.projection.totals.charges_total == Decimal("18.00")


async def test_a_second_part_waits_for_the_open_draft(world: World) -> None:
    charge = await world.create(world.intent(unit("1.00")))
    world.events.add("3-5", 20)
    world.time.at = at("3-16")
    line = await world.invoice(charge.id, "3-16")
    world.time.at = at("3-17")
    with pytest.raises(BillingError) as refused:
        await world.invoice(charge.id, "3-17")
    assert refused.value.code == "active_realization_run_already_exists"
    assert refused.value.extensions["invoice_id"] == line.invoice_id
    assert refused.value.extensions["reason"] == "draft_invoice_open"


async def test_the_same_line_starts_one_run(world: World) -> None:
    charge = await world.create(world.intent(unit("1.00")))
    world.time.at = at("3-16")
    line = await world.invoice(charge.id, "3-16")
    async with world.db.write() as session:
        again = await world.charges.invoice_created(session, world.ref(line))
    assert again == line.projection
    assert len(await world.runs(charge.id)) == 1


async def test_a_forced_snapshot_is_repeated_when_the_draft_collects_again(world: World) -> None:
    charge = await world.create(world.intent(unit("1.00")))
    world.events.add("3-5", 20)
    world.time.at = at("4-1 0:05:00")
    line = await world.invoice(charge.id)
    await world.collect(line)
    world.events.add("3-31", 2, stored="4-1 0:30:00")
    world.events.add("3-31", 7, stored="4-1 1:00:00")
    world.time.at = at("4-1 1:01:00")
    assert (await world.collect(line)).totals.total == Decimal("22.00")


async def test_issuing_before_collection_is_refused(world: World) -> None:
    charge = await world.create(world.intent(unit("1.00")))
    world.time.at = at("4-2")
    line = await world.invoice(charge.id)
    with pytest.raises(PreconditionFailed):
        await world.issue(line)


async def test_flat_fee_walks_from_created_to_final(world: World) -> None:
    charge = await world.create(world.intent(flat("30.00"), between("5-1", "6-1")))
    assert await world.state(charge.id) == ("created", at("5-1"))
    world.time.at = at("5-1")
    line = await world.invoice(charge.id)
    assert line.projection is not None
    assert line.projection.totals.total == Decimal("30.00")
    assert line.projection.collection_closes_at is None
    assert await world.state(charge.id) == ("active.realization.waiting_for_collection", None)
    await world.collect(line)
    await world.issue(line)
    await world.pay(line)
    assert await world.state(charge.id) == ("final", None)


async def test_active_flat_fee_shows_its_period_end_and_then_waits_for_its_invoice(world: World) -> None:
    charge = await world.create(world.intent(flat("30.00"), between("5-1", "6-1")))
    await world.advance(charge.id, "5-1")
    assert await world.state(charge.id) == ("active", at("6-1"))
    assert await world.run_due("6-1") == 1
    assert await world.state(charge.id) == ("active", None)
    assert await world.next_due() is None


async def test_flat_fee_prorated_to_nothing_ends_without_a_line(world: World) -> None:
    january = between("1-1", "2-1")
    intent = world.intent(
        flat("0.04"), between("1-31", "2-1"), full_service_period=january, billing_period=january, prorate=True
    )
    charge = await world.create(intent)
    assert charge.amount_after_proration == 0
    assert world.book.lines == []
    await world.advance(charge.id)
    assert (await world.state(charge.id))[0] == "final"


@pytest.mark.parametrize(
    ("amount", "service", "full", "currency", "expected"),
    [
        ("99.00", between("1-11", "2-1"), between("1-1", "2-1"), "USD", "67.06"),
        ("1000", between("4-21", "5-1"), between("4-1", "5-1"), "JPY", "333"),
        ("45.00", between("2-22", "3-1"), between("2-1", "3-1"), "USD", "11.25"),
    ],
)
async def test_flat_fee_is_prorated(
    world: World, amount: str, service: object, full: object, currency: str, expected: str
) -> None:
    intent = world.intent(
        flat(amount), service, full_service_period=full, billing_period=full, prorate=True, currency=currency
    )  # type: ignore[arg-type]
    charge = await world.create(intent)
    assert charge.amount_after_proration == Decimal(expected)
    async with world.db.read() as session:
        origin = await world.charges.origin(session, charge.id)
    assert origin.price.amount == Decimal(expected)  # type: ignore[union-attr]


async def test_line_typed_by_hand_on_a_draft_is_bound_at_once(world: World) -> None:
    intent = world.intent(flat("12.00", PaymentTerm.IN_ARREARS), between("5-1", "6-1"), managed_by="manual")
    charge = await world.create(intent, gathering_lines=False)
    assert world.book.lines == []
    await world.book.upsert_gathering_line(
        None, charge_id=charge.id, period=intent.service_period, invoice_at=intent.invoice_at
    )  # type: ignore[arg-type]
    line = await world.invoice(charge.id)
    assert (await world.state(charge.id))[0] == "active.realization.processing"
    await world.collect(line)
    await world.issue(line)
    assert (await world.state(charge.id))[0] == "active.awaiting_payment_settlement"


async def test_due_work_moves_time_driven_steps_and_comes_to_rest(world: World) -> None:
    charge = await world.create(world.intent(unit("1.00")))
    assert await world.next_due() == at("3-1")
    assert await world.run_due("3-1") == 1
    assert await world.next_due() == at("4-1")
    assert await world.run_due("4-1") == 1
    assert await world.next_due() is None
    assert await world.state(charge.id) == ("active", None)
    assert await world.run_due("4-1") == 0


async def test_advancing_twice_changes_nothing(world: World) -> None:
    charge = await world.create(world.intent(unit("1.00")))
    await world.advance(charge.id, "3-1")
    before = await world.row(charge.id)
    world.time.at += timedelta(hours=1)
    await world.advance(charge.id)
    after = await world.row(charge.id)
    assert (before.status, before.advance_after, before.updated_at) == (
        after.status,
        after.advance_after,
        after.updated_at,
    )
