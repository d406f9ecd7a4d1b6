"""Charges under random usage, invoicing, extension and shrinking keep their invariants."""

import random
from datetime import timedelta

import pytest

from meterhouse.billing.charges.opened import OpenCharge, counts
from meterhouse.billing.charges.valuation import rate_cumulative
from meterhouse.catalog.prices import Price
from meterhouse.credits import collector
from meterhouse.kernel.errors import DomainError
from meterhouse.kernel.money import total
from tests.charges.test_by_invoice import GRADUATED
from tests.charges.test_credits import grant
from tests.charges.world import MARCH, NS, Line, World, unit

PRICES: list[Price] = [unit("0.25"), unit("0.25", minimum_amount="40", maximum_amount="90"), GRADUATED]
STEPS = 14
HOUR = timedelta(hours=1)


class Life:
    """One charge and what happens to it."""

    def __init__(self, world: World, charge_id: str, chance: random.Random) -> None:
        self.world, self.id, self.chance = world, charge_id, chance
        self.draft: Line | None = None
        self.unpaid: list[Line] = []

    async def use(self) -> None:
        self.world.events.add(self.world.time.at, 4 * self.chance.randint(1, 100))

    async def invoice(self) -> None:
        pending = self.world.book.pending(self.id)
        now = self.world.time.at
        if self.draft is not None or pending is None or now <= pending.period.start:
            return
        cut = min(now, pending.period.end)
        self.draft = await self.world.invoice(self.id, f"{cut:%m-%d %H:%M:%S}")

    async def finish(self) -> None:
        if self.draft is None:
            return
        line, self.draft = self.draft, None
        if not line.deleted:
            await self.world.collect(line)
            await self.world.issue(line)
            self.unpaid.append(line)

    async def pay(self) -> None:
        while self.unpaid:
            await self.world.pay(self.unpaid.pop())

    async def move_end(self) -> None:
        end = MARCH.start + self.chance.randint(10, 60) * 24 * HOUR
        row = await self.world.row(self.id)
        if end != row.service_end:
            await self.world.change_end(self.id, f"{end:%m-%d %H:%M:%S}")
        if self.draft is not None and self.draft.deleted:
            self.draft = None

    async def advance(self) -> None:
        await self.world.advance(self.id)

    async def check(self) -> None:
        world = self.world
        row, runs = await world.row(self.id), [run for run in await world.runs(self.id) if counts(run)]
        ends = [row.service_start, *(run.service_period_to for run in runs)]
        assert [run.service_period_from for run in runs] == ends[:-1], "days are billed twice, or left out"
        pending, rest = world.book.pending(self.id), OpenCharge(row, runs).uncovered()
        assert (pending.period if pending else None) == rest
        async with world.db.read() as session:
            held = await collector.allocations(session, NS, [run.id for run in runs])
        for run in runs:
            assert total(one.remaining for one in held[run.id]) == run.credits_total
            assert run.total >= 0
        due = await world.next_due()
        if due is not None and due <= world.time.at:
            await world.advance(self.id)
            due = await world.next_due()
            assert due is None or due > world.time.at


@pytest.mark.parametrize("seed", range(12))
async def test_random_lives(credit_world: World, seed: int) -> None:
    chance, world = random.Random(seed), credit_world
    price = chance.choice(PRICES)
    charge = await world.create(world.intent(price))
    await grant(world, str(chance.randint(1, 60)))
    life = Life(world, charge.id, chance)
    world.time.at = MARCH.start
    for _ in range(STEPS):
        world.time.at += timedelta(hours=chance.randint(1, 120))
        step = chance.choice([life.use, life.use, life.invoice, life.finish, life.pay, life.move_end, life.advance])
        try:
            await step()
        except DomainError as error:
            # A price that fell back below what was billed cannot be corrected without credit notes.
            assert getattr(error, "code", None) == "charge_total_is_negative"  # noqa: PT017
        await life.check()
    world.time.at += timedelta(days=90)
    for _ in range(2):
        await life.finish()
        await life.invoice()
    await life.pay()
    await life.check()
    row = await world.row(charge.id)
    assert row.status == "final"
    runs = [run for run in await world.runs(charge.id) if counts(run)]
    if runs[-1].service_period_to == row.service_end and runs[-1].type == "final_realization":
        (listed,) = await world.listed()
        used = total(
            event.value for event in world.events.all if row.service_start <= event.time < runs[-1].service_period_to
        )
        rated = rate_cumulative(listed.intent, used, reaches_end=True)
        booked = listed.booked.total + listed.booked.credits_total
        assert booked == rated.totals.total
