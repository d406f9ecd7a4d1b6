"""Growth: whether the advantage over the reference's SQL holds as events pile up.

Both ways read one table here, ours, which holds what the reference reads as well: two of them would not fit. For the
growth of the table of keys see `dedupe`.
"""

from dataclasses import replace

import data
import harness
import queries
from harness import Figure, Scale

from meterhouse.metering.clickhouse import ClickHouse

SIZES = {"small": (1_000_000, 3_000_000, 10_000_000), "full": (1_000_000, 10_000_000, 50_000_000)}
ROUNDS = {"small": 5, "full": 5}
NAMES = ("SUM by subject", "SUM of one subject")


def _on_our_table(statement: str) -> str:
    """Let the reference read our table, whose times have fractions of a second, which its windows do not take."""
    for bound in ("min", "max"):
        statement = statement.replace(f"({bound}(time)", f"(toDateTime({bound}(time))")
    return statement.replace("reference_events", "om_events")


async def measure(scale: Scale) -> list[Figure]:
    """Ask the same questions at growing sizes."""
    cases = [replace(case, reference=_on_our_table(case.reference)) for case in queries.CASES if case.name in NAMES]
    figures: list[Figure] = []
    with harness.temporary_directory() as directory:
        clickhouse = ClickHouse(f"chdb://{directory}", threads=2)
        try:
            await data.create_tables(clickhouse)
            present = 0
            for size in SIZES[scale]:
                harness.say(f"storing events up to {size:,}")
                await data.fill_lean(clickhouse, data.Range(present, size - present))
                present = size
                found = await queries.compare(clickhouse, cases, ROUNDS[scale])
                figures += [
                    Figure(
                        "growth",
                        f"{case.name}, {size // 1_000_000}M events",
                        "SQL of the reference",
                        found[case.name][0],
                        note=found[case.name][1],
                    )
                    for case in cases
                ]
        finally:
            await clickhouse.close()
    return figures


if __name__ == "__main__":
    harness.run(measure, __doc__)
