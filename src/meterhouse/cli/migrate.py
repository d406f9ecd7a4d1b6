"""`meterhouse migrate`."""

import asyncio

from meterhouse.cli.options import ConfigOption, DataDirOption, console, settings_from, told
from meterhouse.runtime.backends import running
from meterhouse.settings import Settings


def migrate(config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Bring the schemas of Postgres and ClickHouse up to date, and stop.

    `meterhouse serve` does the same at its start, unless METERHOUSE_AUTO_MIGRATE is false.
    """
    settings = settings_from(config, data_dir=data_dir, auto_migrate=True)
    with told():
        asyncio.run(_migrate(settings))
    console.print("The schemas are up to date.")


async def _migrate(settings: Settings) -> None:
    async with running(settings, console.print):
        pass
