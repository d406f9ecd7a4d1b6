"""Fixtures of the whole suite. See `tests/fixtures` for what each gives."""

import os

import structlog
from hypothesis import settings

# In continuous integration the same examples come every time; elsewhere new ones are looked for at each run.
settings.register_profile("ci", derandomize=True, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

# Tracebacks as plain as those of a server: with the values of all variables they take minutes.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)

pytest_plugins = ["tests.fixtures.clickhouse", "tests.fixtures.databases"]
