"""Lines typed in by hand and edits of invoices, over HTTP and real charges (billing sections 5.1 and 8)."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from meterhouse.api.app import create_v1
from meterhouse.api.services import Services
from meterhouse.billing.profiles import repository
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from tests.charges.world import NS, at, unit
from tests.invoices.test_with_charges import Billing

INVOICES = "/api/v1/billing/invoices"
MARCH = {"from": "2025-03-01T00:00:00Z", "to": "2025-04-01T00:00:00Z"}


@pytest.fixture
async def billing(db: Database) -> AsyncIterator[Billing]:
    with clock.frozen(at("3-1")) as time:
        made = Billing(db, time)
        await made.furnish()
        yield made


@pytest.fixture
async def http(billing: Billing) -> AsyncIterator[httpx.AsyncClient]:
    app = create_v1()
    app.state.services = Services(db=billing.db, namespace=NS, charges=billing.charges, invoices=billing.invoices)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


def fee(amount: str, **changes: Any) -> dict[str, Any]:
    price = {"type": "flat", "amount": amount}
    line = {"name": "Setup", "period": MARCH, "invoiceAt": "2025-03-01T00:00:00Z", "rateCard": {"price": price}}
    return line | changes


async def pend(http: httpx.AsyncClient, billing: Billing, *lines: dict[str, Any]) -> httpx.Response:
    path = f"/api/v1/billing/customers/{billing.customer_id}/invoices/pending-lines"
    return await http.post(path, json={"currency": "USD", "lines": list(lines)})


async def draft(http: httpx.AsyncClient, billing: Billing, *lines: dict[str, Any]) -> dict[str, Any]:
    """Bill lines onto an invoice that waits for approval."""
    assert (await pend(http, billing, *lines)).status_code == 201
    async with billing.db.write() as session:
        row = await repository.default(session, NS)
        assert row is not None
        row.auto_advance = False
    answer = await http.post(f"{INVOICES}/invoice", json={"customerId": billing.customer_id})
    assert answer.status_code == 201, answer.text
    invoice: dict[str, Any] = answer.json()[0]
    assert invoice["statusDetails"]["extendedStatus"] == "draft.manual_approval_needed"
    return invoice


async def put(http: httpx.AsyncClient, invoice: dict[str, Any], **changes: Any) -> httpx.Response:
    body = {name: invoice[name] for name in ("supplier", "customer", "workflow", "lines")} | changes
    return await http.put(f"{INVOICES}/{invoice['id']}", json=body)


def code(answer: httpx.Response) -> str:
    assert answer.status_code == 400, answer.text
    found: str = answer.json()["extensions"]["code"]
    return found


async def test_pending_lines_come_back_in_order_with_their_tax_code(http: httpx.AsyncClient, billing: Billing) -> None:
    usage = fee("0", name="Usage", rateCard={"price": {"type": "unit", "amount": "0.02"}, "featureKey": "tokens"})
    answer = await pend(http, billing, usage, fee("30"))
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert [line["name"] for line in made["lines"]] == ["Usage", "Setup"]
    assert {line["managedBy"] for line in made["lines"]} == {"manual"}
    assert all(line["taxConfig"]["taxCodeId"] for line in made["lines"])
    assert made["lines"][1]["rateCard"]["price"] == {"type": "flat", "amount": "30", "paymentTerm": "in_advance"}
    assert (made["isInvoiceNew"], made["invoice"]["number"], made["invoice"]["type"]) == (
        True,
        "GATHER-ACME-USD-1",
        "gathering",
    )
    assert made["invoice"]["totals"]["total"] == "0"
    assert (await pend(http, billing, fee("5"))).json()["isInvoiceNew"] is False


@pytest.mark.parametrize(
    "line",
    [
        fee("0"),
        fee("30", rateCard=None),
        fee("30", period={"from": "2025-03-01T00:00:00.2Z", "to": "2025-03-01T00:00:00.9Z"}),
        fee("30", rateCard={"price": {"type": "unit", "amount": "1"}}),
        fee("30", rateCard={"price": {"type": "unit", "amount": "1"}, "featureKey": "unknown"}),
        fee("30", rateCard={"price": {"type": "flat", "amount": "-1"}}),
        fee("30", name=""),
    ],
)
async def test_pending_lines_that_are_refused(http: httpx.AsyncClient, billing: Billing, line: dict[str, Any]) -> None:
    answer = await pend(http, billing, line)
    assert answer.status_code == 400, answer.text
    assert (await http.get(INVOICES)).json()["totalCount"] == 0


async def test_pending_lines_of_nobody_and_of_nothing(http: httpx.AsyncClient, billing: Billing) -> None:
    assert (await pend(http, billing)).status_code == 400
    path = "/api/v1/billing/customers/01JJJJJJJJJJJJJJJJJJJJJJJJ/invoices/pending-lines"
    answer = await http.post(path, json={"currency": "USD", "lines": [fee("1")]})
    assert (answer.status_code, answer.json()["extensions"]["code"]) == (404, "customer_not_found")


async def test_a_line_sent_back_as_it_was_read_is_untouched(http: httpx.AsyncClient, billing: Billing) -> None:
    discounted = {"price": {"type": "flat", "amount": "30"}, "discounts": {"percentage": {"percentage": 10}}}
    invoice = await draft(http, billing, fee("30", rateCard=discounted))
    before = billing.time.at
    answer = await put(http, invoice, metadata={"a": "b"}, description="Hello")
    assert answer.status_code == 200, answer.text
    after = answer.json()
    assert (after["metadata"], after["description"]) == ({"a": "b"}, "Hello")
    assert after["statusDetails"]["extendedStatus"] == "draft.manual_approval_needed"
    assert after["totals"] == invoice["totals"]
    assert after["totals"]["total"] == "27"
    assert [line["id"] for line in after["lines"]] == [line["id"] for line in invoice["lines"]]
    assert billing.time.at == before


async def test_an_edited_fee_is_priced_again(http: httpx.AsyncClient, billing: Billing) -> None:
    await billing.grant("100")
    invoice = await draft(http, billing, fee("30"))
    assert await billing.settled() == 70
    [line] = invoice["lines"]
    dearer = line | {"name": "Setup, extended", "rateCard": {"price": {"type": "flat", "amount": "50"}}}
    after = (await put(http, invoice, lines=[dearer])).json()
    assert (after["lines"][0]["id"], after["lines"][0]["name"]) == (line["id"], "Setup, extended")
    assert (after["totals"]["amount"], after["totals"]["creditsTotal"], after["totals"]["total"]) == ("50", "50", "0")
    assert await billing.settled() == 50


async def test_new_and_left_out_lines(http: httpx.AsyncClient, billing: Billing) -> None:
    await billing.grant("100")
    invoice = await draft(http, billing, fee("30"), fee("5", name="Stays"))
    [stays] = [line for line in invoice["lines"] if line["name"] == "Stays"]
    answer = await put(http, invoice, lines=[stays, fee("7", name="New", invoiceAt="2031-01-01T00:00:00Z")])
    assert answer.status_code == 200, answer.text
    after = answer.json()
    assert [line["name"] for line in after["lines"]] == ["New", "Stays"]
    assert after["lines"][0]["invoiceAt"] == "2025-03-01T00:00:00Z"
    assert (after["totals"]["amount"], after["totals"]["total"]) == ("12", "0")
    assert await billing.settled() == 88
    everything = (await http.get(f"{INVOICES}/{invoice['id']}", params={"includeDeletedLines": True})).json()
    [tombstone] = [line for line in everything["lines"] if "deletedAt" in line]
    assert (tombstone["name"], tombstone["totals"]["amount"]) == ("Setup", "30")
    paid = (await http.post(f"{INVOICES}/{invoice['id']}/approve")).json()
    assert (paid["status"], paid["totals"]["amount"]) == ("paid", "12")


async def test_edits_that_are_refused_change_nothing(http: httpx.AsyncClient, billing: Billing) -> None:
    await billing.create(billing.intent(unit("0.02")))
    billing.events.add("3-2", 100)
    billing.time.at = at("4-1 1:01:00")
    invoice = await draft(http, billing, fee("30"))
    [flat_line] = [line for line in invoice["lines"] if line["name"] == "Setup"]
    [metered] = [line for line in invoice["lines"] if line["name"] == "Tokens"]

    async def edited(**changes: Any) -> httpx.Response:
        return await put(http, invoice, lines=[flat_line | changes, metered])

    card = flat_line["rateCard"]
    assert code(await edited(rateCard=card | {"featureKey": "tokens"})) == "invoice_line_feature_key_edit_not_supported"
    tax = {"taxConfig": {"behavior": "inclusive"}}
    assert code(await edited(**tax, rateCard=card | tax)) == "invoice_line_tax_config_edit_not_supported"
    free = {"price": {"type": "flat", "amount": "0"}}
    assert code(await edited(rateCard=card | free)) == "invoice_line_zero_amount_delete_instead"
    changed = metered | {"name": "Other"}
    assert code(await put(http, invoice, lines=[flat_line, changed])) == "cannot_update_charge_managed_line"
    assert (await put(http, invoice, lines=[flat_line, flat_line])).status_code == 400
    nameless = {"addresses": [{"country": "US"}]}
    assert (await put(http, invoice, supplier=nameless)).status_code == 400
    assert (await http.get(f"{INVOICES}/{invoice['id']}")).json()["totals"] == invoice["totals"]


async def test_an_issued_invoice_cannot_be_edited(http: httpx.AsyncClient, billing: Billing) -> None:
    invoice = await draft(http, billing, fee("30"))
    await http.post(f"{INVOICES}/{invoice['id']}/approve")
    assert code(await put(http, invoice)) == "invoice_action_not_available"


async def test_omitted_workflow_settings_stay(http: httpx.AsyncClient, billing: Billing) -> None:
    invoice = await draft(http, billing, fee("30"))
    workflow = {"workflow": {"invoicing": {"dueAfter": "P10D"}, "payment": {}}}
    after = (await put(http, invoice, workflow=workflow)).json()["workflow"]["workflow"]
    assert (after["invoicing"]["autoAdvance"], after["invoicing"]["dueAfter"]) == (False, "P10D")
    assert after["payment"] == {"collectionMethod": "charge_automatically"}


async def test_the_sandbox_payment_is_chosen_by_metadata(http: httpx.AsyncClient, billing: Billing) -> None:
    invoice = await draft(http, billing, fee("30"))
    await put(http, invoice, metadata={"openmeter.io/sandbox/target-payment-status": "failed"})
    failed = (await http.post(f"{INVOICES}/{invoice['id']}/approve")).json()
    assert failed["statusDetails"]["extendedStatus"] == "payment_processing.failed"
    assert [issue["code"] for issue in failed["validationIssues"]] == ["simulated_payment_failure"]


async def test_gathering_lines_can_be_edited_and_deleted(http: httpx.AsyncClient, billing: Billing) -> None:
    made = (await pend(http, billing, fee("30"), fee("5", name="Other"))).json()
    gathering = (await http.get(f"{INVOICES}/{made['invoice']['id']}")).json()
    [setup] = [line for line in gathering["lines"] if line["name"] == "Setup"]
    later = setup | {"invoiceAt": "2025-03-20T00:00:00Z"}
    answer = await put(http, gathering, lines=[later])
    assert answer.status_code == 200, answer.text
    after = (await http.get(f"{INVOICES}/{gathering['id']}")).json()
    assert [(line["name"], line["invoiceAt"]) for line in after["lines"]] == [("Setup", "2025-03-20T00:00:00Z")]
    assert after["collectionAt"] == "2025-03-20T00:00:00Z"
    assert (await http.delete(f"{INVOICES}/{gathering['id']}")).status_code == 204
    assert (await http.get(INVOICES)).json()["totalCount"] == 0


async def test_pending_usage_cannot_be_deleted_with_its_invoice(http: httpx.AsyncClient, billing: Billing) -> None:
    await billing.create(billing.intent(unit("0.02")))
    [gathering] = (await http.get(INVOICES)).json()["items"]
    assert code(await http.delete(f"{INVOICES}/{gathering['id']}")) == "cannot_update_charge_managed_line"
