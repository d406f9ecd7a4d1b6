"""Automatic collection and advance (billing section 11)."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from meterhouse.billing.invoices import repository
from meterhouse.billing.invoices.filters import InvoiceFilter
from meterhouse.billing.invoices.states import State
from meterhouse.billing.invoices.views import InvoiceView
from meterhouse.billing.profiles.values import Alignment
from meterhouse.customers import service as customers
from meterhouse.customers.customer import Customer, NewCustomer
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import InvalidInput
from meterhouse.kernel.jobs import DueWork
from meterhouse.kernel.pages import PageRequest
from meterhouse.kernel.periods import Duration, Recurrence
from tests.invoices.conftest import NS, World, at


def works(world: World) -> tuple[DueWork, DueWork]:
    collect, advance = world.collection.due_work()
    assert (collect.name, advance.name) == ("billing.collect", "billing.advance")
    return collect, advance


async def due(world: World) -> list[datetime]:
    moments = [await work.next_due() for work in works(world)]
    return sorted(moment for moment in moments if moment is not None)


async def run_due(world: World) -> None:
    for work in works(world):
        await work.run_due()
        following = await work.next_due()
        assert following is None or following > clock.now()


async def standard(world: World) -> list[InvoiceView]:
    async with world.db.read() as session:
        page = await world.invoices.list_invoices(
            session, NS, PageRequest(), InvoiceFilter(include_gathering=False), with_lines=True
        )
        return list(page.items)


async def test_lines_untouched_for_long_are_collected_at_the_very_end_of_their_period(world: World) -> None:
    with clock.frozen(at("01-15T00:00")) as frozen:
        await world.usage("c1", at("01-15T00:00"), at("02-15T00:00"))
        assert await due(world) == [at("02-15T00:00")]
        frozen.at = at("02-14T23:59:59.999999")
        await run_due(world)
        assert await standard(world) == []
        frozen.at = at("02-15T00:00")
        await run_due(world)
        [invoice] = await standard(world)
        assert invoice.state is State.DRAFT_WAITING_FOR_COLLECTION
        assert invoice.collection_at == at("02-15T01:01")
        assert await due(world) == [at("02-15T01:01:10")]
        frozen.at = at("02-15T01:01:10")
        await run_due(world)
        assert [each.state for each in await standard(world)] == [State.PAID]
        assert await due(world) == []


async def test_a_request_right_after_the_line_finds_it_still_pending(world: World) -> None:
    with clock.frozen(at("02-15T00:00")) as frozen:
        await world.flat("f1", "5", at("02-15T00:00"))
        frozen.at = at("02-15T00:00:04.999999")
        await run_due(world)
        assert await standard(world) == []
        frozen.at = at("02-15T00:00:05")
        await run_due(world)
        assert [each.state for each in await standard(world)] == [State.PAID]


async def test_automatic_advance_leaves_ten_seconds_to_a_request(world: World) -> None:
    with clock.frozen(at("02-15T00:05")) as frozen:
        await world.usage("c1", at("01-15T00:00"), at("02-15T00:00"))
        async with world.db.write() as session:
            await world.invoices.invoice_pending_lines(session, NS, world.customer.id)
        frozen.at = at("02-15T01:01:09.999999")
        await run_due(world)
        assert [each.state for each in await standard(world)] == [State.DRAFT_WAITING_FOR_COLLECTION]
        frozen.at = at("02-15T01:01:10")
        await run_due(world)
        assert [each.state for each in await standard(world)] == [State.PAID]


async def test_the_collector_never_bills_part_of_a_period(world: World) -> None:
    with clock.frozen(at("02-15T00:00")) as frozen:
        await world.usage("c1", at("02-15T00:00"), at("03-15T00:00"))
        await world.flat("f1", "5", at("02-15T00:00"))
        frozen.at = at("02-16T00:00")
        await run_due(world)
        [invoice] = await standard(world)
        assert invoice.totals.total == 5
        assert await due(world) == [at("03-15T00:00")]


async def test_anchored_collection_waits_for_its_tick(world: World) -> None:
    await world.adjust_workflow(collection_alignment=Alignment(Recurrence(Duration(months=1), at("01-05T00:00"))))
    with clock.frozen(at("03-01T00:00")) as frozen:
        await world.flat("f1", "5", at("03-04T00:00"))
        await world.flat("f2", "7", at("03-05T00:00"))
        await world.flat("f3", "9", at("03-06T00:00"))
        assert await due(world) == [at("03-05T00:00")]
        frozen.at = at("03-05T00:00")
        await run_due(world)
        assert [each.totals.total for each in await standard(world)] == [12]
        assert await due(world) == [at("04-05T00:00")]


async def test_usage_on_an_open_draft_is_collected_once_the_draft_is_issued(world: World) -> None:
    await world.adjust_workflow(auto_advance=False)
    with clock.frozen(at("02-14T12:00")) as frozen:
        await world.usage("c1", at("01-15T00:00"), at("02-15T00:00"))
        async with world.db.write() as session:
            [part] = await world.invoices.invoice_pending_lines(session, NS, world.customer.id)
        frozen.at = at("02-15T00:00")
        await run_due(world)
        assert len(await standard(world)) == 1
        assert min(await due(world)) == at("02-15T00:00:15")
        frozen.at = at("02-15T00:00:15")
        await run_due(world)
        assert min(await due(world)) == at("02-15T00:00:45")
        async with world.db.write() as session:
            await world.invoices.approve(session, NS, part.id)
        await run_due(world)
        assert len(await standard(world)) == 2


async def test_a_failing_customer_does_not_stop_the_others_and_is_tried_again(world: World) -> None:
    with clock.frozen(at("02-01T00:00")) as frozen:
        await world.flat("f1", "5", at("02-15T00:00"))
        await world.flat("f2", "7", at("02-15T00:00"), "EUR")
        world.engine.charges["f1"].fails["invoice_created"] = InvalidInput("broken")
        frozen.at = at("02-15T00:00")
        await run_due(world)
        assert [each.currency for each in await standard(world)] == ["EUR"]
        assert await due(world) == [at("02-15T00:00:15")]
        world.engine.charges["f1"].fails.clear()
        frozen.at += timedelta(seconds=15)
        await run_due(world)
        assert [each.currency for each in await standard(world)] == ["EUR", "USD"]


async def test_a_failing_advance_is_tried_again_later(world: World) -> None:
    class Broken(Exception):
        pass

    with clock.frozen(at("02-15T00:00")) as frozen:
        await world.usage("c1", at("01-15T00:00"), at("02-15T00:00"))
        frozen.at = at("02-15T00:00:05")
        await run_due(world)
        world.engine.charges["c1"].fails["collection_completed"] = Broken()  # type: ignore[assignment]
        frozen.at = at("02-15T01:01:10")
        await run_due(world)
        assert await due(world) == [at("02-15T01:01:25")]
        async with world.db.read() as session:
            [invoice] = await standard(world)
            row = await repository.invoice(session, NS, invoice.id)
        assert row is not None
        assert (row.status, row.work_failures) == ("draft.waiting_for_collection", 1)


async def test_a_failure_that_cannot_be_noted_stops_no_other_customer(
    world: World, build_world: Callable[[Customer], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.db.write() as session:
        customer = await customers.create(session, NS, NewCustomer(name="Broken", key="broken"))
    with clock.frozen(at("02-01T00:00")) as frozen:
        await build_world(customer).flat("unknown", "5.00", at("02-01T00:00"))
        await world.flat("fee", "10.00", at("02-01T00:00"))
        postpone = world.invoices.postpone

        async def broken(session: WriteSession, namespace: str, invoice_id: str, **options: Any) -> None:
            row = await repository.invoice(session, namespace, invoice_id)
            assert row is not None
            if row.customer_id == customer.id:
                raise ConnectionError
            await postpone(session, namespace, invoice_id, **options)

        monkeypatch.setattr(world.invoices, "postpone", broken)
        frozen.at = at("02-01T01:00")
        for work in world.collection.due_work():
            await work.run_due()
    assert [(one.customer_id, one.totals.total) for one in await standard(world)] == [(world.customer.id, 10)]
