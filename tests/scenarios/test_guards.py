"""What holds between domains: the composition root hands each domain the rules of the others."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from meterhouse.settings import NamespaceSettings, Settings
from tests.scenarios.conftest import NewWorld
from tests.scenarios.world import World


async def accounts(home: World, customer_id: str) -> list[str]:
    statement = text("SELECT account_type FROM ledger_customer_accounts WHERE customer_id = :id ORDER BY 1")
    async with home.app.services.db.read() as session:
        return list((await session.execute(statement, {"id": customer_id})).scalars())


async def test_a_customer_has_its_accounts_as_soon_as_it_exists(new_world: NewWorld) -> None:
    async with new_world() as home:
        customer = await home.customer()
        assert await accounts(home, customer) == ["customer_accrued", "customer_fbo", "customer_receivable"]


async def test_a_customer_with_open_billing_stays(new_world: NewWorld) -> None:
    async with new_world() as home:
        await home.catalog()
        customer = await home.customer()
        subscription = await home.subscribe(customer)
        refused = await home.call("DELETE", f"/api/v1/customers/{customer}", status=400)
        assert subscription in refused["detail"]
        await home.ingest(Decimal(100))
        home.pass_time(timedelta(days=1))
        await home.call("POST", f"/api/v1/subscriptions/{subscription}/cancel", {"timing": "immediate"})
        refused = await home.call("DELETE", f"/api/v1/customers/{customer}", status=400)
        assert "pending lines" in refused["detail"]
        home.pass_time(timedelta(hours=2))
        await home.settle()
        home.pass_time(timedelta(hours=2))
        await home.settle()
        await home.call("DELETE", f"/api/v1/customers/{customer}", status=204)


async def test_a_feature_or_meter_that_is_sold_stays(new_world: NewWorld) -> None:
    async with new_world() as home:
        await home.catalog()
        await home.call("DELETE", "/api/v1/features/tokens", status=400)
        await home.call("DELETE", "/api/v1/meters/tokens", status=409)


@pytest.mark.parametrize("where", ["plan", "subscription"])
async def test_without_credits_nothing_is_paid_by_credits_alone(new_world: NewWorld, where: str) -> None:
    async with new_world(Settings(credits_enabled=False)) as home:
        customer = await home.customer()
        assert await accounts(home, customer) == []
        if where == "plan":
            plan = {
                "key": "p",
                "name": "P",
                "currency": "USD",
                "billingCadence": "P1M",
                "settlementMode": "credit_only",
            }
            phases = [{"key": "main", "name": "Main", "duration": None, "rateCards": []}]
            refused = await home.call("POST", "/api/v1/plans", {**plan, "phases": phases}, status=400)
        else:
            await home.catalog()
            body = {"customerId": customer, "plan": {"key": "pro"}, "settlementMode": "credit_only"}
            refused = await home.call("POST", "/api/v1/subscriptions", body, status=400)
        assert "credits are not enabled on this deployment of OpenMeter" in refused["detail"]
        path = f"/api/v3/openmeter/customers/{customer}/credits/balance"
        assert "credits_enabled" in (await home.call("GET", path, status=501))["detail"]


async def test_without_credits_usage_is_invoiced_in_full(new_world: NewWorld) -> None:
    async with new_world(Settings(credits_enabled=False)) as home:
        await home.catalog()
        customer = await home.customer()
        await home.subscribe(customer)
        await home.ingest(Decimal(1000))
        home.pass_time(timedelta(days=31))
        await home.settle()
        home.pass_time(timedelta(hours=2))
        await home.settle()
        (invoice,) = await home.invoices(customer)
        assert (invoice["status"], invoice["totals"]["total"]) == ("paid", "20")


async def test_consumption_paid_by_credit_becomes_earnings(new_world: NewWorld) -> None:
    async with new_world() as home:
        await home.catalog()
        customer = await home.customer()
        await home.subscribe(customer)
        await home.grant(customer, Decimal(12))
        home.pass_time(timedelta(seconds=1))
        await home.ingest(Decimal(1000))
        home.pass_time(timedelta(days=31))
        await home.settle()
        home.pass_time(timedelta(hours=2))
        await home.settle()
        statement = text(
            "SELECT a.account_type, sum(e.amount) FROM ledger_entries e "
            "JOIN ledger_sub_accounts s ON s.id = e.sub_account_id JOIN ledger_accounts a ON a.id = s.account_id "
            "GROUP BY 1 HAVING sum(e.amount) <> 0"
        )
        async with home.app.services.db.read() as session:
            sums = {row[0]: row[1] for row in await session.execute(statement)}
        # 20.00 of usage: 12.00 by promotional credit, earned; 8.00 invoiced and paid, accrued.
        assert sums == {"earnings": 12, "customer_accrued": 8, "wash": -20}


async def test_a_locked_namespace_says_so(new_world: NewWorld) -> None:
    locked = NamespaceSettings(locked=frozenset({"default"}))
    async with new_world(Settings(namespace=locked)) as home:
        await home.catalog()
        customer = await home.customer()
        await home.subscribe(customer)
        refused = await home.invoice(customer, progressive=True)
        assert refused.json()["extensions"]["code"] == "namespace_locked"
        assert await home.charges(customer) == []
        assert (await home.call("GET", "/api/v3/meterhouse/configuration"))["locked_namespaces"] == ["default"]


async def test_a_grant_that_nothing_will_use_comes_with_a_warning(new_world: NewWorld) -> None:
    async with new_world() as home:
        await home.catalog()
        customer = await home.customer()
        await home.subscribe(customer)
        path = f"/api/v3/openmeter/customers/{customer}/credits/grants"
        body = {"name": "Credit", "funding_method": "none", "currency": "EUR", "amount": "5"}
        answer = await home.http.post(path, json={**body, "filters": {"features": ["tokens", "storage"]}})
        assert answer.status_code == 201
        warnings = answer.headers.get_list("warning")
        assert len(warnings) == 2
        assert "charged in USD" in warnings[0]
        assert "storage" in warnings[1]
        answer = await home.http.post(path, json={**body, "currency": "USD"})
        assert answer.headers.get_list("warning") == []
