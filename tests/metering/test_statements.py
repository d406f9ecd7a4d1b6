"""How many statements an answer takes, and that the cheap ones never answer what is not so."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from meterhouse.kernel.periods import Period
from meterhouse.metering import backfill, filters, query
from meterhouse.metering.corrections import Correction, Corrections
from meterhouse.metering.filters import Filter, Operator
from meterhouse.metering.listing import EventQuery
from meterhouse.metering.meters import Aggregation
from meterhouse.metering.query import MeterQueries, MeterQuery, Window
from meterhouse.metering.usage import ClickHouseUsage, UsageRequest
from tests.metering.conftest import NS, House, at, event

MARCH = Period(at("2025-03-01T00:00:00Z"), at("2025-04-01T00:00:00Z"))
NOON = "2025-03-01T12:00:00Z"


@pytest.fixture
def statements(house: House, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the list to which every statement is added."""
    asked: list[str] = []
    plain = house.clickhouse.query

    async def noted(sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
        asked.append(sql)
        return await plain(sql, parameters)

    monkeypatch.setattr(house.clickhouse, "query", noted)
    return asked


def counted(statements: list[str]) -> int:
    """Return how many statements there were since the last call."""
    found = len(statements)
    statements.clear()
    return found


async def void(house: House, *ids: str, voided: bool = True) -> None:
    """Void events, or restore them."""
    corrections = Corrections(house.db, house.clickhouse, house.queries, house.log)
    chosen = EventQuery(NS, 1000, keys=[("srv", one) for one in ids])
    await corrections.apply(Correction(chosen, voided, None, "r", "a"))


async def test_an_answer_takes_one_statement(house: House, statements: list[str]) -> None:
    meters = [
        await house.meter(Aggregation.SUM, "$.v", {"tier": "$.tier"}),
        await house.meter(Aggregation.COUNT, None, {"tier": "$.tier"}),
    ]
    await house.send(event("1", NOON, data={"v": 2, "tier": "hot"}))
    counted(statements)
    for meter in meters:
        await house.usage(meter, group_by=["tier", "subject"], filters={"tier": filters.eq("hot")}, window=Window.DAY)
        assert counted(statements) == 1
        await house.queries.subjects(meter, None, None)
        assert counted(statements) == 1
        await house.queries.dimension_values(meter, "tier", None, None)
        assert counted(statements) == 1
        # Nothing in range, nothing with a value: right at once.
        assert await house.usage(meter, start=at("2030-01-01T00:00:00Z"), group_by=["tier"]) == []
        assert counted(statements) == 1


# What is asked of one event of March that was stored before there were slots, and one of April stored after.
QUESTIONS: list[tuple[dict[str, Any], list[tuple[Decimal, str | None]]]] = [
    ({}, []),  # the aggregate of both
    ({"group_by": ["tier"]}, [(Decimal(4), "cold"), (Decimal(3), "hot")]),
    ({"window": Window.MONTH, "group_by": ["tier"]}, [(Decimal(3), "hot"), (Decimal(4), "cold")]),
    ({"window": Window.MONTH}, [(Decimal(3), None), (Decimal(4), None)]),
    ({"filters": {"tier": filters.eq("hot")}}, [(Decimal(3), None)]),
    ({"filters": {"tier": filters.eq("cold")}}, [(Decimal(4), None)]),
    ({"filters": {"tier": filters.eq("")}}, []),
    ({"filters": {"tier": Filter(Operator.NE, ("hot",))}}, [(Decimal(4), None)]),
    ({"group_by": ["tier"], "filters": {"tier": filters.eq("hot")}}, [(Decimal(3), "hot")]),
    ({"end": at("2025-04-01T00:00:00Z")}, [(Decimal(3), None)]),
]


@pytest.mark.parametrize("aggregation", [Aggregation.SUM, Aggregation.AVG, Aggregation.MAX, Aggregation.LATEST])
async def test_rows_without_slots_are_read_from_their_text(
    house: House, statements: list[str], aggregation: Aggregation
) -> None:
    await house.send(event("1", NOON, data={"v": 3, "tier": "hot"}))
    meter = await house.meter(aggregation, "$.v", {"tier": "$.tier"})
    await house.send(event("2", "2025-04-02T10:00:00Z", data={"v": 4, "tier": "cold"}))
    whole = {"sum": "7", "avg": "3.5", "max": "4", "latest": "4"}[aggregation.value]

    async def check() -> None:
        for question, parts in QUESTIONS:
            expected = parts or ([] if question else [(Decimal(whole), None)])
            rows = await house.usage(meter, **question)
            assert [(row.value, row.groups.get("tier")) for row in rows] == expected, question

    counted(statements)
    await check()
    assert counted(statements) == 2 * len(QUESTIONS)
    # Where only rows with slots are in question, nothing is asked twice.
    assert [row.value for row in await house.usage(meter, start=at("2025-04-01T00:00:00Z"))] == [4]
    assert counted(statements) == 1
    assert await house.queries.dimension_values(meter, "tier", None, None) == ["cold", "hot"]
    assert counted(statements) == 2
    await backfill.backfill(house.db, house.clickhouse, NS, "storage")
    counted(statements)
    await check()
    assert counted(statements) == len(QUESTIONS)


@pytest.mark.parametrize("aggregation", [Aggregation.COUNT, Aggregation.UNIQUE_COUNT])
async def test_groups_of_rows_without_slots_alone_are_not_lost(house: House, aggregation: Aggregation) -> None:
    await house.send(event("1", NOON, data={"v": "a", "tier": "hot"}))
    value = None if aggregation is Aggregation.COUNT else "$.v"
    meter = await house.meter(aggregation, value, {"tier": "$.tier"})
    rows = await house.usage(meter, group_by=["tier", "subject"])
    assert [(row.value, row.groups) for row in rows] == [(Decimal(1), {"tier": "hot"})]
    assert [row.value for row in await house.usage(meter, window=Window.HOUR)] == [1]


async def test_backfill_between_two_statements_of_an_answer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.send(*(event(str(i), NOON, data={"v": i, "tier": f"t{i % 2}"}) for i in range(4)))
    meter = await house.meter(Aggregation.SUM, "$.v", {"tier": "$.tier"})
    await house.send(event("5", NOON, data={"v": 5, "tier": "t1"}))
    plain = house.clickhouse.query
    times = 0

    async def filled(sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
        nonlocal times
        rows = await plain(sql, parameters)
        if "AS older" in sql:
            times += 1
            if times == 1:
                monkeypatch.setattr(house.clickhouse, "query", plain)
                await backfill.backfill(house.db, house.clickhouse, NS, "storage")
                monkeypatch.setattr(house.clickhouse, "query", filled)
        return rows

    monkeypatch.setattr(house.clickhouse, "query", filled)
    rows = await house.usage(meter, group_by=["tier"])
    assert [(row.groups["tier"], row.value) for row in rows] == [("t1", Decimal(9)), ("t0", Decimal(2))]
    assert times == 2


def _another(house: House) -> MeterQueries:
    """Queries of another process: they know nothing of what these have seen."""
    return MeterQueries(house.clickhouse)


@pytest.mark.parametrize("asked_by", [lambda house: house.queries, _another], ids=["the same", "another"])
async def test_a_void_counts_from_its_answer_on(
    house: House, statements: list[str], asked_by: Callable[[House], MeterQueries]
) -> None:
    meter = await house.meter(Aggregation.SUM, "$.v")
    await house.send(*(event(str(i), NOON, f"s{i}", {"v": 1 << i}) for i in range(4)))
    query = MeterQuery(meter, group_by=["subject"])
    reader = asked_by(house)
    assert [row.value for row in await reader.usage(query)] == [8, 4, 2, 1]
    await void(house, "3")
    counted(statements)
    assert [row.value for row in await reader.usage(query)] == [4, 2, 1]
    assert counted(statements) == 2
    assert await reader.subjects(meter, None, None) == ["s0", "s1", "s2"]
    assert counted(statements) == 1
    await void(house, "3", voided=False)
    await void(house, "0")
    counted(statements)
    # A type that has voids is asked about without trying first.
    assert [row.value for row in await reader.usage(query)] == [8, 4, 2]
    assert counted(statements) == 1


async def test_voids_and_rows_without_slots_at_once(house: House, statements: list[str]) -> None:
    await house.send(*(event(str(i), NOON, data={"v": 1 << i, "tier": f"t{i % 2}"}) for i in range(4)))
    meter = await house.meter(Aggregation.SUM, "$.v", {"tier": "$.tier"})
    await void(house, "3")
    counted(statements)
    rows = await house.usage(meter, group_by=["tier"])
    assert [(row.groups["tier"], row.value) for row in rows] == [("t0", Decimal(5)), ("t1", Decimal(2))]
    assert counted(statements) == 2


async def test_too_many_rows_are_counted_as_they_are(house: House) -> None:
    # Old rows would make a group of their own for want of slots; voided ones groups that are none.
    await house.send(*(event(str(i), NOON, data={"v": 1, "tier": f"t{i}"}) for i in range(2)))
    meter = await house.meter(Aggregation.SUM, "$.v", {"tier": "$.tier"})
    await house.send(*(event(str(i), NOON, data={"v": 1, "tier": f"t{i % 2}"}) for i in range(2, 4)))
    two = MeterQueries(house.clickhouse, max_rows=2)
    assert len(await two.usage(MeterQuery(meter, group_by=["tier"]))) == 2
    await house.send(event("4", NOON, data={"v": 1, "tier": "t4"}))
    await void(house, "4")
    assert len(await two.usage(MeterQuery(meter, group_by=["tier"]))) == 2


async def test_many_totals_out_of_one_statement(
    house: House, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.send(event("1", NOON, "acme", {"v": 1}))
    summed = await house.meter(Aggregation.SUM, "$.v", {"tier": "$.tier"})
    average = await house.meter(Aggregation.AVG, "$.v", event_type="other")
    await house.send(
        event("2", NOON, "acme", {"v": 2, "tier": "hot"}),
        event("3", NOON, "globex", {"v": 4}),
        event("4", NOON, "acme", {"v": 1}, type="other"),
        event("5", NOON, "acme", {"v": 2}, type="other"),
    )
    requests = [
        UsageRequest(NS, summed, ("acme", "globex"), MARCH),
        UsageRequest(NS, average, ("acme",), MARCH),
        UsageRequest(NS, summed, (), MARCH),
        UsageRequest(NS, summed, ("nobody",), MARCH),
        UsageRequest(NS, summed, ("globex",), MARCH),
        UsageRequest(NS, summed, ("acme",), MARCH, filters={"tier": filters.eq("hot")}),
        UsageRequest(NS, summed, ("acme",), Period(MARCH.start, MARCH.start)),
    ]
    expected = [7, Decimal("1.5"), 0, 0, 4, 2, 0]
    usage = ClickHouseUsage(house.queries)
    counted(statements)
    assert await usage.quantities(requests) == expected
    # The first event has no slots; only what it stands in the way of is asked again.
    assert counted(statements) == 2
    await backfill.backfill(house.db, house.clickhouse, NS, "storage")
    await void(house, "4")
    expected[1] = 2
    counted(statements)
    assert await usage.quantities(requests) == expected
    assert counted(statements) == 2
    assert await usage.quantities(requests) == expected
    assert counted(statements) == 1
    monkeypatch.setattr(query, "TOTALS_AT_ONCE", 2)
    assert await usage.quantities(requests) == expected
    assert counted(statements) == 3
    assert await usage.quantities([]) == []


async def test_the_latest_of_one_instant_is_the_last_received_then_the_last_logged(house: House) -> None:
    meter = await house.meter(Aggregation.LATEST, "$.v")
    await house.send(*(event(str(i), NOON, data={"v": i}) for i in range(30)))
    for received, position, value in [(0, 0, 29), (5, 0, 0), (5, 1, 7)]:
        # The first row is received later than the others; then another one as late stands behind it in the log.
        if received:
            await house.clickhouse.mutate(
                "om_events",
                f"ALTER TABLE om_events UPDATE ingested_at = toDateTime64('2100-01-01 00:00:00', 6, 'UTC'),"
                f" log_position = {position} WHERE id = '{value}'",
            )
        assert [row.value for row in await house.usage(meter)] == [value]
