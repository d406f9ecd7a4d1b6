"""Reading one page of a list without touching the rows around it.

The rows before a page are passed over in an index alone, from the end of the list that is nearer, and whole rows are
read for the page only. So a list wants an index for each of its orders: the namespace, the columns, the id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute

from meterhouse.kernel.conditions import Column, Sort, order_by
from meterhouse.kernel.db import Base, ReadSession
from meterhouse.kernel.pages import PageRequest

R = TypeVar("R", bound=Base)


async def page_of(
    session: ReadSession,
    row: type[R],
    clauses: Sequence[ColumnElement[bool]],
    sorts: Sequence[Sort],
    columns: Mapping[str, Column],
    page: PageRequest,
    *,
    last: InstrumentedAttribute[str],
) -> tuple[Sequence[R], int]:
    """Return the rows of one page and how many rows meet the clauses; `last`, the id, orders rows that are equal.

    Two statements at most, however many rows there are. Rows that come or go between the two move the page by as many,
    as they do between two requests.
    """
    total = await session.scalar(select(func.count()).select_from(row).where(*clauses)) or 0
    first, end = page.offset, min(page.offset + page.size, total)
    if first >= end:
        return [], total
    backwards = total - end < first
    walked = [replace(sort, descending=not sort.descending) for sort in sorts] if backwards else sorts
    ids = (
        select(last)
        .where(*clauses)
        .order_by(*order_by(walked, columns, last=last))
        .offset(total - end if backwards else first)
        .limit(end - first)
        .subquery()
    )
    query = select(row).join(ids, ids.c[0] == last).order_by(*order_by(sorts, columns, last=last))
    return (await session.scalars(query)).all(), total
