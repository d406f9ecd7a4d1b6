"""Building the values that readers get from rows, and pricing gathering invoices for them (billing section 5.2)."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, cast

from meterhouse.billing.invoices import repository
from meterhouse.billing.invoices.flags import flags
from meterhouse.billing.invoices.lines import ref_of
from meterhouse.billing.invoices.models import (
    GATHERING,
    InvoiceDetailedLineRow,
    InvoiceIssueRow,
    InvoiceLineRow,
    InvoiceRow,
)
from meterhouse.billing.invoices.recalculation import facts_of
from meterhouse.billing.invoices.snapshots import Party
from meterhouse.billing.invoices.states import State
from meterhouse.billing.invoices.views import DetailView, InvoiceView, IssueView, LineView
from meterhouse.billing.ports import LineEngine, LineOrigin, LineProjection
from meterhouse.billing.rating.results import DetailedLine, Totals
from meterhouse.catalog.prices import PaymentTerm
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.periods import Period


def _issue_view(row: InvoiceIssueRow) -> IssueView:
    return IssueView(
        id=row.id,
        severity=cast(Literal["critical", "warning"], row.severity),
        code=row.code,
        message=row.message,
        component=row.component,
        path=row.path,
        attributes=row.attributes,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _detail_view(row: InvoiceDetailedLineRow) -> DetailView:
    return DetailView(
        id=row.id,
        detail=DetailedLine(
            child_ref=row.child_ref,
            name=row.name,
            quantity=row.quantity,
            unit_amount=row.unit_amount,
            category=cast(Literal["regular", "commitment"], row.category),
            payment_term=PaymentTerm(row.payment_term),
            covers_full_period=row.covers_full_period,
            discounts=row.discounts,
            credits=row.credits,
            totals=row.totals(),
        ),
        discount_ids=row.discount_ids,
        period=Period(row.period_start, row.period_end),
        external_ids=row.external_ids,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _line_view(row: InvoiceLineRow, details: Iterable[InvoiceDetailedLineRow]) -> LineView:
    origin = LineOrigin(
        charge_id=row.charge_id,
        engine=cast(Literal["charge_usagebased", "charge_flatfee"], row.engine),
        name=row.name,
        description=row.description,
        metadata=row.labels,
        managed_by=cast(Literal["subscription", "manual", "system"], row.managed_by),
        price=row.price,
        feature_key=row.feature_key,
        discounts=row.discounts,
        unit_conversion=row.unit_conversion,
        tax_config=row.tax_config,
        subscription=row.subscription,
        unique_reference_id=row.unique_reference_id,
    )
    return LineView(
        id=row.id,
        invoice_id=row.invoice_id,
        run_id=row.run_id,
        origin=origin,
        period=Period(row.period_start, row.period_end),
        invoice_at=row.invoice_at,
        quantity=row.quantity,
        pre_line_quantity=row.pre_line_quantity,
        metered_quantity=row.metered_quantity,
        metered_pre_line_quantity=row.metered_pre_line_quantity,
        usage_discount=row.usage_discount,
        credits_applied=row.credits_applied,
        totals=row.totals(),
        details=[_detail_view(detail) for detail in details],
        external_ids=row.external_ids,
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
    )


async def line_views(session: ReadSession, rows: Sequence[InvoiceLineRow]) -> list[LineView]:
    """Return lines with what lies beneath them, in the given order."""
    beneath: dict[str, list[InvoiceDetailedLineRow]] = defaultdict(list)
    for detail in await repository.details(session, [row.id for row in rows]):
        beneath[detail.line_id].append(detail)
    return [_line_view(row, beneath[row.id]) for row in rows]


async def invoice_view(
    session: ReadSession, row: InvoiceRow, *, with_lines: bool = True, include_deleted_lines: bool = False
) -> InvoiceView:
    """Return an invoice as stored. A gathering invoice has no party of its own but the customer's name."""
    facts = await facts_of(session, row)
    state = State(row.status)
    lines = None
    if with_lines:
        lines = await line_views(
            session, await repository.lines(session, [row.id], include_deleted=include_deleted_lines)
        )
    return InvoiceView(
        id=row.id,
        namespace=row.namespace,
        kind=cast(Literal["gathering", "standard"], row.kind),
        state=state,
        flags=flags(state, facts),
        can_invoice=None,
        number=row.number,
        currency=row.currency,
        customer_id=row.customer_id,
        customer=row.customer or Party(id=row.customer_id, name=row.customer_name),
        supplier=row.supplier or Party(),
        workflow=row.workflow,
        profile_id=row.profile_id,
        app_id=row.app_id,
        app_type=row.app_type,
        description=row.description,
        metadata=row.labels,
        totals=row.totals(),
        period=Period(row.period_start, row.period_end) if row.period_start and row.period_end else None,
        collection_at=row.collection_at,
        draft_until=row.draft_until,
        issued_at=row.issued_at,
        due_at=row.due_at,
        sent_to_customer_at=row.sent_to_customer_at,
        quantity_snapshotted_at=row.quantity_snapshotted_at,
        payment_processing_entered_at=row.payment_processing_entered_at,
        voided_at=row.voided_at,
        external_ids=row.external_ids,
        issues=[_issue_view(issue) for issue in await repository.issues(session, [row.id])],
        lines=lines,
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
    )


def _previewed(view: LineView, projection: LineProjection) -> LineView:
    now = clock.now()
    details = [
        DetailView(
            id=new_id(),
            detail=detail,
            discount_ids={discount.child_ref: new_id() for discount in detail.discounts},
            period=view.period,
            external_ids={},
            created_at=now,
            updated_at=now,
        )
        for detail in projection.details
    ]
    return replace(
        view,
        quantity=projection.quantity,
        pre_line_quantity=projection.pre_line_quantity,
        metered_quantity=projection.metered_quantity,
        metered_pre_line_quantity=projection.metered_pre_line_quantity,
        usage_discount=projection.usage_discount,
        totals=projection.totals,
        details=details,
    )


async def priced_gathering(
    session: ReadSession, engine: LineEngine, row: InvoiceRow, *, progressive: bool, with_lines: bool
) -> InvoiceView:
    """Return a gathering invoice priced with the usage up to now; its detailed lines are not stored anywhere."""
    if row.kind != GATHERING:
        raise ValueError("only gathering invoices are priced on reading")
    view = await invoice_view(session, row)
    now = clock.whole_seconds(clock.now())
    lines, can_invoice = [], False
    for line_row, line_view in zip(await repository.lines(session, [row.id]), view.lines or (), strict=False):
        ref = ref_of(row, line_row)
        lines.append(_previewed(line_view, await engine.preview(session, ref)))
        if not can_invoice:
            part = await engine.billability(session, ref, as_of=now, progressive=progressive)
            can_invoice = part.period is not None and not part.period.is_empty()
    return replace(
        view,
        totals=Totals.sum(line.totals for line in lines),
        can_invoice=can_invoice,
        lines=lines if with_lines else None,
    )
