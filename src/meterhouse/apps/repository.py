"""Queries on installed apps and what they know of customers."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from meterhouse.apps.models import AppRow, CustomerDataRow
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.pages import PageRequest


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


async def by_ids(session: ReadSession, namespace: str, ids: Sequence[str]) -> Sequence[AppRow]:
    """Return the apps of these ids, uninstalled ones too."""
    return (await session.scalars(select(AppRow).where(AppRow.namespace == namespace, AppRow.id.in_(ids)))).all()


async def linked(
    session: ReadSession, namespace: str, customer_id: str, page: PageRequest, app_type: str | None
) -> tuple[list[tuple[AppRow, Mapping[str, Any] | None]], int]:
    """Return one page of the apps that know a customer, with the data they keep, and how many there are.

    The sandbox keeps none and knows everyone.
    """
    known = and_(
        CustomerDataRow.app_id == AppRow.id,
        CustomerDataRow.customer_id == customer_id,
        CustomerDataRow.deleted_at.is_(None),
    )
    query = (
        select(AppRow, CustomerDataRow.data)
        .outerjoin(CustomerDataRow, known)
        .where(
            AppRow.namespace == namespace,
            AppRow.deleted_at.is_(None),
            or_(AppRow.type == "sandbox", CustomerDataRow.id.is_not(None)),
        )
    )
    if app_type is not None:
        query = query.where(AppRow.type == app_type)
    total = await session.scalar(select(func.count()).select_from(query.subquery()))
    rows = await session.execute(query.order_by(AppRow.created_at, AppRow.id).offset(page.offset).limit(page.size))
    return [(app, data) for app, data in rows], total or 0


async def customer_data(session: ReadSession, namespace: str, customer_id: str, app_id: str) -> CustomerDataRow | None:
    """Return what an app keeps of a customer."""
    return await session.scalar(
        select(CustomerDataRow).where(
            CustomerDataRow.namespace == namespace,
            CustomerDataRow.customer_id == customer_id,
            CustomerDataRow.app_id == app_id,
            CustomerDataRow.deleted_at.is_(None),
        )
    )


async def put_customer_data(
    session: WriteSession, namespace: str, customer_id: str, app_id: str, data: dict[str, Any]
) -> None:
    """Keep data of a customer for an app in the place of what was kept."""
    now = clock.now()
    row = {"id": new_id(), "namespace": namespace, "customer_id": customer_id, "app_id": app_id, "data": data}
    statement = insert(CustomerDataRow).values(**row, created_at=now, updated_at=now)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[CustomerDataRow.customer_id, CustomerDataRow.app_id],
            index_where=CustomerDataRow.deleted_at.is_(None),
            set_={"data": data, "updated_at": now},
        )
    )


async def delete_customer_data(
    session: WriteSession, namespace: str, customer_id: str, *, app_id: str | None = None, at: datetime | None = None
) -> None:
    """Delete what one app, or all apps, keep of a customer."""
    now = at or clock.now()
    statement = update(CustomerDataRow).where(
        CustomerDataRow.namespace == namespace,
        CustomerDataRow.customer_id == customer_id,
        CustomerDataRow.deleted_at.is_(None),
    )
    if app_id is not None:
        statement = statement.where(CustomerDataRow.app_id == app_id)
    await session.execute(statement.values(deleted_at=now, updated_at=now))
