"""Queries of invoices."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, func, select

from meterhouse.billing.invoices.filters import InvoiceFilter
from meterhouse.billing.invoices.models import (
    GATHERING,
    STANDARD,
    InvoiceDetailedLineRow,
    InvoiceIssueRow,
    InvoiceLineRow,
    InvoiceRow,
)
from meterhouse.billing.invoices.states import FINAL
from meterhouse.kernel.conditions import Sort, order_by
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.pages import PageRequest


async def invoice(session: ReadSession, namespace: str, invoice_id: str) -> InvoiceRow | None:
    """Return an invoice, deleted ones too."""
    found = await session.scalars(
        select(InvoiceRow).where(InvoiceRow.namespace == namespace, InvoiceRow.id == invoice_id)
    )
    return found.one_or_none()


async def reloaded(session: ReadSession, namespace: str, invoice_id: str) -> InvoiceRow:
    """Return an invoice as the database has it, also when it was read before in this session.

    Needed after taking the customer's lock, and after a savepoint was rolled back.
    """
    found = await session.scalars(
        select(InvoiceRow)
        .where(InvoiceRow.namespace == namespace, InvoiceRow.id == invoice_id)
        .execution_options(populate_existing=True)
    )
    return found.one()


async def gathering(session: ReadSession, namespace: str, customer_id: str, currency: str) -> InvoiceRow | None:
    """Return the gathering invoice of a customer and currency: the live one, else the newest deleted one."""
    found = await session.scalars(
        select(InvoiceRow)
        .where(
            InvoiceRow.namespace == namespace,
            InvoiceRow.customer_id == customer_id,
            InvoiceRow.currency == currency,
            InvoiceRow.kind == GATHERING,
        )
        .order_by(InvoiceRow.deleted_at.desc().nulls_first(), InvoiceRow.id.desc())
        .limit(1)
    )
    return found.one_or_none()


async def live_gatherings(session: ReadSession, namespace: str, customer_id: str) -> Sequence[InvoiceRow]:
    """Return the customer's live gathering invoices by currency, freshly read."""
    found = await session.scalars(
        select(InvoiceRow)
        .where(
            InvoiceRow.namespace == namespace,
            InvoiceRow.customer_id == customer_id,
            InvoiceRow.kind == GATHERING,
            InvoiceRow.deleted_at.is_(None),
        )
        .order_by(InvoiceRow.currency)
        .execution_options(populate_existing=True)
    )
    return found.all()


async def lines(
    session: ReadSession, invoice_ids: Sequence[str], *, include_deleted: bool = False
) -> Sequence[InvoiceLineRow]:
    """Return lines in display order: name, period start, id."""
    query = select(InvoiceLineRow).where(InvoiceLineRow.invoice_id.in_(invoice_ids))
    if not include_deleted:
        query = query.where(InvoiceLineRow.deleted_at.is_(None))
    found = await session.scalars(
        query.order_by(InvoiceLineRow.name, InvoiceLineRow.period_start, InvoiceLineRow.id).execution_options(
            populate_existing=True
        )
    )
    return found.all()


async def line(session: ReadSession, namespace: str, line_id: str) -> InvoiceLineRow | None:
    """Return a line that is not deleted."""
    found = await session.scalars(
        select(InvoiceLineRow).where(
            InvoiceLineRow.namespace == namespace, InvoiceLineRow.id == line_id, InvoiceLineRow.deleted_at.is_(None)
        )
    )
    return found.one_or_none()


async def gathering_line(session: ReadSession, namespace: str, charge_id: str) -> InvoiceLineRow | None:
    """Return the charge's live gathering line."""
    found = await session.scalars(
        select(InvoiceLineRow).where(
            InvoiceLineRow.namespace == namespace,
            InvoiceLineRow.charge_id == charge_id,
            InvoiceLineRow.invoice_kind == GATHERING,
            InvoiceLineRow.deleted_at.is_(None),
        )
    )
    return found.one_or_none()


async def details(session: ReadSession, line_ids: Sequence[str]) -> Sequence[InvoiceDetailedLineRow]:
    """Return the live detailed lines of lines in display order: index, name, period start, id (rating section 11)."""
    row = InvoiceDetailedLineRow
    found = await session.scalars(
        select(row)
        .where(row.line_id.in_(line_ids), row.deleted_at.is_(None))
        .order_by(row.position, row.name, row.period_start, row.id)
    )
    return found.all()


async def issues(session: ReadSession, invoice_ids: Sequence[str]) -> Sequence[InvoiceIssueRow]:
    """Return the live validation issues, oldest first."""
    row = InvoiceIssueRow
    found = await session.scalars(
        select(row)
        .where(row.invoice_id.in_(invoice_ids), row.deleted_at.is_(None))
        .order_by(row.created_at, row.id)
        .execution_options(populate_existing=True)
    )
    return found.all()


_SORTABLE = {
    "customer_name": InvoiceRow.customer_name,
    "issued_at": InvoiceRow.issued_at,
    "status": InvoiceRow.status,
    "created_at": InvoiceRow.created_at,
    "updated_at": InvoiceRow.updated_at,
    "service_period_start": InvoiceRow.period_start,
}
_FILTERABLE = {
    "status": func.split_part(InvoiceRow.status, ".", 1),
    "state": InvoiceRow.status,
    "customer_id": InvoiceRow.customer_id,
    "issued_at": InvoiceRow.issued_at,
    "service_period_start": InvoiceRow.period_start,
    "created_at": InvoiceRow.created_at,
}


async def page(
    session: ReadSession, namespace: str, where: InvoiceFilter, request: PageRequest, sort: Sort
) -> tuple[Sequence[InvoiceRow], int]:
    """Return one page of invoices and how many match in all; ties are ordered by id."""
    clauses = [InvoiceRow.namespace == namespace]
    clauses += [condition.clause(_FILTERABLE[field]) for field, condition in where.conditions.items()]
    if not where.include_deleted:
        clauses.append(InvoiceRow.deleted_at.is_(None))
    if not where.include_gathering:
        clauses.append(InvoiceRow.kind == STANDARD)
    count = (await session.execute(select(func.count()).select_from(InvoiceRow).where(*clauses))).scalar_one()
    order = order_by([sort], _SORTABLE, last=InvoiceRow.id)
    found = await session.scalars(
        select(InvoiceRow).where(*clauses).order_by(*order).limit(request.size).offset(request.offset)
    )
    return found.all(), count


def _workable(kind: str) -> list[ColumnElement[bool]]:
    return [InvoiceRow.kind == kind, InvoiceRow.deleted_at.is_(None), InvoiceRow.work_at.is_not(None)]


async def next_work(session: ReadSession, kind: str) -> datetime | None:
    """Return when the earliest automatic work on an invoice of `kind` is due, over all namespaces."""
    return (await session.execute(select(func.min(InvoiceRow.work_at)).where(*_workable(kind)))).scalar_one()


async def due_work(session: ReadSession, kind: str, at: datetime, limit: int) -> Sequence[tuple[str, str, str]]:
    """Return (namespace, customer id, invoice id) of invoices with automatic work due at `at`, longest due first."""
    query = (
        select(InvoiceRow.namespace, InvoiceRow.customer_id, InvoiceRow.id)
        .where(*_workable(kind), InvoiceRow.work_at <= at)
        .order_by(InvoiceRow.work_at, InvoiceRow.id)
        .limit(limit)
    )
    return [(row[0], row[1], row[2]) for row in (await session.execute(query)).all()]


async def not_final(session: ReadSession, namespace: str, customer_id: str, limit: int) -> Sequence[InvoiceRow]:
    """Return the customer's live gathering invoices and standard ones that are not final, oldest first."""
    query = select(InvoiceRow).where(
        InvoiceRow.namespace == namespace,
        InvoiceRow.customer_id == customer_id,
        InvoiceRow.deleted_at.is_(None),
        InvoiceRow.status.not_in([state.value for state in FINAL]),
    )
    return (await session.scalars(query.order_by(InvoiceRow.id).limit(limit))).all()


async def first_period_start(session: ReadSession, namespace: str, charge_id: str) -> datetime:
    """Return where the first live line of a charge starts, which is where the charge starts."""
    query = select(func.min(InvoiceLineRow.period_start)).where(
        InvoiceLineRow.namespace == namespace,
        InvoiceLineRow.charge_id == charge_id,
        InvoiceLineRow.deleted_at.is_(None),
    )
    return (await session.execute(query)).scalar_one()


async def facts(session: ReadSession, invoice_id: str) -> tuple[bool, bool]:
    """Tell whether an invoice has a live critical issue, and whether it has a live line."""
    critical = (
        select(InvoiceIssueRow.id)
        .where(
            InvoiceIssueRow.invoice_id == invoice_id,
            InvoiceIssueRow.deleted_at.is_(None),
            InvoiceIssueRow.severity == "critical",
        )
        .exists()
    )
    some_line = (
        select(InvoiceLineRow.id)
        .where(InvoiceLineRow.invoice_id == invoice_id, InvoiceLineRow.deleted_at.is_(None))
        .exists()
    )
    row = (await session.execute(select(critical, some_line))).one()
    return bool(row[0]), bool(row[1])
