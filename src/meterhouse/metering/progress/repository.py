"""Queries on tracked queries."""

from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert

from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.metering.progress.models import QueryProgressRow


async def find(session: ReadSession, namespace: str, client_id: str, since: datetime) -> QueryProgressRow | None:
    """Return what is known of a client's query, unless it is older than `since`."""
    query = select(QueryProgressRow).where(
        QueryProgressRow.namespace == namespace,
        QueryProgressRow.client_id == client_id,
        QueryProgressRow.updated_at > since,
    )
    return await session.scalar(query)


async def begin(session: WriteSession, namespace: str, client_id: str, *, mark: str, total: int, at: datetime) -> None:
    """Remember that a query runs; the client's one before it is forgotten."""
    values = {"mark": mark, "total": total, "done": False, "updated_at": at}
    statement = insert(QueryProgressRow).values(namespace=namespace, client_id=client_id, **values)
    keys = [QueryProgressRow.namespace, QueryProgressRow.client_id]
    await session.execute(statement.on_conflict_do_update(index_elements=keys, set_=values))


async def finish(session: WriteSession, namespace: str, mark: str, at: datetime) -> None:
    """Remember that a query ended, if its client has not begun another one."""
    await session.execute(
        update(QueryProgressRow)
        .where(QueryProgressRow.namespace == namespace, QueryProgressRow.mark == mark)
        .values(done=True, updated_at=at)
    )


async def forget(session: WriteSession, before: datetime) -> None:
    """Remove what is older than an instant, of all namespaces."""
    await session.execute(delete(QueryProgressRow).where(QueryProgressRow.updated_at <= before))
