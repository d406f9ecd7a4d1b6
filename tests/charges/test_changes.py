"""Extending, shrinking, replacing and deleting charges that an invoice settles (charges sections 3.1, 4 and 11)."""

from dataclasses import replace
from decimal import Decimal

import pytest

from meterhouse.billing.charges.edits import LineEdit
from meterhouse.billing.charges.states import PublicStatus
from meterhouse.billing.errors import BillingError
from meterhouse.catalog.prices import Discounts
from meterhouse.kernel.errors import Conflict, InvalidInput, PreconditionFailed
from meterhouse.kernel.periods import Period
from tests.charges.world import Line, World, at, between, flat, unit

MAY = between("5-1", "6-1")


def pending(world: World, charge_id: str) -> Period | None:
    line = world.book.pending(charge_id)
    return line.period if line else None


async def edit(world: World, line: Line, amount: str, period: Period | None = None, name: str = "Tokens") -> None:
    wanted = LineEdit(name, None, {}, period or line.period, flat(amount), Discounts())
    async with world.db.write() as session:
        await world.charges.edit_line(session, world.ref(line), wanted)


class TestExtend:
    async def test_before_any_run_the_line_grows(self, world: World) -> None:
        charge = await world.create(world.intent(unit("1.00")))
        await world.change_end(charge.id, "4-10")
        assert pending(world, charge.id) == between("3-1", "4-10")
        assert await world.state(charge.id) == ("created", at("3-1"))

    async def test_open_final_run_is_billed_anew_as_a_whole(self, world: World) -> None:
        charge = await world.create(world.intent(unit("1.00")))
        world.time.at = at("4-1 0:10:00")
        line = await world.invoice(charge.id)
        await world.change_end(charge.id, "4-10")
        assert line.deleted
        assert pending(world, charge.id) == between("3-1", "4-10")
        assert await world.state(charge.id) == ("active", at("4-10"))
        run = await world.run(charge.id)
        assert (run.deleted_at, run.details) == (at("4-1 0:10:00"), [])

    async def test_open_partial_run_is_kept(self, world: World) -> None:
        charge = await world.create(world.intent(unit("1.00")))
        world.time.at = at("3-16")
        line = await world.invoice(charge.id, "3-16")
        await world.change_end(charge.id, "4-10")
        assert not line.deleted
        assert pending(world, charge.id) == between("3-16", "4-10")
        assert (await world.state(charge.id))[0] == "active.realization.waiting_for_collection"

    async def test_issued_final_run_becomes_partial(self, world: World) -> None:
        charge = await world.create(world.intent(unit("1.00")))
        world.events.add("3-5", 10)
        world.time.at = at("4-2")
        await world.pay(await world.bill(charge.id))
        assert (await world.state(charge.id))[0] == "final"
        await world.change_end(charge.id, "4-10")
        assert (await world.run(charge.id)).type == "partial_invoice"
        assert pending(world, charge.id) == between("4-1", "4-10")
        assert await world.state(charge.id) == ("active", at("4-10"))
        world.events.add("4-5", 7)
        world.time.at = at("4-11")
        line = await world.bill(charge.id)
        assert line.projection is not None
        assert line.projection.totals.total == Decimal("7.00")

    async def test_ends_are_checked(self, world: World) -> None:
        charge = await world.create(world.intent(unit("1.00")))
        for end in ("4-1", "3-1"):
            with pytest.raises(InvalidInput):
                await world.change_end(charge.id, end)


class TestShrink:
    async def test_before_any_run_the_line_shortens(self, world: World) -> None:
        charge = await world.create(world.intent(unit("1.00")))
        await world.change_end(charge.id, "3-20")
        assert pending(world, charge.id) == between("3-1", "3-20")

    async def test_issued_part_before_the_new_end_is_kept(self, world: World) -> None:
        charge = await world.create(world.intent(unit("1.00")))
        world.time.at = at("3-17")
        line = await world.bill(charge.id, "3-16")
        await world.change_end(charge.id, "3-20")
        assert line.in_vain is None
        assert pending(world, charge.id) == between("3-16", "3-20")
        assert await world.state(charge.id) == ("active", at("3-20"))

    async def test_issued_part_beyond_the_new_end_stays_billed_once(self, world: World) -> None:
        charge = await world.create(world.intent(unit("1.00")))
        world.events.add("3-5", 10)
        world.time.at = at("3-17")
        line = await world.bill(charge.id, "3-16")
        await world.change_end(charge.id, "3-10")
        assert line.in_vain == between("3-10", "3-16")
        assert pending(world, charge.id) is None
        assert (await world.state(charge.id))[0] == "active.awaiting_payment_settlement"
        await world.pay(line)
        assert (await world.state(charge.id))[0] == "final"
        await world.change_end(charge.id, "3-20")
        assert line.in_vain is None
        assert pending(world, charge.id) == between("3-16", "3-20")

    async def test_days_that_stay_billed_are_left_out_when_it_grows_again(self, world: World) -> None:
        charge = await world.create(world.intent(unit("1.00")))
        world.time.at = at("3-17")
        await world.bill(charge.id, "3-16")
        await world.change_end(charge.id, "3-10")
        await world.change_end(charge.id, "3-12")
        assert pending(world, charge.id) is None
        await world.change_end(charge.id, "4-1")
        assert pending(world, charge.id) == between("3-16", "4-1")
        assert (await world.state(charge.id))[0] == "active"

    async def test_open_part_beyond_the_new_end_is_taken_back(self, world: World) -> None:
        charge = await world.create(world.intent(unit("1.00")))
        world.time.at = at("3-17")
        await world.bill(charge.id, "3-10")
        line = await world.invoice(charge.id, "3-17")
        await world.change_end(charge.id, "3-12")
        assert line.deleted
        assert pending(world, charge.id) == between("3-10", "3-12")
        assert await world.state(charge.id) == ("active", at("3-12"))

    async def test_open_part_that_ends_at_the_new_end_becomes_the_last(self, world: World) -> None:
        charge = await world.create(world.intent(unit("1.00", minimum_amount="50.00")))
        world.events.add("3-5", 20)
        world.time.at = at("3-16")
        line = await world.invoice(charge.id, "3-16")
        await world.change_end(charge.id, "3-16")
        assert line.refreshed == 1
        assert pending(world, charge.id) is None
        run = await world.run(charge.id)
        assert (run.type, run.total) == ("final_realization", Decimal("50.00"))
        assert await world.state(charge.id) == (
            "active.realization.waiting_for_collection",
            at("3-16 1:01:00"),
        )
        await world.collect(line)
        await world.issue(line)
        assert (await world.state(charge.id))[0] == "active.awaiting_payment_settlement"

    async def test_users_removal_of_the_rest_ends_it_where_it_was_billed(self, world: World) -> None:
        charge = await world.create(world.intent(unit("1.00")))
        world.time.at = at("3-17")
        await world.bill(charge.id, "3-16")
        rest = world.book.pending(charge.id)
        assert rest is not None
        await world.remove(rest, by_user=True)
        assert (await world.state(charge.id))[0] == "final"
        (listed,) = await world.listed()
        assert listed.intent.service_period == between("3-1", "3-16")
        assert listed.base.service_period == between("3-1", "4-1")
        assert listed.lifecycle_controller == "manual"
        await world.change_end(charge.id, "4-10")
        assert pending(world, charge.id) is None
        (listed,) = await world.listed()
        assert listed.base.service_period == between("3-1", "4-10")


class TestFlat:
    async def test_without_a_run_the_line_follows(self, world: World) -> None:
        charge = await world.create(world.intent(flat("31.00"), MAY, prorate=True))
        async with world.db.write() as session:
            await world.charges.change_periods(
                session,
                "default",
                charge.id,
                service_end=at("5-11"),
                full_service_end=at("6-1"),
                billing_end=at("5-11"),
                invoice_at=at("5-1"),
            )
        assert (await world.row(charge.id)).amount_after_proration == Decimal("10.00")
        assert pending(world, charge.id) == between("5-1", "5-11")
        assert await world.state(charge.id) == ("created", at("5-1"))

    async def test_open_run_is_rated_again(self, world: World) -> None:
        charge = await world.create(world.intent(flat("31.00"), MAY, prorate=True))
        world.time.at = at("5-1")
        line = await world.invoice(charge.id)
        async with world.db.write() as session:
            await world.charges.change_periods(
                session,
                "default",
                charge.id,
                service_end=at("5-11"),
                full_service_end=at("6-1"),
                billing_end=at("5-11"),
                invoice_at=at("5-1"),
            )
        assert line.refreshed == 1
        assert (await world.run(charge.id)).total == Decimal("10.00")

    async def test_issued_run_stays_with_a_warning(self, world: World) -> None:
        charge = await world.create(world.intent(flat("31.00"), MAY, prorate=True))
        world.time.at = at("5-1")
        line = await world.bill(charge.id)
        async with world.db.write() as session:
            await world.charges.change_periods(
                session,
                "default",
                charge.id,
                service_end=at("5-11"),
                full_service_end=at("6-1"),
                billing_end=at("5-11"),
                invoice_at=at("5-1"),
            )
        assert line.in_vain == between("5-11", "6-1")
        assert (await world.run(charge.id)).total == Decimal("31.00")
        assert pending(world, charge.id) is None
        await world.pay(line)
        assert (await world.state(charge.id))[0] == "final"

    async def test_same_amount_changes_the_intent_only(self, world: World) -> None:
        charge = await world.create(world.intent(flat("31.00"), MAY))
        world.time.at = at("5-1")
        line = await world.bill(charge.id)
        await world.change_end(charge.id, "5-11", invoice_at="5-1")
        assert line.in_vain is None
        (listed,) = await world.listed()
        assert listed.intent.service_period == between("5-1", "5-11")

    async def test_users_edit_goes_into_the_users_layer(self, world: World) -> None:
        charge = await world.create(world.intent(flat("31.00"), MAY, prorate=True))
        world.time.at = at("5-1")
        line = await world.invoice(charge.id)
        await edit(world, line, "20.00", name="Special")
        assert (await world.run(charge.id)).total == Decimal("20.00")
        (listed,) = await world.listed()
        assert (listed.intent.name, listed.base.name) == ("Special", "Tokens")
        assert (listed.amount_after_proration, listed.overridden) == (Decimal("20.00"), True)
        await world.change_end(charge.id, "5-11", invoice_at="5-1")
        assert (await world.run(charge.id)).total == Decimal("20.00")

    async def test_users_edit_of_an_own_charge_changes_its_base(self, world: World) -> None:
        charge = await world.create(world.intent(flat("31.00"), MAY, managed_by="manual"))
        line = world.book.pending(charge.id)
        assert line is not None
        await edit(world, line, "20.00")
        (listed,) = await world.listed()
        assert (listed.overridden, listed.lifecycle_controller) == (False, "manual")
        assert listed.amount_after_proration == Decimal("20.00")

    async def test_edit_to_nothing_and_of_metered_lines_is_refused(self, world: World) -> None:
        charge = await world.create(world.intent(flat("31.00"), MAY))
        line = world.book.pending(charge.id)
        assert line is not None
        with pytest.raises(BillingError, match="deleted instead"):
            await edit(world, line, "0")
        usage = await world.create(world.intent(unit("1.00")))
        line = world.book.pending(usage.id)
        assert line is not None
        with pytest.raises(BillingError) as refused:
            await edit(world, line, "1")
        assert refused.value.code == "cannot_update_charge_managed_line"


class TestReplace:
    async def test_a_charge_without_runs_takes_a_new_price(self, world: World) -> None:
        intent = world.intent(unit("1.00"))
        charge = await world.create(intent)
        async with world.db.write() as session:
            await world.charges.replace_intent(session, "default", charge.id, replace(intent, price=unit("2.00")))
        (listed,) = await world.listed()
        assert listed.intent.price == unit("2.00")
        assert listed.intent.tax_config == charge.intent.tax_config

    async def test_a_free_fee_loses_its_line_and_gets_it_back(self, world: World) -> None:
        intent = world.intent(flat("31.00"), MAY)
        charge = await world.create(intent)
        for price, expected in ((flat("0"), None), (flat("5.00"), MAY)):
            async with world.db.write() as session:
                await world.charges.replace_intent(session, "default", charge.id, replace(intent, price=price))
            assert pending(world, charge.id) == expected

    async def test_with_runs_it_is_refused(self, world: World) -> None:
        intent = world.intent(unit("1.00"))
        charge = await world.create(intent)
        world.time.at = at("3-16")
        await world.bill(charge.id, "3-16")
        with pytest.raises(PreconditionFailed):
            async with world.db.write() as session:
                await world.charges.replace_intent(session, "default", charge.id, replace(intent, price=unit("2.00")))


class TestDelete:
    async def test_lines_go_and_the_reference_is_free_again(self, world: World) -> None:
        intent = world.intent(unit("1.00"), unique_reference_id="s/p/i/v[0]/period[0]")
        charge = await world.create(intent)
        with pytest.raises(Conflict):
            await world.create(intent)
        world.time.at = at("3-16")
        line = await world.invoice(charge.id, "3-16")
        await world.delete(charge.id)
        await world.delete(charge.id)
        assert line.deleted
        assert pending(world, charge.id) is None
        assert await world.state(charge.id) == ("deleted", None)
        assert await world.listed() == []
        assert [one.id for one in await world.listed(statuses=[PublicStatus.DELETED])] == [charge.id]
        await world.create(intent)

    async def test_issued_line_stays_and_is_kept_for_audit(self, world: World) -> None:
        charge = await world.create(world.intent(unit("1.00")))
        world.events.add("3-5", 20)
        world.time.at = at("3-17")
        line = await world.bill(charge.id, "3-16")
        await world.delete(charge.id)
        assert line.in_vain == between("3-1", "3-16")
        assert (await world.run(charge.id)).type == "invalid_due_to_unsupported_credit_note"
        await world.pay(line)
        assert (await world.run(charge.id)).payment == "settled"
        assert (await world.state(charge.id))[0] == "deleted"

    async def test_by_the_user_the_base_lives_on(self, world: World) -> None:
        intent = world.intent(flat("31.00"), MAY, unique_reference_id="ref")
        charge = await world.create(intent)
        world.time.at = at("5-1")
        line = await world.invoice(charge.id)
        await world.remove(line, by_user=True)
        (listed,) = await world.listed(statuses=[PublicStatus.DELETED])
        assert (listed.overridden, listed.lifecycle_controller) == (True, "manual")
        assert (listed.base_deleted_at, listed.deleted_at) == (None, at("5-1"))
        assert (listed.intent.name, listed.amount_after_proration) == ("Tokens", Decimal("31.00"))
        with pytest.raises(Conflict):
            await world.create(intent)
        await world.delete(charge.id)
        (listed,) = await world.listed(statuses=[PublicStatus.DELETED])
        assert listed.base_deleted_at == at("5-1")

    async def test_by_the_user_of_one_of_several_parts_is_refused(self, world: World) -> None:
        charge = await world.create(world.intent(unit("1.00")))
        world.time.at = at("3-17")
        await world.bill(charge.id, "3-10")
        line = await world.invoice(charge.id, "3-17")
        with pytest.raises(BillingError) as refused:
            await world.remove(line, by_user=True)
        assert refused.value.code == "cannot_edit_progressively_billed_usagebased_line"

    async def test_a_line_that_the_system_removes_is_gathered_again(self, world: World) -> None:
        charge = await world.create(world.intent(unit("1.00")))
        world.time.at = at("3-16")
        line = await world.invoice(charge.id, "3-16")
        rest = world.book.pending(charge.id)
        assert rest is not None
        await world.remove(line, by_user=False)
        assert rest.period == between("3-1", "4-1")
        assert (await world.state(charge.id))[0] == "active"
