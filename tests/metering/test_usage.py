"""The worked examples of metering section 18, each with slots filled and read from the JSON text."""

from datetime import UTC
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from meterhouse.kernel.periods import Period
from meterhouse.metering import filters
from meterhouse.metering.filters import Filter, Operator
from meterhouse.metering.meters import Aggregation, Meter
from meterhouse.metering.query import Window
from meterhouse.metering.usage import ClickHouseUsage, UsageRequest
from tests.metering.conftest import NS, House, at, event

SET_A = [
    ("2025-03-29T22:30:00Z", "acme", '{"gb":1.5,"tier":"hot"}'),
    ("2025-03-29T23:30:00Z", "acme", '{"gb":"2.25","tier":"cold"}'),
    ("2025-03-30T21:59:59Z", "globex", '{"gb":4,"tier":"hot"}'),
    ("2025-03-30T22:00:00Z", "acme", '{"gb":8,"tier":"hot"}'),
    ("2025-03-31T12:00:00Z", "acme", '{"tier":"hot"}'),
]
TIER = {"tier": "$.tier"}
BERLIN = ZoneInfo("Europe/Berlin")


async def _send_a(house: House) -> None:
    await house.send(*(event(f"a{i}", time, subject, data) for i, (time, subject, data) in enumerate(SET_A)))


@pytest.fixture(params=["slots", "json", "mixed"])
async def storage(house: House, request: pytest.FixtureRequest) -> House:
    """Give a house with set A, stored before, after, or partly before the meters that ask for it."""

    async def with_events(
        aggregation: Aggregation,
        value: str | None = "$.gb",
        group_by: dict[str, str] | None = None,
        **members: object,
    ) -> Meter:
        if request.param == "json":
            await _send_a(house)
        if request.param == "mixed":
            await house.send(*(event(f"a{i}", time, who, data) for i, (time, who, data) in enumerate(SET_A[:2])))
        meter = await plain_meter(aggregation, value, group_by or TIER, **members)
        await _send_a(house)
        return meter

    plain_meter = house.meter
    house.meter = with_events  # type: ignore[method-assign,assignment]
    return house


@pytest.mark.parametrize(
    ("aggregation", "value"),
    [("sum", "15.75"), ("avg", "3.9375"), ("min", "1.5"), ("max", "8"), ("latest", "8")],
)
async def test_aggregates_over_everything(storage: House, aggregation: str, value: str) -> None:
    meter = await storage.meter(Aggregation(aggregation), "$.gb")
    (row,) = await storage.usage(meter)
    assert row.value == Decimal(value)
    assert (row.start, row.end) == (at("2025-03-29T22:30:00Z"), at("2025-03-31T12:01:00Z"))
    assert (row.subject, row.customer_id, row.groups) == (None, None, {})


async def test_count_counts_events_without_value(house: House) -> None:
    meter = await house.meter(Aggregation.COUNT)
    await _send_a(house)
    assert [row.value for row in await house.usage(meter)] == [5]


async def test_days_in_utc(storage: House) -> None:
    rows = await storage.usage(await storage.meter(Aggregation.SUM), window=Window.DAY)
    assert [(row.start, row.end, row.value) for row in rows] == [
        (at("2025-03-29T00:00:00Z"), at("2025-03-30T00:00:00Z"), Decimal("3.75")),
        (at("2025-03-30T00:00:00Z"), at("2025-03-31T00:00:00Z"), Decimal(12)),
    ]


async def test_days_in_berlin_over_a_daylight_change(storage: House) -> None:
    rows = await storage.usage(await storage.meter(Aggregation.SUM), window=Window.DAY, zone=BERLIN)
    assert [(row.start, row.end, row.value) for row in rows] == [
        (at("2025-03-28T23:00:00Z"), at("2025-03-29T23:00:00Z"), Decimal("1.5")),
        (at("2025-03-29T23:00:00Z"), at("2025-03-30T22:00:00Z"), Decimal("6.25")),
        (at("2025-03-30T22:00:00Z"), at("2025-03-31T22:00:00Z"), Decimal(8)),
    ]
    assert rows[1].start.isoformat() == "2025-03-30T00:00:00+01:00"
    assert rows[1].end.isoformat() == "2025-03-31T00:00:00+02:00"


async def test_from_is_inclusive_and_to_exclusive(storage: House) -> None:
    start, end = at("2025-03-29T23:30:00Z"), at("2025-03-30T22:00:00Z")
    (row,) = await storage.usage(await storage.meter(Aggregation.SUM), start=start, end=end)
    assert (row.value, row.start, row.end) == (Decimal("6.25"), start, end)


async def test_groups_come_biggest_first(storage: House) -> None:
    rows = await storage.usage(await storage.meter(Aggregation.SUM), group_by=["tier"])
    assert [(row.groups, row.value) for row in rows] == [
        ({"tier": "hot"}, Decimal("13.5")),
        ({"tier": "cold"}, Decimal("2.25")),
    ]


async def test_unique_count(storage: House) -> None:
    meter = await storage.meter(Aggregation.UNIQUE_COUNT, "$.tier", {"gb": "$.gb"})
    assert [row.value for row in await storage.usage(meter)] == [2]


async def test_nothing_in_range(storage: House) -> None:
    start, end = at("2030-01-01T00:00:00Z"), at("2030-02-01T00:00:00Z")
    assert await storage.usage(await storage.meter(Aggregation.SUM), start=start, end=end) == []
    count = await storage.meter(Aggregation.COUNT, None)
    (row,) = await storage.usage(count, start=start, end=end)
    assert (row.value, row.start, row.end) == (0, start, end)
    assert await storage.usage(count, start=start, end=end, group_by=["subject"]) == []


async def test_count_of_nothing_without_bounds(house: House) -> None:
    (row,) = await house.usage(await house.meter(Aggregation.COUNT))
    assert (row.value, row.start, row.end) == (0, at("1970-01-01T00:00:00Z"), at("1970-01-01T00:01:00Z"))


async def test_subject_filter_splits_by_subject(storage: House) -> None:
    rows = await storage.usage(await storage.meter(Aggregation.SUM), subjects=["acme", "globex"])
    assert [(row.subject, row.value) for row in rows] == [("acme", Decimal("11.75")), ("globex", 4)]


async def test_customers(storage: House) -> None:
    customers = {"C1": ["acme"], "C2": ["globex", "globex-2"]}
    rows = await storage.usage(await storage.meter(Aggregation.SUM), customers=customers)
    assert [(row.customer_id, row.value) for row in rows] == [("C1", Decimal("11.75")), ("C2", 4)]


FILTERS = [
    (Filter(Operator.NE, ("hot",)), 1),
    (Filter(Operator.IN, ("hot", "cold")), 5),
    (Filter(Operator.NIN, ("hot",)), 1),
    (Filter(Operator.LIKE, ("c_l%",)), 1),
    (Filter(Operator.LIKE, ("%\\",)), 0),
    (Filter(Operator.ILIKE, ("HOT",)), 4),
    (Filter(Operator.NILIKE, ("HOT",)), 1),
    (Filter(Operator.CONTAINS, ("O",)), 5),
    (Filter(Operator.CONTAINS, ("_",)), 0),
    (Filter(Operator.NCONTAINS, ("col",)), 4),
    (Filter(Operator.GT, ("cold",)), 4),
    (Filter(Operator.LTE, ("cold",)), 1),
    (Filter(Operator.EXISTS, present=True), 5),
    (Filter(Operator.EXISTS, present=False), 0),
    (filters.eq("x' OR 1=1 --\\"), 0),
    (Filter(Operator.OR, filters=(filters.eq("hot"), filters.eq("cold"))), 5),
    (Filter(Operator.AND, filters=(filters.eq("hot"), filters.eq("cold"))), 0),
]


async def test_filters(storage: House) -> None:
    meter = await storage.meter(Aggregation.COUNT, None)
    found = [await storage.usage(meter, filters={"tier": tested}) for tested, _ in FILTERS]
    assert [row.value for (row,) in found] == [count for _, count in FILTERS]


async def test_windows_are_not_clipped(storage: House) -> None:
    rows = await storage.usage(
        await storage.meter(Aggregation.SUM),
        window=Window.HOUR,
        start=at("2025-03-29T23:30:15Z"),
        end=at("2025-03-30T22:00:00Z"),
    )
    assert [(row.start, row.end, row.value) for row in rows] == [
        (at("2025-03-30T21:00:00Z"), at("2025-03-30T22:00:00Z"), 4)
    ]


async def test_event_from(storage: House) -> None:
    meter = await storage.meter(Aggregation.SUM, event_from=at("2025-03-30T00:00:00Z"))
    start, end = at("2025-03-29T00:00:00Z"), at("2025-04-01T00:00:00Z")
    (row,) = await storage.usage(meter, start=start, end=end)
    assert (row.value, row.start) == (12, start)


@pytest.mark.parametrize("meter_first", [True, False])
async def test_unique_count_ignores_what_is_no_value(house: House, meter_first: bool) -> None:
    values = ['"a"', '"a"', "1", '"1"', "null", '"null"', None, '["a"]', "true", '""']
    texts = ["{}" if value is None else f'{{"u":{value}}}' for value in values]
    meter = await house.meter(Aggregation.UNIQUE_COUNT, "$.u", event_type="uq") if meter_first else None
    await house.send(*(event(f"u{i}", "2025-03-01T10:00:00Z", data=t, type="uq") for i, t in enumerate(texts)))
    meter = meter or await house.meter(Aggregation.UNIQUE_COUNT, "$.u", event_type="uq")
    assert [row.value for row in await house.usage(meter)] == [3]


async def test_days_in_new_york(house: House) -> None:
    times = [
        *("2025-03-09T04:59:59Z", "2025-03-09T05:00:00Z", "2025-03-09T06:30:00Z", "2025-03-09T07:30:00Z"),
        *("2025-03-10T03:59:59Z", "2025-03-10T04:00:00Z", "2025-11-02T04:00:00Z", "2025-11-02T05:30:00Z"),
        *("2025-11-02T06:30:00Z", "2025-11-03T04:59:59Z"),
    ]
    meter = await house.meter(Aggregation.SUM, "$.v")
    await house.send(*(event(time, time, data={"v": 1}) for time in times))
    rows = await house.usage(meter, window=Window.DAY, zone=ZoneInfo("America/New_York"))
    assert [(row.start, row.end, row.value) for row in rows] == [
        (at("2025-03-08T05:00:00Z"), at("2025-03-09T05:00:00Z"), 1),
        (at("2025-03-09T05:00:00Z"), at("2025-03-10T04:00:00Z"), 4),
        (at("2025-03-10T04:00:00Z"), at("2025-03-11T04:00:00Z"), 1),
        (at("2025-11-02T04:00:00Z"), at("2025-11-03T05:00:00Z"), 4),
    ]


@pytest.mark.parametrize(
    ("window", "zone", "time", "start", "end"),
    [
        ("hour", "Asia/Kolkata", "2025-03-01T10:00:00Z", "2025-03-01T09:30:00Z", "2025-03-01T10:30:00Z"),
        ("month", "Europe/Budapest", "2025-03-15T00:00:00Z", "2025-02-28T23:00:00Z", "2025-03-31T22:00:00Z"),
        ("minute", "Asia/Kolkata", "2025-03-01T10:00:59Z", "2025-03-01T10:00:00Z", "2025-03-01T10:01:00Z"),
        ("hour", "Europe/Berlin", "2025-10-26T01:30:00Z", "2025-10-26T01:00:00Z", "2025-10-26T02:00:00Z"),
        ("day", "America/Sao_Paulo", "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"),
        ("month", "America/New_York", "1970-01-01T00:00:00Z", "1969-12-01T05:00:00Z", "1970-01-01T05:00:00Z"),
        ("month", "UTC", "2106-02-07T06:28:15Z", "2106-02-01T00:00:00Z", "2106-03-01T00:00:00Z"),
    ],
)
async def test_window_bounds(house: House, window: str, zone: str, time: str, start: str, end: str) -> None:
    meter = await house.meter(Aggregation.COUNT)
    await house.send(event("1", time))
    (row,) = await house.usage(meter, window=Window(window), zone=ZoneInfo(zone))
    # Compared in UTC: Python never finds an ambiguous local time equal to another zone's.
    assert [row.start.astimezone(UTC), row.end.astimezone(UTC)] == [at(start), at(end)]


@pytest.mark.parametrize("meter_first", [True, False])
@pytest.mark.parametrize(
    ("texts", "total"),
    [
        (["12345678901234567.1234567890123456789", '"0.0000000000000000001"'], "12345678901234567.123456789012345679"),
        (["0.1", "0.2"], "0.3"),
        (["5e18", "5e18", "5e18", "5e18"], "20000000000000000000"),
        (["1e-7", "1E-7", "0.0000001", "-0.0", "-0"], "0.0000003"),
        (["12345678901234567890", "9999999999999999999"], "9999999999999999999"),
        (['"1_000"', '" 3"', '"0x10"', "true", "1e400", '"."', '"e3"', "7", '"+7"', '".5"', '"5."'], "19.5"),
        (["0.12345678901234567899"], "0.1234567890123456789"),
    ],
)
async def test_sums_are_exact(house: House, meter_first: bool, texts: list[str], total: str) -> None:
    meter = await house.meter(Aggregation.SUM, "$.v") if meter_first else None
    sent = [event(str(i), "2025-03-01T10:00:00Z", data=f'{{"v": {text}}}') for i, text in enumerate(texts)]
    await house.send(*sent)
    meter = meter or await house.meter(Aggregation.SUM, "$.v")
    assert [row.value for row in await house.usage(meter)] == [Decimal(total)]


async def test_latest_within_a_second_is_the_later_one(house: House) -> None:
    meter = await house.meter(Aggregation.LATEST, "$.v")
    await house.send(
        event("1", "2025-03-01T10:00:00.500001Z", data={"v": 2}),
        event("2", "2025-03-01T10:00:00.500000Z", data={"v": 1}),
        event("3", "2025-03-01T10:00:00.900000Z", data={"v": None}),
    )
    assert [row.value for row in await house.usage(meter)] == [2]


async def test_quantity_aggregates_subjects_together(house: House) -> None:
    meter = await house.meter(Aggregation.MAX, "$.gb", TIER)
    await _send_a(house)
    usage = ClickHouseUsage(house.queries)
    march = Period(at("2025-03-01T00:00:00Z"), at("2025-04-01T00:00:00Z"))
    assert await usage.quantity(UsageRequest(NS, meter, ("acme", "globex"), march)) == 8
    assert await usage.quantity(UsageRequest(NS, meter, ("globex",), march)) == 4
    assert await usage.quantity(UsageRequest(NS, meter, (), march)) == 0
    assert await usage.quantity(UsageRequest(NS, meter, ("nobody",), march)) == 0
    cold = {"tier": filters.eq("cold")}
    assert await usage.quantity(UsageRequest(NS, meter, ("acme",), march, filters=cold)) == Decimal("2.25")


async def test_subjects_and_dimension_values(house: House) -> None:
    await _send_a(house)
    meter = await house.meter(Aggregation.SUM, "$.gb", {"gb_text": "$.tier", "none": "$.none"})
    assert await house.queries.subjects(meter, None, None) == ["acme", "globex"]
    assert await house.queries.subjects(meter, at("2025-03-31T00:00:00Z"), None) == ["acme"]
    assert await house.queries.dimension_values(meter, "gb_text", None, None) == ["cold", "hot"]
    assert await house.queries.dimension_values(meter, "none", None, None) == [""]
