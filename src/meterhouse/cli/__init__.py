"""The command line: `meterhouse serve`, `demo`, `migrate`, `dead-letters`, `llm-prices`, `openapi`."""

import typer

from meterhouse.cli import dead_letters, demo, llm_prices, migrate, openapi, serve

app = typer.Typer(
    help="Meterhouse, a self-hosted metering and billing server. Start with: meterhouse serve",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("migrate")(migrate.migrate)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(llm_prices.app, name="llm-prices")
app.command("openapi")(openapi.openapi)


def main() -> None:
    """Run the command line."""
    app()
