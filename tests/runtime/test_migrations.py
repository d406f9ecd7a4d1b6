"""The migrations make the very schema that the models describe, custom statements included."""

from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from meterhouse import migrate
from meterhouse.kernel.ids import new_id
from meterhouse.schema import metadata

CATALOG = {
    "columns": """
        SELECT table_name, column_name, data_type, udt_name, is_nullable, column_default, is_identity
        FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'""",
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'",
    "sequences": "SELECT sequencename, data_type::text, start_value, increment_by FROM pg_sequences",
    "triggers": "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "functions": "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    "types": """
        SELECT typname, typtype FROM pg_type
        WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'r')""",
}


async def catalog(url: str) -> dict[str, set[tuple[object, ...]]]:
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        found = {name: {tuple(row) for row in await connection.execute(text(sql))} for name, sql in CATALOG.items()}
    await engine.dispose()
    return found


async def empty(server: Path) -> str:
    """Make a database without anything in it; return its URL."""
    name = f"empty_{new_id().lower()}"
    connection = await asyncpg.connect(user="postgres", database="postgres", host=str(server))
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return f"postgresql+asyncpg://postgres@/{name}?host={server}"


@pytest.fixture
async def migrated_url(postgres_server: Path) -> str:
    url = await empty(postgres_server)
    await migrate.upgrade(url)
    return url


@pytest.fixture
async def modelled_url(postgres_server: Path) -> str:
    url = await empty(postgres_server)
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(metadata().create_all)
    await engine.dispose()
    return url


async def test_migrations_and_models_make_the_same_schema(modelled_url: str, migrated_url: str) -> None:
    by_models, by_migrations = await catalog(modelled_url), await catalog(migrated_url)
    for kind in CATALOG:
        assert by_migrations[kind] == by_models[kind], kind


async def test_migrating_again_changes_nothing(migrated_url: str) -> None:
    before = await catalog(migrated_url)
    await migrate.upgrade(migrated_url)
    assert await catalog(migrated_url) == before
