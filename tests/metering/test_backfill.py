"""Slots that are filled after the fact: right before, during and after, to the last digit."""

import asyncio
from decimal import Decimal

import pytest

from meterhouse.kernel.worker import JobWorker
from meterhouse.metering import backfill, jobs, repository
from meterhouse.metering.clickhouse import MutationFailed
from meterhouse.metering.meters import Aggregation
from tests.metering.conftest import NS, House, at, event
from tests.metering.http import client_of

EXACT = "12345678901234567.1234567890123456789"
WORKED = [f'{{"v": {EXACT}, "tier": "hot"}}', f'{{"v": "{EXACT}", "tier": "cold"}}', '{"v": null}', "{}", ""]


async def lacking(house: House) -> bool:
    """Tell whether a stored event lacks a slot."""
    async with house.db.read() as session:
        slots = (await repository.slots_of(session, [(NS, "storage")]))[(NS, "storage")]
    return await backfill.lacking(house.clickhouse, NS, "storage", slots)


async def work(house: House) -> None:
    """Do the jobs that are queued."""
    await JobWorker(house.db, jobs.handlers(house.db, house.clickhouse, house.log)).drain()


async def test_a_new_meter_gets_its_slots_filled_by_a_job(house: House) -> None:
    times = ["2025-03-01T10:00:00Z", "2025-03-01T23:59:59Z", "2025-03-02T00:00:00Z", "2025-04-01T00:00:00Z"]
    await house.send(*(event(f"{i}", time, data=WORKED[i]) for i, time in enumerate(times)))
    meter = await house.meter(Aggregation.SUM, "$.v", {"tier": "$.tier"})
    other = await house.meter(Aggregation.UNIQUE_COUNT, "$.v")
    queries = [
        (meter, {"group_by": ["tier"]}),
        (meter, {"start": at("2025-03-01T10:00:00Z"), "end": at("2025-03-01T11:00:00Z")}),
        (meter, {"subjects": ["acme"], "start": at("2025-03-01T23:00:00Z")}),
        (other, {"group_by": ["subject"]}),
    ]
    before = [await house.usage(one, **asked) for one, asked in queries]
    assert [row.value for row in before[0]] == [Decimal(EXACT), Decimal(EXACT)]
    assert await lacking(house)
    await work(house)
    assert not await lacking(house)
    assert [await house.usage(one, **asked) for one, asked in queries] == before
    # Rows that the engine puts together later keep what they have.
    await house.clickhouse.command("OPTIMIZE TABLE om_events FINAL")
    assert [await house.usage(one, **asked) for one, asked in queries] == before


async def test_answers_stay_the_same_while_slots_are_filled(house: House) -> None:
    for part in range(4):
        await house.send(*(event(f"{part}-{i}", f"2025-0{part + 1}-01T10:00:00Z", data={"v": i}) for i in range(50)))
    meter = await house.meter(Aggregation.SUM, "$.v")
    filling = asyncio.create_task(backfill.backfill(house.db, house.clickhouse, NS, "storage"))
    seen = set()
    while not filling.done():
        seen |= {row.value for row in await house.usage(meter)}
        await house.send(event(f"late-{len(seen)}", "2025-01-01T10:00:00Z", data={"v": 0}))
    await filling
    assert seen == {4 * sum(range(50))}


async def test_filling_again_and_filling_nothing_do_nothing(house: House) -> None:
    await backfill.backfill(house.db, house.clickhouse, NS, "unknown")
    await house.meter(Aggregation.SUM, "$.v")
    await house.send(event("1", "2025-03-01T10:00:00Z", data={"v": 1}))
    await work(house)
    ((count,),) = await house.clickhouse.query(
        "SELECT count() FROM system.mutations WHERE database = currentDatabase()"
    )
    assert count == 0


async def test_a_mutation_that_cannot_be_done_is_given_up(house: House) -> None:
    await house.send(event("1", "2025-03-01T10:00:00Z", data={"v": 1}))
    with pytest.raises(MutationFailed):
        await house.clickhouse.mutate(
            "om_events", "ALTER TABLE om_events UPDATE data = toString(throwIf(id = '1')) WHERE 1"
        )
    # It does not stand in the way of the next one.
    await house.clickhouse.mutate("om_events", "ALTER TABLE om_events UPDATE data = '{}' WHERE 1")


@pytest.mark.parametrize("stored", ["slot", "backfilled", "fallback"])
async def test_every_digit_reaches_the_wire(house: House, stored: str) -> None:
    if stored != "slot":
        await house.send(event("1", "2025-03-01T10:00:00Z", data=WORKED[0]))
    meter = await house.meter(Aggregation.SUM, "$.v")
    if stored == "slot":
        await house.send(event("1", "2025-03-01T10:00:00Z", data=WORKED[0]))
    if stored == "backfilled":
        await work(house)
    async with client_of(house) as client:
        first = await client.get(f"/api/v1/meters/{meter.id}/query")
        third = await client.post(f"/api/v3/openmeter/meters/{meter.id}/query", json={})
    assert f'"value":{EXACT},' in first.text
    assert third.json()["data"][0]["value"] == EXACT
