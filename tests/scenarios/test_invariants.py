"""Whatever happens in whatever order: the books balance, and every unit used is paid exactly once."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.scenarios.conftest import NewWorld
from tests.scenarios.world import UNIT_PRICE, World, totals

# Half tokens, so that every slice of usage costs whole cents and sums can be compared without rounding.
_tokens = st.integers(1, 4_000).map(lambda n: Decimal(n) / 2)
_money = st.integers(1, 20_000).map(lambda n: Decimal(n) / 100)
_pause = st.sampled_from([1, 61, 3_600, 86_400, 10 * 86_400, 31 * 86_400])
_work = st.sampled_from(["billing.sync_subscription", "charges.advance", "billing.collect", "billing.advance"])

_step = st.one_of(
    st.tuples(st.just("use"), _tokens),
    st.tuples(st.just("resend"), st.none()),
    st.tuples(st.just("grant"), _money),
    st.tuples(st.just("wait"), _pause),
    st.tuples(st.just("run"), _work),
    st.tuples(st.just("jobs"), st.none()),
    st.tuples(st.just("invoice"), st.booleans()),
    st.tuples(st.just("settle"), st.none()),
    st.tuples(st.just("cancel"), st.none()),
)


@dataclass
class Story:
    """One customer's life, and what an independent count says it must have cost."""

    world: World
    customer: str
    subscription: str
    granted: Decimal = Decimal(0)
    used: Decimal = Decimal(0)
    canceled: bool = False
    sent: list[tuple[Decimal, str]] = field(default_factory=list)

    async def do(self, step: str, argument: object) -> None:
        """Take one step."""
        match step, argument:
            case "use", Decimal() as tokens:
                self.sent.append((tokens, await self.world.ingest(tokens)))
                self.used += 0 if self.canceled else tokens
                # Periods are half-open: what happens in the second of a cancellation is after it.
                self.world.pass_time(timedelta(seconds=1))
            case "resend", _ if self.sent:
                tokens, event_id = self.sent[-1]
                await self.world.ingest(tokens, event_id=event_id)
            case "grant", Decimal() as amount:
                await self.world.grant(self.customer, amount)
                self.granted += amount
            case "wait", int() as seconds:
                self.world.pass_time(timedelta(seconds=seconds))
            case "run", str() as work:
                await self.world.run(work)
            case "jobs", _:
                await self.world.app.worker.drain()
            case "invoice", bool() as progressive:
                await self.world.invoice(self.customer, progressive=progressive)
            case "settle", _:
                await self.world.settle()
            case "cancel", _ if not self.canceled:
                path = f"/api/v1/subscriptions/{self.subscription}/cancel"
                await self.world.call("POST", path, {"timing": "immediate"})
                self.canceled = True

    async def check(self) -> None:
        """Check what must hold after every step."""
        assert set((await self.world.ledger_sums()).values()) <= {Decimal(0)}
        for invoice in await self.world.invoices(self.customer):
            total = {name: Decimal(value) for name, value in invoice["totals"].items()}
            assert (
                total["total"]
                == total["amount"] + total["chargesTotal"] - total["creditsTotal"] - (total["discountsTotal"])
            )
            assert total["total"] >= 0

    async def credits_taken(self) -> Decimal:
        """Return the credits that the customer's charges consumed."""
        charges = await self.world.charges(self.customer)
        return sum((Decimal(one["totals"]["booked"]["credits_total"]) for one in charges), Decimal(0))


async def live(home: World, mode: str, steps: list[tuple[str, object]]) -> None:
    """Take the steps, wait until everything is over, and check the books."""
    await home.catalog(settlement_mode=mode)
    customer = await home.customer()
    story = Story(home, customer, await home.subscribe(customer))
    for step, argument in steps:
        await story.do(step, argument)
        await story.check()
    # Go past the end of every period in which something was used; then all must be paid.
    for _ in range(3):
        home.pass_time(timedelta(days=31))
        await home.settle()
        home.pass_time(timedelta(hours=3))
        await home.settle()
    await story.check()
    taken = await story.credits_taken()
    invoices = await home.invoices(customer)
    assert {one["status"] for one in invoices} <= {"paid"}
    assert (await home.balance(customer))["settled"] == story.granted - taken
    assert taken + totals(invoices, "total") == story.used * UNIT_PRICE
    before = await home.everything(customer)
    await home.run()
    await home.settle()
    assert await home.everything(customer) == before


@pytest.mark.parametrize("mode", ["credit_then_invoice", "credit_only"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_step, min_size=3, max_size=14))
async def test_any_order_of_work_keeps_the_books(
    mode: str, steps: list[tuple[str, object]], new_world: NewWorld
) -> None:
    async with new_world() as home:
        await live(home, mode, steps)


async def test_fifty_things_at_once_end_in_the_exact_balance(new_world: NewWorld) -> None:
    async with new_world() as home:
        await home.catalog()
        customer = await home.customer()
        await home.subscribe(customer)
        home.pass_time(timedelta(days=5))
        await home.ingest(Decimal(1000))
        home.pass_time(timedelta(seconds=1))
        grants = [home.grant(customer, Decimal("7.50")) for _ in range(20)]
        invoicings = [home.invoice(customer, progressive=True) for _ in range(15)]
        reads = [home.everything(customer) for _ in range(15)]
        results = await asyncio.gather(*grants, *invoicings, *reads)
        made = [answer for answer in results[20:35] if answer.status_code == 201]
        assert len(made) == 1
        (invoice,) = await home.invoices(customer)
        taken = Decimal(invoice["totals"]["creditsTotal"])
        assert Decimal(invoice["totals"]["amount"]) == 20
        assert taken + Decimal(invoice["totals"]["total"]) == 20
        assert (await home.balance(customer))["settled"] == 150 - taken
        assert await home.ledger_sums() == {"USD": 0}
