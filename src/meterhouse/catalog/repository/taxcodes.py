"""Queries on tax codes."""

from collections.abc import Collection, Sequence

from sqlalchemy import case, select

from meterhouse.catalog.models import TaxCodeRow, TaxDefaultsRow
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.paged import page_of
from meterhouse.kernel.pages import PageRequest


async def find(
    session: ReadSession, namespace: str, tax_code_id: str, *, deleted_too: bool = False
) -> TaxCodeRow | None:
    """Return the live tax code of that id."""
    query = select(TaxCodeRow).where(TaxCodeRow.namespace == namespace, TaxCodeRow.id == tax_code_id)
    if not deleted_too:
        query = query.where(TaxCodeRow.deleted_at.is_(None))
    return (await session.scalars(query)).one_or_none()


async def locked(session: WriteSession, namespace: str, tax_code_id: str, *, shared: bool) -> TaxCodeRow | None:
    """Return the live tax code of that id as it is now, and keep it so until the transaction ends.

    `shared` is for those who sell something with it: they keep out who deletes it, not each other.
    """
    query = (
        select(TaxCodeRow)
        .where(TaxCodeRow.namespace == namespace, TaxCodeRow.id == tax_code_id, TaxCodeRow.deleted_at.is_(None))
        .with_for_update(read=shared)
        .execution_options(populate_existing=True)
    )
    return (await session.scalars(query)).one_or_none()


async def by_ids(session: ReadSession, namespace: str, ids: Collection[str]) -> Sequence[TaxCodeRow]:
    """Return the tax codes of those ids, deleted ones too."""
    query = select(TaxCodeRow).where(TaxCodeRow.namespace == namespace, TaxCodeRow.id.in_(ids))
    return (await session.scalars(query)).all()


async def by_keys(session: ReadSession, namespace: str, keys: Collection[str]) -> Sequence[TaxCodeRow]:
    """Return the live tax codes of those keys."""
    query = select(TaxCodeRow).where(
        TaxCodeRow.namespace == namespace, TaxCodeRow.key.in_(keys), TaxCodeRow.deleted_at.is_(None)
    )
    return (await session.scalars(query)).all()


async def find_by_mapping(session: ReadSession, namespace: str, app_type: str, code: str) -> TaxCodeRow | None:
    """Return the live tax code with that mapping: the system's own first, then the oldest."""
    query = (
        select(TaxCodeRow)
        .where(
            TaxCodeRow.namespace == namespace,
            TaxCodeRow.app_mappings.contains({app_type: code}),
            TaxCodeRow.deleted_at.is_(None),
        )
        .order_by(case((TaxCodeRow.managed_by_system, 0), else_=1), TaxCodeRow.created_at, TaxCodeRow.id)
        .limit(1)
    )
    return (await session.scalars(query)).one_or_none()


async def listed(
    session: ReadSession, namespace: str, page: PageRequest, *, include_deleted: bool
) -> tuple[Sequence[TaxCodeRow], int]:
    """Return a page of the tax codes, the oldest first, and how many there are in all."""
    where = [TaxCodeRow.namespace == namespace]
    if not include_deleted:
        where.append(TaxCodeRow.deleted_at.is_(None))
    columns = {"created_at": TaxCodeRow.created_at}
    return await page_of(session, TaxCodeRow, where, [Sort("created_at")], columns, page, last=TaxCodeRow.id)


async def find_defaults(session: ReadSession, namespace: str) -> TaxDefaultsRow | None:
    """Return the namespace's default tax codes."""
    return await session.get(TaxDefaultsRow, namespace)
