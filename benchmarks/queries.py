"""Meter queries on slots against the SQL shape of the reference, on the same engine and the same events.

Ours is measured whole, from the query value to the rows handed out; the reference is only its SQL. Both answers are
compared before anything is timed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import data
import harness
from harness import Figure, Scale

from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.meter import Aggregation
from meterhouse.metering.query import MeterQueries, MeterQuery, UsageRow, Window

EVENTS = {"small": 1_000_000, "full": 10_000_000}
ROUNDS = {"small": 15, "full": 7}

_NUMBER = "toDecimal128OrNull(nullIf(JSON_VALUE(data, '$.tokens'), 'null'), 19)"
_WHERE = "namespace = 'default' AND type = 'completion' AND time >= {start:DateTime} AND time < {end:DateTime}"
_RANGE = (
    "tumbleStart(min(time), toIntervalMinute(1)) AS windowstart, tumbleEnd(max(time), toIntervalMinute(1)) AS windowend"
)


def _windows(unit: str) -> str:
    return (
        f"tumbleStart(time, toInterval{unit}(1), 'UTC') AS windowstart,"
        f" tumbleEnd(time, toInterval{unit}(1), 'UTC') AS windowend"
    )


@dataclass(frozen=True, slots=True)
class Case:
    """One question, asked in both ways. The reference selects the bounds of the window first, then the value."""

    name: str
    target: float | None
    ours: MeterQuery
    reference: str

    def same(self, ours: Sequence[UsageRow], reference: Sequence[Sequence[Any]]) -> bool:
        """Tell whether both answers hold the same numbers."""
        return sorted(row.value for row in ours) == sorted(Decimal(row[2]) for row in reference)


def _query(aggregation: Aggregation, **members: Any) -> MeterQuery:
    return MeterQuery(data.meter(aggregation), data.START, data.END, **members)


def _reference(select: str, group_by: str = "", where: str = "") -> str:
    grouped = f" GROUP BY {group_by}" if group_by else ""
    return f"SELECT {select} FROM reference_events WHERE {_WHERE}{where}{grouped}"


_LATEST = f"argMax({_NUMBER}, time)"
_UNIQUE = "uniqExact(nullIf(JSON_VALUE(data, '$.user_id'), 'null'))"
_MODEL = "JSON_VALUE(data, '$.model') AS model"
_ONE, _SMALL = (f" AND subject IN ('{subject}')" for subject in (data.SUBJECT, data.SMALL_SUBJECT))

CASES = (
    Case(
        "SUM by subject",
        10,
        _query(Aggregation.SUM, group_by=["subject"]),
        _reference(f"{_RANGE}, sum({_NUMBER}), subject", "subject"),
    ),
    Case(
        "SUM by hour and dimension",
        9,
        _query(Aggregation.SUM, window=Window.HOUR, group_by=["model"]),
        _reference(f"{_windows('Hour')}, sum({_NUMBER}), {_MODEL}", "windowstart, windowend, model"),
    ),
    Case(
        "LATEST by subject",
        8,
        _query(Aggregation.LATEST, group_by=["subject"]),
        _reference(f"{_RANGE}, {_LATEST}, subject", "subject"),
    ),
    Case("UNIQUE_COUNT", 4, _query(Aggregation.UNIQUE_COUNT), _reference(f"{_RANGE}, {_UNIQUE}")),
    Case(
        "SUM of one subject",
        4,
        _query(Aggregation.SUM, subjects=[data.SUBJECT]),
        _reference(f"{_RANGE}, sum({_NUMBER}), subject", "subject", _ONE),
    ),
    Case(
        "SUM of one subject by day",
        4,
        _query(Aggregation.SUM, subjects=[data.SUBJECT], window=Window.DAY),
        _reference(f"{_windows('Day')}, sum({_NUMBER}), subject", "windowstart, windowend, subject", _ONE),
    ),
    Case(
        "SUM of a small subject",
        None,
        _query(Aggregation.SUM, subjects=[data.SMALL_SUBJECT]),
        _reference(f"{_RANGE}, sum({_NUMBER}), subject", "subject", _SMALL),
    ),
    Case(
        "COUNT by subject",
        1.1,
        _query(Aggregation.COUNT, group_by=["subject"]),
        _reference(f"{_RANGE}, toFloat64(count(*)), subject", "subject"),
    ),
)
BOUNDS = {"start": f"{data.START:%Y-%m-%d %H:%M:%S}", "end": f"{data.END:%Y-%m-%d %H:%M:%S}"}


async def compare(
    clickhouse: ClickHouse, cases: Sequence[Case], rounds: int, *, alike: bool = True
) -> dict[str, tuple[float, str]]:
    """Return, by name of the case, how many times faster ours is, with a note.

    Args:
        alike: whether the answers must be the same.
    """
    queries = MeterQueries(clickhouse)
    found: dict[str, tuple[float, str]] = {}
    for case in cases:
        ours = await queries.usage(case.ours)
        reference = await clickhouse.query(case.reference, BOUNDS)
        # LATEST is arbitrary within a second in the reference.
        if alike and "LATEST" not in case.name and not case.same(ours, reference):
            raise AssertionError(f"{case.name}: the answers differ")

        async def ask(case: Case = case) -> None:
            await queries.usage(case.ours)

        async def ask_reference(case: Case = case) -> None:
            await clickhouse.query(case.reference, BOUNDS)

        taken, reference_taken = await harness.alternate(rounds, ask, ask_reference)
        note = f"{harness.milliseconds(taken)} against {harness.milliseconds(reference_taken)}"
        found[case.name] = (harness.ratio(reference_taken, taken), note)
        harness.say(f"{case.name}: {found[case.name][0]:.1f}")
    return found


async def measure(scale: Scale) -> list[Figure]:
    """Fill both tables and ask every question."""
    with harness.temporary_directory() as directory:
        clickhouse = ClickHouse(f"chdb://{directory}", threads=2)
        try:
            count = EVENTS[scale]
            harness.say(f"storing {count:,} events twice")
            await data.create_tables(clickhouse)
            await data.fill(clickhouse, data.Range(0, count))
            await data.merge(clickhouse, "om_events", "reference_events")
            disk = await data.bytes_of(clickhouse, "om_events") / await data.bytes_of(clickhouse, "reference_events")
            found = await compare(clickhouse, CASES, ROUNDS[scale])
        finally:
            await clickhouse.close()
    figures = [
        Figure("queries", case.name, "SQL of the reference", found[case.name][0], case.target, note=found[case.name][1])
        for case in CASES
    ]
    return [*figures, Figure("storage", "event table on disk", "table of the reference", disk, 1.1, higher=False)]


if __name__ == "__main__":
    harness.run(measure, __doc__)
