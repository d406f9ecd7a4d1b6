"""Invoices over v3, on real charges (billing sections 4.1 and 9)."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from meterhouse.api.app import create_v3
from meterhouse.api.services import Services
from meterhouse.billing.invoices import repository
from meterhouse.billing.invoices.views import InvoiceView
from meterhouse.billing.profiles import repository as profiles
from meterhouse.catalog.prices import PaymentTerm
from tests.charges.world import NS, at, flat, unit
from tests.invoices.test_with_charges import Billing, billing

__all__ = ["billing"]

INVOICES = "/api/v3/openmeter/billing/invoices"


@pytest.fixture
async def http(billing: Billing) -> AsyncIterator[httpx.AsyncClient]:
    app = create_v3()
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
        "invoicing": {"auto_advance": True, "draft_period": "P0D", "due_after": "P30D"},
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


async def draft(billing: Billing) -> InvoiceView:
    """Make an invoice of a fee in arrears that waits for approval."""
    await billing.create(billing.intent(flat("30", PaymentTerm.IN_ARREARS)))
    async with billing.db.write() as session:
        await billing.profiles.default(session, NS)
        row = await profiles.default(session, NS)
        assert row is not None
        row.auto_advance = False
    billing.time.at = at("4-1")
    [invoice] = await billing.bill_now()
    return invoice


def body_of(invoice: dict[str, Any], **changes: Any) -> dict[str, Any]:
    taken = ("id", "type", "name", "description", "labels", "service_period", "rate_card")
    lines = [{name: line[name] for name in taken if name in line} for line in invoice["lines"]]
    workflow: dict[str, Any] = {"workflow": {}}
    parties = {"supplier": invoice["supplier"], "customer": invoice["customer"]}
    return {"type": "standard", **parties, "workflow": workflow, "lines": lines} | changes


async def test_edits(http: httpx.AsyncClient, billing: Billing) -> None:
    one = f"{INVOICES}/{(await draft(billing)).id}"
    read = (await http.get(one)).json()
    same = await http.put(one, json=body_of(read, labels={"a": "b"}))
    assert same.status_code == 200, same.text
    assert (same.json()["labels"], same.json()["lines"][0]["lifecycle_controller"]) == ({"a": "b"}, "system")
    without_lines = await http.put(one, json={k: v for k, v in body_of(read).items() if k != "lines"})
    assert (without_lines.json()["totals"], "labels" in without_lines.json()) == (read["totals"], False)

    body = body_of(read)
    body["lines"][0]["rate_card"] |= {"price": {"type": "flat", "amount": "50"}}
    added = {
        "type": "standard_line",
        "name": "New",
        "service_period": {"from": "2025-03-01T00:00:00Z", "to": "2025-04-01T00:00:00Z"},
        "rate_card": {"price": {"type": "unit", "amount": "0.01"}, "feature_key": "tokens"},
    }
    billing.events.add("3-2", 100)
    edited = (await http.put(one, json=body | {"lines": [*body["lines"], added]})).json()
    lines = {line["name"]: line for line in edited["lines"]}
    assert lines["Tokens"]["lifecycle_controller"] == lines["New"]["lifecycle_controller"] == "manual"
    assert lines["New"]["totals"]["total"] == "1"
    assert edited["totals"]["total"] == "51"


async def test_edits_that_are_refused(http: httpx.AsyncClient, billing: Billing) -> None:
    one = f"{INVOICES}/{(await draft(billing)).id}"
    body = body_of((await http.get(one)).json())
    line = body["lines"][0]
    negative = line | {"rate_card": line["rate_card"] | {"price": {"type": "flat", "amount": "-1"}}}
    refused = await http.put(one, json=body | {"lines": [negative]})
    assert refused.status_code == 400
    assert "must not be negative" in refused.json()["detail"]
    free = line | {"rate_card": line["rate_card"] | {"price": {"type": "free"}}}
    refused = await http.put(one, json=body | {"lines": [free]})
    assert refused.json()["extensions"]["code"] == "invoice_line_zero_amount_delete_instead"
    for wrong in ({"type": "credit_note"}, {"supplier": {}}, {"lines": [line, line]}, {"unknown": 1}):
        assert (await http.put(one, json=body | wrong)).status_code == 400
    unknown = await http.put(f"{INVOICES}/01JJJJJJJJJJJJJJJJJJJJJJJJ", json=body | {"supplier": {}})
    assert unknown.status_code == 404
