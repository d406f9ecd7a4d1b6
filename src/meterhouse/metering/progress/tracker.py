"""Runs meter queries under a client's name, and tells how far they are."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import NotFound
from meterhouse.kernel.ids import new_id
from meterhouse.metering.progress import repository
from meterhouse.metering.query import MeterQueries, MeterQuery, UsageRow

log = structlog.get_logger(__name__)

KEPT = timedelta(minutes=5)  # how long a client may take to ask; longer than any query runs


@dataclass(frozen=True, slots=True)
class Progress:
    """How many of a query's events are read.

    Attributes:
        success: events read; `total` when the query has ended.
        total: events in the range of the query.
        updated_at: when this was found out.
    """

    success: int
    total: int
    updated_at: datetime


class TrackedQueries:
    """Meter queries that other requests can ask after."""

    def __init__(self, db: Database, queries: MeterQueries) -> None:
        self._db = db
        self._queries = queries

    async def usage(self, client_id: str, query: MeterQuery) -> list[UsageRow]:
        """Answer a query. What goes wrong in tracking it is logged and does not fail it."""
        namespace, mark = query.meter.namespace, new_id()

        async def begin() -> None:
            total = await self._queries.count(query)
            now = clock.now()
            async with self._db.write() as session:
                await repository.forget(session, now - KEPT)
                await repository.begin(session, namespace, client_id, mark=mark, total=total, at=now)

        async def finish() -> None:
            async with self._db.write() as session:
                await repository.finish(session, namespace, mark, clock.now())

        await _quietly(begin)
        rows = await self._queries.usage(query, mark=mark)
        await _quietly(finish)
        return rows

    async def progress(self, namespace: str, client_id: str) -> Progress:
        """Tell how far the latest query of a client is.

        Raises:
            NotFound: the client sent none within the last five minutes.
        """
        now = clock.now()
        async with self._db.read() as session:
            row = await repository.find(session, namespace, client_id, now - KEPT)
        if row is None:
            raise NotFound(f"progress not found: {client_id}")
        if row.done:
            return Progress(row.total, row.total, row.updated_at)
        return Progress(min(await self._queries.rows_read(row.mark), row.total), row.total, now)


async def _quietly(track: Callable[[], Awaitable[None]]) -> None:
    try:
        await track()
    except Exception:
        log.warning("query is not tracked", exc_info=True)
