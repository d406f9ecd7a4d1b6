"""The door to ClickHouse."""

from pathlib import Path

import pyarrow as pa
import pytest

import meterhouse.metering
from meterhouse.kernel import clock
from meterhouse.kernel.errors import Unavailable
from meterhouse.metering.clickhouse import ClickHouse, connection_arguments
from meterhouse.metering.events.event import payload_of
from meterhouse.metering.events.log import Record
from meterhouse.metering.rows import to_table
from tests.metering.conftest import event

MIGRATIONS = Path(meterhouse.metering.__path__[0]) / "migrations"


def _rows(*times: str) -> pa.Table:
    events = [event(str(i), time) for i, time in enumerate(times)]
    records = [Record(0, i, one.namespace, one.ingested_at, b"") for i, one in enumerate(events)]
    return to_table(list(zip(records, map(payload_of, events), strict=True)), {}, clock.now(), {})


async def test_a_repeated_request_inserts_once(clickhouse: ClickHouse) -> None:
    rows = _rows("2025-03-01T10:00:00Z", "2025-04-01T10:00:00Z")
    for name in ("one", "one", "two"):
        await clickhouse.insert("om_events", rows, name=name)
    assert list(await clickhouse.query("SELECT count() FROM om_events")) == [(4,)]


async def test_migrations_run_once_and_survive_half_a_run(clickhouse: ClickHouse) -> None:
    await clickhouse.migrate()
    await clickhouse.command("TRUNCATE TABLE om_migrations")
    await clickhouse.command("DROP TABLE om_event_keys")
    await clickhouse.migrate()
    assert list(await clickhouse.query("SELECT name FROM om_migrations ORDER BY name")) == [
        (path.name,) for path in sorted(MIGRATIONS.glob("*.sql"))
    ]
    assert list(await clickhouse.query("SELECT count() FROM om_event_keys")) == [(0,)]


async def test_a_server_that_does_not_answer_is_unavailable() -> None:
    away = ClickHouse("http://127.0.0.1:1/db", threads=1)
    with pytest.raises(Unavailable):
        await away.query("SELECT 1")
    await away.close()


def test_urls() -> None:
    server = connection_arguments("https://us%40er:p%2Fw@click.example/usage")
    assert (
        server.items()
        >= {
            "host": "click.example",
            "port": 8443,
            "username": "us@er",
            "password": "p/w",
            "database": "usage",
            "secure": True,
        }.items()
    )
    embedded = connection_arguments("chdb:///data/click%20house?database=x")
    assert (embedded["interface"], embedded["path"], embedded["database"]) == ("chdb", "/data/click house", "x")
    with pytest.raises(ValueError, match="scheme"):
        connection_arguments("mysql://x/y")
