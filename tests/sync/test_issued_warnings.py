"""What an issued invoice says of lines that bill days which nobody has any more, and for how long."""

from meterhouse.billing.invoices.views import InvoiceView
from meterhouse.subscriptions import service as subscriptions
from meterhouse.subscriptions.timing import NamedTiming
from tests.sync.builders import at, card, flat
from tests.sync.conftest import NS, World

SUPPORT = card("support", flat("120.00"), "P1Y")
CODE = "immutable_invoice_handling_not_supported"


async def issued(world: World) -> InvoiceView:
    """Invoice what there is; nothing waits for usage, so it is paid at once."""
    async with world.db.write() as session:
        (invoice,) = await world.invoices.invoice_pending_lines(session, NS, world.customer_id, progressive=False)
    return invoice


async def said(world: World, invoice: InvoiceView) -> list[tuple[str | None, str | None, str]]:
    async with world.db.read() as session:
        found = await world.invoices.get(session, NS, invoice.id)
    return [(issue.code, issue.path, issue.message) for issue in found.issues]


async def test_a_paid_year_that_ends_early_says_so_until_the_cancellation_is_taken_back(world: World) -> None:
    view = await world.subscribe(SUPPORT)
    await world.synced(view.id)
    invoice = await issued(world)
    assert (invoice.state, invoice.totals.total) == ("paid", 120)
    (line,) = invoice.lines or ()
    world.time.at = at("2-01")
    async with world.db.write() as session:
        await subscriptions.cancel(session, NS, view.id, NamedTiming.NEXT_BILLING_CYCLE)
    await world.synced(view.id)
    message = (
        "Support bills until 2026-01-15T00:00:00Z, but nobody has it after 2025-02-15T00:00:00Z; "
        f"there are no credit notes, so settle it by hand (line {line.id})"
    )
    assert await said(world, invoice) == [(CODE, f"lines/{line.id}", message)]
    world.time.at = at("2-02")
    async with world.db.write() as session:
        await subscriptions.unschedule_cancelation(session, NS, view.id)
    await world.synced(view.id)
    assert await said(world, invoice) == []
