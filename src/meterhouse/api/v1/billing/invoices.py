"""v1 routes of invoices."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response

from meterhouse.api.deps import Namespace, Read, ServicesDep, Write
from meterhouse.api.paging import V1Page, V1Paging
from meterhouse.api.problems import errors
from meterhouse.api.v1.billing.edits import (
    InvoicePendingLineCreateInput,
    InvoicePendingLineCreateResponse,
    InvoiceReplaceUpdate,
    VoidInvoiceActionInput,
)
from meterhouse.api.v1.billing.schemas import Invoice, InvoicePendingLinesActionInput, InvoiceStatus
from meterhouse.api.wire import Instant
from meterhouse.billing.invoices.filters import InvoiceFilter
from meterhouse.billing.invoices.service import Invoices
from meterhouse.kernel.conditions import Check, Condition, Operator, Sort
from meterhouse.kernel.errors import FeatureDisabled

router = APIRouter()

PATH = "/api/v1/billing/invoices"
ONE = f"{PATH}/{{invoiceId}}"

ANY_CASE_ULID = r"^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$"

InvoiceId = Annotated[str, Path(alias="invoiceId", pattern=ANY_CASE_ULID, description="The invoice.")]
InvoiceExpand = Literal["lines", "preceding", "workflow.apps"]
InvoiceOrderBy = Literal["customer.name", "issuedAt", "status", "createdAt", "updatedAt", "periodStart"]

_ORDERS: dict[InvoiceOrderBy, str] = {
    "customer.name": "customer_name",
    "issuedAt": "issued_at",
    "status": "status",
    "createdAt": "created_at",
    "updatedAt": "updated_at",
    "periodStart": "service_period_start",
}


def _invoices(services: ServicesDep) -> Invoices:
    if services.invoices is None:
        raise FeatureDisabled("billing is not part of this server")
    return services.invoices


def _one_of(values: Sequence[str] | None) -> Condition | None:
    return Condition((Check(Operator.OEQ, tuple(values)),)) if values else None


def _between(after: datetime | None, before: datetime | None) -> Condition | None:
    checks = [Check(Operator.GTE, after) if after else None, Check(Operator.LTE, before) if before else None]
    given = tuple(check for check in checks if check)
    return Condition(given) if given else None


@router.post(
    f"{PATH}/invoice",
    operation_id="billPendingLines",
    summary="Bill pending lines",
    status_code=201,
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def bill_pending_lines(
    body: InvoicePendingLinesActionInput, session: Write, namespace: Namespace, services: ServicesDep
) -> list[Invoice]:
    """Make invoices of what a customer owes by now, one per currency.

    When nothing can be billed the answer is 400 with code `invoice_create_no_lines`, and says why and from when on.
    """
    made = await _invoices(services).invoice_pending_lines(
        session,
        namespace,
        body.customer_id,
        as_of=body.as_of,
        progressive=body.progressive_billing_override,
        line_ids=body.filters.line_ids if body.filters else None,
    )
    return [Invoice.of(view) for view in made]


@router.post(
    "/api/v1/billing/customers/{customerId}/invoices/pending-lines",
    operation_id="createPendingInvoiceLines",
    summary="Create pending lines",
    status_code=201,
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def create_pending_lines(
    customer_id: Annotated[str, Path(alias="customerId", pattern=ANY_CASE_ULID, description="The customer.")],
    body: InvoicePendingLineCreateInput,
    session: Write,
    namespace: Namespace,
    services: ServicesDep,
) -> InvoicePendingLineCreateResponse:
    """Put lines on the customer's gathering invoice, to be billed when they are due."""
    lines = [line.to_value() for line in body.lines]
    made = await _invoices(services).create_pending_lines(session, namespace, customer_id.upper(), body.currency, lines)
    return InvoicePendingLineCreateResponse.of(made)


@router.get(
    PATH,
    operation_id="listInvoices",
    summary="List invoices",
    responses=errors("v1", 400, 401, 403, 412, 500, 503),
)
async def list_invoices(
    session: Read,
    namespace: Namespace,
    services: ServicesDep,
    page: V1Paging,
    statuses: Annotated[list[InvoiceStatus] | None, Query(description="Statuses without their details.")] = None,
    extended_statuses: Annotated[
        list[str] | None, Query(alias="extendedStatuses", description="Statuses with their details.")
    ] = None,
    issued_after: Annotated[Instant | None, Query(alias="issuedAfter", description="Inclusive.")] = None,
    issued_before: Annotated[Instant | None, Query(alias="issuedBefore", description="Inclusive.")] = None,
    period_start_after: Annotated[Instant | None, Query(alias="periodStartAfter", description="Inclusive.")] = None,
    period_start_before: Annotated[Instant | None, Query(alias="periodStartBefore", description="Inclusive.")] = None,
    created_after: Annotated[Instant | None, Query(alias="createdAfter", description="Inclusive.")] = None,
    created_before: Annotated[Instant | None, Query(alias="createdBefore", description="Inclusive.")] = None,
    expand: Annotated[list[InvoiceExpand] | None, Query(description="`lines` shows the lines.")] = None,
    customers: Annotated[list[str] | None, Query(description="Ids of customers.")] = None,
    include_deleted: Annotated[bool, Query(alias="includeDeleted", description="Show deleted ones too.")] = False,
    order: Literal["ASC", "DESC"] = "ASC",
    order_by: Annotated[InvoiceOrderBy, Query(alias="orderBy")] = "createdAt",
) -> V1Page[Invoice]:
    """List invoices, gathering ones included and priced with the usage up to now."""
    conditions = {
        "status": _one_of(statuses),
        "state": _one_of(extended_statuses),
        "customer_id": _one_of(customers),
        "issued_at": _between(issued_after, issued_before),
        "service_period_start": _between(period_start_after, period_start_before),
        "created_at": _between(created_after, created_before),
    }
    where = InvoiceFilter(
        {field: condition for field, condition in conditions.items() if condition}, include_deleted=include_deleted
    )
    found = await _invoices(services).list_invoices(
        session,
        namespace,
        page,
        where,
        sort=Sort(_ORDERS[order_by], order == "DESC"),
        with_lines="lines" in (expand or ()),
    )
    return V1Page.of(found, [Invoice.of(view) for view in found.items])


@router.get(
    ONE, operation_id="getInvoice", summary="Get an invoice", responses=errors("v1", 400, 401, 403, 404, 412, 500, 503)
)
async def get_invoice(
    invoice_id: InvoiceId,
    session: Read,
    namespace: Namespace,
    services: ServicesDep,
    expand: Annotated[list[InvoiceExpand] | None, Query(description="Lines when it is left out.")] = None,
    include_deleted_lines: Annotated[
        bool, Query(alias="includeDeletedLines", description="Show lines that were removed too.")
    ] = False,
) -> Invoice:
    """Get an invoice. A gathering invoice is priced with the usage up to now."""
    view = await _invoices(services).get(
        session,
        namespace,
        invoice_id.upper(),
        with_lines=expand is None or "lines" in expand,
        include_deleted_lines=include_deleted_lines,
    )
    return Invoice.of(view)


@router.put(
    ONE,
    operation_id="updateInvoice",
    summary="Edit an invoice",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def update_invoice(
    invoice_id: InvoiceId, body: InvoiceReplaceUpdate, session: Write, namespace: Namespace, services: ServicesDep
) -> Invoice:
    """Replace what can be edited of an invoice that is not issued yet. Lines that are left out are removed."""
    return Invoice.of(await _invoices(services).edit(session, namespace, invoice_id.upper(), body.to_value()))


@router.delete(
    ONE,
    operation_id="deleteInvoice",
    summary="Delete an invoice",
    status_code=204,
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def delete_invoice(
    invoice_id: InvoiceId, session: Write, namespace: Namespace, services: ServicesDep
) -> Response:
    """Delete an invoice that is not issued yet, and the charges of its lines with it."""
    await _invoices(services).delete(session, namespace, invoice_id.upper())
    return Response(status_code=204)


@router.post(
    f"{ONE}/advance",
    operation_id="advanceInvoice",
    summary="Advance an invoice",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def advance_invoice(
    invoice_id: InvoiceId, session: Write, namespace: Namespace, services: ServicesDep
) -> Invoice:
    """Take every automatic step that is possible now."""
    return Invoice.of(await _invoices(services).advance(session, namespace, invoice_id.upper()))


@router.post(
    f"{ONE}/approve",
    operation_id="approveInvoice",
    summary="Approve an invoice",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def approve_invoice(
    invoice_id: InvoiceId, session: Write, namespace: Namespace, services: ServicesDep
) -> Invoice:
    """Approve a draft and issue it."""
    return Invoice.of(await _invoices(services).approve(session, namespace, invoice_id.upper()))


@router.post(
    f"{ONE}/retry",
    operation_id="retryInvoice",
    summary="Retry the failed step of an invoice",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def retry_invoice(invoice_id: InvoiceId, session: Write, namespace: Namespace, services: ServicesDep) -> Invoice:
    """Try the step that failed again."""
    return Invoice.of(await _invoices(services).retry(session, namespace, invoice_id.upper()))


@router.post(
    f"{ONE}/snapshot-quantities",
    operation_id="snapshotInvoiceQuantities",
    summary="Read the quantities of an invoice now",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def snapshot_quantities(
    invoice_id: InvoiceId, session: Write, namespace: Namespace, services: ServicesDep
) -> Invoice:
    """Read the usage that is stored so far, without waiting for the collection to close."""
    return Invoice.of(await _invoices(services).snapshot_quantities(session, namespace, invoice_id.upper()))


@router.post(
    f"{ONE}/void",
    operation_id="voidInvoice",
    summary="Void an invoice",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 501, 503),
)
async def void_invoice(invoice_id: InvoiceId, body: VoidInvoiceActionInput) -> Invoice:
    """Not offered yet: an issued invoice cannot be taken back."""
    raise FeatureDisabled("invoices cannot be voided on this server")


@router.post(
    f"{ONE}/taxes/recalculate",
    operation_id="recalculateInvoiceTaxes",
    summary="Calculate the taxes of an invoice again",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 501, 503),
)
async def recalculate_taxes(invoice_id: InvoiceId) -> Invoice:
    """Not offered: tax is calculated by the invoicing app."""
    raise FeatureDisabled("taxes are calculated by the invoicing app")
