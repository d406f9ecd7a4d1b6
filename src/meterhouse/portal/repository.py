"""Queries on portal tokens."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, or_, select, update

from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.portal.models import PortalTokenRow


async def by_id(session: ReadSession, namespace: str, token_id: str) -> PortalTokenRow | None:
    """Return a token, whatever its state."""
    query = select(PortalTokenRow).where(PortalTokenRow.namespace == namespace, PortalTokenRow.id == token_id)
    return await session.scalar(query)


async def newest(session: ReadSession, namespace: str, limit: int) -> Sequence[PortalTokenRow]:
    """Return the tokens that were not invalidated, the newest first."""
    query = (
        select(PortalTokenRow)
        .where(PortalTokenRow.namespace == namespace, PortalTokenRow.invalidated_at.is_(None))
        .order_by(PortalTokenRow.created_at.desc(), PortalTokenRow.id.desc())
        .limit(limit)
    )
    return (await session.scalars(query)).all()


async def invalidate(
    session: WriteSession, namespace: str, at: datetime, *, token_id: str | None, subject: str | None
) -> None:
    """Mark the token with this id and those of this subject."""
    await session.execute(
        update(PortalTokenRow)
        .where(
            PortalTokenRow.namespace == namespace,
            PortalTokenRow.invalidated_at.is_(None),
            or_(PortalTokenRow.id == token_id, PortalTokenRow.subject == subject),
        )
        .values(invalidated_at=at)
    )


async def forget_expired(session: WriteSession, before: datetime) -> None:
    """Remove the tokens of all namespaces that expired before an instant."""
    await session.execute(delete(PortalTokenRow).where(PortalTokenRow.expires_at < before))
