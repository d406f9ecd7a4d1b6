"""When usage was stored, the due charges of the customers behind it are advanced at once."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from meterhouse.billing.charges import jobs as charge_jobs
from meterhouse.catalog.prices import FlatPrice, PaymentTerm, SettlementMode
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.kernel.models import JobRow
from meterhouse.kernel.worker import JobWorker
from meterhouse.runtime import usage_changed
from tests.charges.world import NS, World, at


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    with clock.frozen(at("2-28")) as time:
        made = World(db, time, credits_enabled=True)
        await made.furnish()
        yield made


async def waiting(db: Database) -> list[tuple[str, dict[str, str]]]:
    async with db.read() as session:
        return [(row.name, row.payload) for row in await session.scalars(select(JobRow).order_by(JobRow.id))]


async def test_due_charges_of_the_subjects_are_advanced(world: World) -> None:
    price = FlatPrice(amount="10", payment_term=PaymentTerm.IN_ADVANCE)
    charge = await world.create(world.intent(price, settlement_mode=SettlementMode.CREDIT_ONLY))
    announce = usage_changed.announcer(world.db)
    worker = JobWorker(world.db, [usage_changed.handler(world.db), *charge_jobs.handlers(world.db, world.charges)])

    await announce(NS, {"acme", "nobody"})
    await worker.drain()
    assert (await world.row(charge.id)).status == "created"

    world.time.at = at("3-1")
    await announce(NS, {"nobody"})
    await announce("other", {"acme"})
    await worker.drain()
    assert (await world.row(charge.id)).status == "created"

    await announce(NS, {"acme", "nobody"})
    await worker.drain()
    assert (await world.row(charge.id)).status != "created"


async def test_equal_announcements_are_one_job_and_large_ones_are_cut(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_changed, "SUBJECTS_PER_JOB", 2)
    announce = usage_changed.announcer(db)
    for _ in range(2):
        await announce(NS, {"c", "a", "b", "no\0subject"})
    assert await waiting(db) == [
        ("metering.usage_changed", {"namespace": "default", "subjects": '["a", "b"]'}),
        ("metering.usage_changed", {"namespace": "default", "subjects": '["c"]'}),
    ]
