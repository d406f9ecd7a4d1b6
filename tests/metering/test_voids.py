"""Voided events: records, their copy for queries, and what queries leave out."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import pytest
import sqlalchemy.exc
from sqlalchemy import text

from meterhouse.kernel import clock
from meterhouse.kernel.errors import Conflict, InvalidInput, NotFound
from meterhouse.kernel.periods import Period
from meterhouse.kernel.worker import JobWorker
from meterhouse.metering import jobs, voids
from meterhouse.metering.corrections import Correction, Corrections
from meterhouse.metering.filters import Filter, Operator
from meterhouse.metering.listing import EventQuery, StoredEvent, StoredEvents
from meterhouse.metering.meters import Aggregation, Meter
from meterhouse.metering.usage import ClickHouseUsage, UsageRequest
from tests.metering.conftest import NS, House, at, event

MARCH = Period(at("2025-03-01T00:00:00Z"), at("2025-04-01T00:00:00Z"))
NOW = at("2025-04-02T00:00:00Z")


@pytest.fixture
async def corrections(house: House) -> Corrections:
    """Correct events of a house that holds three of them."""
    await house.send(
        event("1", "2025-03-01T10:00:00Z", "acme", {"gb": 1, "tier": "hot"}),
        event("2", "2025-03-02T10:00:00Z", "acme", {"gb": 2, "tier": "cold"}),
        event("3", "2025-03-03T10:00:00Z", "globex", {"gb": 4, "tier": "hot"}),
    )
    return Corrections(house.db, house.clickhouse, house.queries, house.log)


def wish(*ids: str, voided: bool = True) -> Correction:
    """Ask for events of the source `srv` by id."""
    chosen = EventQuery(NS, 10_001, keys=[("srv", one) for one in ids])
    return Correction(chosen, voided, None, "wrong unit", "jo@example.com")


async def total(house: House, meter: Meter, **query: object) -> list[Decimal]:
    """Ask a meter for its numbers."""
    return [row.value for row in await house.usage(meter, **query)]


async def stored(house: House) -> list[StoredEvent]:
    """All events, in order of time."""
    found = await StoredEvents(house.clickhouse).list_events(EventQuery(NS, 100, descending=False))
    return list(found)


async def test_queries_leave_voided_events_out_until_they_are_restored(house: House, corrections: Corrections) -> None:
    meter = await house.meter(Aggregation.SUM, "$.gb", {"tier": "$.tier"})
    usage = ClickHouseUsage(house.queries)
    outcome = await corrections.apply(wish("2"))
    assert [one.id for one in outcome.events] == ["2"]
    assert await total(house, meter) == [5]
    assert await total(house, meter, group_by=["tier"]) == [5]
    assert await usage.quantity(UsageRequest(NS, meter, ("acme",), MARCH)) == 1
    assert await house.queries.dimension_values(meter, "tier", None, None) == ["hot"]
    await corrections.apply(wish("3"))
    assert await house.queries.subjects(meter, None, None) == ["acme"]
    await corrections.apply(wish("2", "3", voided=False))
    assert await total(house, meter) == [7]
    await corrections.apply(wish("1"))
    assert await total(house, meter) == [6]


async def test_a_void_holds_before_and_after_a_meter_and_its_slots(house: House, corrections: Corrections) -> None:
    await corrections.apply(wish("1"))
    meter = await house.meter(Aggregation.LATEST, "$.gb")
    assert await total(house, meter) == [4]
    await corrections.apply(wish("3"))
    assert await total(house, meter) == [2]


async def test_a_preview_tells_the_change_of_every_meter_and_changes_nothing(
    house: House, corrections: Corrections
) -> None:
    summed = await house.meter(Aggregation.SUM, "$.gb")
    largest = await house.meter(Aggregation.MAX, "$.gb")
    await house.meter(Aggregation.COUNT, event_type="other")
    outcome = await corrections.preview(wish("2", "3"))
    assert outcome.window == MARCH
    changes = [(one.meter.id, one.subject, one.before, one.after) for one in outcome.usage]
    assert sorted(changes, key=str) == sorted(
        [
            (summed.id, "acme", 3, 1),
            (summed.id, "globex", 4, 0),
            (largest.id, "acme", 2, 1),
            (largest.id, "globex", 4, None),
        ],
        key=str,
    )
    assert await total(house, summed) == [7]
    await corrections.apply(wish("2", "3"))
    back = await corrections.preview(wish("2", voided=False))
    assert [(one.subject, one.before, one.after) for one in back.usage] == [("acme", 1, 2), ("acme", 1, 3)]
    assert await total(house, summed) == [1]


async def test_the_window_of_a_preview_can_be_given(house: House, corrections: Corrections) -> None:
    await house.meter(Aggregation.SUM, "$.gb")
    second = Period(at("2025-03-02T00:00:00Z"), at("2025-03-03T00:00:00Z"))
    asked = wish("1", "2")
    outcome = await corrections.preview(Correction(asked.chosen, True, second, asked.reason, asked.actor))
    assert [(one.before, one.after) for one in outcome.usage] == [(2, 0)]


async def test_conditions_choose_what_is_not_yet_so(house: House, corrections: Corrections) -> None:
    meter = await house.meter(Aggregation.COUNT)
    await corrections.apply(wish("1"))
    outcome = await corrections.apply(_by_subject(voided=True))
    assert [one.id for one in outcome.events] == ["2"]
    assert await total(house, meter) == [1]
    outcome = await corrections.apply(_by_subject(voided=False))
    assert [one.id for one in outcome.events] == ["2", "1"]
    assert await total(house, meter) == [3]


def _by_subject(*, voided: bool) -> Correction:
    chosen = EventQuery(NS, 10_001, filters={"subject": Filter(Operator.EQ, ("acme",))}, voided=not voided)
    return Correction(chosen, voided, None, "wrong unit", "jo@example.com")


async def test_repeats_and_unknown_events(house: House, corrections: Corrections) -> None:
    await corrections.apply(wish("1"))
    again = await corrections.apply(wish("1", "2"))
    assert [one.id for one in again.events] == ["2"]
    assert [one.id for one in again.unchanged] == ["1"]
    with pytest.raises(NotFound, match="9 of srv"):
        await corrections.apply(wish("3", "9"))
    assert await _records(house) == [("1", True), ("2", True)]


async def _records(house: House) -> Sequence[tuple[str, bool]]:
    async with house.db.read() as session:
        found = await session.execute(text("SELECT event_id, voided FROM event_voids ORDER BY version"))
        return [(row[0], row[1]) for row in found]


async def test_records_can_only_be_added(house: House, corrections: Corrections) -> None:
    await corrections.apply(wish("1"))
    for statement in ("UPDATE event_voids SET voided = false", "DELETE FROM event_voids"):
        with pytest.raises(sqlalchemy.exc.DBAPIError, match="append-only"):
            async with house.db.write() as session:
                await session.execute(text(statement))
    await corrections.apply(wish("1", voided=False))
    assert await _records(house) == [("1", True), ("1", False)]


async def test_a_death_between_record_and_copy_is_repaired_by_the_job(house: House, corrections: Corrections) -> None:
    meter = await house.meter(Aggregation.SUM, "$.gb")
    with clock.frozen(NOW):
        async with house.db.write() as session:
            await voids.record(session, NS, await stored(house), voided=True, reason="r", actor="a")
    assert await total(house, meter) == [7]
    await JobWorker(house.db, jobs.handlers(house.db, house.clickhouse, house.log)).drain()
    assert await total(house, meter) == []
    async with house.db.read() as session:
        states = await voids.states(session, NS, await stored(house))
    assert states[("storage", "srv", "1")] == voids.VoidState(NOW, "r", "a", None)


async def test_the_copy_never_goes_back_however_often_and_late_it_is_made(
    house: House, corrections: Corrections, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = await house.meter(Aggregation.COUNT)
    monkeypatch.setattr(voids, "MIRRORED_AT_ONCE", 2)
    found = await stored(house)
    for voided in (True, False, True):
        async with house.db.write() as session:
            await voids.record(session, NS, found, voided=voided, reason="r", actor="a")
    await asyncio.gather(*(voids.mirror(house.db, house.clickhouse, NS) for _ in range(4)))
    await house.clickhouse.command("OPTIMIZE TABLE om_event_voids FINAL")
    assert await total(house, meter) == [0]
    await voids.mirror(house.db, house.clickhouse, NS)
    ((rows, version),) = await house.clickhouse.query("SELECT count(), max(version) FROM om_event_voids")
    assert (rows, version) == (3, 9)


async def test_concurrent_corrections_record_each_change_once(house: House, corrections: Corrections) -> None:
    await asyncio.gather(*(corrections.apply(wish("1", "2")) for _ in range(4)))
    assert sorted(await _records(house)) == [("1", True), ("2", True)]


async def test_voids_stay_within_their_type_and_namespace(house: House, corrections: Corrections) -> None:
    other = await house.meter(Aggregation.COUNT, event_type="other")
    await house.send(event("1", "2025-03-01T10:00:00Z", type="other", source="srv2"))
    await corrections.apply(wish("1"))
    assert await total(house, other) == [1]


async def test_an_amended_event_counts_with_its_new_value(house: House, corrections: Corrections) -> None:
    meter = await house.meter(Aggregation.SUM, "$.gb")
    new = event("2b", "2025-03-02T10:00:00Z", "acme", {"gb": 20})
    await corrections.amend(("srv", "2"), new, reason="wrong unit", actor="jo")
    await asyncio.wait_for(house.sink.drain(), 10)
    assert await total(house, meter) == [25]
    # The same again, and the job that would have helped after a crash, change nothing.
    await corrections.amend(("srv", "2"), new, reason="wrong unit", actor="jo")
    await JobWorker(house.db, jobs.handlers(house.db, house.clickhouse, house.log)).drain()
    await asyncio.wait_for(house.sink.drain(), 10)
    assert await total(house, meter) == [25]
    with pytest.raises(Conflict, match="voided already"):
        await corrections.amend(("srv", "2"), event("2c", "2025-03-02T10:00:00Z"), reason="r", actor="jo")
    assert await _records(house) == [("2", True)]


async def test_an_amendment_survives_a_death_before_the_event_is_in_the_log(
    house: House, corrections: Corrections, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = await house.meter(Aggregation.SUM, "$.gb")

    async def die(_events: object) -> None:
        raise ConnectionError("died")

    with monkeypatch.context() as patched:
        patched.setattr(house.log, "append", die)
        with pytest.raises(ConnectionError):
            await corrections.amend(
                ("srv", "2"), event("2b", "2025-03-02T10:00:00Z", "acme", {"gb": 20}), reason="r", actor="jo"
            )
    await JobWorker(house.db, jobs.handlers(house.db, house.clickhouse, house.log)).drain()
    await asyncio.wait_for(house.sink.drain(), 10)
    assert await total(house, meter) == [25]


async def test_amendments_that_would_be_lost_are_refused(house: House, corrections: Corrections) -> None:
    with pytest.raises(InvalidInput):
        await corrections.amend(("srv", "2"), event("2", "2025-03-02T10:00:00Z"), reason="r", actor="jo")
    with pytest.raises(Conflict, match="another event is stored"):
        await corrections.amend(("srv", "2"), event("3", "2025-03-02T10:00:00Z"), reason="r", actor="jo")
    with pytest.raises(NotFound):
        await corrections.amend(("srv", "9"), event("10", "2025-03-02T10:00:00Z"), reason="r", actor="jo")
    assert await _records(house) == []
