"""`meterhouse serve`."""

import asyncio
from datetime import datetime
from typing import Annotated

import typer

from meterhouse.cli.options import ConfigOption, DataDirOption, console, fail, settings_from, told


def serve(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on. [dim]\\[default: 127.0.0.1][/]")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on. [dim]\\[default: 8888][/]")] = None,
    roles: Annotated[
        str | None,
        typer.Option(
            "--roles",
            help="What this process does: api answers requests, sink stores events, worker does background work. "
            "[dim]\\[default: api,sink,worker][/]",
        ),
    ] = None,
    test_clock: Annotated[
        str | None,
        typer.Option(
            "--test-clock",
            metavar="RFC3339",
            help="Run on simulated time from this instant; PUT /api/v3/meterhouse/test-clock lets it pass.",
        ),
    ] = None,
) -> None:
    """Run the server until Ctrl-C.

    Without further settings Postgres and ClickHouse run embedded, below the data directory. Every option is also a
    setting: METERHOUSE_PORT in the environment, port in the YAML file.
    """
    settings = settings_from(
        config, data_dir=data_dir, host=host, port=port, roles=roles, test_clock=_instant(test_clock)
    )
    # Imported late so that --help and a wrong setting answer at once.
    import uvloop

    from meterhouse.runtime.serving import run

    with told(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(settings, lambda line: console.print(line, highlight=False, soft_wrap=True)))


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        fail(f"--test-clock: {text!r} is no RFC 3339 instant, such as 2025-01-15T00:00:00Z")
    if instant.tzinfo is None:
        fail("--test-clock: the instant needs an offset or Z")
    return instant
