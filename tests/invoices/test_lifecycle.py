"""Running the state machine (billing sections 6.2, 6.4 and 7)."""

from datetime import timedelta
from typing import Any

import pytest

from meterhouse.billing.errors import BillingError
from meterhouse.billing.invoices import repository
from meterhouse.billing.invoices.customer_guards import refuse_deletion
from meterhouse.billing.invoices.states import State, Trigger
from meterhouse.billing.invoices.views import InvoiceView
from meterhouse.kernel import clock
from meterhouse.kernel.errors import InvalidInput, Unavailable
from meterhouse.kernel.periods import Duration
from tests.invoices.conftest import NS, World, at

MANUAL = {"auto_advance": False}


async def bill(world: World) -> InvoiceView:
    async with world.db.write() as session:
        [invoice] = await world.invoices.invoice_pending_lines(session, NS, world.customer.id)
        return invoice


async def act(world: World, action: str, invoice: InvoiceView) -> InvoiceView:
    async with world.db.write() as session:
        result: InvoiceView = await getattr(world.invoices, action)(session, NS, invoice.id)
        return result


async def read(world: World, invoice: InvoiceView, **arguments: Any) -> InvoiceView:
    async with world.db.read() as session:
        return await world.invoices.get(session, NS, invoice.id, **arguments)


async def draft(world: World, metadata: dict[str, str] | None = None) -> InvoiceView:
    """Make a flat invoice that waits for approval."""
    await world.adjust_workflow(**MANUAL)
    await world.flat("f1", "5", at("02-15T00:00"))
    invoice = await bill(world)
    if metadata:
        async with world.db.write() as session:
            (await repository.reloaded(session, NS, invoice.id)).labels = metadata
    return invoice


async def test_approval(world: World) -> None:
    with clock.frozen(at("02-15T00:00")):
        invoice = await draft(world)
        assert invoice.state is State.DRAFT_MANUAL_APPROVAL_NEEDED
        assert (invoice.draft_until, invoice.due_at) == (None, None)
        assert invoice.flags.actions["approve"] is State.PAYMENT_PENDING
        approved = await act(world, "approve", invoice)
    assert approved.state is State.PAID
    assert approved.due_at == at("03-17T00:00")


async def test_a_draft_period_delays_the_approval(world: World) -> None:
    with clock.frozen(at("02-15T00:00")) as frozen:
        await world.adjust_workflow(draft_period=Duration(days=3))
        await world.flat("f1", "5", at("02-15T00:00"))
        invoice = await bill(world)
        assert invoice.state is State.DRAFT_WAITING_AUTO_APPROVAL
        assert "advance" not in invoice.flags.actions
        frozen.at = at("02-18T00:00")
        assert (await read(world, invoice)).flags.actions["advance"] is State.PAYMENT_PENDING
        assert (await act(world, "advance", invoice)).state is State.PAID


@pytest.mark.parametrize(
    ("target", "state"),
    [
        ("paid", State.PAID),
        ("failed", State.PAYMENT_FAILED),
        ("uncollectible", State.UNCOLLECTIBLE),
        ("action_required", State.PAYMENT_ACTION_REQUIRED),
    ],
)
async def test_the_sandbox_ends_where_metadata_says(world: World, target: str, state: State) -> None:
    with clock.frozen(at("02-15T00:00")):
        invoice = await draft(world, {"openmeter.io/sandbox/target-payment-status": target})
        approved = await act(world, "approve", invoice)
    assert approved.state is state
    codes = [(issue.code, issue.component) for issue in approved.issues]
    failed = [("simulated_payment_failure", "app.sandbox.collectPayments.initiate_payment")]
    assert codes == (failed if target == "failed" else [])


async def test_a_failed_payment_can_be_retried_and_paid_later(world: World) -> None:
    with clock.frozen(at("02-15T00:00")):
        invoice = await draft(world, {"openmeter.io/sandbox/target-payment-status": "failed"})
        failed = await act(world, "approve", invoice)
        assert failed.flags.failed
        async with world.db.write() as session:
            paid = await world.invoices.payment(session, NS, invoice.id, Trigger.PAYMENT_PAID)
    assert paid.state is State.PAID


async def test_actions_that_the_state_does_not_permit(world: World) -> None:
    with clock.frozen(at("02-15T00:00")):
        await world.flat("f1", "5", at("02-15T00:00"))
        invoice = await bill(world)
        for action in ("approve", "retry", "snapshot_quantities", "delete"):
            with pytest.raises(BillingError) as raised:
                await act(world, action, invoice)
            assert raised.value.code == "invoice_action_not_available"
        with pytest.raises(BillingError) as raised:
            await act(world, "advance", invoice)
        assert raised.value.code == "invoice_cannot_advance"


async def test_quantities_can_be_read_before_the_collection_closes(world: World) -> None:
    with clock.frozen(at("02-15T00:05")):
        await world.usage("c1", at("01-15T00:00"), at("02-15T00:00"))
        invoice = await bill(world)
        snapshot = await act(world, "snapshot_quantities", invoice)
    assert snapshot.state is State.DRAFT_WAITING_AUTO_APPROVAL
    assert snapshot.collection_at == at("02-15T01:01")
    assert snapshot.quantity_snapshotted_at == at("02-15T00:05")


async def test_a_meter_that_does_not_answer_becomes_an_issue_that_a_retry_replaces(world: World) -> None:
    with clock.frozen(at("02-15T02:00")) as frozen:
        await world.usage("c1", at("01-15T00:00"), at("02-15T00:00"))
        world.engine.charges["c1"].fails["collection_completed"] = Unavailable("the meter store does not answer")
        invoice = await bill(world)
        assert invoice.state is State.DRAFT_INVALID
        assert not invoice.flags.failed
        [issue] = invoice.issues
        assert (issue.severity, issue.code, issue.component) == (
            "critical",
            "invoice_line_snapshot_failed",
            "openmeter.metering",
        )
        frozen.at += timedelta(minutes=1)
        again = await act(world, "retry", invoice)
        assert again.state is State.DRAFT_INVALID
        assert [(each.severity, each.id != issue.id) for each in again.issues] == [("critical", True)]
        world.engine.charges["c1"].fails.clear()
        done = await act(world, "retry", invoice)
    assert done.state is State.PAID
    assert done.issues == []
    assert ("collection_completed", (done.lines or ())[0].id) in world.engine.calls


async def test_a_failing_booking_is_retried_from_the_booking(world: World) -> None:
    with clock.frozen(at("02-15T00:00")):
        invoice = await draft(world)
        world.engine.charges["f1"].fails["invoice_issued"] = BillingError("account_missing", "no account")
        failed = await act(world, "approve", invoice)
        assert failed.state is State.ISSUING_CHARGE_BOOKING_FAILED
        assert failed.flags.failed
        assert failed.number == "OM-SANDBOX-ACRO-1"
        assert [(issue.code, issue.component) for issue in failed.issues] == [
            ("account_missing", "openmeter.lineengine.charge_flatfee")
        ]
        world.engine.charges["f1"].fails.clear()
        done = await act(world, "retry", failed)
    assert (done.state, done.number, done.issues) == (State.PAID, "OM-SANDBOX-ACRO-1", [])


async def test_deletion_keeps_the_lines_and_gives_back_the_charges(world: World) -> None:
    with clock.frozen(at("02-15T00:00")):
        invoice = await draft(world)
        async with world.db.write() as session:
            await world.invoices.delete(session, NS, invoice.id)
        deleted = await read(world, invoice)
    assert (deleted.state, deleted.deleted_at) == (State.DELETED, at("02-15T00:00"))
    assert len(deleted.lines or ()) == 1
    assert world.engine.calls[-1] == ("line_removed", (deleted.lines or ())[0].id)


async def test_a_line_that_cannot_go_keeps_the_invoice(world: World) -> None:
    with clock.frozen(at("02-15T00:00")):
        invoice = await draft(world)
        refusal = BillingError("cannot_edit_progressively_billed_usagebased_line", "several runs")
        world.engine.charges["f1"].fails["line_removed"] = refusal
        with pytest.raises(BillingError) as raised:
            async with world.db.write() as session:
                await world.invoices.delete(session, NS, invoice.id)
        assert (await read(world, invoice)).state is State.DRAFT_MANUAL_APPROVAL_NEEDED
    assert raised.value.code == "cannot_edit_progressively_billed_usagebased_line"


async def test_charges_change_drafts_and_only_warn_on_issued_invoices(world: World) -> None:
    with clock.frozen(at("02-15T00:00")):
        invoice = await draft(world)
        [line] = invoice.lines or ()
        world.engine.charges["f1"].price = world.engine.charges["f1"].price.model_copy(update={"amount": 8})
        async with world.db.write() as session:
            await world.invoices.refresh_standard_line(session, namespace=NS, line_id=line.id)
        refreshed = await read(world, invoice)
        assert refreshed.totals.total == 8
        assert refreshed.state is State.DRAFT_WAITING_FOR_COLLECTION
        issued = await act(world, "advance", invoice)
        issued = await act(world, "approve", issued)
        async with world.db.write() as session:
            assert not await world.invoices.delete_standard_line(session, namespace=NS, line_id=line.id)
        warned = []
        for end in (at("02-10T00:00"), at("02-10T00:00"), None, at("03-15T00:00")):
            async with world.db.write() as session:
                await world.invoices.note_end_of_line(session, namespace=NS, line_id=line.id, until=end)
            after = await read(world, invoice)
            assert {one.path for one in after.issues} <= {f"lines/{line.id}"}
            warned.append([(one.severity, one.code, one.message) for one in after.issues])
    told = [
        "bills until 2025-03-15T00:00:00Z, but nobody has it after 2025-02-10T00:00:00Z",
        "bills until 2025-03-15T00:00:00Z, but nobody has it after 2025-02-10T00:00:00Z",
        "bills until 2025-03-15T00:00:00Z, but nobody has it any more",
    ]
    how = f"there are no credit notes, so settle it by hand (line {line.id})"
    code = "immutable_invoice_handling_not_supported"
    assert warned == [*([("warning", code, f"{line.origin.name} {text}; {how}")] for text in told), []]
    assert after.totals.total == 8


async def test_a_warning_that_a_line_bills_too_long_outlives_the_payment(world: World) -> None:
    with clock.frozen(at("02-15T00:00")):
        invoice = await draft(world, {"openmeter.io/sandbox/target-payment-status": "failed"})
        await act(world, "approve", invoice)
        [line] = invoice.lines or ()
        async with world.db.write() as session:
            end = at("02-05T00:00")
            await world.invoices.note_end_of_line(session, namespace=NS, line_id=line.id, until=end)
            paid = await world.invoices.payment(session, NS, invoice.id, Trigger.PAYMENT_PAID)
    assert paid.state is State.PAID
    assert "immutable_invoice_handling_not_supported" in [issue.code for issue in paid.issues]


async def test_a_draft_that_lost_all_lines_ends_deleted_by_the_system(world: World) -> None:
    with clock.frozen(at("02-15T00:00")):
        invoice = await draft(world)
        [line] = invoice.lines or ()
        async with world.db.write() as session:
            assert await world.invoices.delete_standard_line(session, namespace=NS, line_id=line.id)
        assert (await act(world, "advance", invoice)).totals.total == 0
        gone = await act(world, "approve", invoice)
        async with world.db.read() as session:
            row = await repository.invoice(session, NS, invoice.id)
    assert gone.state is State.DELETED
    assert row is not None
    assert row.deletion_source == "system"


async def test_a_customer_with_open_invoices_cannot_be_deleted(world: World) -> None:
    with clock.frozen(at("02-15T00:00")):
        invoice = await draft(world)
        async with world.db.write() as session:
            with pytest.raises(InvalidInput, match=invoice.number) as refused:
                await refuse_deletion(session, world.customer)
        (issue,) = refused.value.issues
        assert (issue.code, issue.attributes["invoice"]) == ("deleting_customer_with_open_invoices", invoice.id)
        await act(world, "approve", invoice)
        async with world.db.write() as session:
            await refuse_deletion(session, world.customer)
