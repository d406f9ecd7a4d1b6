"""Charges and the customer's credit: taken, corrected, advanced, given back (charges sections 2, 4, 6 and 11)."""

import asyncio
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from meterhouse.billing.charges.edits import LineEdit
from meterhouse.billing.charges.jobs import handlers
from meterhouse.catalog.prices import Discounts, PaymentTerm, SettlementMode
from meterhouse.credits import balances, collector, grants
from meterhouse.credits.balances import OutstandingCharge
from meterhouse.credits.grants import FundingMethod, NewGrant
from meterhouse.customers import service as customers
from meterhouse.kernel.models import JobRow
from tests.charges.test_by_invoice import GRADUATED
from tests.charges.world import NS, World, at, between, flat, unit

CREDIT_ONLY = SettlementMode.CREDIT_ONLY
MAY = between("5-1", "6-1")


async def grant(world: World, amount: str, effective: str = "3-1", **options: Any) -> None:
    new = NewGrant(
        world.customer_id, "Gift", FundingMethod.NONE, "USD", Decimal(amount), effective_at=at(effective), **options
    )
    async with world.db.write() as session:
        await grants.create(session, NS, new)


async def settled(world: World, when: datetime | None = None) -> Decimal:
    async with world.db.read() as session:
        (balance,) = await balances.balances(session, NS, world.customer_id, currencies=["USD"], at=when)
    return balance.settled


async def test_clock_of_usage_paid_by_credits(credit_world: World) -> None:
    world = credit_world
    charge = await world.create(world.intent(unit("0.02"), settlement_mode=CREDIT_ONLY))
    assert world.book.lines == []
    assert await world.state(charge.id) == ("created", at("3-1"))
    for when, status, advance_after in (
        ("3-1", "active", at("4-1")),
        ("4-1", "active.realization.waiting_for_collection", at("4-1 1:01:00")),
        ("4-1 1:00:30", "active.realization.waiting_for_collection", at("4-1 1:01:00")),
        ("4-1 1:01:00", "final", None),
        ("4-2", "final", None),
    ):
        await world.advance(charge.id, when)
        assert await world.state(charge.id) == (status, advance_after)


async def test_late_usage_counts_until_its_collection_ends(credit_world: World) -> None:
    world = credit_world
    charge = await world.create(world.intent(unit("1.00"), settlement_mode=CREDIT_ONLY))
    await world.advance(charge.id, "4-1")
    world.events.add("3-31 23:30:00", 1, stored="4-1 0:30:00")
    world.events.add("3-31 23:30:00", 2, stored="4-1 0:59:59")
    world.events.add("3-31 23:30:00", 4, stored="4-1 1:00:00")
    world.events.add("4-1 0:00:00", 8, stored="4-1 0:10:00")
    await world.advance(charge.id, "4-1 1:01:00")
    run = await world.run(charge.id)
    assert (run.metered_cumulative, run.amount, run.credits_total, run.total) == (3, 3, 3, 0)


async def test_credit_then_invoice_takes_what_there_is(credit_world: World) -> None:
    world = credit_world
    charge = await world.create(world.intent(unit("0.02")))
    world.events.add("3-10", 1250)
    await grant(world, "10.00")
    world.time.at = at("4-2")
    line = await world.bill(charge.id)
    assert line.projection is not None
    assert line.projection.totals.credits_total == Decimal("10.00")
    assert line.projection.totals.total == Decimal("15.00")
    assert [applied.amount for applied in line.projection.credits_applied] == [Decimal("10.00")]
    assert await settled(world) == 0
    await world.pay(line)
    await world.pay(line)
    assert (await world.state(charge.id))[0] == "final"
    assert await settled(world) == 0


async def test_credit_only_goes_below_zero(credit_world: World) -> None:
    world = credit_world
    charge = await world.create(world.intent(unit("0.02"), settlement_mode=CREDIT_ONLY))
    world.events.add("3-10", 1250)
    await grant(world, "10.00")
    await world.advance(charge.id, "4-2")
    run = await world.run(charge.id)
    assert (run.credits_total, run.total) == (Decimal("25.00"), 0)
    assert await settled(world) == Decimal("-15.00")


async def test_progressive_part_is_listed_with_booked_and_realtime_totals(credit_world: World) -> None:
    world = credit_world
    charge = await world.create(world.intent(GRADUATED))
    world.events.add("3-5", 800)
    await grant(world, "50.00")
    world.time.at = at("3-16")
    await world.bill(charge.id, "3-16")
    world.events.add("3-17", 100)
    world.time.at = at("3-18")
    (listed,) = await world.listed(realtime=True)
    assert (listed.booked.amount, listed.booked.credits_total, listed.booked.total) == (80, 50, 30)
    assert listed.realtime is not None
    assert (listed.realtime.total, listed.realtime.credits_total) == (90, 0)


@pytest.mark.parametrize(
    ("credit", "late", "allocated", "total"),
    [("30.00", 175, "28.50", "0"), ("27.00", 175, "27.00", "1.50"), ("30.00", -200, "21.00", "0")],
)
async def test_credits_follow_the_usage_at_collection(
    credit_world: World, credit: str, late: int, allocated: str, total: str
) -> None:
    world = credit_world
    charge = await world.create(world.intent(unit("0.02")))
    world.events.add("3-10", 1250)
    await grant(world, credit)
    world.time.at = at("4-1")
    line = await world.invoice(charge.id)
    assert line.projection is not None
    assert line.projection.totals.credits_total == Decimal("25.00")
    world.events.add("3-31", late, stored="4-1 0:30:00")
    world.time.at = at("4-1 1:01:00")
    projection = await world.collect(line)
    assert projection.totals.credits_total == Decimal(allocated)
    assert projection.totals.total == Decimal(total)
    assert await settled(world) == Decimal(credit) - Decimal(allocated)


@pytest.mark.parametrize(
    ("second", "by_credits", "by_invoice"), [("0", "30.00", "0"), ("1", "0", "30.00")], ids=["in time", "too late"]
)
async def test_fee_uses_credit_of_its_invoicing_instant(
    credit_world: World, second: str, by_credits: str, by_invoice: str
) -> None:
    world = credit_world
    charge = await world.create(world.intent(flat("30.00"), MAY))
    await grant(world, "100.00", f"5-1 0:0:{second}")
    world.time.at = at("5-1 0:05:00")
    line = await world.invoice(charge.id)
    assert line.projection is not None
    assert line.projection.totals.credits_total == Decimal(by_credits)
    assert line.projection.totals.total == Decimal(by_invoice)


async def test_fee_paid_by_credits_alone_is_advanced_and_then_filled(credit_world: World) -> None:
    world = credit_world
    charge = await world.create(world.intent(flat("30.00"), MAY, settlement_mode=CREDIT_ONLY))
    await grant(world, "100.00", "5-1 0:00:01")
    await world.advance(charge.id, "5-1 0:05:00")
    assert await world.state(charge.id) == ("final", None)
    run = await world.run(charge.id)
    assert (run.credits_total, run.total) == (Decimal("30.00"), 0)
    assert await settled(world) == Decimal("70.00")


async def test_clock_of_fees_paid_by_credits(credit_world: World) -> None:
    world = credit_world
    arrears = await world.create(world.intent(flat("30.00", PaymentTerm.IN_ARREARS), MAY, settlement_mode=CREDIT_ONLY))
    advance = await world.create(world.intent(flat("30.00"), MAY, settlement_mode=CREDIT_ONLY))
    await world.run_due("5-1")
    assert await world.state(arrears.id) == ("created", at("6-1"))
    assert await world.state(advance.id) == ("final", None)
    await world.run_due("6-1")
    assert await world.state(arrears.id) == ("final", None)


async def test_changing_the_end_of_usage_paid_by_credits_starts_over(credit_world: World) -> None:
    world = credit_world
    charge = await world.create(world.intent(unit("1.00"), settlement_mode=CREDIT_ONLY))
    world.events.add("3-10", 5)
    await grant(world, "10.00")
    await world.advance(charge.id, "4-2")
    assert await settled(world) == Decimal("5.00")
    await world.change_end(charge.id, "4-10")
    assert await world.state(charge.id) == ("active", at("4-10"))
    assert await settled(world) == Decimal("10.00")
    assert (await world.listed())[0].booked.amount == 0
    world.events.add("4-5", 2)
    await world.run_due("4-11")
    assert (await world.state(charge.id))[0] == "final"
    assert await settled(world) == Decimal("3.00")
    assert (await world.listed())[0].booked.amount == 7


async def test_changing_a_fee_paid_by_credits_reconciles_the_difference(credit_world: World) -> None:
    world = credit_world
    charge = await world.create(world.intent(flat("31.00"), MAY, settlement_mode=CREDIT_ONLY, prorate=True))
    await grant(world, "40.00")
    await world.advance(charge.id, "5-2")
    assert await settled(world) == Decimal("9.00")
    for end, left in (("5-11", "30.00"), ("5-21", "20.00")):
        async with world.db.write() as session:
            await world.charges.change_periods(
                session,
                NS,
                charge.id,
                service_end=at(end),
                full_service_end=at("6-1"),
                billing_end=at(end),
                invoice_at=at("5-1"),
            )
        assert await world.state(charge.id) == ("final", None)
        assert await settled(world) == Decimal(left)


async def test_deletion_gives_credit_back(credit_world: World) -> None:
    world = credit_world
    await grant(world, "40.00")
    by_credits = await world.create(world.intent(unit("1.00"), settlement_mode=CREDIT_ONLY))
    draft = await world.create(world.intent(flat("4.00"), between("3-1", "4-1")))
    issued = await world.create(world.intent(flat("2.00"), between("3-1", "4-1")))
    world.events.add("3-10", 8)
    await world.advance(by_credits.id, "4-2")
    await world.invoice(draft.id)
    await world.bill(issued.id)
    assert await settled(world) == Decimal("26.00")
    for charge, left in ((by_credits, "34.00"), (draft, "38.00"), (issued, "40.00")):
        await world.delete(charge.id)
        assert await world.state(charge.id) == ("deleted", None)
        assert await settled(world) == Decimal(left)


async def test_edit_of_a_line_moves_credits_by_the_difference(credit_world: World) -> None:
    world = credit_world
    await grant(world, "40.00")
    charge = await world.create(world.intent(flat("30.00"), MAY))
    world.time.at = at("5-2")
    line = await world.invoice(charge.id)
    async with world.db.write() as session:
        edit = LineEdit("Tokens", None, {}, MAY, flat("12.00"), Discounts())
        await world.charges.edit_line(session, world.ref(line), edit)
    assert await settled(world) == Decimal("28.00")
    assert (await world.run(charge.id)).credits_total == Decimal("12.00")


@pytest.mark.parametrize(("late_grants", "credits_total"), [(False, 0), (True, 20)])
async def test_late_grants_help_where_it_is_switched_on(
    credit_world: World, late_grants: bool, credits_total: int
) -> None:
    world = credit_world
    world.charges.tools.late_grants = late_grants
    charge = await world.create(world.intent(unit("1.00")))
    world.events.add("3-10", 20)
    world.time.at = at("4-1")
    line = await world.invoice(charge.id)
    await grant(world, "20.00", "4-1 0:30:00")
    world.time.at = at("4-1 1:01:00")
    collected = await world.collect(line)
    assert collected.totals.credits_total == credits_total
    # What could not be used is told.
    told = "20 USD of credit takes effect only after this was due and is not used for it"
    assert list(collected.warnings) == ([] if late_grants else [told])


async def test_an_invoice_tells_of_no_credit_that_cannot_serve_it(credit_world: World) -> None:
    world = credit_world
    charge = await world.create(world.intent(unit("1.00")))
    world.events.add("3-10", 20)
    world.time.at = at("4-1")
    await grant(world, "5.00", "3-31")
    line = await world.invoice(charge.id)
    await grant(world, "20.00", "4-2")
    world.time.at = at("4-1 1:01:00")
    collected = await world.collect(line)
    assert collected.totals.credits_total == 5
    assert list(collected.warnings) == []


async def test_what_is_outstanding(credit_world: World) -> None:
    world = credit_world
    usage = await world.create(world.intent(unit("1.00")))
    by_credits = await world.create(world.intent(unit("2.00"), settlement_mode=CREDIT_ONLY))
    fee = await world.create(world.intent(flat("30.00"), MAY))
    await grant(world, "3.00")
    world.events.add("3-10", 10)
    world.time.at = at("3-16")

    async def outstanding() -> dict[str, OutstandingCharge]:
        async with world.db.read() as session:
            customer = await customers.get(session, NS, world.customer_id)
            found = await world.charges.outstanding(session, customer)
        return {one.charge_id: one for one in found}

    found = await outstanding()
    assert {one.charge_id: one.amount for one in found.values()} == {usage.id: 10, by_credits.id: 20}
    assert found[usage.id].feature_key == "tokens"
    line = await world.invoice(usage.id, "3-16")
    assert (await outstanding())[usage.id].amount == 7
    await world.collect(line)
    await world.issue(line)
    world.events.add("3-17", 5)
    world.time.at = at("3-18")
    assert (await outstanding())[usage.id].amount == 5
    world.time.at = at("5-2")
    assert (await outstanding())[fee.id].amount == 30


async def test_a_failing_charge_waits_and_stops_no_other(credit_world: World) -> None:
    world = credit_world
    broken = await world.create(world.intent(unit("1.00"), settlement_mode=CREDIT_ONLY))
    sound = await world.create(world.intent(flat("3.00"), settlement_mode=CREDIT_ONLY))
    await world.run_due("3-1")
    quantity = world.events.quantity

    async def unreadable(request: object) -> Decimal:
        raise OSError("the store of events is gone")

    world.events.quantity = unreadable  # type: ignore[method-assign,assignment]
    await world.run_due("4-1")
    assert (await world.state(sound.id))[0] == "final"
    row = await world.row(broken.id)
    assert (row.status, row.last_error, row.error_at) == ("active", "the store of events is gone", at("4-1"))
    assert await world.next_due() == at("4-1 0:01:00")
    assert await world.run_due("4-1") == 0
    await world.run_due("4-1 0:01:00")
    assert await world.next_due() == at("4-1 0:03:00")
    world.events.quantity = quantity  # type: ignore[method-assign]
    await world.run_due("4-1 0:03:00")
    row = await world.row(broken.id)
    assert (row.last_error, row.error_at, row.failures) == (None, None, 0)
    assert row.status == "active.realization.waiting_for_collection"


async def test_a_due_charge_is_advanced_right_after_it_was_made(credit_world: World) -> None:
    world = credit_world
    world.time.at = at("5-2")
    due = await world.create(world.intent(flat("3.00"), MAY, settlement_mode=CREDIT_ONLY))
    await world.create(world.intent(unit("1.00"), between("6-1", "7-1"), settlement_mode=CREDIT_ONLY))
    async with world.db.read() as session:
        (job,) = await session.scalars(select(JobRow).where(JobRow.name == "charges.advance"))
    await handlers(world.db, world.charges)[0].run(job.payload)
    assert (await world.state(due.id))[0] == "final"


async def test_two_who_advance_at_once_take_credit_once(credit_world: World) -> None:
    world = credit_world
    charges = [
        await world.create(world.intent(unit("1.00"), settlement_mode=CREDIT_ONLY)),
        await world.create(world.intent(flat("3.00"), settlement_mode=CREDIT_ONLY)),
    ]
    world.events.add("3-10", 8)
    await grant(world, "40.00")
    world.time.at = at("4-2")
    await asyncio.gather(*(world.advance(charge.id) for charge in charges * 3))
    assert await settled(world) == Decimal("29.00")
    assert [len(await world.runs(charge.id)) for charge in charges] == [1, 1]


async def test_an_advance_is_filled_by_credit_that_came_meanwhile(credit_world: World) -> None:
    """Credit that was there, but too late for a charge, pays its advance; credit of another feature does not."""
    world = credit_world
    charge = await world.create(world.intent(flat("30.00"), MAY, settlement_mode=CREDIT_ONLY))
    await grant(world, "12.00", "5-1 0:00:01")
    await grant(world, "50.00", "5-1 0:00:01", features=["storage"])
    await world.advance(charge.id, "5-2")
    async with world.db.read() as session:
        run = await world.run(charge.id)
        (allocation,) = (await collector.allocations(session, NS, [run.id]))[run.id]
    assert (allocation.origin, allocation.remaining) == ("advance", Decimal("30.00"))
    assert await settled(world) == Decimal("32.00")
    await world.delete(charge.id)
    assert await settled(world) == Decimal("62.00")
