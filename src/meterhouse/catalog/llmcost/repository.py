"""Queries on prices of language models."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, String, and_, bindparam, case, column, exists, func, or_, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import aliased

from meterhouse.catalog.llmcost.models import LLMPriceRow
from meterhouse.catalog.llmcost.price import Source
from meterhouse.kernel.conditions import Column, Condition, Sort
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.paged import page_of
from meterhouse.kernel.pages import PageRequest

COLUMNS: Mapping[str, Column] = {
    "id": LLMPriceRow.id,
    "provider": LLMPriceRow.provider,
    "provider.id": LLMPriceRow.provider,
    "model_id": LLMPriceRow.model_id,
    "model.id": LLMPriceRow.model_id,
    "model_name": LLMPriceRow.model_name,
    "currency": LLMPriceRow.currency,
    "source": case((LLMPriceRow.namespace.is_(None), Source.SYSTEM.value), else_=Source.MANUAL.value),
    "effective_from": LLMPriceRow.effective_from,
    "effective_to": LLMPriceRow.effective_to,
}


def _in_force(row: type[LLMPriceRow], at: datetime) -> ColumnElement[bool]:
    # What was deleted held until then: what usage cost stays as it was.
    return and_(
        or_(row.deleted_at.is_(None), row.deleted_at > at),
        row.effective_from <= at,
        or_(row.effective_to.is_(None), row.effective_to > at),
    )


def _visible(namespace: str) -> ColumnElement[bool]:
    return or_(LLMPriceRow.namespace == namespace, LLMPriceRow.namespace.is_(None))


def _among(models: Collection[tuple[str, str]]) -> ColumnElement[bool]:
    """Return the condition that a price is one of these models, by provider and model key.

    The keys are sent as two arrays: usage may name more models than a statement can have parameters.
    """
    columns = [list(names) for names in zip(*models, strict=True)] or [[], []]
    wanted = func.unnest(*(bindparam(None, names, type_=ARRAY(String)) for names in columns)).table_valued(
        column("provider_key", String), column("model_key", String)
    )
    table = wanted.render_derived()
    return tuple_(LLMPriceRow.provider_key, LLMPriceRow.model_key).in_(select(table.c.provider_key, table.c.model_key))


async def listed(
    session: ReadSession,
    namespace: str,
    at: datetime,
    page: PageRequest,
    *,
    conditions: Mapping[str, Condition],
    sorts: Sequence[Sort],
) -> tuple[Sequence[LLMPriceRow], int]:
    """Return a page of the prices in force, an override in place of everybody's price, and how many match."""
    override = aliased(LLMPriceRow)
    overridden = exists().where(
        override.namespace == namespace,
        override.provider_key == LLMPriceRow.provider_key,
        override.model_key == LLMPriceRow.model_key,
        _in_force(override, at),
    )
    where = [_visible(namespace), _in_force(LLMPriceRow, at), or_(LLMPriceRow.namespace.is_not(None), ~overridden)]
    return await _page(session, page, where, conditions, sorts)


async def listed_overrides(
    session: ReadSession, namespace: str, page: PageRequest, *, conditions: Mapping[str, Condition]
) -> tuple[Sequence[LLMPriceRow], int]:
    """Return a page of the namespace's overrides, whenever they are in force, and how many match."""
    where = [LLMPriceRow.namespace == namespace, LLMPriceRow.deleted_at.is_(None)]
    return await _page(session, page, where, conditions, [Sort("provider"), Sort("model_id")])


async def _page(
    session: ReadSession,
    page: PageRequest,
    where: Sequence[ColumnElement[bool]],
    conditions: Mapping[str, Condition],
    sorts: Sequence[Sort],
) -> tuple[Sequence[LLMPriceRow], int]:
    every = [*where, *(condition.clause(COLUMNS[field]) for field, condition in conditions.items())]
    return await page_of(session, LLMPriceRow, every, sorts, COLUMNS, page, last=LLMPriceRow.id)


async def find(session: ReadSession, namespace: str, price_id: str) -> LLMPriceRow | None:
    """Return everybody's price or the namespace's override of that id; deleted ones too."""
    query = select(LLMPriceRow).where(LLMPriceRow.id == price_id, _visible(namespace))
    return (await session.scalars(query)).one_or_none()


async def override_of(session: ReadSession, namespace: str, provider_key: str, model_key: str) -> LLMPriceRow | None:
    """Return the namespace's override for a model, whenever it is in force."""
    query = select(LLMPriceRow).where(
        LLMPriceRow.namespace == namespace,
        LLMPriceRow.provider_key == provider_key,
        LLMPriceRow.model_key == model_key,
        LLMPriceRow.deleted_at.is_(None),
    )
    return (await session.scalars(query)).one_or_none()


async def in_force(
    session: ReadSession, namespace: str, models: Collection[tuple[str, str]], at: datetime
) -> Sequence[LLMPriceRow]:
    """Return what holds for those models (provider and model by their keys), the weaker before the stronger."""
    query = (
        select(LLMPriceRow)
        .where(
            _visible(namespace),
            _in_force(LLMPriceRow, at),
            _among(models),
        )
        .order_by(LLMPriceRow.namespace.nulls_first(), LLMPriceRow.deleted_at.is_(None), LLMPriceRow.effective_from)
    )
    return (await session.scalars(query)).all()


async def bounds(
    session: ReadSession, namespace: str, models: Collection[tuple[str, str]]
) -> Sequence[tuple[datetime, datetime | None]]:
    """Return from when to when each price of those models holds."""
    end = func.least(LLMPriceRow.effective_to, LLMPriceRow.deleted_at)
    query = select(LLMPriceRow.effective_from, end).where(_visible(namespace), _among(models))
    return [(start, end) for start, end in await session.execute(query)]


async def not_over(session: ReadSession, at: datetime) -> Sequence[LLMPriceRow]:
    """Return everybody's prices that hold at an instant or later, in order of time."""
    query = (
        select(LLMPriceRow)
        .where(
            LLMPriceRow.namespace.is_(None),
            or_(LLMPriceRow.effective_to.is_(None), LLMPriceRow.effective_to > at),
            LLMPriceRow.deleted_at.is_(None),
        )
        .order_by(LLMPriceRow.effective_from)
    )
    return (await session.scalars(query)).all()
