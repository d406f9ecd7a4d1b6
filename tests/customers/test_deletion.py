"""What keeps a customer from deletion, one issue each, on the composed server in both APIs (customers section 4)."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from meterhouse.settings import Settings
from meterhouse.subscriptions import service as subscriptions
from meterhouse.subscriptions.service import NewSubscription, PlanChoice
from meterhouse.subscriptions.timing import NamedTiming
from tests.scenarios.conftest import NewWorld, new_world

__all__ = ["new_world"]

PATHS = ("/api/v1/customers/", "/api/v3/openmeter/customers/")
SUBSCRIPTION = "deleting_customer_with_active_subscriptions"
INVOICE = "deleting_customer_with_open_invoices"


def issues(refused: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return code and subject of each issue."""
    found = refused["extensions"]["validationErrors"]
    return [(one["code"], one.get("invoice") or one["subscriptions"]) for one in found]


async def test_everything_in_the_way_is_told(new_world: NewWorld) -> None:
    async with new_world() as home:
        await home.catalog()
        customer = await home.customer()
        subscription = await home.subscribe(customer)
        await home.ingest(Decimal(100))
        home.pass_time(timedelta(days=32))
        await home.call("PUT", "/api/v1/customers/acme", {"name": "Renamed", "key": "acme", **keys("acme-app")})
        for currency in ("EUR", "USD"):
            line = {
                "name": "By hand",
                "period": {"from": "2025-01-01T00:00:00Z", "to": "2025-02-01T00:00:00Z"},
                "invoiceAt": "2025-03-01T00:00:00Z",
                "price": {"type": "flat", "amount": "1"},
            }
            path = f"/api/v1/billing/customers/{customer}/invoices/pending-lines"
            await home.call("POST", path, {"currency": currency, "lines": [line]}, status=201)
        listed = await home.call("GET", "/api/v1/billing/invoices", params={"customers": customer})
        gathering = sorted(one["id"] for one in listed["items"])
        assert len(gathering) == 2
        for path in PATHS:
            refused = await home.call("DELETE", path + customer, status=400)
            assert issues(refused) == [(SUBSCRIPTION, [subscription]), *((INVOICE, one) for one in gathering)]
            assert refused["detail"].count("holds pending lines") == 2
        assert "deletedAt" not in await home.call("GET", f"/api/v1/customers/{customer}")


def keys(*subjects: str) -> dict[str, Any]:
    """Describe subject keys."""
    return {"usageAttribution": {"subjectKeys": list(subjects)}}


async def test_billing_is_brought_up_to_date_first(new_world: NewWorld) -> None:
    async with new_world() as home:
        await home.catalog()
        customer = await home.customer()
        # Made and ended behind the back of billing, as if the process had died before it was told.
        wanted = NewSubscription(customer_id=customer, plan=PlanChoice(key="pro"))
        async with home.app.services.db.write() as session:
            view = await subscriptions.create(session, "default", wanted)
        await home.ingest(Decimal(100))
        home.pass_time(timedelta(days=1))
        async with home.app.services.db.write() as session:
            await subscriptions.cancel(session, "default", view.id, NamedTiming.IMMEDIATE)
        home.pass_time(timedelta(hours=1))
        for path in PATHS:
            refused = await home.call("DELETE", path + customer, status=400)
            assert [code for code, _ in issues(refused)] == [INVOICE]
        # The refusal takes back what it found out; billing finds it out again by itself.
        assert await home.charges(customer) == []
        await home.settle()
        assert len(await home.charges(customer)) == 1


@pytest.mark.parametrize("enabled", [True, False])
async def test_customers_come_with_subjects_where_that_is_switched_on(new_world: NewWorld, enabled: bool) -> None:
    async with new_world(Settings(customer_enable_subject_hook=enabled)) as home:
        await home.call("POST", "/api/v1/subjects", [{"key": "acme"}])
        assert (await home.call("GET", "/api/v1/customers"))["totalCount"] == int(enabled)
