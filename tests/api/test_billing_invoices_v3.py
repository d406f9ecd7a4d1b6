"""Invoices over v3, on real charges (billing sections 4.1 and 9)."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from meterhouse.api import problems
from meterhouse.api.services import Services
from meterhouse.api.v3 import invoices as routes
from meterhouse.billing.invoices import repository
from meterhouse.billing.invoices.views import InvoiceView
from tests.charges.world import NS, at, flat, unit
from tests.invoices.test_with_charges import Billing, billing

__all__ = ["billing"]

INVOICES = "/api/v3/openmeter/billing/invoices"


@pytest.fixture
async def http(billing: Billing) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    problems.install(app, "v3")
    app.include_router(routes.router)
    app.state.services = Services(db=billing.db, namespace=NS, charges=billing.charges, invoices=billing.invoices)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def usage_invoice(billing: Billing) -> InvoiceView:
    await billing.create(billing.intent(unit("0.02")))
    await billing.grant("10")
    billing.events.add("3-2", 1250)
    billing.time.at = at("4-1")
    [invoice] = await billing.bill_now()
    return invoice


async def test_an_invoice_with_its_lines(http: httpx.AsyncClient, billing: Billing) -> None:
    made = await usage_invoice(billing)
    answer = await http.get(f"{INVOICES}/{made.id}")
    assert answer.status_code == 200, answer.text
    invoice = answer.json()
    assert (invoice["type"], invoice["status"], invoice["number"]) == ("standard", "draft", "DRAFT-ACME-1")
    assert invoice["service_period"] == {"from": "2025-03-01T00:00:00Z", "to": "2025-04-01T00:00:00Z"}
    assert (invoice["totals"]["amount"], invoice["totals"]["credits_total"], invoice["totals"]["total"]) == (
        "25",
        "10",
        "15",
    )
    assert invoice["status_details"]["extended_status"] == "draft.waiting_for_collection"
    assert invoice["workflow"]["workflow"] == {
        "invoicing": {"auto_advance": True, "draft_period": "P0D"},
        "payment": {"collection_method": "charge_automatically"},
    }
    [line] = invoice["lines"]
    assert line["rate_card"]["price"] == {"type": "unit", "amount": "0.02"}
    assert line["usage_quantity_detail"] == {"raw_quantity": "1250", "invoiced_quantity": "1250"}
    assert line["lifecycle_controller"] == "system"
    assert line["credits_applied"][0]["amount"] == "10"
    assert [(detail["quantity"], detail["unit_price"]) for detail in line["detailed_lines"]] == [("1250", "0.02")]


async def test_gathering_invoices_do_not_exist(http: httpx.AsyncClient, billing: Billing) -> None:
    await billing.create(billing.intent(flat("30")))
    async with billing.db.read() as session:
        row = await repository.gathering(session, NS, billing.customer_id, "USD")
    assert row is not None
    assert (await http.get(INVOICES)).json()["data"] == []
    one = f"{INVOICES}/{row.id}"
    assert (await http.get(one)).status_code == 404
    assert (await http.delete(one)).status_code == 404
    for action in ("advance", "approve", "retry", "snapshot-quantities"):
        assert (await http.post(f"{one}/{action}")).status_code == 400
        unknown = await http.post(f"{INVOICES}/01JJJJJJJJJJJJJJJJJJJJJJJJ/{action}")
        assert unknown.status_code == 404


async def test_lists(http: httpx.AsyncClient, billing: Billing) -> None:
    made = await usage_invoice(billing)

    async def ids(**params: Any) -> list[str]:
        answer = await http.get(INVOICES, params=params)
        assert answer.status_code == 200, answer.text
        assert all("lines" not in invoice for invoice in answer.json()["data"])
        return [invoice["id"] for invoice in answer.json()["data"]]

    assert await ids() == [made.id]
    assert await ids(**{"filter[status]": "draft", "sort": "issued_at desc"}) == [made.id]
    assert await ids(**{"filter[status][oeq]": "paid,issued"}) == []
    assert await ids(**{"filter[customer_id]": billing.customer_id}) == [made.id]
    assert await ids(**{"filter[customer_id]": "01JJJJJJJJJJJJJJJJJJJJJJJJ"}) == []
    assert await ids(**{"filter[service_period_start][lt]": "2025-03-01T00:00:00Z"}) == []
    for wrong in ({"filter[status][neq]": "draft"}, {"sort": "status"}, {"filter[nope]": "1"}):
        assert (await http.get(INVOICES, params=wrong)).status_code == 400


async def test_actions(http: httpx.AsyncClient, billing: Billing) -> None:
    made = await usage_invoice(billing)
    one = f"{INVOICES}/{made.id}"
    refused = await http.post(f"{one}/advance")
    assert (refused.status_code, refused.json()["extensions"]["code"]) == (400, "invoice_cannot_advance")
    billing.time.at = at("4-1 1:01:00")
    paid = await http.post(f"{one}/advance")
    assert (paid.status_code, paid.json()["status"]) == (200, "paid")
    assert (await http.delete(one)).status_code == 400
