"""Answers of a whole server keep to the schemas that it exports, and failures have their statuses."""

from typing import Any

from tests.api.answers import Documents
from tests.scenarios.conftest import new_world
from tests.scenarios.world import World

__all__ = ["new_world"]

V3 = "/api/v3/openmeter"
UNKNOWN = "01JNX8T0000000000000000001"
PERIOD = {"from": "2025-01-01T00:00:00Z", "to": "2025-01-10T00:00:00Z"}
LINE = {
    "name": "Setup",
    "period": PERIOD,
    "invoiceAt": "2025-01-10T00:00:00Z",
    "price": {"type": "flat", "amount": "9"},
}
CHARGE = {
    "type": "flat_fee",
    "name": "Fee",
    "currency": "USD",
    "invoice_at": "2025-01-20T00:00:00Z",
    "service_period": PERIOD,
    "settlement_mode": "credit_then_invoice",
    "payment_term": "in_arrears",
    "proration_configuration": {"mode": "no_proration"},
    "amount_before_proration": {"amount": "3", "currency": "USD"},
}
EXTERNAL = {
    "name": "Bought",
    "currency": "USD",
    "amount": "5",
    "funding_method": "external",
    "purchase": {"currency": "USD", "per_unit_cost_basis": "0.5"},
    "expires_after": "P1M",
}
# What the routes answer for ids that are not there, or are no ids.
MISSING = [
    ("GET", "/api/v1/customers/{id}", 404, 404),
    ("DELETE", "/api/v1/customers/{id}", 404, 404),
    ("GET", "/api/v1/features/{id}", 404, 404),
    ("DELETE", "/api/v1/features/{id}", 404, 404),
    ("GET", "/api/v1/plans/{id}", 404, 404),
    ("DELETE", "/api/v1/plans/{id}", 404, 400),
    ("POST", "/api/v1/plans/{id}/publish", 404, 400),
    ("POST", "/api/v1/plans/{id}/archive", 404, 400),
    ("POST", "/api/v1/plans/{id}/next", 404, 404),
    ("GET", "/api/v1/subscriptions/{id}", 404, 400),
    ("DELETE", "/api/v1/subscriptions/{id}", 404, 400),
    ("POST", "/api/v1/subscriptions/{id}/unschedule-cancelation", 404, 400),
    ("GET", "/api/v1/billing/invoices/{id}", 404, 400),
    ("DELETE", "/api/v1/billing/invoices/{id}", 404, 400),
    ("POST", "/api/v1/billing/invoices/{id}/advance", 404, 400),
    ("POST", "/api/v1/billing/invoices/{id}/approve", 404, 400),
    ("POST", "/api/v1/billing/invoices/{id}/retry", 404, 400),
    ("POST", "/api/v1/billing/invoices/{id}/snapshot-quantities", 404, 400),
    ("GET", V3 + "/customers/{id}", 404, 404),
    ("DELETE", V3 + "/customers/{id}", 204, 404),
    ("GET", V3 + "/customers/{id}/charges", 200, 404),
    ("GET", V3 + "/customers/{id}/credits/balance", 404, 404),
    ("GET", V3 + "/customers/{id}/credits/transactions", 404, 404),
    ("GET", V3 + "/features/{id}", 404, 404),
    ("DELETE", V3 + "/features/{id}", 404, 404),
    ("GET", V3 + "/subscriptions/{id}", 404, 404),
    ("POST", V3 + "/subscriptions/{id}/unschedule-cancelation", 404, 404),
    ("GET", V3 + "/billing/invoices/{id}", 404, 404),
    ("DELETE", V3 + "/billing/invoices/{id}", 404, 404),
]


class Checked:
    """Calls a server and holds every answer against the documents."""

    def __init__(self, world: World) -> None:
        """Read the documents."""
        self._http, self._documents = world.http, Documents()

    async def __call__(self, method: str, path: str, status: int, body: Any = None, **options: Any) -> Any:
        answer = await self._http.request(method, path, json=body, **options)
        assert answer.status_code == status, f"{method} {path}: {answer.text}"
        assert self._documents.faults(answer) == [], f"{method} {path}: {answer.text}"
        return answer.json() if answer.content else None


async def _objects(call: Checked, customer: str, subscription: str) -> None:
    for version, path in (("v1", "/api/v1"), ("v3", V3)):
        body = {"name": "N", "key": version, "currency": "USD"}
        made = await call("POST", f"{path}/customers", 201, body)
        await call(
            "PUT", f"{path}/customers/{made['id']}", 200, {"name": "M"} | ({"key": "v"} if version == "v1" else {})
        )
        await call("DELETE", f"{path}/customers/{made['id']}", 204)
        await call("GET", f"{path}/customers/{made['id']}", 200)
        await call("PUT", f"{path}/customers/{made['id']}", 412 if version == "v1" else 410, {"name": "M", **(
            {"key": "v"} if version == "v1" else {})})  # fmt: skip
        feature = await call("POST", f"{path}/features", 201, {"key": version, "name": "F"})
        await call("POST", f"{path}/features", 409, {"key": version, "name": "F"})
        await call("GET", f"{path}/features/{feature['id']}", 200)
        await call("DELETE", f"{path}/features/{feature['id']}", 204)
        await call("GET", f"{path}/subscriptions/{subscription}", 200)
        await call("POST", f"{path}/subscriptions/{subscription}/cancel", 200, {"timing": "next_billing_cycle"})
        await call("POST", f"{path}/subscriptions/{subscription}/cancel", 403, {"timing": "immediate"})
        await call("POST", f"{path}/subscriptions/{subscription}/unschedule-cancelation", 200)
        for name in ("customers", "features"):
            await call("GET", f"{path}/{name}?{'pageSize' if version == 'v1' else 'page[size]'}=5", 200)
    await call("GET", f"{V3}/subscriptions", 200)
    await call("GET", f"/api/v1/customers/{customer}/subscriptions", 200)
    (plan,) = (await call("GET", "/api/v1/plans", 200))["items"]
    copied = await call("POST", f"/api/v1/plans/{plan['id']}/next", 201)
    content = {name: copied[name] for name in ("name", "billingCadence", "proRatingConfig", "phases")}
    await call("PUT", f"/api/v1/plans/{copied['id']}", 200, content)
    await call("POST", f"/api/v1/plans/{copied['id']}/publish", 200)
    await call("POST", f"/api/v1/plans/{copied['id']}/archive", 200)
    await call("DELETE", f"/api/v1/plans/{copied['id']}", 204)


async def _money(call: Checked, customer: str) -> None:
    credits = f"{V3}/customers/{customer}/credits"
    await call("POST", f"{V3}/customers/{customer}/charges", 201, CHARGE)
    await call("GET", f"{V3}/customers/{customer}/charges?expand=real_time_usage", 200)
    grant = await call("POST", f"{credits}/grants", 201, EXTERNAL)
    await call("POST", f"{credits}/grants/{grant['id']}/settlement/external", 200, {"status": "settled"})
    await call("POST", f"{credits}/grants/{grant['id']}/settlement/external", 412, {"status": "settled"})
    await call("POST", f"{credits}/grants/{grant['id']}/void", 200)
    await call("POST", f"{credits}/adjustments", 501, {"name": "A", "currency": "USD", "amount": "1"})
    for read in ("grants", f"grants/{grant['id']}", "balance", "transactions"):
        await call("GET", f"{credits}/{read}", 200)
    lines = {"currency": "USD", "lines": [LINE, {**LINE, "invoiceAt": "2025-06-01T00:00:00Z"}]}
    await call("POST", f"/api/v1/billing/customers/{customer}/invoices/pending-lines", 201, lines)
    (invoice,) = await call("POST", "/api/v1/billing/invoices/invoice", 201, {"customerId": customer})
    one = f"billing/invoices/{invoice['id']}"
    for path in (f"/api/v1/{one}", f"{V3}/{one}", f"{V3}/billing/invoices", "/api/v1/billing/invoices?expand=lines"):
        await call("GET", path, 200)
    await call("POST", f"/api/v1/{one}/advance", 400)
    await call("POST", f"/api/v1/{one}/taxes/recalculate", 501)
    await call(
        "POST", "/api/v1/billing/invoices/invoice", 400, {"customerId": customer, "asOf": "2035-01-01T00:00:00Z"}
    )


async def test_answers_keep_to_their_schemas(new_world: Any) -> None:
    async with new_world() as world:
        call = Checked(world)
        await world.catalog()
        customer = await world.customer()
        subscription = await world.subscribe(customer)
        await _objects(call, customer, subscription)
        await _money(call, customer)
        for method, path, unknown, malformed in MISSING:
            await call(method, path.format(id=UNKNOWN), unknown)
            await call(method, path.format(id="not_an_id"), malformed)
