"""From pending lines to standard invoices (billing sections 5.3 to 5.5, subscription-sync 9.6)."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import select

from meterhouse.apps.registry import InstalledApps
from meterhouse.apps.sandbox import SandboxApp
from meterhouse.billing.errors import BillingError, BillingNotFound
from meterhouse.billing.invoices import repository
from meterhouse.billing.invoices.service import Invoices
from meterhouse.billing.invoices.states import State
from meterhouse.billing.invoices.views import InvoiceView
from meterhouse.billing.ports import SubscriptionReference
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import InvalidInput
from meterhouse.kernel.models import JobRow
from meterhouse.kernel.periods import Period
from tests.invoices.conftest import NS, World, at


async def bill(world: World, **arguments: Any) -> list[InvoiceView]:
    async with world.db.write() as session:
        return await world.invoices.invoice_pending_lines(session, NS, world.customer.id, **arguments)


async def refused(world: World, **arguments: Any) -> BillingError:
    with pytest.raises(BillingError) as raised:
        await bill(world, **arguments)
    return raised.value


async def test_a_flat_fee_is_paid_in_the_same_call(world: World) -> None:
    with clock.frozen(at("03-01T00:05:12")):
        await world.flat("f1", "12.50", at("03-01T00:00"))
        [invoice] = await bill(world)
    assert invoice.state is State.PAID
    assert invoice.number == "OM-SANDBOX-ACRO-1"
    assert invoice.totals.total.normalize() == 12.5
    assert invoice.collection_at is None
    assert invoice.issued_at == invoice.sent_to_customer_at == at("03-01T00:05:12")
    assert invoice.due_at == at("03-31T00:05:12")
    assert invoice.supplier.name == "OpenMeter"
    assert invoice.customer.name == "Acme Rockets"
    [line] = invoice.lines or ()
    assert [call for call, line_id in world.engine.calls if line_id == line.id and call != "billability"] == [
        "invoice_created",
        "collection_completed",
        "invoice_issued",
        "payment_settled",
    ]


async def test_usage_waits_for_late_events(world: World) -> None:
    with clock.frozen(at("02-15T00:05")) as frozen:
        await world.usage("c1", at("01-15T00:00"), at("02-15T00:00"))
        [invoice] = await bill(world)
        assert invoice.state is State.DRAFT_WAITING_FOR_COLLECTION
        assert invoice.number == "DRAFT-ACRO-1"
        assert invoice.collection_at == invoice.draft_until == at("02-15T01:01")
        with pytest.raises(BillingError) as raised:
            async with world.db.write() as session:
                await world.invoices.advance(session, NS, invoice.id)
        assert raised.value.code == "invoice_cannot_advance"
        frozen.at = at("02-15T01:01")
        world.engine.charges["c1"].usage += 1000
        async with world.db.write() as session:
            advanced = await world.invoices.advance(session, NS, invoice.id)
    assert advanced.state is State.PAID
    assert advanced.quantity_snapshotted_at == at("02-15T01:01")
    assert advanced.totals.total == 45
    assert (advanced.lines or ())[0].details[0].id == (invoice.lines or ())[0].details[0].id


async def test_part_of_a_period_leaves_the_rest_pending(world: World) -> None:
    with clock.frozen(at("01-20T12:00:00.400000")):
        line_id = await world.usage("c1", at("01-15T00:00"), at("02-15T00:00"))
        [invoice] = await bill(world)
        async with world.db.read() as session:
            rest = await repository.gathering_line(session, NS, "c1")
    [line] = invoice.lines or ()
    assert (line.id, line.period) == (line_id, Period(at("01-15T00:00"), at("01-20T12:00")))
    assert line.invoice_at == at("01-20T12:00")
    assert invoice.collection_at == at("01-20T12:01")
    assert rest is not None
    assert (rest.period_start, rest.period_end, rest.invoice_at) == (
        at("01-20T12:00"),
        at("02-15T00:00"),
        at("02-15T00:00"),
    )
    assert rest.id != line_id


async def test_while_a_draft_holds_the_usage_a_second_request_says_so(world: World) -> None:
    with clock.frozen(at("01-20T12:00")) as frozen:
        await world.usage("c1", at("01-15T00:00"), at("02-15T00:00"))
        await bill(world)
        frozen.at = at("01-20T12:00:01")
        error = await refused(world)
    assert error.code == "active_realization_run_already_exists"
    assert error.extensions["pending_lines"][0]["reason"] == "draft_invoice_open"  # type: ignore[index]


async def test_nothing_billable_is_explained(world: World) -> None:
    with clock.frozen(at("01-20T12:00")):
        line_id = await world.usage("c1", at("01-15T00:00"), at("02-15T00:00"))
        error = await refused(world, progressive=False)
    assert error.code == "invoice_create_no_lines"
    assert error.extensions["next_billable_at"] == "2025-02-15T00:00:00Z"
    assert error.extensions["pending_lines"] == [
        {
            "line_id": line_id,
            "charge_id": "c1",
            "feature_key": "tokens",
            "period": {"from": "2025-01-15T00:00:00Z", "to": "2025-02-15T00:00:00Z"},
            "invoice_at": "2025-02-15T00:00:00Z",
            "reason": "progressive_billing_disabled",
        }
    ]
    assert error.extensions["subscriptions"] == []


async def test_without_pending_lines_the_subscriptions_explain(world: World) -> None:
    async def explain(_session: ReadSession, _namespace: str, _customer: str) -> Sequence[Mapping[str, Any]]:
        return [{"id": "s1", "reason": "credit_only", "at": None, "error": None}]

    world.invoices = Invoices(world.engine, world.profiles, InstalledApps(), {"sandbox": SandboxApp()}, explain=explain)
    error = await refused(world)
    assert error.code == "invoice_create_no_lines"
    assert error.extensions["next_billable_at"] is None
    assert error.extensions["subscriptions"] == [{"id": "s1", "reason": "credit_only", "at": None, "error": None}]


async def test_inputs_that_make_no_sense(world: World) -> None:
    with clock.frozen(at("02-15T00:00")):
        with pytest.raises(InvalidInput, match="asOf must be in the past"):
            await bill(world, as_of=at("02-15T00:00:01"))
        with pytest.raises(InvalidInput, match="lineIds"):
            await bill(world, line_ids=[])
        with pytest.raises(BillingNotFound, match="not found"):
            async with world.db.write() as session:
                await world.invoices.invoice_pending_lines(session, NS, "01JJJJJJJJJJJJJJJJJJJJJJJJ")


async def test_listed_lines_are_billed_alone_or_not_at_all(world: World) -> None:
    with clock.frozen(at("02-15T00:00")):
        due = await world.flat("f1", "5", at("02-15T00:00"))
        other = await world.flat("f2", "7", at("02-15T00:00"))
        later = await world.flat("f3", "9", at("03-15T00:00"))
        unknown = await refused(world, line_ids=[due, "01JJJJJJJJJJJJJJJJJJJJJJJJ"])
        early = await refused(world, line_ids=[due, later])
        [invoice] = await bill(world, line_ids=[due])
        async with world.db.read() as session:
            left = await repository.lines(
                session, [row.id for row in await repository.live_gatherings(session, NS, world.customer.id)]
            )
    assert (unknown.code, unknown.extensions["line_ids"]) == (
        "invoice_lines_not_billable",
        ["01JJJJJJJJJJJJJJJJJJJJJJJJ"],
    )
    assert (early.code, early.extensions["line_ids"]) == ("invoice_lines_not_billable", [later])
    assert [line.id for line in invoice.lines or ()] == [due]
    assert {line.id for line in left} == {other, later}


async def test_one_invoice_per_currency_holds_fees_and_usage(world: World) -> None:
    with clock.frozen(at("02-15T00:00")):
        await world.flat("f1", "5", at("02-15T00:00"))
        await world.usage("c1", at("01-15T00:00"), at("02-15T00:00"))
        await world.flat("f2", "7", at("02-15T00:00"), "EUR")
        invoices = await bill(world)
    assert [(invoice.currency, invoice.totals.total) for invoice in invoices] == [("EUR", 7), ("USD", 30)]
    assert [invoice.state for invoice in invoices] == [State.PAID, State.DRAFT_WAITING_FOR_COLLECTION]


async def test_a_charge_that_cannot_be_valued_does_not_stop_the_others(world: World) -> None:
    with clock.frozen(at("02-15T00:00")):
        await world.flat("f1", "5", at("02-15T00:00"))
        broken = await world.flat("f2", "7", at("02-15T00:00"))
        world.engine.charges["f2"].fails["invoice_created"] = InvalidInput("the meter is gone")
        [invoice] = await bill(world)
        with pytest.raises(InvalidInput, match="the meter is gone"):
            await bill(world, line_ids=[broken])
        with pytest.raises(InvalidInput, match="the meter is gone"):
            await bill(world)
    assert invoice.totals.total == 5


async def test_the_new_invoice_lets_its_subscriptions_refill(world: World) -> None:
    with clock.frozen(at("02-15T00:00")):
        await world.flat("f1", "5", at("02-15T00:00"))
        world.engine.charges["f1"].subscription = SubscriptionReference("s1", "p1", "i1")
        [invoice] = await bill(world)
    async with world.db.read() as session:
        jobs = (await session.scalars(select(JobRow))).all()
    assert [(job.name, job.payload) for job in jobs] == [
        (
            "billing.invoice_created",
            {
                "namespace": NS,
                "invoice_id": invoice.id,
                "customer_id": world.customer.id,
                "subscription_ids": "s1",
            },
        )
    ]


async def test_of_two_requests_at_once_one_bills_and_the_other_finds_nothing(world: World) -> None:
    with clock.frozen(at("02-15T00:00")):
        await world.flat("f1", "5", at("02-15T00:00"))
        results = await asyncio.gather(bill(world), bill(world), return_exceptions=True)
    made = [result for result in results if isinstance(result, list)]
    errors = [result for result in results if isinstance(result, BillingError)]
    assert [len(invoices) for invoices in made] == [1]
    assert [error.code for error in errors] == ["invoice_create_no_lines"]
