"""Queries on tax codes."""

from collections.abc import Collection, Sequence

from sqlalchemy import Select, case, select

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


def _held(query: Select[TaxCodeRow]) -> Select[TaxCodeRow]:
    """Return the query of rows as they are now, kept from being deleted until the transaction ends.

    Who sells something with a tax code, or promotes it, asks so. It waits for nobody but who deletes the code, who in
    turn takes no further lock: so rows and the namespace's lock may be taken in any order.
    """
    return query.with_for_update(read=True, key_share=True).execution_options(populate_existing=True)


async def held(session: WriteSession, namespace: str, tax_code_id: str) -> TaxCodeRow | None:
    """Return the live tax code of that id, kept from being deleted until the transaction ends."""
    return (await session.scalars(_held(_live(namespace, tax_code_id)))).one_or_none()


async def to_delete(session: WriteSession, namespace: str, tax_code_id: str) -> TaxCodeRow | None:
    """Return the live tax code of that id, once nobody is about to use it; others wait until the transaction ends."""
    query = _live(namespace, tax_code_id).with_for_update().execution_options(populate_existing=True)
    return (await session.scalars(query)).one_or_none()


def _live(namespace: str, tax_code_id: str) -> Select[TaxCodeRow]:
    return select(TaxCodeRow).where(
        TaxCodeRow.namespace == namespace, TaxCodeRow.id == tax_code_id, TaxCodeRow.deleted_at.is_(None)
    )


async def by_ids(session: ReadSession, namespace: str, ids: Collection[str]) -> Sequence[TaxCodeRow]:
    """Return the tax codes of those ids, deleted ones too."""
    query = select(TaxCodeRow).where(TaxCodeRow.namespace == namespace, TaxCodeRow.id.in_(ids))
    return (await session.scalars(query)).all()


async def by_keys(session: WriteSession, namespace: str, keys: Collection[str]) -> Sequence[TaxCodeRow]:
    """Return the live tax codes of those keys, kept from being deleted until the transaction ends."""
    query = select(TaxCodeRow).where(
        TaxCodeRow.namespace == namespace, TaxCodeRow.key.in_(keys), TaxCodeRow.deleted_at.is_(None)
    )
    return (await session.scalars(_held(query))).all()


async def find_by_mapping(session: WriteSession, namespace: str, app_type: str, code: str) -> TaxCodeRow | None:
    """Return the live tax code with that mapping: the system's own first, then the oldest.

    It is kept from being deleted until the transaction ends.
    """
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
    return (await session.scalars(_held(query))).one_or_none()


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
