"""`meterhouse dead-letters`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from meterhouse.cli.options import ConfigOption, DataDirOption, console, fail, settings_from, told
from meterhouse.kernel.db import Database
from meterhouse.metering import deadletters
from meterhouse.metering.deadletters import DeadLetter
from meterhouse.metering.events.log import EventLog
from meterhouse.runtime.backends import running
from meterhouse.runtime.composition import event_log
from meterhouse.settings import Settings

app = typer.Typer(help="Records of the event log that could not be stored.", no_args_is_help=True)

SHOWN_BYTES = 120  # of a payload: enough to tell what it is, little enough for a line of the terminal

out = Console()  # what is asked for goes to standard output, progress to standard error


@app.command("list")
def list_letters(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most, the oldest first.")] = 100,
) -> None:
    """Show records that could not be stored, and why."""
    settings = settings_from(config, data_dir=data_dir)
    with told():
        letters = asyncio.run(_list(settings, limit))
    if not letters:
        console.print("There are no dead letters.")
        return
    table = Table("Id", "Put aside", "Place", "Namespace", "Reason", "Payload")
    for letter in letters:
        table.add_row(
            letter.id,
            letter.created_at.isoformat(timespec="seconds"),
            f"{letter.partition}:{letter.position}",
            letter.namespace,
            letter.reason,
            repr(letter.payload[:SHOWN_BYTES])[2:-1],
        )
    out.print(table)


@app.command("replay")
def replay(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Which, as `list` shows them.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Put records back into the event log, once what kept them from being stored is mended.

    Ends with 1 when some of them still cannot be read; those stay dead letters.
    """
    if bool(ids) == every:
        fail("name the ids of dead letters, or give --all")
    settings = settings_from(config, data_dir=data_dir)
    with told():
        count, failed = asyncio.run(_replay(settings, None if every else ids))
    for letter_id, reason in failed.items():
        console.print(f"[red]{letter_id}[/]: {reason}", highlight=False, soft_wrap=True)
    console.print(f"{count} replayed, {len(failed)} not.")
    if failed:
        raise typer.Exit(1)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Database, EventLog]]:
    async with running(settings, console.print) as backends:
        log = event_log(settings, backends.db)
        try:
            yield backends.db, log
        finally:
            await log.close()


async def _list(settings: Settings, limit: int) -> list[DeadLetter]:
    async with _opened(settings) as (db, _), db.read() as session:
        return await deadletters.list_letters(session, limit)


async def _replay(settings: Settings, ids: list[str] | None) -> tuple[int, dict[str, str]]:
    async with _opened(settings) as (db, log):
        return await deadletters.replay(db, log, ids)
