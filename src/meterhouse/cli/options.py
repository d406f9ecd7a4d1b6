"""What several commands share: their options, and how a failure that the user can mend is shown."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console

from meterhouse.engines import EngineError
from meterhouse.kernel.errors import DomainError
from meterhouse.settings import Settings, load

console = Console(stderr=True)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="YAML file of settings.", envvar="METERHOUSE_CONFIG"),
]
DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Where embedded engines keep their data. [dim]\\[default: data][/]"),
]


def settings_from(config: Path | None, **given: Any) -> Settings:
    """Read the settings, or end the program with a line for each that is wrong."""
    try:
        return load(config, **given)
    except FileNotFoundError as error:
        fail(str(error))
    except ValidationError as error:
        for one in error.errors():
            name = ".".join(str(part) for part in one["loc"]) or "settings"
            console.print(f"[red]{name}[/]: {one['msg'].removeprefix('Value error, ')}", highlight=False)
        raise typer.Exit(2) from None


def fail(message: str) -> NoReturn:
    """End the program with one line that says what to do."""
    console.print(f"[red]error:[/] {message}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)


@contextmanager
def told() -> Iterator[None]:
    """Show failures that the user can mend as one line; anything else is a bug and keeps its trace."""
    try:
        yield
    except (EngineError, DomainError) as error:
        fail(str(error))
