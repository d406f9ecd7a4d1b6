"""The command line: `meterhouse serve`, `migrate`, `openapi`."""

import typer

from meterhouse.cli import migrate, openapi, serve

app = typer.Typer(
    help="Meterhouse, a self-hosted metering and billing server. Start with: meterhouse serve",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
)
app.command("serve")(serve.serve)
app.command("migrate")(migrate.migrate)
app.command("openapi")(openapi.openapi)


def main() -> None:
    """Run the command line."""
    app()
