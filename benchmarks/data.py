"""The data of the benchmarks: events as a model vendor sends them, the same in our table and in the reference's shape.

Five types (40, 25, 15, 12 and 8 %), 2,000 subjects by Zipf's law, 30 days, JSON of some 190 bytes: a value that is a
string in one event of five, three dimensions, a user and a nested object. Every column is a hash of the row's number,
so two tables that are filled apart hold the same events.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from meterhouse.kernel import clock
from meterhouse.kernel.ids import new_id
from meterhouse.metering import jsonpath
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.meter import Aggregation, Meter, Slot, SlotKind

NAMESPACE = "default"
TYPE = "completion"
START = datetime(2025, 3, 1, tzinfo=UTC)
DAYS = 30
SUBJECTS = 2_000
# A subject with one event of 26, by which the targets were set, and one with one of 300: hardly more than a statement.
SUBJECT, SMALL_SUBJECT = "customer-3", "customer-40"

VALUE, USER = "$.tokens", "$.user_id"
DIMENSIONS = {"model": "$.model", "region": "$.region", "kind": "$.kind"}


def _slot(kind: SlotKind, path: str, column: str) -> Slot:
    return Slot(kind, jsonpath.parse(path).text, column, 1)


SLOTS = (
    _slot(SlotKind.NUMBER, VALUE, "n0"),
    _slot(SlotKind.DIMENSION, DIMENSIONS["model"], "s0"),
    _slot(SlotKind.DIMENSION, DIMENSIONS["region"], "s1"),
    _slot(SlotKind.DIMENSION, DIMENSIONS["kind"], "s2"),
    _slot(SlotKind.TEXT, USER, "t0"),
)

# Rows of one INSERT SELECT: bounds the memory it takes.
CHUNK = 500_000


def _draw(salt: int, of: int) -> str:
    return f"cityHash64(number, {salt}) % {of}"


# Rows as both tables need them. The nested object stands in for what nobody meters.
_ROWS = f"""
SELECT
    number,
    lower(hex(MD5(toString(number)))) AS id,
    multiIf(h < 40, '{TYPE}', h < 65, 'embedding', h < 80, 'image', h < 92, 'storage', 'audio') AS type,
    concat('customer-', toString(toUInt32(floor(exp({_draw(2, 1_000_000)} / 1e6 * log({SUBJECTS})))))) AS subject,
    concat('service-', toString({_draw(3, 5)})) AS source,
    toDateTime('{START:%Y-%m-%d} 00:00:00', 'UTC') + {_draw(4, DAYS * 86_400)} AS time,
    concat(toString({_draw(5, 5_000)}), '.', leftPad(toString({_draw(6, 100)}), 2, '0')) AS tokens,
    {_draw(7, 5)} = 0 AS quoted,
    concat('model-', toString({_draw(8, 5)})) AS model,
    concat('region-', toString({_draw(9, 8)})) AS region,
    if({_draw(10, 2)} = 0, 'input', 'output') AS kind,
    concat('user-', toString({_draw(11, 100_000)})) AS user_id,
    concat('{{"tokens":', if(quoted, concat('"', tokens, '"'), tokens), ',"model":"', model, '","region":"', region,
        '","kind":"', kind, '","user_id":"', user_id, '","meta":{{"request":"', substring(id, 1, 12),
        '","retries":', toString({_draw(12, 3)}), ',"cached":false,"latency_ms":', toString({_draw(13, 4_000)}), '}}}}'
    ) AS data,
    time + toIntervalSecond(2) AS received,
    concat('01JNA1B2C3', substring(hex(MD5(concat('row', toString(number)))), 1, 16)) AS row_id,
    {_draw(1, 100)} AS h,
    h < 40 AS metered
FROM numbers({{start:UInt64}}, {{count:UInt64}})
"""

# Meters count one of the types, so only its events have slots.
_SLOT_COLUMNS = "slots_version, n0, s0, s1, s2, t0"
_SLOT_VALUES = """toUInt32(metered), if(metered, toDecimal128(tokens, 19), NULL), if(metered, model, ''),
    if(metered, region, ''), if(metered, kind, ''), if(metered, user_id, '')"""

_OURS = f"""
INSERT INTO om_events (namespace, id, type, subject, source, time, data, exact_data, ingested_at, stored_at,
    store_row_id, log_partition, log_position, {_SLOT_COLUMNS})
SELECT '{NAMESPACE}', id, type, subject, source, time, data, '', received, received + 1, row_id, 0, number,
    {_SLOT_VALUES}
FROM ({_ROWS})
"""

# For sizes at which the disk counts: without what no query of the benchmarks reads.
_LEAN = f"""
INSERT INTO om_events (namespace, type, subject, source, time, data, ingested_at, stored_at, {_SLOT_COLUMNS})
SELECT '{NAMESPACE}', type, subject, source, time, if(metered, data, ''), received, received + 1, {_SLOT_VALUES}
FROM ({_ROWS})
"""

_REFERENCE = f"""
INSERT INTO reference_events (namespace, id, type, subject, source, time, data, ingested_at, stored_at, store_row_id)
SELECT '{NAMESPACE}', id, type, subject, source, time, data, received, received + 1, row_id
FROM ({_ROWS})
"""

REFERENCE_TABLE = """
CREATE TABLE {name} (
    namespace String, id String, type LowCardinality(String), subject String, source String, time DateTime, data String,
    ingested_at DateTime, stored_at DateTime, store_row_id String,
    INDEX stored stored_at TYPE minmax GRANULARITY 4
) ENGINE = MergeTree PARTITION BY toYYYYMM(time) ORDER BY (namespace, type, subject, toStartOfHour(time)) {settings}
"""
FSYNC = "SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"


@dataclass(frozen=True, slots=True)
class Range:
    """Rows by their number."""

    start: int
    count: int

    def chunks(self) -> list["Range"]:
        """Divide into what one statement inserts."""
        stop = self.start + self.count
        return [Range(at, min(CHUNK, stop - at)) for at in range(self.start, stop, CHUNK)]


async def create_tables(clickhouse: ClickHouse) -> None:
    """Make our tables as they are shipped, and the reference's."""
    await clickhouse.migrate()
    await clickhouse.command(REFERENCE_TABLE.format(name="reference_events", settings=""))


async def fill(clickhouse: ClickHouse, rows: Range) -> None:
    """Add the same events to both tables."""
    for chunk in rows.chunks():
        for statement in (_OURS, _REFERENCE):
            await clickhouse.command(statement, {"start": chunk.start, "count": chunk.count})


async def fill_lean(clickhouse: ClickHouse, rows: Range) -> None:
    """Add events to our table alone, without ids, and with data only where they have the type that is asked for."""
    for chunk in rows.chunks():
        await clickhouse.command(_LEAN, {"start": chunk.start, "count": chunk.count})


async def merge(clickhouse: ClickHouse, *tables: str) -> None:
    """Merge what lies in a table into one part a month, so that two tables are compared in the same state."""
    for name in tables:
        await clickhouse.command(f"OPTIMIZE TABLE {name} FINAL")


async def bytes_of(clickhouse: ClickHouse, name: str) -> int:
    """Return the size of a table on disk."""
    ((size,),) = await clickhouse.query(
        "SELECT sum(bytes_on_disk) FROM system.parts"
        " WHERE database = currentDatabase() AND table = {name:String} AND active",
        {"name": name},
    )
    return int(size)


def meter(aggregation: Aggregation) -> Meter:
    """Return a meter over the events, whose paths all have slots."""
    value = {Aggregation.COUNT: None, Aggregation.UNIQUE_COUNT: USER}.get(aggregation, VALUE)
    now = clock.now()
    return Meter(
        id=new_id(),
        namespace=NAMESPACE,
        key=aggregation.value,
        name=aggregation.value,
        description=None,
        event_type=TYPE,
        aggregation=aggregation,
        value_property=value,
        group_by=DIMENSIONS,
        event_from=None,
        metadata={},
        annotations={},
        created_at=now,
        updated_at=now,
        slots=SLOTS,
        deleted_at=None,
    )


END = START + timedelta(days=DAYS)
