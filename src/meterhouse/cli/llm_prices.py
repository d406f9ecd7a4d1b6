"""`meterhouse llm-prices`."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from meterhouse.catalog.llmcost import Pricing, quotes
from meterhouse.catalog.llmcost.quotes import DEFAULT_TOLERANCE, Quote
from meterhouse.catalog.llmcost.refresh import SHIPPED, Change, Kind, refresh, shipped
from meterhouse.cli.options import ConfigOption, DataDirOption, console, fail, settings_from, told
from meterhouse.kernel.money import plain
from meterhouse.runtime.backends import running_postgres
from meterhouse.settings import Settings

app = typer.Typer(help="Everybody's prices of language models.", no_args_is_help=True)

TIMEOUT_SECONDS = 30  # for one answer of a source: somebody waits at the terminal
MAX_BYTES = 64 * 1024 * 1024  # of one list; the largest known ones are a few MB

_MILLION = Decimal(1_000_000)

out = Console()  # what is asked for goes to standard output, progress to standard error


@app.callback()
def prices() -> None:
    """Everybody's prices of language models."""


def _ratio(text: str) -> Decimal:
    try:
        ratio = Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter("must be a number such as 0.01") from None
    if not 0 <= ratio < 1:
        raise typer.BadParameter("must be from 0 to below 1")
    return ratio


@app.command("refresh")
def refresh_prices(
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--from", metavar="FILE|URL", help="A price list; repeat it. [dim]\\[default: the shipped one][/]"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    tolerance: Annotated[
        Decimal,
        typer.Option(
            "--tolerance", parser=_ratio, metavar="RATIO", help="How far prices of several lists may be apart to agree."
        ),
    ] = DEFAULT_TOLERANCE,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Bring the prices up to date with price lists, and show what changes.

    Of several lists two must agree on a price. A price that changes is closed and a new one opened; a model that no
    list names keeps its price, and overrides of namespaces stay as they are. A list that cannot be had is left out.
    Lists are those of this project or of the form of models.dev (https://models.dev/api.json), as JSON or YAML.
    """
    settings = settings_from(config, data_dir=data_dir)
    with told():
        found = _read(sources)
        agreed = quotes.reconciled(found, tolerance, needed=min(2, len(sources or [SHIPPED])))
        named = len({one.key for listed in found for one in listed})
        console.print(f"{named} models are listed, {len(agreed)} prices agreed on.")
        changes = asyncio.run(_refresh(settings, agreed, dry_run=dry_run))
    _show(changes)
    counts = Counter(change.kind for change in changes)
    console.print(
        f"{counts[Kind.NEW]} new, {counts[Kind.CHANGED]} changed, {counts[Kind.UNCHANGED]} unchanged"
        + (". Nothing was written." if dry_run else "."),
        highlight=False,
    )


def _read(sources: Sequence[str] | None) -> list[list[Quote]]:
    if not sources:
        return [shipped()]
    found = [quotes.read(text, origin=source) for source in sources if (text := _text(source)) is not None]
    if not found:
        fail("no price list could be read")
    return found


def _text(source: str) -> str | None:
    """Return a price list. One that cannot be had is told of and left out: the others may do."""
    try:
        content = _download(source) if source.startswith(("http://", "https://")) else Path(source).read_bytes()
        return content.decode()
    except (OSError, httpx.HTTPError, UnicodeDecodeError, _TooLarge) as error:
        console.print(f"[yellow]left out[/] {source}: {error or type(error).__name__}", highlight=False, soft_wrap=True)
        return None


class _TooLarge(Exception):
    pass


def _download(url: str) -> bytes:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with (
        Progress(*columns, console=console, transient=True) as progress,
        httpx.stream("GET", url, follow_redirects=True, timeout=TIMEOUT_SECONDS) as answer,
    ):
        answer.raise_for_status()
        length = answer.headers.get("content-length", "")
        task = progress.add_task(f"Reading {url}", total=int(length) if length.isdigit() else None)
        content = bytearray()
        for part in answer.iter_bytes():
            content += part
            if len(content) > MAX_BYTES:
                raise _TooLarge(f"has more than {MAX_BYTES} bytes")
            progress.advance(task, len(part))
        return bytes(content)


async def _refresh(settings: Settings, agreed: Sequence[Quote], *, dry_run: bool) -> list[Change]:
    async with running_postgres(settings, console.print) as db, db.write() as session:
        return await refresh(session, agreed, dry_run=dry_run)


def _show(changes: Sequence[Change]) -> None:
    shown = sorted(
        (one for one in changes if one.kind is not Kind.UNCHANGED),
        key=lambda one: (one.quote.provider, one.quote.model),
    )
    if not shown:
        return
    table = Table("Provider", "Model", "Change", "From", "USD per million tokens")
    for change in shown:
        quote = change.quote
        table.add_row(
            quote.provider,
            quote.model,
            change.kind,
            change.effective_from.date().isoformat(),
            _difference(change.before, quote.pricing),
        )
    out.print(table)


def _difference(before: Pricing | None, after: Pricing) -> str:
    old = dict(before.members()) if before else {}
    parts = []
    for name, price in after.members():
        if price == old.get(name):
            continue
        arrow = f"{_amount(old[name])} → " if before else ""
        parts.append(f"{name.removesuffix('_per_token')} {arrow}{_amount(price)}")
    return ", ".join(parts)


def _amount(price: Decimal | None) -> str:
    return "none" if price is None else plain(price * _MILLION)
