"""Meter queries against a model in plain Python, on events that were made up: whatever is stored how, they agree.

The model knows nothing of slots, SQL or windows of the engine: it walks over the events that were sent.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from meterhouse.kernel.ids import new_id
from meterhouse.metering import backfill, filters
from meterhouse.metering.corrections import Correction, Corrections
from meterhouse.metering.filters import Filter, Operator
from meterhouse.metering.listing import EventQuery
from meterhouse.metering.meters import Aggregation, Meter
from meterhouse.metering.query import UsageRow, Window
from tests.metering.conftest import NS, House, at, event

# Zone and an instant at which its clocks change: forward, back, at midnight, to midnight.
CHANGES = [
    ("Europe/Berlin", "2025-03-30T01:00:00Z"),
    ("Europe/Berlin", "2025-10-26T01:00:00Z"),
    ("America/New_York", "2025-03-09T07:00:00Z"),
    ("America/New_York", "2025-11-02T06:00:00Z"),
    ("America/Sao_Paulo", "2018-11-04T03:00:00Z"),
    ("America/Sao_Paulo", "2018-02-18T02:00:00Z"),
    ("America/Havana", "2024-03-10T05:00:00Z"),
    ("America/Havana", "2024-11-03T05:00:00Z"),
    ("Asia/Kolkata", "2025-03-31T18:30:00Z"),
    ("UTC", "2024-02-29T00:00:00Z"),
]
SUBJECTS = ["acme", "globex", "x' OR 1=1 --\\"]
NUMBERS = st.one_of(
    st.decimals(-(10**6), 10**6, places=6).map(str),
    st.sampled_from(
        [
            "0",
            "1",
            "0.1",
            "12345678901234567.1234567890123456789",
            "9999999999999999999",
            "0.0000000000000000001",
            "-0.5",
        ]
    ),
)
VALUES = st.one_of(
    NUMBERS,
    NUMBERS.map(json.dumps),
    st.sampled_from(["null", "true", '"abc"', '""', "[1, 2]", '{"b": 1}', "10000000000000000000", "missing"]),
)
TEXTS = st.sampled_from(['"hot"', '"cold"', '"a\\u003cb"', "1", '"1"', "null", '""', "true", "[1]", "missing"])
# Seconds around the change; most events near it, some in other windows.
OFFSETS = st.one_of(st.integers(-7200, 7200), st.integers(-40 * 86400, 40 * 86400), st.sampled_from([-1, 0, 1, 3600]))
MADE = st.fixed_dictionaries(
    {
        "offset": OFFSETS,
        "micros": st.sampled_from([0, 0, 1, 500_000, 999_999]),
        "subject": st.sampled_from(SUBJECTS),
        "value": VALUES,
        "tier": TEXTS,
        "fate": st.sampled_from(["kept"] * 5 + ["repeated", "voided", "restored"]),
        "early": st.booleans(),
    }
)
FILTERS = st.sampled_from(
    [
        None,
        filters.eq("hot"),
        Filter(Operator.NE, ("hot",)),
        Filter(Operator.IN, ("hot", "1")),
        Filter(Operator.LIKE, ("a<%",)),
        Filter(Operator.EXISTS, present=True),
    ]
)
ASKED = st.fixed_dictionaries(
    {
        "aggregation": st.sampled_from(list(Aggregation)),
        "window": st.sampled_from([None, *Window]),
        "start": st.one_of(st.none(), OFFSETS),
        "length": st.one_of(st.none(), st.integers(1, 50 * 86400)),
        "subjects": st.sampled_from([None, None, SUBJECTS[:1], SUBJECTS[1:]]),
        "group_by": st.sampled_from([[], ["tier"], ["subject"], ["tier", "subject"]]),
        "filter": FILTERS,
    }
)


@dataclass(frozen=True)
class Sent:
    """An event as the model knows it."""

    time: datetime
    subject: str
    value: str
    tier: str
    order: int


def number(text: str) -> Decimal | None:
    """Read what a numeric aggregate counts."""
    document = text if text != "missing" else "null"
    raw = json.loads(document, parse_int=str, parse_float=str) if document[0] in '"[{nt' else document
    if not isinstance(raw, str) or not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", raw):
        return None
    value = Decimal(raw)
    return value if abs(value) < Decimal(10) ** 19 else None


def words(text: str) -> str:
    """Read a value as the text that dimensions and distinct counts see."""
    if text == "missing" or text[0] in "[{":
        return ""
    if text[0] == '"':
        return str(json.loads(text))
    if text in ("null", "true"):
        return text
    plain = f"{Decimal(text):f}"
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "0" if plain == "-0" else plain


def local_start(zone: ZoneInfo, *date: int) -> datetime:
    """Return the first instant of a local day."""
    return datetime(*date, tzinfo=zone).astimezone(UTC)  # type: ignore[misc, arg-type]


def bounds(time: datetime, window: Window, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the window of an instant."""
    local = time.astimezone(zone)
    if window in (Window.MINUTE, Window.HOUR):
        past = timedelta(seconds=local.second, microseconds=local.microsecond)
        past += timedelta(minutes=local.minute) if window is Window.HOUR else timedelta(0)
        return time - past, time - past + timedelta(**{window.value + "s": 1})
    if window is Window.DAY:
        following = local.date() + timedelta(days=1)
        return local_start(zone, local.year, local.month, local.day), local_start(
            zone, following.year, following.month, following.day
        )
    year, month = (local.year + 1, 1) if local.month == 12 else (local.year, local.month + 1)
    return local_start(zone, local.year, local.month, 1), local_start(zone, year, month, 1)


def matches(test: Filter | None, sent: Sent) -> bool:
    """Apply a filter on the tier."""
    if test is None:
        return True
    text = words(sent.tier)
    return {
        Operator.EQ: lambda: text == test.values[0],
        Operator.NE: lambda: text != test.values[0],
        Operator.IN: lambda: text in test.values,
        Operator.LIKE: lambda: text.startswith("a<"),
        Operator.EXISTS: lambda: sent.tier != "missing",
    }[test.operator]()


def measure(aggregation: Aggregation, events: Sequence[Sent]) -> Decimal | None:
    """Aggregate; None where there is no row."""
    if aggregation is Aggregation.COUNT:
        return Decimal(len(events))
    if aggregation is Aggregation.UNIQUE_COUNT:
        return Decimal(len({words(one.value) for one in events} - {"", "null"}))
    valued = [(one, found) for one in events if (found := number(one.value)) is not None]
    numbers = [found for _, found in valued]
    if not numbers:
        return None
    total = sum(numbers, Decimal(0))
    latest = max(valued, key=lambda pair: (pair[0].time, pair[0].order))[1]
    found = {
        Aggregation.SUM: total,
        Aggregation.AVG: Context(prec=38).divide(total, Decimal(len(numbers))),
        Aggregation.MIN: min(numbers),
        Aggregation.MAX: max(numbers),
        Aggregation.LATEST: latest,
    }
    return found[aggregation]


Row = tuple[datetime, datetime, Decimal, str | None, str | None]


def expected(events: Iterable[Sent], asked: Mapping[str, Any], change: datetime, zone: ZoneInfo) -> list[Row]:
    """Answer a query from the events themselves."""
    start, end = range_of(asked, change)
    groups = (["subject"] if asked["subjects"] is not None else []) + asked["group_by"]
    groups_of: dict[Any, list[Sent]] = {}
    if not groups and asked["window"] is None:
        groups_of[(None, None, None)] = []
    for one in events:
        inside = (start is None or one.time >= start) and (end is None or one.time < end)
        wanted = asked["subjects"] is None or one.subject in asked["subjects"]
        if inside and wanted and matches(asked["filter"], one):
            key = (
                bounds(one.time, asked["window"], zone) if asked["window"] else None,
                one.subject if "subject" in groups else None,
                words(one.tier) or None if "tier" in groups else None,
            )
            groups_of.setdefault(key, []).append(one)
    rows = []
    for (window, subject, tier), found in groups_of.items():
        value = measure(asked["aggregation"], found)
        if value is None:
            continue
        epoch = at("1970-01-01T00:00:00Z")
        first = min((one.time for one in found), default=epoch).replace(second=0, microsecond=0)
        last = max((one.time for one in found), default=epoch).replace(second=0, microsecond=0)
        low, high = window or (start or first, end or last + timedelta(minutes=1))
        rows.append((low, high, value, subject, tier))
    return sorted(rows, key=lambda row: _place(row, windowed=asked["window"] is not None))


def _place(row: Row, *, windowed: bool) -> tuple[Any, ...]:
    start, _, value, subject, tier = row
    ties = [(text is not None, text or "") for text in (subject, tier)]
    return (start, -value, *ties) if windowed else (-value, *ties)


def range_of(asked: Mapping[str, Any], change: datetime) -> tuple[datetime | None, datetime | None]:
    """Return the bounds of a query."""
    start = None if asked["start"] is None else change + timedelta(seconds=asked["start"])
    end = None if asked["length"] is None else (start or change) + timedelta(seconds=asked["length"])
    return start, end


def answered(row: UsageRow) -> Row:
    """Bring an answer into the model's form."""
    return (row.start.astimezone(UTC), row.end.astimezone(UTC), row.value, row.subject, row.groups.get("tier"))


class Story:
    """Sends events of a type of their own and keeps those that count."""

    def __init__(self, house: House, change: datetime) -> None:
        self.house = house
        self.change = change
        self.type = f"t_{new_id()}"
        self.counting: list[Sent] = []

    async def send(self, made: Sequence[Mapping[str, Any]], first: int) -> None:
        """Send events, with their repeats."""
        batch = []
        for order, one in enumerate(made, first):
            time = self.change + timedelta(seconds=one["offset"], microseconds=one["micros"])
            members = {"v": one["value"], "tier": one["tier"]}
            data = "{" + ", ".join(f'"{name}": {text}' for name, text in members.items() if text != "missing") + "}"
            event_id = f"{self.type}-{order}"
            batch.append(event(event_id, time.isoformat(), one["subject"], data, type=self.type))
            if one["fate"] == "repeated":
                later = (time + timedelta(days=1)).isoformat()
                batch.append(event(event_id, later, "globex", '{"v": 5}', type=self.type))
            if one["fate"] != "voided":
                self.counting.append(Sent(time, one["subject"], one["value"], one["tier"], order))
        await self.house.send(*batch)

    async def correct(self, made: Sequence[Mapping[str, Any]]) -> None:
        """Void events, and restore some of them."""
        house = self.house
        corrections = Corrections(house.db, house.clickhouse, house.queries, house.log)
        for fates, voided in ((("voided", "restored"), True), (("restored",), False)):
            keys = [("srv", f"{self.type}-{order}") for order, one in enumerate(made) if one["fate"] in fates]
            if keys:
                await corrections.apply(Correction(EventQuery(NS, 1000, keys=keys), voided, None, "r", "a"))


@settings(
    max_examples=18,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
)
@given(
    place=st.sampled_from(CHANGES),
    made=st.lists(MADE, max_size=14),
    asked=st.lists(ASKED, min_size=4, max_size=8),
    filled=st.booleans(),
)
async def test_queries_agree_with_the_model(
    house: House, place: tuple[str, str], made: list[dict[str, Any]], asked: list[dict[str, Any]], filled: bool
) -> None:
    zone, change = ZoneInfo(place[0]), at(place[1])
    made.sort(key=lambda one: not one["early"])
    early = sum(one["early"] for one in made)
    story = Story(house, change)
    await story.send(made[:early], 0)
    meters: dict[Aggregation, Meter] = {}
    for aggregation in {one["aggregation"] for one in asked}:
        value = None if aggregation is Aggregation.COUNT else "$.v"
        key = f"{aggregation.value}_{new_id().lower()}"
        meters[aggregation] = await house.meter(aggregation, value, {"tier": "$.tier"}, event_type=story.type, key=key)
    await story.send(made[early:], early)
    await story.correct(made)

    async def check() -> None:
        for one in asked:
            start, end = range_of(one, change)
            rows = await house.usage(
                meters[one["aggregation"]],
                window=one["window"],
                zone=zone,
                start=start,
                end=end,
                subjects=one["subjects"],
                group_by=one["group_by"],
                filters={"tier": one["filter"]} if one["filter"] else {},
            )
            assert [answered(row) for row in rows] == expected(story.counting, one, change, zone), one

    await check()
    if filled:
        await asyncio.gather(backfill.backfill(house.db, house.clickhouse, NS, story.type), check())
        await check()
