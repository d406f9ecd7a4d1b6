"""Making, replacing and deleting billing profiles over both APIs (billing sections 2.2 and 2.3)."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from meterhouse.apps.models import AppRow
from meterhouse.billing.profiles.models import OverrideRow, ProfileRow
from meterhouse.catalog import taxcodes
from meterhouse.kernel.db import Database
from tests.billing_profiles.conftest import UNKNOWN, V1, V3, default_profile, new_customer, new_profile, sent

ANCHOR = "2025-01-01T00:00:00Z"
ANCHORED = {"type": "anchored", "recurringPeriod": {"interval": "MONTH", "anchor": ANCHOR}}
WORKFLOW = {
    "collection": {"alignment": ANCHORED, "interval": "P1D"},
    "invoicing": {
        "autoAdvance": False,
        "draftPeriod": "P3D",
        "dueAfter": "P14D",
        "progressiveBilling": False,
        "subscriptionEndProrationMode": "bill_full_period",
        "defaultTaxConfig": {"behavior": "exclusive"},
    },
    "payment": {"collectionMethod": "send_invoice"},
    "tax": {"enabled": True, "enforced": True},
}
DEFAULTS = {
    "collection": {"alignment": {"type": "subscription"}, "interval": "PT1H"},
    "invoicing": {
        "autoAdvance": True,
        "draftPeriod": "P0D",
        "dueAfter": "P30D",
        "progressiveBilling": True,
        "subscriptionEndProrationMode": "bill_actual_period",
    },
    "payment": {"collectionMethod": "charge_automatically"},
    "tax": {"enabled": True, "enforced": False},
}
SUPPLIER = {"name": "Supplier", "addresses": [{"country": "AT"}]}


CARD = {"type": "flat_fee", "key": "seats", "name": "Seats", "billingCadence": "P1M"}
PLAN = {
    "key": "paid",
    "name": "Paid",
    "currency": "USD",
    "billingCadence": "P1M",
    "phases": [
        {
            "key": "main",
            "name": "Main",
            "duration": None,
            "rateCards": [{**CARD, "price": {"type": "flat", "amount": "10"}}],
        }
    ],
}


async def test_a_profile_is_stored_as_it_is_sent(http: httpx.AsyncClient) -> None:
    supplier = {**SUPPLIER, "key": "at", "taxId": {"code": "ATU1"}}
    made = await new_profile(http, workflow=WORKFLOW, supplier=supplier, metadata={"a": "b"}, description="d")
    alignment = {"type": "anchored", "recurringPeriod": {"interval": "P1M", "anchor": "2025-01-01T00:00:00Z"}}
    assert made["workflow"] == {**WORKFLOW, "collection": {"alignment": alignment, "interval": "P1D"}}
    assert made["supplier"] == {"id": made["id"], **supplier}
    assert (made["default"], made["metadata"], made["description"]) == (False, {"a": "b"}, "d")
    assert await sent(http, "GET", f"{V1}/{made['id']}") == made
    assert (await new_profile(http))["workflow"] == DEFAULTS


async def test_what_an_update_leaves_out_has_its_default_but_for_the_proration_mode(http: httpx.AsyncClient) -> None:
    made = await new_profile(http, workflow=WORKFLOW, metadata={"a": "b"})
    body = {"name": "New", "default": False, "supplier": SUPPLIER, "workflow": {}}
    changed = await sent(http, "PUT", f"{V1}/{made['id']}", body)
    kept = {**DEFAULTS["invoicing"], "subscriptionEndProrationMode": "bill_full_period"}
    assert changed["workflow"] == {**DEFAULTS, "invoicing": kept}
    assert (changed["name"], changed["apps"]) == ("New", made["apps"])
    assert "metadata" not in changed
    flow = {"invoicing": {"subscriptionEndProrationMode": "bill_actual_period"}}
    changed = await sent(http, "PUT", f"{V1}/{made['id']}", {**body, "workflow": flow})
    assert changed["workflow"] == DEFAULTS


def _flow(**parts: Any) -> dict[str, Any]:
    return {"workflow": parts}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"supplier": {"addresses": [{"country": "AT"}]}}, "$.supplier.name"),
    ({"supplier": {"name": "S"}}, "$.supplier.addresses[0].country"),
    ({"supplier": {"name": "S", "addresses": [{"city": "Graz"}]}}, "$.supplier.addresses[0].country"),
    (_flow(tax={"enabled": False, "enforced": True}), "$.workflow.tax.enforced"),
    (_flow(collection={"interval": "-PT1H"}), "$.workflow.collection.interval"),
    (_flow(invoicing={"draftPeriod": "-P1D"}), "$.workflow.invoicing.draftPeriod"),
    (_flow(invoicing={"dueAfter": "P101Y"}), "$.workflow.invoicing.dueAfter"),
    (_flow(invoicing={"defaultTaxConfig": {"taxCodeId": UNKNOWN}}), "$.workflow.invoicing.defaultTaxConfig"),
    ({"apps": {"tax": UNKNOWN, "invoicing": UNKNOWN, "payment": "other"}}, "$.apps"),
    ({"apps": {"tax": UNKNOWN, "invoicing": UNKNOWN, "payment": UNKNOWN}}, "$.apps.invoicing"),
    (_flow(invoicing={"dueAfter": "soon"}), ""),
    (_flow(collection={"alignment": {"type": "anchored"}}), ""),
    (_flow(collection={"alignment": {**ANCHORED, "recurringPeriod": None}}), ""),
    ({"supplier": {**SUPPLIER, "addresses": [{"country": "AT"}, {"country": "DE"}]}}, ""),
    *(
        (
            _flow(collection={"alignment": {**ANCHORED, "recurringPeriod": {"interval": interval, "anchor": ANCHOR}}}),
            "$.workflow.collection.alignment",
        )
        for interval in ("P0D", "PT0.5S", "P101Y")
    ),
    ({"name": ""}, ""),
]


async def test_refused_profiles(http: httpx.AsyncClient) -> None:
    app = (await default_profile(http))["apps"]["payment"]["id"]
    apps = {"tax": app, "invoicing": app, "payment": app}
    right = {"name": "x", "default": False, "supplier": SUPPLIER, "workflow": {}, "apps": apps}
    for members, field in REFUSED:
        refused = await sent(http, "POST", V1, {**right, **members}, status=400)
        assert refused["extensions"]["validationErrors"][0].get("field", "").startswith(field), members


async def test_there_is_always_one_default(http: httpx.AsyncClient) -> None:
    first = await default_profile(http)
    body = {"name": "x", "default": False, "supplier": SUPPLIER, "workflow": {}}
    refused = await sent(http, "PUT", f"{V1}/{first['id']}", body, status=400)
    assert refused["extensions"]["code"] == "default_profile_cannot_be_unset"
    refused = await sent(http, "DELETE", f"{V1}/{first['id']}", status=400)
    assert refused["extensions"]["code"] == "default_profile_cannot_be_deleted"
    second = await new_profile(http, default=True)
    assert not (await sent(http, "GET", f"{V1}/{first['id']}"))["default"]
    await sent(http, "PUT", f"{V1}/{first['id']}", {**body, "default": True})
    assert (await default_profile(http))["id"] == first["id"]
    await sent(http, "DELETE", f"{V1}/{second['id']}", status=204)
    await sent(http, "DELETE", f"{V1}/{second['id']}", status=204)
    assert "deletedAt" in await sent(http, "GET", f"{V1}/{second['id']}")
    refused = await sent(http, "PUT", f"{V1}/{second['id']}", body, status=400)
    assert refused["extensions"]["code"] == "profile_already_deleted"
    for method, given in (("PUT", body), ("DELETE", None)):
        await sent(http, method, f"{V1}/{UNKNOWN}", given, status=404)


async def test_simultaneous_defaults_leave_one(http: httpx.AsyncClient, db: Database) -> None:
    await default_profile(http)
    made = await asyncio.gather(*(new_profile(http, f"profile {n}", default=True) for n in range(5)))
    async with db.read() as session:
        query = select(func.count()).select_from(ProfileRow).where(ProfileRow.is_default)
        assert await session.scalar(query) == 1
    assert (await default_profile(http))["id"] in {one["id"] for one in made}


async def test_a_profile_with_pinned_customers_stays(http: httpx.AsyncClient) -> None:
    profile, customer = await new_profile(http), await new_customer(http, "acme")
    await sent(http, "PUT", f"/api/v1/billing/customers/{customer}", {"billingProfileId": profile["id"]})
    refused = await sent(http, "DELETE", f"{V1}/{profile['id']}", status=400)
    assert refused["extensions"]["code"] == "profile_referenced"
    await sent(http, "DELETE", "/api/v1/customers/acme", status=204)
    await sent(http, "DELETE", f"{V1}/{profile['id']}", status=204)


async def test_a_tax_code_can_be_removed_but_not_added_or_changed(http: httpx.AsyncClient, db: Database) -> None:
    async with db.write() as session:
        code, other = [(await taxcodes.for_provider_code(session, "acme", "stripe", f"txcd_{n:08}")).id for n in (1, 2)]

    def body(**config: Any) -> dict[str, Any]:
        flow = {"invoicing": {"defaultTaxConfig": config}}
        return {"name": "x", "default": False, "supplier": SUPPLIER, "workflow": flow}

    made = await new_profile(http, **_flow(invoicing={"defaultTaxConfig": {"stripe": {"code": "txcd_00000001"}}}))
    config = made["workflow"]["invoicing"]["defaultTaxConfig"]
    assert config == {"stripe": {"code": "txcd_00000001"}, "taxCodeId": code}
    path = f"{V1}/{made['id']}"
    changed = await sent(http, "PUT", path, body(taxCodeId=code, behavior="inclusive"))
    assert changed["workflow"]["invoicing"]["defaultTaxConfig"] == {**config, "behavior": "inclusive"}
    await sent(http, "PUT", path, body(taxCodeId=other), status=400)
    changed = await sent(http, "PUT", path, body(behavior="inclusive"))
    assert changed["workflow"]["invoicing"]["defaultTaxConfig"] == {"behavior": "inclusive"}
    await sent(http, "PUT", path, body(taxCodeId=code), status=400)


@pytest.mark.parametrize("name", ["taxCodeId", "stripe"])
async def test_a_profile_outlives_its_tax_code(http: httpx.AsyncClient, db: Database, name: str) -> None:
    made = await new_profile(http, **_flow(invoicing={"defaultTaxConfig": {"stripe": {"code": "txcd_00000001"}}}))
    config = made["workflow"]["invoicing"]["defaultTaxConfig"]
    async with db.write() as session:
        await taxcodes.delete(session, "acme", config["taxCodeId"], uses=())
    flow = {"invoicing": {"defaultTaxConfig": {name: config[name]}}}
    body = {"name": "renamed", "default": False, "supplier": SUPPLIER, "workflow": flow}
    changed = await sent(http, "PUT", f"{V1}/{made['id']}", body)
    assert (changed["name"], changed["workflow"]["invoicing"]["defaultTaxConfig"]) == ("renamed", config)
    body["workflow"]["invoicing"]["defaultTaxConfig"] = {"stripe": {"code": "txcd_00000002"}}
    await sent(http, "PUT", f"{V1}/{made['id']}", body, status=400)


async def test_paying_customers_keep_their_app_when_the_default_gets_another(
    http: httpx.AsyncClient, db: Database
) -> None:
    plan = await sent(http, "POST", "/api/v1/plans", PLAN, status=201)
    await sent(http, "POST", f"/api/v1/plans/{plan['id']}/publish")
    first = await default_profile(http)
    paying, idle, pinned = [await new_customer(http, key) for key in ("paying", "idle", "pinned")]
    other = (await new_profile(http))["id"]
    await sent(http, "PUT", f"/api/v1/billing/customers/{pinned}", {"billingProfileId": other})
    for customer in (paying, pinned):
        subscription = {"customerId": customer, "plan": {"key": "paid"}}
        await sent(http, "POST", "/api/v1/subscriptions", subscription, status=201)
    async with db.write() as session:
        app = AppRow(namespace="acme", type="custom_invoicing", name="Ours")
        session.add(app)
        await session.flush()
    apps = {"tax": app.id, "invoicing": app.id, "payment": app.id}
    second = await new_profile(http, "Ours", default=True, apps=apps)
    bases = [
        (await sent(http, "GET", f"/api/v1/billing/customers/{one}"))["baseBillingProfileId"]
        for one in (paying, idle, pinned)
    ]
    assert bases == [first["id"], second["id"], other]
    async with db.read() as session:
        assert await session.scalar(select(func.count()).select_from(OverrideRow)) == 2


async def test_v3_profiles(http: httpx.AsyncClient) -> None:
    (first,) = (await sent(http, "GET", V3))["data"]
    assert (first["name"], first["default"], first["labels"]) == ("openmeter-sandbox", True, {})
    assert first["workflow"] == {
        "collection": {"alignment": {"type": "subscription"}, "interval": "PT1H"},
        "invoicing": {
            "auto_advance": True,
            "draft_period": "P0D",
            "progressive_billing": True,
            "subscription_end_proration_mode": "bill_actual_period",
        },
        "payment": {"collection_method": "charge_automatically"},
        "tax": {"enabled": True, "enforced": False},
    }
    alignment = {"type": "anchored", "recurring_period": {"interval": "P1W", "anchor": "2025-01-01T00:00:00Z"}}
    supplier = {"name": "S", "tax_id": {"code": "ATU1"}, "addresses": {"billing_address": {"country": "AT"}}}
    body = {
        "name": "Other",
        "default": False,
        "labels": {"team": "x"},
        "supplier": supplier,
        "workflow": {
            "collection": {"alignment": alignment},
            "invoicing": {"subscription_end_proration_mode": "bill_full_period"},
            "payment": {"collection_method": "send_invoice", "due_after": "P14D"},
            "tax": {"default_tax_config": {"behavior": "exclusive"}},
        },
    }
    made = await sent(http, "POST", V3, {**body, "apps": first["apps"]}, status=201)
    path = f"{V3}/{made['id']}"
    assert made["supplier"] == {"id": made["id"], **supplier}
    assert made["labels"] == {"team": "x"}
    assert made["workflow"]["collection"] == {"alignment": alignment, "interval": "PT1H"}
    assert made["workflow"]["payment"] == {"collection_method": "send_invoice", "due_after": "P14D"}
    assert made["workflow"]["tax"]["default_tax_config"] == {"behavior": "exclusive"}
    assert await sent(http, "GET", path) == made
    assert [one["id"] for one in (await sent(http, "GET", V3))["data"]] == [first["id"], made["id"]]
    automatic = {"payment": {"collection_method": "charge_automatically"}}
    changed = await sent(http, "PUT", path, {**body, "workflow": automatic})
    assert changed["workflow"]["invoicing"]["subscription_end_proration_mode"] == "bill_full_period"
    assert (await sent(http, "GET", f"{V1}/{made['id']}"))["workflow"]["invoicing"]["dueAfter"] == "P30D"
    for wrong in (
        {"payment": {"collection_method": "charge_automatically", "due_after": "P1D"}},
        {"invoicing": {"draft_period": "soon"}},
        {"collection": {"interval": "-P1D"}},
        {"tax": {"enabled": False, "enforced": True}},
    ):
        await sent(http, "PUT", path, {**body, "workflow": wrong}, status=400)
    await sent(http, "PUT", path, {**body, "apps": first["apps"]}, status=400)
    await sent(http, "DELETE", path, status=204)
    await sent(http, "DELETE", path, status=204)
    assert "deleted_at" in await sent(http, "GET", path)
    await sent(http, "PUT", path, body, status=400)
    for unknown in (UNKNOWN, "nope"):
        await sent(http, "GET", f"{V3}/{unknown}", status=404)
        await sent(http, "PUT", f"{V3}/{unknown}", body, status=404)
        await sent(http, "DELETE", f"{V3}/{unknown}", status=404)
