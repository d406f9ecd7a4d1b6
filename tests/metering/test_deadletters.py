"""Records that cannot be stored are kept with their reason, hold nothing up, and can be put back."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from meterhouse.cli.dead_letters import app
from meterhouse.kernel.db import Database
from meterhouse.metering import deadletters, jsonpath, rows
from meterhouse.metering.deadletters import DeadLetter
from meterhouse.metering.events import event as events
from meterhouse.metering.meters import Aggregation
from tests.metering.conftest import NS, House, event

TIME = "2025-03-01T10:00:00Z"


async def put(house: House, payload: bytes, namespace: str = NS) -> None:
    """Write a record past the checks of ingest."""
    async with house.db.write() as session:
        connection = await session.connection()
        await connection.exec_driver_sql(
            "INSERT INTO event_log (namespace, ingested_at, payload) VALUES ($1, now(), $2)", (namespace, payload)
        )


async def letters(db: Database) -> list[DeadLetter]:
    async with db.read() as session:
        return await deadletters.list_letters(session, 100)


async def stored(house: House) -> list[str]:
    return [row[0] for row in await house.clickhouse.query("SELECT id FROM om_events ORDER BY id")]


async def test_poison_is_kept_with_its_reason_and_holds_nothing_up(house: House) -> None:
    await put(house, b"nonsense\0\xff")
    await put(house, events.to_payload(event("1", TIME)), namespace="")
    await put(house, b'{"id":"x","type":"t","source":"s","subject":"u","time":99999999999999,"data":""}')
    await house.send(event("2", TIME))
    assert await stored(house) == ["2"]
    first, second, third = await letters(house.db)
    assert (first.payload, first.namespace) == (b"nonsense\0\xff", NS)
    assert "malformed" in first.reason
    assert "needs a namespace" in second.reason
    assert "$.time" in third.reason
    assert first.position < second.position < third.position


async def test_a_record_read_again_is_one_dead_letter(house: House) -> None:
    insert, fails = house.sink.insert_events, 2

    async def sometimes(table: object) -> None:
        nonlocal fails
        if fails:
            fails -= 1
            raise RuntimeError("away")
        await insert(table)  # type: ignore[arg-type]

    house.sink.insert_events = sometimes  # type: ignore[method-assign]
    await put(house, b"nonsense")
    await house.send(event("1", TIME))
    assert fails == 0
    assert [letter.payload for letter in await letters(house.db)] == [b"nonsense"]


async def test_replay(house: House) -> None:
    async with house.db.write() as session:
        records = [
            rows.Record(0, position, NS, event("1", TIME).ingested_at, payload)
            for position, payload in enumerate([events.to_payload(event("1", TIME)), b"nonsense"])
        ]
        await deadletters.add(session, [deadletters.Refused(record, "a bug") for record in records])
    good, bad = await letters(house.db)

    count, failed = await deadletters.replay(house.db, house.log, [bad.id, "nobody"])
    assert (count, set(failed)) == (0, {bad.id, "nobody"})
    assert "malformed" in failed[bad.id]
    assert failed["nobody"] == "there is no such dead letter"

    count, failed = await deadletters.replay(house.db, house.log)
    assert (count, set(failed)) == (1, {bad.id})
    await asyncio.wait_for(house.sink.drain(), 10)
    assert await stored(house) == ["1"]
    assert [letter.id for letter in await letters(house.db)] == [bad.id]
    assert good.id not in failed


async def test_an_event_that_cannot_be_laid_out_is_put_aside(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in reading values must cost one event its place, not all events behind it theirs."""
    await house.meter(Aggregation.SUM, "$.v")

    class Mistaken(rows.Documents):
        def __init__(self, datas: Sequence[str], paths: Sequence[jsonpath.Path]) -> None:
            if any("poison" in data for data in datas):
                raise KeyError("a mistake")
            super().__init__(datas, paths)

    monkeypatch.setattr(rows, "Documents", Mistaken)
    await house.send(event("1", TIME, data={"v": 1}), event("2", TIME, data={"v": "poison"}), event("3", TIME))
    assert await stored(house) == ["1", "3"]
    (letter,) = await letters(house.db)
    assert letter.reason == "KeyError('a mistake')"
    monkeypatch.undo()
    assert await deadletters.replay(house.db, house.log) == (1, {})
    await asyncio.wait_for(house.sink.drain(), 10)
    assert await stored(house) == ["1", "2", "3"]


def test_replay_asks_which() -> None:
    for arguments in (["replay"], ["replay", "--all", "01JNX8T0000000000000000001"]):
        assert CliRunner().invoke(app, arguments).exit_code == 1


async def test_commands(db: Database, database_url: str, tmp_path: Path) -> None:
    async with db.write() as session:
        payload = events.to_payload(event("1", TIME))
        record = rows.Record(3, 7, NS, event("1", TIME).ingested_at, payload)
        await deadletters.add(session, [deadletters.Refused(record, "a bug that was mended")])

    async def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "meterhouse", "dead-letters", *arguments],
            env={**os.environ, "METERHOUSE_DATABASE_URL": database_url, "COLUMNS": "200"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    listed = await run("list")
    assert listed.returncode == 0, listed.stderr
    assert "3:7" in listed.stdout
    assert "a bug that was mended" in listed.stdout
    replayed = await run("replay", "--all")
    assert (replayed.returncode, "1 replayed, 0 not" in replayed.stderr) == (0, True), replayed.stderr
    assert await letters(db) == []
    async with db.read() as session:
        found = await (await session.connection()).exec_driver_sql("SELECT payload FROM event_log")
        assert [row.payload for row in found] == [payload]
