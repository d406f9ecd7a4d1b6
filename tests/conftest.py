"""Fixtures of the whole suite. See `tests/fixtures` for what each gives."""

import os

from hypothesis import settings

# In continuous integration the same examples come every time; elsewhere new ones are looked for at each run.
settings.register_profile("ci", derandomize=True, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

pytest_plugins = ["tests.fixtures.clickhouse", "tests.fixtures.databases"]
