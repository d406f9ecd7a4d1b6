"""Queries on installed apps."""

from sqlalchemy import select

from meterhouse.apps.models import AppRow
from meterhouse.kernel.db import ReadSession


async def installed(session: ReadSession, namespace: str, app_id: str) -> AppRow | None:
    """Return an app that is installed."""
    return await session.scalar(
        select(AppRow).where(AppRow.namespace == namespace, AppRow.id == app_id, AppRow.deleted_at.is_(None))
    )


async def sandbox(session: ReadSession, namespace: str) -> AppRow | None:
    """Return the namespace's sandbox app."""
    return await session.scalar(
        select(AppRow).where(AppRow.namespace == namespace, AppRow.type == "sandbox", AppRow.deleted_at.is_(None))
    )
