"""Database sessions: one request or job is one transaction, opened and committed here and nowhere else.

A read session runs in a READ ONLY transaction and a write session in a read-write one. They are different types, and a
write session may stand where a read session is asked for but never the reverse, so mypy proves that a read route cannot
write.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, NewType

from sqlalchemy import DateTime, MetaData, Numeric, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from meterhouse.kernel import clock

ReadSession = NewType("ReadSession", AsyncSession)
WriteSession = NewType("WriteSession", ReadSession)

JSONObject = dict[str, Any]


def violated(error: IntegrityError) -> str:
    """Return the name of the constraint or unique index that a statement broke."""
    # SQLAlchemy wraps asyncpg's error twice; only the innermost knows the constraint.
    cause = error.orig.__cause__ if error.orig is not None else None
    return getattr(cause, "constraint_name", None) or ""


class Base(DeclarativeBase):
    """Base of all tables. Instants are `timestamptz`, money and quantities unbounded `numeric`, JSON is `jsonb`."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        datetime: DateTime(timezone=True),
        Decimal: Numeric(),
        str: String(),
        JSONObject: JSONB(),
        dict[str, str]: JSONB(),
        list[Any]: JSONB(),
        list[str]: JSONB(),
    }


class Timestamps:
    """Columns of a row that can change: when it was made and last changed, by the clock of `kernel.clock`."""

    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    updated_at: Mapped[datetime] = mapped_column(default=clock.now, onupdate=clock.now)


class SoftDelete:
    """A row that is hidden instead of removed; live means `deleted_at` is null (api-conventions section 14)."""

    deleted_at: Mapped[datetime | None] = mapped_column(default=None)


class Database:
    """The pool of connections to Postgres.

    Args:
        url: SQLAlchemy URL of the asyncpg dialect.
        pool_size: connections kept open; up to as many again are opened under load.
        on_begin: run first in every transaction, for what must hold before any work (the simulated clock reads its
            instant there).
    """

    def __init__(
        self, url: str, *, pool_size: int = 10, on_begin: Callable[[AsyncSession], Awaitable[None]] | None = None
    ) -> None:
        self.url = url
        self.on_begin = on_begin
        self.engine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,
            connect_args={"server_settings": {"application_name": "meterhouse", "timezone": "UTC"}},
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[ReadSession]:
        """Open a READ ONLY transaction."""
        async with self._sessions() as session, session.begin():
            # Part of BEGIN: as a statement of its own it would be another round trip of every request.
            await session.connection(execution_options={"postgresql_readonly": True})
            if self.on_begin is not None:
                await self.on_begin(session)
            yield ReadSession(session)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[WriteSession]:
        """Open a transaction that is committed when the block ends, and rolled back when it raises."""
        async with self._sessions() as session, session.begin():
            if self.on_begin is not None:
                await self.on_begin(session)
            yield WriteSession(ReadSession(session))

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
