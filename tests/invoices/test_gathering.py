"""Pending lines (billing section 5.1)."""

import pytest
from sqlalchemy.exc import IntegrityError

from meterhouse.billing.invoices import repository
from meterhouse.billing.invoices.models import GATHERING, InvoiceRow
from meterhouse.billing.invoices.states import State
from meterhouse.billing.invoices.views import InvoiceView
from meterhouse.kernel import clock
from meterhouse.kernel.periods import Period
from tests.invoices.conftest import NS, World, at


async def gathering(world: World, currency: str = "USD") -> InvoiceView:
    async with world.db.read() as session:
        row = await repository.gathering(session, NS, world.customer.id, currency)
        assert row is not None
        return await world.invoices.get(session, NS, row.id)


async def row(world: World) -> InvoiceRow:
    async with world.db.read() as session:
        found = await repository.gathering(session, NS, world.customer.id, "USD")
        assert found is not None
        return found


async def test_the_first_line_makes_the_gathering_invoice(world: World) -> None:
    with clock.frozen(at("01-15T00:00")):
        line_id = await world.usage("c1", at("01-15T00:00"), at("02-15T00:00"))
        invoice = await gathering(world)
    assert invoice.number == "GATHER-ACRO-USD-1"
    assert invoice.state is State.GATHERING
    assert invoice.collection_at == at("02-15T00:00")
    assert invoice.period == Period(at("01-15T00:00"), at("02-15T00:00"))
    assert [line.id for line in invoice.lines or ()] == [line_id]


async def test_reading_prices_the_lines_with_usage_up_to_now(world: World) -> None:
    with clock.frozen(at("01-20T12:00")):
        await world.usage("c1", at("01-15T00:00"), at("02-15T00:00"), "1250")
        invoice = await gathering(world)
    assert invoice.totals.total == 25
    assert invoice.can_invoice is True


async def test_the_same_upsert_again_changes_nothing(world: World) -> None:
    with clock.frozen(at("01-15T00:00")) as frozen:
        await world.flat("f1", "5", at("02-15T00:00"))
        frozen.at = at("01-15T01:00")
        await world.flat("f1", "5", at("02-15T00:00"))
        async with world.db.read() as session:
            line = await repository.gathering_line(session, NS, "f1")
    assert line is not None
    assert line.changed_at == at("01-15T00:00")


async def test_a_changed_line_is_due_five_seconds_after_the_change(world: World) -> None:
    with clock.frozen(at("02-15T00:00")) as frozen:
        await world.flat("f1", "5", at("02-15T00:00"))
        assert (await row(world)).work_at == at("02-15T00:00:05")
        frozen.at = at("02-15T00:00:03")
        await world.flat("f1", "6", at("02-15T00:00"))
        assert (await row(world)).work_at == at("02-15T00:00:08")


async def test_without_lines_it_is_deleted_and_later_revived(world: World) -> None:
    with clock.frozen(at("01-15T00:00")):
        await world.flat("f1", "5", at("02-15T00:00"))
        first = await gathering(world)
        async with world.db.write() as session:
            await world.invoices.delete_gathering_line(session, namespace=NS, charge_id="f1")
        assert (await gathering(world)).deleted_at == at("01-15T00:00")
        await world.flat("f2", "5", at("02-15T00:00"))
        revived = await gathering(world)
    assert (revived.id, revived.number, revived.deleted_at) == (first.id, first.number, None)
    assert len(revived.lines or ()) == 1


async def test_each_currency_has_its_own(world: World) -> None:
    with clock.frozen(at("01-15T00:00")):
        await world.flat("f1", "5", at("02-15T00:00"), "USD")
        await world.flat("f2", "5", at("02-15T00:00"), "EUR")
        assert (await gathering(world, "USD")).number == "GATHER-ACRO-USD-1"
        assert (await gathering(world, "EUR")).number == "GATHER-ACRO-EUR-2"


async def test_the_database_holds_one_live_gathering_invoice(world: World) -> None:
    with clock.frozen(at("01-15T00:00")):
        await world.flat("f1", "5", at("02-15T00:00"))
    twin = InvoiceRow(
        namespace=NS,
        kind=GATHERING,
        status="gathering",
        customer_id=world.customer.id,
        customer_name="x",
        currency="USD",
        number="x",
    )
    with pytest.raises(IntegrityError, match="uq_invoices_live_gathering"):
        async with world.db.write() as session:
            session.add(twin)
