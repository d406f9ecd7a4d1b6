"""Queries on custom currencies and cost bases."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, SelectBase, String, bindparam, column, func, null, or_, select, union_all
from sqlalchemy.dialects.postgresql import ARRAY

from meterhouse.catalog.currencies.currency import CurrencyType
from meterhouse.catalog.currencies.models import CostBasisRow, CurrencyRow
from meterhouse.kernel.conditions import Column, Condition, Sort, order_by
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.fiat import FIAT
from meterhouse.kernel.paged import page_of
from meterhouse.kernel.pages import PageRequest


async def find(
    session: ReadSession, namespace: str, currency_id: str, *, for_update: bool = False
) -> CurrencyRow | None:
    """Return the custom currency of that id."""
    query = select(CurrencyRow).where(CurrencyRow.namespace == namespace, CurrencyRow.id == currency_id)
    if for_update:
        query = query.with_for_update()
    return (await session.scalars(query)).one_or_none()


async def by_codes(session: ReadSession, namespace: str, codes: Collection[str]) -> Sequence[CurrencyRow]:
    """Return the custom currencies of those codes."""
    query = select(CurrencyRow).where(CurrencyRow.namespace == namespace, CurrencyRow.code.in_(codes))
    return (await session.scalars(query)).all()


async def codes_with_basis(
    session: ReadSession, namespace: str, codes: Collection[str], fiat_code: str, at: datetime
) -> Sequence[str]:
    """Return those of the codes that are worth something in the fiat at that instant."""
    query = (
        select(CurrencyRow.code)
        .join(CostBasisRow, CostBasisRow.currency_id == CurrencyRow.id)
        .where(CurrencyRow.namespace == namespace, CurrencyRow.code.in_(codes), *_covering(fiat_code, at))
    )
    return (await session.scalars(query)).all()


def _covering(fiat_code: str, at: datetime) -> tuple[ColumnElement[bool], ...]:
    return (CostBasisRow.fiat_code == fiat_code, CostBasisRow.effective_from <= at, _not_over(at))


def _not_over(at: datetime) -> ColumnElement[bool]:
    return or_(CostBasisRow.effective_to.is_(None), CostBasisRow.effective_to > at)


async def listed(
    session: ReadSession,
    namespace: str,
    *,
    types: Collection[CurrencyType],
    code: Condition | None,
    sorts: Sequence[Sort],
    offset: int,
    limit: int,
) -> tuple[Sequence[tuple[str, CurrencyRow | None]], int]:
    """Return a stretch of fiat and custom currencies in one order, each by its code, and how many match in all."""
    kinds = {CurrencyType.FIAT: _fiat(), CurrencyType.CUSTOM: _custom(namespace)}
    every = union_all(*(kinds[one] for one in dict.fromkeys(types))).subquery()
    where = [code.clause(every.c.code)] if code else []
    total = await session.scalar(select(func.count()).select_from(every).where(*where)) or 0
    columns: Mapping[str, Column] = {"code": every.c.code, "name": every.c.name}
    query = (
        select(every.c.code, CurrencyRow)
        .join_from(every, CurrencyRow, CurrencyRow.id == every.c.id, isouter=True)
        .where(*where)
        .order_by(*order_by(sorts, columns, last=every.c.code))
        .offset(offset)
        .limit(limit)
    )
    return [(code, row) for code, row in await session.execute(query)], total


def _fiat() -> SelectBase:
    codes = bindparam(None, [one.code for one in FIAT.values()], type_=ARRAY(String))
    names = bindparam(None, [one.name for one in FIAT.values()], type_=ARRAY(String))
    table = func.unnest(codes, names).table_valued(column("code", String), column("name", String)).render_derived()
    return select(table.c.code, table.c.name, null().cast(String).label("id"))


def _custom(namespace: str) -> SelectBase:
    return select(CurrencyRow.code, CurrencyRow.name, CurrencyRow.id).where(CurrencyRow.namespace == namespace)


async def not_over(session: ReadSession, currency_ids: Collection[str], at: datetime) -> Sequence[CostBasisRow]:
    """Return the cost bases that hold at the instant or later, the latest to begin first."""
    query = (
        select(CostBasisRow)
        .where(CostBasisRow.currency_id.in_(currency_ids), _not_over(at))
        .order_by(CostBasisRow.effective_from.desc(), CostBasisRow.id.desc())
    )
    return (await session.scalars(query)).all()


async def bases_of(session: ReadSession, currency_id: str, fiat_code: str) -> Sequence[CostBasisRow]:
    """Return what the currency was, is and will be worth in the fiat, the first to begin first."""
    query = (
        select(CostBasisRow)
        .where(CostBasisRow.currency_id == currency_id, CostBasisRow.fiat_code == fiat_code)
        .order_by(CostBasisRow.effective_from)
    )
    return (await session.scalars(query)).all()


async def listed_bases(
    session: ReadSession, currency_id: str, page: PageRequest, *, conditions: Mapping[str, Condition]
) -> tuple[Sequence[CostBasisRow], int]:
    """Return a page of the cost bases, the latest to begin first, and how many match in all."""
    columns: Mapping[str, Column] = {
        "fiat_code": CostBasisRow.fiat_code,
        "effective_from": CostBasisRow.effective_from,
    }
    where = [CostBasisRow.currency_id == currency_id]
    where += [condition.clause(columns[field]) for field, condition in conditions.items()]
    sorts = [Sort("effective_from", descending=True)]
    return await page_of(session, CostBasisRow, where, sorts, columns, page, last=CostBasisRow.id)


async def basis_at(session: ReadSession, currency_id: str, fiat_code: str, at: datetime) -> CostBasisRow | None:
    """Return the cost basis at an instant: of several the latest to begin."""
    query = (
        select(CostBasisRow)
        .where(CostBasisRow.currency_id == currency_id, *_covering(fiat_code, at))
        .order_by(CostBasisRow.effective_from.desc())
        .limit(1)
    )
    return (await session.scalars(query)).one_or_none()
