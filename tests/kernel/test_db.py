"""Transactions that may only read."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from meterhouse.kernel.db import Database


async def test_a_read_transaction_cannot_write_and_leaves_its_connection_as_it_was(db: Database) -> None:
    one = Database(db.url, pool_size=1)
    try:
        async with one.write() as session:
            await session.execute(text("CREATE TABLE written (value text)"))
        with pytest.raises(DBAPIError, match="read-only transaction"):
            async with one.read() as session:
                await session.execute(text("INSERT INTO written VALUES ('a')"))
        async with one.write() as session:
            await session.execute(text("INSERT INTO written VALUES ('b')"))
        async with one.read() as session:
            assert list(await session.scalars(text("SELECT value FROM written"))) == ["b"]
    finally:
        await one.close()
