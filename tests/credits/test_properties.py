"""What holds after any sequence of grants, consumption, corrections and fills."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from meterhouse.credits.allocations import Allocation, allocations
from meterhouse.credits.grants import Grant
from meterhouse.credits.models import CreditBreakageRecord
from meterhouse.credits.recognition import recognize
from meterhouse.credits.repository import signed_breakage
from meterhouse.kernel import clock
from meterhouse.kernel.clock import FrozenClock
from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import Conflict
from meterhouse.kernel.ids import new_id
from meterhouse.ledger import accounts
from meterhouse.ledger.accounts import AccountType
from meterhouse.ledger.models import LedgerEntry, LedgerSubAccount, LedgerTransaction
from tests.credits.conftest import CREDIT_ONLY, CREDIT_THEN_INVOICE, NS, START, Story, new_story

FEATURES = st.sampled_from([None, "a", "b"])
CENTS = st.integers(5, 2000).map(lambda cents: str(Decimal(cents) / 100))

GRANT = st.fixed_dictionaries(
    {
        "do": st.just("grant"),
        "amount": CENTS,
        "features": st.sampled_from([(), ("a",), ("b",), ("a", "b")]),
        "priority": st.integers(1, 2),
        "expires": st.sampled_from([None, "P1D", "P3D", "P30D"]),
        "starts": st.sampled_from([-2, 0, 0, 0, 2]),
        "cost_basis": st.sampled_from([None, None, "0.33", "1"]),
    }
)
COLLECT = st.fixed_dictionaries(
    {
        "do": st.just("collect"),
        "amount": CENTS,
        "feature": FEATURES,
        "run": st.integers(0, 3),
        "mode": st.sampled_from([CREDIT_ONLY, CREDIT_THEN_INVOICE]),
        "tax": st.sampled_from([None, "t1", "t2"]),
        "ago": st.integers(0, 2),
    }
)
CORRECT = st.fixed_dictionaries(
    {"do": st.just("correct"), "run": st.integers(0, 3), "share": st.integers(1, 100), "now": st.booleans()}
)
OTHER = st.fixed_dictionaries(
    {"do": st.sampled_from(["fill", "void", "recognize", "wait"]), "which": st.integers(0, 9)}
)
STEPS = st.lists(st.one_of(GRANT, COLLECT, CORRECT, OTHER), min_size=1, max_size=10)


@dataclass
class Walk:
    """Does random steps and keeps its own account of what must come out."""

    story: Story
    time: FrozenClock
    grants: list[Grant] = field(default_factory=list)
    runs: list[str] = field(default_factory=lambda: [new_id() for _ in range(4)])
    earned_before: Decimal = Decimal(0)

    async def step(self, step: dict[str, Any]) -> None:
        """Do one step an hour after the last."""
        self.time.at += timedelta(hours=1)
        await getattr(self, step["do"])(step)

    async def grant(self, step: dict[str, Any]) -> None:
        starts = None if step["starts"] == 0 else self.time.at + timedelta(days=step["starts"])
        self.grants.append(
            await self.story.grant(
                step["amount"],
                features=step["features"],
                priority=step["priority"],
                expires=step["expires"],
                effective_at=starts,
                cost_basis=step["cost_basis"],
            )
        )

    async def collect(self, step: dict[str, Any]) -> None:
        at = self.time.at - timedelta(days=step["ago"])
        run, key = self.runs[step["run"]], new_id()
        options = {"run": run, "mode": step["mode"], "at": at, "tax_code_id": step["tax"], "operation_key": key}
        taken = await self.story.collect(step["amount"], step["feature"], **options)
        amount = sum(one.amount for one in taken)
        assert amount == Decimal(step["amount"]) if step["mode"] is CREDIT_ONLY else amount <= Decimal(step["amount"])
        assert taken == [] or await self.story.collect(step["amount"], step["feature"], **options) == taken

    async def correct(self, step: dict[str, Any]) -> None:
        run = self.runs[step["run"]]
        held = sum(one.remaining for one in await self.held(run))
        amount = (held * step["share"] / 100).quantize(Decimal("0.01")) if held else Decimal(0)
        options = {"operation_key": new_id()} | ({"booked_at": self.time.at} if step["now"] else {})
        after = await self.story.correct(run, str(amount), **options)
        assert sum(one.remaining for one in after) == held - amount
        assert await self.story.correct(run, str(amount), **options) == after

    async def fill(self, _: dict[str, Any]) -> None:
        before = await self.story.settled()
        await self.story.fill()
        assert await self.story.settled() == before

    async def void(self, step: dict[str, Any]) -> None:
        if self.grants:
            grant = self.grants[step["which"] % len(self.grants)]
            try:
                await self.story.void(grant)
            except Conflict:
                return
            again = await self.story.void(grant)
            assert again.voided_at is not None

    async def recognize(self, step: dict[str, Any]) -> None:
        async with self.story.db.write() as session:
            await recognize(session, NS, self.story.customer_id, "USD", limit=Decimal(step["which"]))

    async def wait(self, step: dict[str, Any]) -> None:
        self.time.at += timedelta(days=step["which"])

    async def held(self, run: str) -> list[Allocation]:
        async with self.story.db.read() as session:
            return (await allocations(session, NS, [run]))[run]


async def check_ledger(db: Database) -> None:
    """Check every transaction, every plan, and that stored credit never ends below zero, at no sub-account."""
    async with db.read() as session:
        unbalanced = await session.execute(
            select(LedgerEntry.transaction_id)
            .join(LedgerSubAccount, LedgerSubAccount.id == LedgerEntry.sub_account_id)
            .group_by(LedgerEntry.transaction_id, LedgerSubAccount.currency)
            .having(func.sum(LedgerEntry.amount) != 0)
        )
        assert unbalanced.all() == []
        overdrawn = await session.execute(
            select(LedgerSubAccount.route_key, func.sum(LedgerEntry.amount))
            .join(LedgerEntry, LedgerEntry.sub_account_id == LedgerSubAccount.id)
            .where(LedgerSubAccount.credit_priority.is_not(None))
            .group_by(LedgerSubAccount.route_key, LedgerEntry.source_charge_id)
            .having(func.sum(LedgerEntry.amount) < 0)
        )
        assert overdrawn.all() == []
        open_amount = func.sum(signed_breakage())
        plans = await session.execute(
            select(open_amount).group_by(CreditBreakageRecord.source_charge_id).having(open_amount < 0)
        )
        assert plans.all() == []
        # What a breakage posting says and what its record says are the same money.
        booked = await session.execute(
            select(func.sum(LedgerEntry.amount))
            .join(LedgerTransaction, LedgerTransaction.id == LedgerEntry.transaction_id)
            .where(LedgerTransaction.template_code.like("%breakage%"), LedgerEntry.amount > 0)
        )
        recorded = await session.execute(select(func.sum(CreditBreakageRecord.amount)))
        assert booked.scalar_one() == recorded.scalar_one()


async def check_story(walk: Walk) -> None:
    """Check that the balance is what the rows say, and what the parts say."""
    walk.time.at += timedelta(days=400)
    story = walk.story
    rows = await story.transactions(size=200)
    settled = await story.settled()
    assert settled == sum(row.amount for row in rows)
    assert all(row.before + row.amount == row.after for row in rows)
    for newer, older in pairwise(rows):
        assert newer.before == older.after, (newer, older)
    held = [one for run in walk.runs for one in await walk.held(run)]
    assert all(0 <= one.remaining <= one.amount for one in held)
    granted = sum(grant.amount for grant in walk.grants)
    lost = sum(row.amount for row in rows if row.type in ("expired", "voided"))
    assert settled == granted + lost - sum(one.remaining for one in held)
    ledger = await story.ledger()
    earned = ledger.get(AccountType.EARNINGS, Decimal(0)) - walk.earned_before
    assert ledger.get(AccountType.ACCRUED, Decimal(0)) + earned == sum(one.remaining for one in held)
    assert ledger.get(AccountType.FBO, Decimal(0)) >= 0


# Shrinking would replay a failure on the database for minutes; stories are short enough to read as they are.
WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)


@settings(
    max_examples=40,
    deadline=None,
    phases=WITHOUT_SHRINKING,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
async def test_any_story_adds_up(db: Database, steps: list[dict[str, Any]]) -> None:
    with clock.frozen(START) as time:
        story = await new_story(db)
        async with db.write() as session:
            await accounts.provision(session, NS, story.customer_id)
        # Earnings are the namespace's, and stories of earlier examples are in the same database.
        before = (await story.ledger()).get(AccountType.EARNINGS, Decimal(0))
        walk = Walk(story, time, earned_before=before)
        for step in steps:
            await walk.step(step)
        await check_story(walk)
    await check_ledger(db)


async def test_fifty_at_once_end_in_the_exact_balance(db: Database) -> None:
    story = await new_story(db)
    steps: list[Callable[[], Awaitable[object]]] = []
    for number in range(25):
        steps.append(lambda number=number: story.grant("3.00", expires="P30D" if number % 2 else None))
        steps.append(lambda: story.collect("2.50"))
    await asyncio.gather(*(step() for step in steps))
    assert await story.settled() == 25 * 3 - Decimal("62.50")
    rows = await story.transactions(size=200)
    assert rows[0].after == Decimal("12.50")
    await check_ledger(db)
