"""v3 routes of invoices."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from meterhouse.api.deps import Namespace, Read, ServicesDep, Write
from meterhouse.api.filters import FieldKind, list_parameters, parse_filters, parse_sort
from meterhouse.api.paging import V3Page, V3Paging
from meterhouse.api.problems import InvalidParameterError, errors
from meterhouse.api.v3.invoices.edits import UpdateInvoiceRequest
from meterhouse.api.v3.invoices.schemas import BillingInvoice
from meterhouse.api.wire import Ulid
from meterhouse.billing.errors import BillingNotFound
from meterhouse.billing.invoices.filters import BY_CREATION, InvoiceFilter
from meterhouse.billing.invoices.service import Invoices
from meterhouse.billing.invoices.views import InvoiceView
from meterhouse.kernel.conditions import Operator
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import FeatureDisabled

router = APIRouter(tags=["OpenMeter Billing Settings"])

PATH = "/api/v3/openmeter/billing/invoices"
ONE = f"{PATH}/{{invoiceId}}"

InvoiceId = Annotated[Ulid, Path(alias="invoiceId", description="The id of an invoice.")]

_FIELDS = {
    "status": FieldKind.EXACT,
    "customer_id": FieldKind.ULID,
    "issued_at": FieldKind.INSTANT,
    "service_period_start": FieldKind.INSTANT,
    "created_at": FieldKind.INSTANT,
}
_SORT_FIELDS = ("issued_at", "created_at", "service_period_start")


def _invoices(services: ServicesDep) -> Invoices:
    if services.invoices is None:
        raise FeatureDisabled("billing is not part of this server")
    return services.invoices


async def _standard(invoices: Invoices, session: ReadSession, namespace: str, invoice_id: str) -> InvoiceView:
    """Return an invoice; a gathering invoice does not exist in v3."""
    view = await invoices.get(session, namespace, invoice_id)
    if view.kind == "gathering":
        raise BillingNotFound("invoice_not_found", f"invoice {invoice_id} does not exist")
    return view


@router.get(
    PATH,
    operation_id="listInvoices",
    summary="List invoices",
    responses=errors("v3", 400, 401, 403),
    openapi_extra=list_parameters(_FIELDS, _SORT_FIELDS),
)
async def list_invoices(
    request: Request, session: Read, namespace: Namespace, services: ServicesDep, page: V3Paging
) -> V3Page[BillingInvoice]:
    """List invoices without their lines. Pending lines and deleted invoices are not shown."""
    conditions = parse_filters(request, _FIELDS)
    if any(check.operator is Operator.NEQ for check in getattr(conditions.get("status"), "checks", ())):
        raise InvalidParameterError("filter[status]", "only eq and oeq are supported")
    sorts = parse_sort(request, _SORT_FIELDS, (BY_CREATION,))
    if len(sorts) > 1:
        raise InvalidParameterError("sort", "only one field is supported")
    found = await _invoices(services).list_invoices(
        session, namespace, page, InvoiceFilter(conditions, include_gathering=False), sort=sorts[0]
    )
    return V3Page.of(found, [BillingInvoice.of(view) for view in found.items])


@router.get(ONE, operation_id="getInvoice", summary="Get an invoice", responses=errors("v3", 400, 401, 403, 404))
async def get_invoice(
    invoice_id: InvoiceId, session: Read, namespace: Namespace, services: ServicesDep
) -> BillingInvoice:
    """Get an invoice with its lines."""
    return BillingInvoice.of(await _standard(_invoices(services), session, namespace, invoice_id))


@router.put(ONE, operation_id="updateInvoice", summary="Edit an invoice", responses=errors("v3", 400, 401, 403, 404))
async def update_invoice(
    invoice_id: InvoiceId, body: UpdateInvoiceRequest, session: Write, namespace: Namespace, services: ServicesDep
) -> BillingInvoice:
    """Replace what can be edited of an invoice that is not issued yet."""
    invoices = _invoices(services)
    edit = body.to_value(await _standard(invoices, session, namespace, invoice_id))
    return BillingInvoice.of(await invoices.edit(session, namespace, invoice_id, edit))


@router.delete(
    ONE,
    operation_id="deleteInvoice",
    summary="Delete an invoice",
    status_code=204,
    responses=errors("v3", 400, 401, 403, 404),
)
async def delete_invoice(
    invoice_id: InvoiceId, session: Write, namespace: Namespace, services: ServicesDep
) -> Response:
    """Delete an invoice that is not issued yet, and the charges of its lines with it."""
    invoices = _invoices(services)
    await _standard(invoices, session, namespace, invoice_id)
    await invoices.delete(session, namespace, invoice_id)
    return Response(status_code=204)


@router.post(
    f"{ONE}/advance",
    operation_id="advanceInvoice",
    summary="Advance an invoice",
    responses=errors("v3", 400, 401, 403, 404),
)
async def advance_invoice(
    invoice_id: InvoiceId, session: Write, namespace: Namespace, services: ServicesDep
) -> BillingInvoice:
    """Take every automatic step that is possible now."""
    return BillingInvoice.of(await _invoices(services).advance(session, namespace, invoice_id))


@router.post(
    f"{ONE}/approve",
    operation_id="approveInvoice",
    summary="Approve an invoice",
    responses=errors("v3", 400, 401, 403, 404),
)
async def approve_invoice(
    invoice_id: InvoiceId, session: Write, namespace: Namespace, services: ServicesDep
) -> BillingInvoice:
    """Approve a draft and issue it."""
    return BillingInvoice.of(await _invoices(services).approve(session, namespace, invoice_id))


@router.post(
    f"{ONE}/retry",
    operation_id="retryInvoice",
    summary="Retry the failed step of an invoice",
    responses=errors("v3", 400, 401, 403, 404),
)
async def retry_invoice(
    invoice_id: InvoiceId, session: Write, namespace: Namespace, services: ServicesDep
) -> BillingInvoice:
    """Try the step that failed again."""
    return BillingInvoice.of(await _invoices(services).retry(session, namespace, invoice_id))


@router.post(
    f"{ONE}/snapshot-quantities",
    operation_id="snapshotInvoiceQuantities",
    summary="Read the quantities of an invoice now",
    responses=errors("v3", 400, 401, 403, 404),
)
async def snapshot_quantities(
    invoice_id: InvoiceId, session: Write, namespace: Namespace, services: ServicesDep
) -> BillingInvoice:
    """Read the usage that is stored so far, without waiting for the collection to close."""
    return BillingInvoice.of(await _invoices(services).snapshot_quantities(session, namespace, invoice_id))
