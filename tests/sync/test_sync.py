"""Subscriptions become charges, with the real charges and invoices (subscription-sync sections 1, 5, 6, 9, 10)."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from meterhouse.billing.invoices.models import InvoiceLineRow, InvoiceRow
from meterhouse.billing.profiles.models import ProfileRow
from meterhouse.billing.sync.jobs import SYNC, due_work, handlers
from meterhouse.billing.sync.service import CustomCurrency
from meterhouse.catalog.models import FeatureRow
from meterhouse.kernel import clock
from meterhouse.kernel.errors import NotFound
from meterhouse.subscriptions import service as subscriptions
from meterhouse.subscriptions.models import SubscriptionItemRow, SubscriptionRow
from meterhouse.subscriptions.timing import NamedTiming
from meterhouse.subscriptions.views import SubscriptionView
from tests.fixtures.statements import recorded
from tests.sync.builders import FEE, SEAT, TOKENS, at, by_name, card, flat, span, unit
from tests.sync.conftest import NS, World


async def test_charges_are_there_right_after_creation(world: World) -> None:
    view = await world.subscribe(FEE, TOKENS)
    result = await world.synced(view.id)
    assert result.limit == at("2-15")
    charges = by_name([state.intent for state in await world.stored(view.id)])
    assert sorted(charges) == ["fee[0]", "fee[1]", "tokens[0]"]
    assert charges["tokens[0]"].service_period == span("1-15", "2-15")
    async with world.db.read() as session:
        lines = (await session.scalars(select(InvoiceLineRow).where(InvoiceLineRow.deleted_at.is_(None)))).all()
    assert len(lines) == 3


async def test_a_second_sync_changes_only_its_time(world: World, running: SubscriptionView) -> None:
    before, charges = await world.state(running.id), await world.stored(running.id)
    world.time.at = at("1-15T00:05")
    result = await world.synced(running.id)
    assert (result.patches, result.failures) == ((), ())
    after = await world.state(running.id)
    assert (before.synced_at, after.synced_at) == (at("1-15"), at("1-15T00:05"))
    assert after.next_sync_after == before.next_sync_after == at("2-15")
    assert (after.fingerprints, after.has_billables, after.attempts) == (before.fingerprints, True, 0)
    assert await world.stored(running.id) == charges


async def test_time_adds_the_next_period(world: World, running: SubscriptionView) -> None:
    assert await world.next_due() == at("2-15")
    assert await world.run_due() == 0
    world.time.at = at("2-15")
    assert await world.run_due() == 1
    assert await world.names(running.id) == ["fee[0]", "fee[1]", "fee[2]", "seat[0]", "tokens[0]", "tokens[1]"]
    assert await world.next_due() == at("3-15")


async def test_a_cancellation_and_its_end(world: World, running: SubscriptionView) -> None:
    world.time.at = at("2-01T12:00")
    await world.cancel(running.id)
    await world.synced(running.id)
    charges = by_name([state.intent for state in await world.stored(running.id)])
    assert sorted(charges) == ["fee[0]", "seat[0]", "tokens[0]"]
    for intent in charges.values():
        assert intent.service_period == span("1-15", "2-01T12:00")
    assert charges["tokens[0]"].invoice_at == charges["seat[0]"].invoice_at == at("2-01T12:00")
    async with world.db.read() as session:
        found = {
            state.intent.name: await world.charges.get(session, NS, state.id)
            for state in await world.stored(running.id)
        }
    assert str(found["Fee"].amount_after_proration) == "35.00"
    assert str(found["Seat"].amount_after_proration) == "17.50"
    state = await world.state(running.id)
    assert (state.next_sync_after, state.due_at, state.has_billables) == (None, None, True)
    assert await world.next_due() is None


async def test_bill_full_period(world: World, running: SubscriptionView) -> None:
    async with world.db.write() as session:
        await session.execute(update(ProfileRow).values(subscription_end_proration_mode="bill_full_period"))
    world.time.at = at("2-01T12:00")
    await world.cancel(running.id)
    await world.synced(running.id)
    async with world.db.read() as session:
        charges = [await world.charges.get(session, NS, state.id) for state in await world.stored(running.id)]
    amounts = {charge.intent.name: str(charge.amount_after_proration) for charge in charges}
    assert amounts == {"Fee": "62.00", "Seat": "90.00", "Tokens": "None"}
    assert (await world.synced(running.id)).patches == ()


async def test_a_cancellation_is_taken_back(world: World, running: SubscriptionView) -> None:
    world.time.at = at("1-20")
    async with world.db.write() as session:
        await subscriptions.cancel(session, NS, running.id, NamedTiming.NEXT_BILLING_CYCLE)
    await world.synced(running.id)
    assert await world.names(running.id) == ["fee[0]", "seat[0]", "tokens[0]"]
    assert (await world.state(running.id)).next_sync_after == at("2-15")
    async with world.db.write() as session:
        await subscriptions.unschedule_cancelation(session, NS, running.id)
    await world.synced(running.id)
    charges = by_name([state.intent for state in await world.stored(running.id)])
    assert sorted(charges) == ["fee[0]", "fee[1]", "seat[0]", "tokens[0]"]
    assert charges["seat[0]"].service_period == span("1-15", "4-15")
    assert (charges["tokens[0]"].service_period, charges["tokens[0]"].invoice_at) == (span("1-15", "2-15"), at("2-15"))


async def test_a_cancellation_far_ahead_is_stable(world: World) -> None:
    view = await world.subscribe(FEE)
    async with world.db.write() as session:
        await session.execute(update(SubscriptionRow).values(active_to=at("5-15"), updated_at=at("1-16")))
    world.time.at = at("1-20")
    await world.synced(view.id)
    assert await world.names(view.id) == [f"fee[{n}]" for n in range(4)]
    assert (await world.synced(view.id)).patches == ()
    assert (await world.state(view.id)).next_sync_after == at("5-15")


async def test_deleting_a_scheduled_subscription_removes_its_charges(world: World) -> None:
    view = await world.subscribe(FEE, TOKENS, start=at("2-01"))
    await world.synced(view.id)
    assert await world.names(view.id) == ["fee[0]"]
    assert (await world.state(view.id)).next_sync_after == at("2-01")
    world.time.at = at("1-16")
    async with world.db.write() as session:
        await subscriptions.delete(session, NS, view.id)
    assert await world.next_due() == at("1-16")
    assert await world.run_due() == 1
    assert await world.stored(view.id) == []
    state = await world.state(view.id)
    assert (state.has_billables, state.next_sync_after) == (False, None)
    assert await world.next_due() is None


async def test_an_amount_of_nothing(world: World) -> None:
    """A flat fee that prorates to zero is a charge without a line, and ends when it would be invoiced."""
    view = await world.subscribe(card("fee", flat("0.04")))
    await world.synced(view.id)
    world.time.at = at("1-16")
    await world.cancel(view.id)
    await world.synced(view.id)
    (charge,) = await world.stored(view.id)
    async with world.db.write() as session:
        await world.charges.advance(session, NS, charge.id)
        made = await world.charges.get(session, NS, charge.id)
        lines = await session.scalars(select(InvoiceLineRow).where(InvoiceLineRow.deleted_at.is_(None)))
        assert lines.all() == []
    assert (made.public_status, made.amount_after_proration) == ("final", 0)


async def test_one_bad_item_does_not_hold_back_the_others(world: World) -> None:
    view = await world.subscribe(FEE, TOKENS)
    async with world.db.write() as session:
        await session.execute(update(FeatureRow).values(key="other"))
    result = await world.synced(view.id)
    assert await world.names(view.id) == ["fee[0]", "fee[1]"]
    reference = f"{view.id}/main/tokens/v[0]/period[0]"
    assert [failure.reference for failure in result.failures] == [reference]
    state = await world.state(view.id)
    assert state.item_errors == [{"reference": reference, "message": "feature not found: tokens"}]
    assert state.last_error == f"{reference}: feature not found: tokens"
    assert (state.attempts, state.error_at, state.synced_at) == (1, at("1-15"), at("1-15"))
    assert (state.next_sync_after, state.due_at) == (at("2-15"), at("1-15T00:01"))

    async with world.db.write() as session:
        await session.execute(update(FeatureRow).values(key="tokens"))
    world.time.at = at("1-15T00:01")
    assert await world.run_due() == 1
    assert await world.names(view.id) == ["fee[0]", "fee[1]", "tokens[0]"]
    state = await world.state(view.id)
    assert (state.attempts, state.last_error, state.error_at, state.item_errors) == (0, None, None, [])
    assert state.due_at == at("2-15")


async def test_many_periods_are_gathered_at_once(world: World, running: SubscriptionView) -> None:
    """The gathering invoice is recomputed once, whatever comes and goes: each time reads all of its lines."""
    with recorded(world.db) as statements:
        result = await world.synced(running.id, at("1-15") + timedelta(days=3 * 365))
    assert len(result.patches) > 70
    assert sum("invoice_lines.invoice_id IN" in one.text for one in statements) == 1
    async with world.db.read() as session:
        invoice = (await session.scalars(select(InvoiceRow))).one()
        lines = (await session.scalars(select(InvoiceLineRow))).all()
    assert len(lines) == len(await world.stored(running.id))
    assert invoice.period_start == at("1-15")
    assert invoice.period_end == max(line.period_end for line in lines)
    await world.cancel(running.id)
    with recorded(world.db) as statements:
        await world.synced(running.id)
    assert sum("invoice_lines.invoice_id IN" in one.text for one in statements) == 1


async def test_a_failing_sync_is_recorded_and_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    view = await world.subscribe(FEE)

    async def broken(*_: object) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(world.charges, "of_subscription", broken)
    waits = []
    for _ in range(8):
        await world.sync.sync_quietly(world.db, NS, view.id)
        state = await world.state(view.id)
        assert state.due_at is not None
        waits.append(int((state.due_at - clock.now()).total_seconds() / 60))
        assert await world.next_due() == state.due_at
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert (state.last_error, state.synced_at, state.attempts) == ("RuntimeError: no such luck", None, 8)
    monkeypatch.undo()
    world.time.at = state.due_at
    assert await world.run_due() == 1
    assert await world.names(view.id) == ["fee[0]", "fee[1]"]


async def test_what_is_due(world: World, running: SubscriptionView) -> None:
    """State by state: due, not yet due, never tried, changed, without billable items, ended, deleted long ago."""

    async def due_with(**values: object) -> bool:
        async with world.db.write() as session:
            await session.execute(update(type(await world.state(running.id))).values(**values))
        found = await world.next_due()
        return found is not None and found <= clock.now()

    world.time.at = at("1-20T10:00")
    assert await due_with(due_at=at("1-20T09:59"))
    assert not await due_with(due_at=at("1-20T10:01"))
    assert not await due_with(due_at=None, has_billables=False)
    async with world.db.write() as session:
        await session.execute(update(SubscriptionRow).values(updated_at=at("1-20T08:30")))
    assert await due_with(due_at=at("1-20T10:01"))
    async with world.db.write() as session:
        await session.execute(update(SubscriptionRow).values(deleted_at=at("1-01"), updated_at=at("1-20T08:30")))
    assert not await due_with(subscription_version=at("1-20T08:30"), due_at=None, has_billables=False)


async def test_a_subscription_that_nobody_synced_is_found(world: World) -> None:
    view = await world.subscribe(FEE)
    assert await world.next_due() == at("1-15")
    assert await world.run_due() == 1
    assert await world.names(view.id) == ["fee[0]", "fee[1]"]
    assert await world.run_due() == 0


async def test_the_job_syncs(world: World) -> None:
    view = await world.subscribe(FEE)
    (handler,) = handlers(world.db, world.sync)
    assert handler.name == SYNC == due_work(world.db, world.sync)[0].name
    await handler.run({"namespace": NS, "subscription_id": view.id})
    await handler.run({"namespace": NS, "subscription_id": "unknown"})
    assert await world.names(view.id) == ["fee[0]", "fee[1]"]


async def test_syncs_that_meet_make_each_charge_once(world: World) -> None:
    view = await world.subscribe(FEE, TOKENS)
    await asyncio.gather(*(world.sync.sync_quietly(world.db, NS, view.id) for _ in range(4)))
    assert await world.names(view.id) == ["fee[0]", "fee[1]", "tokens[0]"]
    assert (await world.state(view.id)).last_error is None


async def test_an_unknown_subscription(world: World) -> None:
    with pytest.raises(NotFound):
        await world.synced("unknown")


async def test_a_changed_rate_card_under_the_same_identity(world: World) -> None:
    view = await world.subscribe(FEE)
    await world.synced(view.id)
    async with world.db.write() as session:
        dearer = card("fee", flat("70"), name="New name").model_dump(mode="json")
        await session.execute(update(SubscriptionItemRow).values(rate_card=dearer))
    assert [type(patch).__name__ for patch in (await world.synced(view.id)).patches] == ["Replace", "Replace"]
    for state in await world.stored(view.id):
        assert (state.intent.name, state.intent.price) == ("New name", flat("70.00"))
    assert (await world.synced(view.id)).patches == ()


async def test_custom_currencies_are_skipped(world: World) -> None:
    view = await world.subscribe(FEE)
    async with world.db.write() as session:
        odd = card("fee", flat("70"), currency="GEMS").model_dump(mode="json")
        await session.execute(update(SubscriptionItemRow).values(rate_card=odd))
    with pytest.raises(CustomCurrency):
        await world.synced(view.id)
    await world.sync.sync_quietly(world.db, NS, view.id)
    state = await world.state(view.id)
    assert (state.has_billables, state.last_error, state.due_at) == (False, None, None)
    assert await world.next_due() is None


async def test_an_issued_invoice_does_not_stop_the_sync(world: World, running: SubscriptionView) -> None:
    async with world.db.write() as session:
        (invoice,) = await world.invoices.invoice_pending_lines(session, NS, world.customer_id, progressive=False)
    assert [line.origin.name for line in invoice.lines or ()] == ["Fee"]
    assert (await world.synced(running.id)).patches == ()
    world.time.at = at("2-01T12:00")
    await world.cancel(running.id)
    result = await world.synced(running.id)
    assert result.failures == ()
    assert await world.names(running.id) == ["fee[0]", "seat[0]", "tokens[0]"]


async def test_at_the_period_end_everything_is_billed(world: World) -> None:
    view = await world.subscribe(FEE, TOKENS, SEAT, card("calls", None))
    await world.synced(view.id)
    world.time.at = at("2-15") + timedelta(minutes=10)
    assert await world.run_due() == 1
    async with world.db.write() as session:
        (invoice,) = await world.invoices.invoice_pending_lines(session, NS, world.customer_id, progressive=False)
    assert sorted(line.origin.name for line in invoice.lines or ()) == ["Fee", "Fee", "Tokens"]
    assert unit("0.02") == TOKENS.price
