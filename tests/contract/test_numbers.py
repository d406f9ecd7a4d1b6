"""Amounts at the ends of what a decimal can be: billed exactly or refused, never a failure."""

from typing import Any

import pytest

from tests.scenarios.served import Server

LARGEST = "9" * 64
PERIOD = {"from": "2025-01-01T00:00:00Z", "to": "2025-01-02T00:00:00Z"}


def lines(amount: str) -> dict[str, Any]:
    """Return a pending line with this amount."""
    price = {"type": "flat", "amount": amount, "paymentTerm": "in_arrears"}
    return {"currency": "USD", "lines": [{"name": "Line", "price": price, "invoiceAt": PERIOD["to"], "period": PERIOD}]}


def test_the_largest_amount_is_invoiced_exactly(server: Server) -> None:
    customer = server.customer("numbers-largest")
    path = f"/api/v1/billing/customers/{customer}/invoices/pending-lines"
    server.call("POST", path, lines(LARGEST), status=201)
    (invoice,) = server.invoice(customer)
    assert invoice["totals"]["total"] == LARGEST


@pytest.mark.parametrize(
    "amount", ["1" + LARGEST, "0." + "0" * 70 + "1", "0", "0.004", "0." + "0" * 61 + "1", "-0.001"]
)
def test_amounts_that_cannot_be_invoiced(server: Server, amount: str) -> None:
    customer = server.customer(f"numbers-{len(amount)}-{amount[:3]}")
    path = f"/api/v1/billing/customers/{customer}/invoices/pending-lines"
    server.call("POST", path, lines(amount), status=400)
    assert server.http.get("/api/v1/billing/invoices", params={"customers": customer}).json()["items"] == []
