"""An app that answers after the transaction that asked it (README, "Apps")."""

from collections.abc import Callable, Sequence

import pytest

from meterhouse.apps.registry import InstalledApps
from meterhouse.billing.errors import BillingError
from meterhouse.billing.invoices.app_port import PaymentReport, Synced
from meterhouse.billing.invoices.service import Invoices
from meterhouse.billing.invoices.states import State, Trigger
from meterhouse.billing.invoices.views import InvoiceView
from meterhouse.customers import service as customers
from meterhouse.customers.service import Customer, NewCustomer
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database, WriteSession
from meterhouse.kernel.errors import Issue
from tests.invoices.conftest import NS, World, at


class SlowApp:
    """Writes down what it should do, and holds the invoice until it was told that it is done."""

    def __init__(self) -> None:
        self.intents: list[str] = []
        self.open: set[State] = set()

    async def validate(self, session: WriteSession, invoice: InvoiceView) -> Sequence[Issue]:
        return ()

    async def upsert(self, session: WriteSession, invoice: InvoiceView) -> Synced:
        self.intents.append(f"upsert in {invoice.state}")
        if invoice.state is State.DRAFT_SYNCING:
            self.open.add(State.DRAFT_SYNCING)
        return Synced()

    async def finalize(self, session: WriteSession, invoice: InvoiceView) -> Synced:
        self.intents.append("finalize")
        self.open.add(State.ISSUING_SYNCING)
        return Synced()

    async def delete(self, session: WriteSession, invoice: InvoiceView) -> None:
        self.intents.append("delete")

    async def holds(self, session: WriteSession, invoice: InvoiceView) -> frozenset[State]:
        return frozenset(self.open)

    async def after_advance(self, session: WriteSession, invoice: InvoiceView) -> PaymentReport | None:
        return None


@pytest.fixture
def app() -> SlowApp:
    return SlowApp()


@pytest.fixture
async def world(db: Database, build_world: Callable[[Customer], World], app: SlowApp) -> World:
    async with db.write() as session:
        customer = await customers.create(session, NS, NewCustomer(name="Acme Rockets", key="acme"))
    world = build_world(customer)
    world.invoices = Invoices(world.engine, world.profiles, InstalledApps(), {"sandbox": app})
    return world


async def bill(world: World) -> InvoiceView:
    async with world.db.write() as session:
        [invoice] = await world.invoices.invoice_pending_lines(session, NS, world.customer.id)
        return invoice


async def answer(world: World, invoice: InvoiceView, synced: Synced, issue: Issue | None = None) -> InvoiceView:
    async with world.db.write() as session:
        return await world.invoices.app_answered(session, NS, invoice.id, synced, issue)


async def test_the_invoice_rests_until_the_app_has_answered(world: World, app: SlowApp) -> None:
    with clock.frozen(at("02-15T00:00")):
        line_id = await world.flat("f1", "5", at("02-15T00:00"))
        invoice = await bill(world)
        assert invoice.state is State.DRAFT_SYNCING
        assert invoice.flags.actions == {"delete": State.DELETED}
        with pytest.raises(BillingError) as raised:
            async with world.db.write() as session:
                await world.invoices.advance(session, NS, invoice.id)
        assert raised.value.code == "invoice_cannot_advance"

        app.open.clear()
        told = Synced(external_ids={"invoicing": "in_1"}, line_external_ids={line_id: "ii_1"})
        issuing = await answer(world, invoice, told)
        assert issuing.state is State.ISSUING_SYNCING
        assert app.intents == ["upsert in draft.syncing", "upsert in issuing.syncing", "finalize"]
        assert (issuing.lines or ())[0].external_ids == {"invoicing": "ii_1"}

        app.open.clear()
        pending = await answer(world, invoice, Synced(number="EXT-7", external_ids={"payment": "pi_1"}))
        assert (pending.state, pending.number) == (State.PAYMENT_PENDING, "EXT-7")
        assert pending.external_ids == {"invoicing": "in_1", "payment": "pi_1"}
        async with world.db.write() as session:
            paid = await world.invoices.payment(session, NS, invoice.id, Trigger.PAYMENT_PAID)
    assert paid.state is State.PAID


async def test_a_failure_reported_later_fails_the_waiting_step(world: World, app: SlowApp) -> None:
    component = "app.sandbox.invoiceCustomers.upsert"
    with clock.frozen(at("02-15T00:00")):
        await world.flat("f1", "5", at("02-15T00:00"))
        invoice = await bill(world)
        app.open.clear()
        failed = await answer(world, invoice, Synced(), Issue("no_address", "address missing", component=component))
        assert failed.state is State.DRAFT_SYNC_FAILED
        assert failed.flags.failed
        async with world.db.write() as session:
            again = await world.invoices.retry(session, NS, invoice.id)
    assert again.state is State.DRAFT_SYNCING
    assert again.issues == []
