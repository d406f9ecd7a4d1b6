"""Fixtures of the whole suite. See `tests/fixtures` for what each gives."""

pytest_plugins = ["tests.fixtures.clickhouse", "tests.fixtures.databases"]
