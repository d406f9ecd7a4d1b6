"""What edits of a subscription make of its charges (subscription-sync sections 4 and 10, subscriptions section 7)."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import select

from meterhouse.billing.charges.views import Charge
from meterhouse.billing.invoices.models import GATHERING, InvoiceLineRow
from meterhouse.billing.sync.diff import Move, Redate, Relink
from meterhouse.billing.sync.service import SyncResult
from meterhouse.catalog.ratecards import RateCard
from meterhouse.kernel.periods import Period
from meterhouse.subscriptions import service as subscriptions
from meterhouse.subscriptions.patches import AddItem, Patch, RemoveItem, UnscheduleEdit
from meterhouse.subscriptions.spec import ItemSpec
from meterhouse.subscriptions.timing import NamedTiming, Timing
from tests.sync.builders import FEE, TOKENS, at, by_name, card, flat, span, unit
from tests.sync.conftest import NS, World

NOW, NEXT = NamedTiming.IMMEDIATE, NamedTiming.NEXT_BILLING_CYCLE
DEARER = card("fee", flat("93.00"))


def add(rate_card: RateCard) -> AddItem:
    return AddItem("main", ItemSpec(rate_card.key, rate_card))


async def edited(world: World, subscription_id: str, *wishes: Patch, timing: Timing = NOW) -> SyncResult:
    """Edit and sync; a second sync must find nothing to do."""
    async with world.db.write() as session:
        await subscriptions.edit(session, NS, subscription_id, wishes, timing)
    result = await world.synced(subscription_id)
    assert result.failures == ()
    assert (await world.synced(subscription_id)).patches == ()
    return result


async def charges(world: World, subscription_id: str) -> dict[str, Charge]:
    states = await world.stored(subscription_id)
    async with world.db.read() as session:
        found = {state.unique_reference_id: await world.charges.get(session, NS, state.id) for state in states}
    return {name: found[intent.unique_reference_id] for name, intent in by_name([s.intent for s in states]).items()}


async def pending(world: World) -> list[tuple[Period, datetime | None]]:
    """Return which days gathering lines cover and when they are due."""
    async with world.db.read() as session:
        query = select(InvoiceLineRow).where(
            InvoiceLineRow.invoice_kind == GATHERING, InvoiceLineRow.deleted_at.is_(None)
        )
        lines = await session.scalars(query.order_by(InvoiceLineRow.period_start))
        return [(Period(line.period_start, line.period_end), line.invoice_at) for line in lines]


async def amounts(world: World, subscription_id: str) -> dict[str, str]:
    return {name: str(one.amount_after_proration) for name, one in (await charges(world, subscription_id)).items()}


async def test_a_price_by_usage_changes_in_the_middle_of_a_period(world: World) -> None:
    view = await world.subscribe(TOKENS)
    await world.synced(view.id)
    world.time.at = at("2-01")
    await edited(world, view.id, add(card("tokens", unit("0.03"))))
    found = await charges(world, view.id)
    assert {name: one.intent.service_period for name, one in found.items()} == {
        "tokens[0]": span("1-15", "2-01"),
        "tokens/v1[0]": span("2-01", "2-15"),
    }
    assert {one.intent.invoice_at for one in found.values()} == {at("2-15")}
    assert {one.intent.full_service_period for one in found.values()} == {span("1-15", "2-15")}


async def test_a_fee_is_prorated_on_both_sides_of_an_edit(world: World) -> None:
    view = await world.subscribe(FEE, TOKENS)
    await world.synced(view.id)
    world.time.at = at("2-01")
    await edited(world, view.id, add(DEARER))
    # 17 of 31 days of 62, then 14 of 31 days of 93, then the whole.
    assert await amounts(world, view.id) == {
        "fee[0]": "34.00",
        "fee/v1[0]": "42.00",
        "fee/v1[1]": "93.00",
        "tokens[0]": "None",
    }


async def test_the_rest_of_usage_that_ended_before_is_billed_with_a_cancellation(world: World) -> None:
    view = await world.subscribe(TOKENS)
    await world.synced(view.id)
    world.usage.total = Decimal(100)
    world.time.at = at("1-25")
    async with world.db.write() as session:
        (invoice,) = await world.invoices.invoice_pending_lines(session, NS, world.customer_id, progressive=True)
    assert [line.period for line in invoice.lines or ()] == [span("1-15", "1-25")]
    world.time.at = at("2-01")
    await edited(world, view.id, add(card("tokens", unit("0.03"))))
    assert await pending(world) == [(span("1-25", "2-01"), at("2-15")), (span("2-01", "2-15"), at("2-15"))]
    world.time.at = at("2-05")
    await world.cancel(view.id)
    result = await world.synced(view.id)
    assert [type(patch) for patch in result.patches] == [Redate, Move]
    assert await pending(world) == [(span("1-25", "2-01"), at("2-05")), (span("2-01", "2-05"), at("2-05"))]
    assert (await world.synced(view.id)).patches == ()


async def test_a_fee_begins_and_ends_in_the_middle_of_a_period(world: World) -> None:
    view = await world.subscribe(TOKENS)
    await world.synced(view.id)
    world.time.at = at("2-01")
    await edited(world, view.id, add(FEE))
    assert await amounts(world, view.id) == {"fee[0]": "28.00", "fee[1]": "62.00", "tokens[0]": "None"}
    world.time.at = at("2-08")
    await edited(world, view.id, RemoveItem("main", "fee"))
    assert await amounts(world, view.id) == {"fee[0]": "14.00", "tokens[0]": "None"}


async def test_an_edit_at_the_next_cycle_can_be_taken_back(world: World) -> None:
    view = await world.subscribe(FEE, TOKENS)
    await world.synced(view.id)
    before = {name: (one.id, one.intent.service_period) for name, one in (await charges(world, view.id)).items()}
    world.time.at = at("1-20")
    await edited(world, view.id, add(DEARER), RemoveItem("main", "tokens"), timing=NEXT)
    assert await amounts(world, view.id) == {"fee[0]": "62.00", "fee/v1[0]": "93.00", "tokens[0]": "None"}
    await edited(world, view.id, UnscheduleEdit())
    after = {name: (one.id, one.intent.service_period) for name, one in (await charges(world, view.id)).items()}
    assert after.keys() == before.keys()
    # What ran all the time is the same charge; the next fee was given up and made again.
    assert [name for name in after if after[name] != before[name]] == ["fee[1]"]
    assert after["fee[1]"][1] == before["fee[1]"][1]


async def test_what_was_invoiced_stays_and_names_the_rows_there_are(world: World) -> None:
    view = await world.subscribe(FEE)
    await world.synced(view.id)
    async with world.db.write() as session:
        (invoice,) = await world.invoices.invoice_pending_lines(session, NS, world.customer_id, progressive=False)
    assert invoice.totals.total == Decimal(62)
    world.time.at = at("2-01")
    result = await edited(world, view.id, add(DEARER), timing=NEXT)
    assert [type(patch) for patch in result.patches if patch.reference.endswith("v[0]/period[0]")] == [Relink]
    async with world.db.read() as session:
        items = (await subscriptions.load(session, NS, view.id)).phases[0].items
    found = await charges(world, view.id)
    sources = {name: one.intent.subscription.item_id for name, one in found.items() if one.intent.subscription}
    assert sources == {"fee[0]": items[0].id, "fee/v1[0]": items[1].id}


async def test_what_was_invoiced_stays_where_the_plan_is_changed_and_changed_back_at_once(world: World) -> None:
    first = await world.subscribe(FEE)
    await world.synced(first.id)
    async with world.db.write() as session:
        await world.invoices.invoice_pending_lines(session, NS, world.customer_id, progressive=False)
    world.time.at = at("2-01")
    second = await world.change(first.id, DEARER)
    third = await world.change(second.id, FEE)
    # What stands between the first and the third lasts no time.
    for one in (first, second, third):
        assert (await world.synced(one.id)).failures == ()
    found = await charges(world, first.id)
    assert {name: one.intent.service_period for name, one in found.items()} == {"fee[0]": span("1-15", "2-15")}
    assert await amounts(world, second.id) == {}
    assert await amounts(world, third.id) == {"fee[0]": "0.00", "fee[1]": "62.00"}


async def test_edits_within_a_second_owe_one_fee(world: World) -> None:
    world.time.at = at("1-15T00:00:00.3")
    view = await world.subscribe(FEE)
    world.time.at = at("1-15T00:00:00.6")
    await edited(world, view.id, add(DEARER))
    await edited(world, view.id, add(card("fee", flat("31.00"))))
    assert (await amounts(world, view.id))["fee/v2[0]"] == "31.00"
    assert set(await charges(world, view.id)) == {"fee/v2[0]", "fee/v2[1]"}
