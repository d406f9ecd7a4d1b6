"""Invoices over real charges, runs and credits (subscription-sync section 9.7, charges section 7)."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from meterhouse.apps.registry import InstalledApps
from meterhouse.apps.sandbox import SandboxApp
from meterhouse.billing.collection import Collection
from meterhouse.billing.errors import BillingError
from meterhouse.billing.invoices import repository
from meterhouse.billing.invoices.filters import InvoiceFilter
from meterhouse.billing.invoices.service import Invoices
from meterhouse.billing.invoices.states import State
from meterhouse.billing.invoices.views import InvoiceView
from meterhouse.credits import balances, grants
from meterhouse.credits.grants import FundingMethod, NewGrant
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.kernel.pages import PageRequest
from tests.charges.world import MARCH, NS, World, at, between, flat, unit


class Billing(World):
    """Real charges with real invoices."""

    def __init__(self, db: Database, time: clock.FrozenClock) -> None:
        super().__init__(db, time, credits_enabled=True)
        self.invoices = Invoices(self.charges, self.profiles, InstalledApps(), {"sandbox": SandboxApp()})
        self.charges.connect(self.invoices)
        self.works = Collection(db, self.invoices).due_work()

    async def bill_now(self, **arguments: Any) -> list[InvoiceView]:
        async with self.db.write() as session:
            return await self.invoices.invoice_pending_lines(session, NS, self.customer_id, **arguments)

    async def run_works(self, when: str) -> None:
        self.time.at = at(when)
        for work in self.works:
            await work.run_due()
            following = await work.next_due()
            assert following is None or following > self.time.at

    async def standard(self) -> list[InvoiceView]:
        async with self.db.read() as session:
            page = await self.invoices.list_invoices(
                session, NS, PageRequest(), InvoiceFilter(include_gathering=False), with_lines=True
            )
            return list(page.items)

    async def settled(self) -> Decimal:
        async with self.db.read() as session:
            (balance,) = await balances.balances(session, NS, self.customer_id, currencies=["USD"])
        return balance.settled

    async def grant(self, amount: str) -> None:
        new = NewGrant(self.customer_id, "Gift", FundingMethod.NONE, "USD", Decimal(amount), effective_at=clock.now())
        async with self.db.write() as session:
            await grants.create(session, NS, new)


@pytest.fixture
async def billing(db: Database) -> AsyncIterator[Billing]:
    with clock.frozen(at("2-28")) as time:
        made = Billing(db, time)
        await made.furnish()
        yield made


async def test_from_usage_to_credit_and_the_rest_to_pay(billing: Billing) -> None:
    charge = await billing.create(billing.intent(unit("0.02")))
    await billing.grant("100")
    billing.events.add("3-2", 1250)
    billing.time.at = at("3-5 12:00:00")
    [part] = await billing.bill_now()
    [line] = part.lines or ()
    assert (line.period, line.quantity) == (between("3-1", "3-5 12:00:00"), 1250)
    assert (part.totals.amount, part.totals.credits_total, part.totals.total) == (25, 25, 0)
    assert await billing.settled() == 75

    billing.time.at = at("3-5 12:00:01")
    with pytest.raises(BillingError) as raised:
        await billing.bill_now()
    assert raised.value.code == "active_realization_run_already_exists"
    assert raised.value.extensions["reason"] == "draft_invoice_open"

    await billing.run_works("3-5 12:01:10")
    assert [invoice.state for invoice in await billing.standard()] == [State.PAID]

    billing.events.add("3-20", 4000)
    await billing.run_works("4-1")
    last = (await billing.standard())[1]
    [line] = last.lines or ()
    assert last.state is State.DRAFT_WAITING_FOR_COLLECTION
    assert last.collection_at == at("4-1 1:01:00")
    assert (line.quantity, line.metered_pre_line_quantity) == (4000, 1250)
    assert (last.totals.amount, last.totals.credits_total, last.totals.total) == (80, 75, 5)
    assert await billing.settled() == 0

    await billing.run_works("4-1 1:01:10")
    paid = (await billing.standard())[1]
    assert (paid.state, paid.totals.total) == (State.PAID, 5)
    assert (await billing.row(charge.id)).status == "final"
    async with billing.db.read() as session:
        assert await repository.gathering_line(session, NS, charge.id) is None


async def test_a_fee_in_advance_is_collected_after_it_settled(billing: Billing) -> None:
    billing.time.at = at("3-1")
    charge = await billing.create(billing.intent(flat("30")))
    await billing.run_works("3-1 0:00:04")
    assert await billing.standard() == []
    await billing.run_works("3-1 0:00:05")
    [invoice] = await billing.standard()
    assert (invoice.state, invoice.totals.total) == (State.PAID, 30)
    assert (await billing.row(charge.id)).status == "final"


async def test_usage_that_arrives_late_is_counted_before_the_invoice_is_issued(billing: Billing) -> None:
    await billing.create(billing.intent(unit("0.02")))
    billing.events.add("3-2", 1000)
    await billing.run_works("4-1")
    [invoice] = await billing.standard()
    assert invoice.totals.total == 20
    billing.events.add("3-31 23:59:00", 500, stored="4-1 0:30:00")
    await billing.run_works("4-1 1:01:10")
    [invoice] = await billing.standard()
    assert (invoice.state, invoice.totals.total) == (State.PAID, 30)


async def test_deleting_a_draft_gives_the_credits_back(billing: Billing) -> None:
    charge = await billing.create(billing.intent(unit("0.02")))
    await billing.grant("100")
    billing.events.add("3-2", 1250)
    billing.time.at = at("4-1")
    [invoice] = await billing.bill_now()
    assert await billing.settled() == 75
    async with billing.db.write() as session:
        await billing.invoices.delete(session, NS, invoice.id)
    assert await billing.settled() == 100
    assert (await billing.row(charge.id)).status == "deleted"
    async with billing.db.read() as session:
        deleted = await billing.invoices.get(session, NS, invoice.id)
    assert (deleted.state, deleted.totals.credits_total) == (State.DELETED, 25)


async def test_a_shrunk_charge_takes_its_line_off_the_draft(billing: Billing) -> None:
    charge = await billing.create(billing.intent(unit("0.02")))
    billing.events.add("3-2", 1250)
    billing.time.at = at("4-1")
    [invoice] = await billing.bill_now()
    await billing.change_end(charge.id, "3-16")
    async with billing.db.read() as session:
        draft = await billing.invoices.get(session, NS, invoice.id)
        rest = await repository.gathering_line(session, NS, charge.id)
    assert (draft.lines, draft.totals.total) == ([], 0)
    assert rest is not None
    assert (rest.period_start, rest.period_end) == (MARCH.start, at("3-16"))


async def test_the_line_of_a_fee_follows_its_days_on_the_draft(billing: Billing) -> None:
    charge = await billing.create(billing.intent(flat("31")))
    usage = await billing.create(billing.intent(unit("0.02")))
    billing.events.add("3-1 12:00:00", 1000)
    billing.time.at = at("3-2")
    [invoice] = await billing.bill_now()
    for end in ("3-3", "3-16", "4-1"):
        await billing.change_end(charge.id, end)
        async with billing.db.read() as session:
            draft = await billing.invoices.get(session, NS, invoice.id)
        lines = {line.origin.charge_id: line for line in draft.lines or ()}
        fee, part = lines[charge.id], lines[usage.id]
        assert (fee.period, fee.totals.total) == (between("3-1", end), 31)
        assert [detail.period for detail in fee.details] == [between("3-1", end)]
        assert (part.period, part.totals.total) == (between("3-1", "3-2"), 20)
        assert (draft.period, draft.totals.total) == (between("3-1", end), 51)
