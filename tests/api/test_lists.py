"""Lists cost the same however many rows there are: statements do not grow with them, and pages come by index."""

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import httpx
import pytest
from benchmarks.crowd import TABLES, crowd
from sqlalchemy import text

from meterhouse.customers import service as customers
from meterhouse.customers.service import CustomerFilter
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Sort, equals
from meterhouse.kernel.db import Database, ReadSession
from meterhouse.kernel.pages import PageRequest
from meterhouse.subscriptions import service as subscriptions
from meterhouse.subscriptions.repository import SubscriptionFilter
from tests.billing_profiles.conftest import UNKNOWN, default_profile, http, new_customer, new_profile, profiles, sent
from tests.fixtures.statements import Statement, connect, nodes, recorded

__all__ = ["http", "profiles"]

V3 = "/api/v3/openmeter"
LISTS = (
    "/api/v1/customers",
    "/api/v1/customers?expand=subscriptions&name=customer&subject=a&includeDeleted=true",
    "/api/v1/customers/customer_0/subscriptions",
    "/api/v1/customers/customer_0/subscriptions?page=1&pageSize=100",
    f"{V3}/customers?page[size]=100",
    f"{V3}/customers?page[size]=100&filter[plan_key][neq]=x&filter[billing_profile_id][neq]={UNKNOWN}",
    f"{V3}/subscriptions?page[size]=100",
    "/api/v1/features",
    "/api/v1/features?page=1&pageSize=100",
    f"{V3}/features?page[size]=100",
    "/api/v1/plans",
    f"{V3}/plans?page[size]=100",
    "/api/v1/addons",
    f"{V3}/addons?page[size]=100",
    "/api/v1/plans/roomy/addons",
    f"{V3}/tax-codes?page[size]=100&include_deleted=true",
    f"{V3}/currencies?filter[type]=custom&expand=cost_basis",
    f"{V3}/llm-cost/prices?page[size]=100",
    f"{V3}/llm-cost/overrides?page[size]=100",
    "/api/v1/billing/profiles?expand=apps",
    f"{V3}/profiles?page[size]=100",
    "/api/v1/billing/customers?includeAllCustomers=true&expand=apps&expand=customer",
)
CARD = {"type": "flat_fee", "key": "seats", "name": "Seats", "billingCadence": "P1M"}
PHASE = {"key": "main", "name": "Main", "duration": None}


COINS = {"name": "Coins", "precision": 2, "decimal_mark": ".", "thousand_separator": ","}
OVERRIDE = {
    "provider": "openai",
    "pricing": {"input_per_token": "1", "output_per_token": "2"},
    "currency": "USD",
    "effective_from": "2025-01-01T00:00:00Z",
}


async def _one_more_price(http: httpx.AsyncClient, n: int) -> None:
    """Make one more tax code, currency with a cost basis, and price of a language model."""
    code = {"key": f"code_{n}", "name": "Code", "app_mappings": []}
    await sent(http, "POST", f"{V3}/tax-codes", code, status=201)
    coins = await sent(http, "POST", f"{V3}/currencies/custom", {**COINS, "code": f"COINS_{n}"}, status=201)
    basis = {"fiat_code": "USD", "rate": "1"}
    await sent(http, "POST", f"{V3}/currencies/custom/{coins['id']}/cost-bases", basis, status=201)
    await sent(http, "POST", f"{V3}/llm-cost/overrides", {**OVERRIDE, "model_id": f"model-{n}"}, status=201)


async def _one_more_addon(http: httpx.AsyncClient, n: int) -> None:
    """Make one more add-on, and let a draft plan have it."""
    plan = {"key": "roomy", "name": "Roomy", "currency": "USD", "billingCadence": "P1M"}
    if n == 0:
        await sent(http, "POST", "/api/v1/plans", {**plan, "phases": [{**PHASE, "rateCards": []}]}, status=201)
    addon = {"key": f"addon_{n}", "name": "Add-on", "currency": "USD", "instanceType": "single"}
    cards = [{**CARD, "key": f"card_{n}", "price": {"type": "flat", "amount": "1"}}]
    made = await sent(http, "POST", "/api/v1/addons", {**addon, "rateCards": cards}, status=201)
    await sent(http, "POST", f"/api/v1/addons/{made['id']}/publish")
    assignment = {"addonId": made["id"], "fromPlanPhase": "main"}
    await sent(http, "POST", "/api/v1/plans/roomy/addons", assignment, status=201)


async def _one_more(http: httpx.AsyncClient, n: int) -> None:
    """Make one more of everything; the first customer gets one more subscription as well."""
    await _one_more_price(http, n)
    await _one_more_addon(http, n)
    feature = {"key": f"feature_{n}", "name": "Feature"}
    await sent(http, "POST", "/api/v1/features", feature, status=201)
    cards = [{**CARD, "key": f"feature_{n}", "featureKey": f"feature_{n}", "price": {"type": "flat", "amount": "1"}}]
    plan = {"key": f"plan_{n}", "name": "Plan", "currency": "USD", "billingCadence": "P1M"}
    made = await sent(http, "POST", "/api/v1/plans", {**plan, "phases": [{**PHASE, "rateCards": cards}]}, status=201)
    await sent(http, "POST", f"/api/v1/plans/{made['id']}/publish")
    customer = await new_customer(http, f"customer_{n}", usageAttribution={"subjectKeys": [f"a{n}", f"b{n}"]})
    if n:
        (running,) = (await sent(http, "GET", "/api/v1/customers/customer_0"))["subscriptions"]
        await sent(http, "POST", f"/api/v1/subscriptions/{running['id']}/cancel", {"timing": "immediate"})
    for key in dict.fromkeys(["customer_0", f"customer_{n}"]):
        wanted = {"customerKey": key, "plan": {"key": f"plan_{n}"}}
        await sent(http, "POST", "/api/v1/subscriptions", wanted, status=201)
    profile = await new_profile(http, f"Profile {n}")
    await sent(http, "PUT", f"/api/v1/billing/customers/{customer}", {"billingProfileId": profile["id"]})


async def _statements(http: httpx.AsyncClient, db: Database) -> dict[str, tuple[int, int]]:
    """Return how many statements each list takes, and how many rows it shows."""
    found = {}
    for path in LISTS:
        with recorded(db) as sent_statements:
            answer = await sent(http, "GET", path)
        rows = answer if isinstance(answer, list) else answer.get("items", answer.get("data"))
        found[path] = len(sent_statements), len(rows)
    return found


async def test_statements_do_not_grow_with_the_rows(http: httpx.AsyncClient, db: Database) -> None:
    await default_profile(http)
    with clock.frozen(clock.now()) as time:
        for n in range(30):
            time.at += timedelta(hours=1)
            await _one_more(http, n)
            if n == 1:
                few = await _statements(http, db)
        many = await _statements(http, db)
    assert {path: count for path, (count, _) in few.items()} == {path: count for path, (count, _) in many.items()}
    assert {path: rows for path, (_, rows) in few.items() if rows < 2} == {}
    assert {path: rows for path, (_, rows) in many.items() if rows < 30} == {}


ROWS, SIZE = 30_000, 20
# Every order of both lists.


ORDERS = [
    (table, Sort(field, descending))
    for table, fields in (
        ("customers", ("id", "name", "created_at")),
        ("subscriptions", ("id", "active_from", "active_to")),
    )
    for field in fields
    for descending in (False, True)
]


@pytest.fixture
async def crowded(db: Database) -> AsyncIterator[asyncpg.Connection]:
    """A database with very many customers and subscriptions, of which Postgres knows the numbers."""
    async with db.write() as session:
        for statement in crowd("default", ROWS):
            await session.execute(statement)
    connection = await connect(db)
    try:
        await connection.execute(f"VACUUM ANALYZE {', '.join(TABLES)}")
        yield connection
    finally:
        await connection.close()


async def _listed(session: ReadSession, table: str, sort: Sort, page: PageRequest) -> tuple[list[str], int]:
    if table == "customers":
        shown = await customers.list_customers(session, "default", sorts=[sort], page=page)
        return [customer.id for customer in shown.items], shown.total_count
    chosen = SubscriptionFilter(at=clock.now())
    found = await subscriptions.list_subscriptions(session, "default", chosen, sorts=[sort], page=page)
    return [view.id for view in found.items], found.total_count


async def test_every_page_comes_by_index(db: Database, crowded: asyncpg.Connection) -> None:
    live = ROWS - ROWS // 50
    for table, sort in ORDERS:
        column = f"{sort.field} {'DESC' if sort.descending else 'ASC'}, id {'DESC' if sort.descending else 'ASC'}"
        async with db.read() as session:
            query = text(f"SELECT id FROM {table} WHERE deleted_at IS NULL ORDER BY {column}")
            expected = list((await session.scalars(query)).all())
        assert len(expected) == live
        for number in (1, live // SIZE // 2, live // SIZE):
            with recorded(db) as asked:
                async with db.read() as session:
                    ids, total = await _listed(session, table, sort, PageRequest(number, SIZE))
            assert (ids, total) == (expected[(number - 1) * SIZE : number * SIZE], live)
            for statement in asked:
                if "LIMIT" in statement.text or "subject" in statement.text or "subscription_phases" in statement.text:
                    await _check(crowded, statement, f"{table} by {sort}, page {number}")


async def _check(connection: asyncpg.Connection, statement: Statement, what: str) -> None:
    for node in await nodes(connection, statement):
        kind = node["Node Type"]
        assert kind != "Seq Scan", (what, node)
        if "Sort" in kind:
            assert node["Actual Rows"] <= SIZE, (what, node)
        if kind == "Index Only Scan":
            assert node["Heap Fetches"] == 0, (what, node)
        elif "Scan" in kind and "Subquery" not in kind:
            # Whole rows are read for the page alone, never for what stands before it.
            assert node["Actual Rows"] * node["Actual Loops"] <= SIZE, (what, node)


async def test_what_is_asked_for_by_its_name_is_found_by_index(db: Database, crowded: asyncpg.Connection) -> None:
    plan = subscriptions.customers_on_plan("default", equals("plan_07"))
    for chosen, total in (
        (CustomerFilter(key=equals("key-77")), 1),
        (CustomerFilter(subject=equals("key-77")), 1),
        (CustomerFilter(key=equals("key-50")), 0),  # deleted
        (CustomerFilter(among=(plan,)), None),
    ):
        with recorded(db) as asked:
            async with db.read() as session:
                page = await customers.list_customers(session, "default", chosen, page=PageRequest(1, SIZE))
        assert page.total_count == total or (total is None and page.total_count > SIZE)
        for statement in asked:
            if statement.text.startswith("SELECT"):
                kinds = {node["Node Type"] for node in await nodes(crowded, statement)}
                assert "Seq Scan" not in kinds, (chosen, kinds)
