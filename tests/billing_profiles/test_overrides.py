"""Pinning customers to profiles over v1 (billing section 3.1)."""

import asyncio

import httpx

from meterhouse.billing.profiles.models import OverrideRow
from meterhouse.kernel.db import Database
from tests.billing_profiles.conftest import UNKNOWN, default_profile, new_customer, new_profile, sent

PATH = "/api/v1/billing/customers"


async def test_a_customer_is_pinned_and_released(http: httpx.AsyncClient) -> None:
    default, other = await default_profile(http), await new_profile(http, workflow={"invoicing": {"dueAfter": "P7D"}})
    customer = await new_customer(http, "acme")
    path = f"{PATH}/{customer}"
    found = await sent(http, "GET", path)
    assert found["baseBillingProfileId"] == default["id"]
    assert found["customerProfile"] == {name: default[name] for name in ("supplier", "workflow", "apps")}
    assert not {"customerOverride", "customer"} & found.keys()
    pinned = await sent(http, "PUT", path, {"billingProfileId": other["id"]})
    override = pinned["customerOverride"]
    assert (override["customerId"], override["billingProfileId"]) == (customer, other["id"])
    assert pinned["baseBillingProfileId"] == other["id"]
    assert pinned["customerProfile"]["workflow"]["invoicing"]["dueAfter"] == "P7D"
    whole = await sent(http, "GET", f"{path}?expand=customer&expand=apps")
    assert whole["customer"]["key"] == "acme"
    assert whole["customerProfile"]["apps"]["tax"]["type"] == "sandbox"
    assert await sent(http, "GET", path) == pinned
    await sent(http, "DELETE", path, status=204)
    assert await sent(http, "GET", path) == found
    gone = await sent(http, "DELETE", path, status=404)
    assert gone["extensions"]["code"] == "customer_override_deleted"


async def test_a_customer_that_is_pinned_to_the_default_stays_with_it(http: httpx.AsyncClient) -> None:
    default, customer = await default_profile(http), await new_customer(http, "acme")
    pinned = await sent(http, "PUT", f"{PATH}/{customer}", {})
    assert pinned["customerOverride"]["billingProfileId"] == default["id"]
    await new_profile(http, default=True)
    assert (await sent(http, "GET", f"{PATH}/{customer}"))["baseBillingProfileId"] == default["id"]


async def test_refusals(http: httpx.AsyncClient) -> None:
    customer = await new_customer(http, "acme")
    deleted = await new_profile(http)
    await sent(http, "DELETE", f"/api/v1/billing/profiles/{deleted['id']}", status=204)
    for method, path, body, code in (
        ("GET", UNKNOWN, None, "customer_not_found"),
        ("PUT", UNKNOWN, {}, "customer_not_found"),
        ("PUT", customer, {"billingProfileId": UNKNOWN}, "profile_not_found"),
        ("PUT", customer, {"billingProfileId": deleted["id"]}, "profile_not_found"),
        ("DELETE", customer, None, "customer_override_not_found"),
    ):
        answer = await sent(http, method, f"{PATH}/{path}", body, status=404)
        assert answer["extensions"]["code"] == code
    await sent(http, "GET", f"{PATH}/acme", status=400)
    for query in ("billingProfile=acme", "customerId=acme"):
        await sent(http, "GET", f"{PATH}?{query}", status=400)
    await sent(http, "PUT", f"{PATH}/{customer}", {"billingProfileId": "nope"}, status=400)


async def test_other_settings_stay_with_a_live_override_and_go_with_a_deleted_one(
    http: httpx.AsyncClient, db: Database
) -> None:
    customer = await new_customer(http, "acme")
    async with db.write() as session:
        session.add(OverrideRow(namespace="acme", customer_id=customer, due_after="P3D", auto_advance=True))
    path = f"{PATH}/{customer}"
    pinned = await sent(http, "PUT", path, {})
    assert pinned["customerProfile"]["workflow"]["invoicing"]["dueAfter"] == "P3D"
    await sent(http, "DELETE", path, status=204)
    pinned = await sent(http, "PUT", path, {})
    assert pinned["customerProfile"]["workflow"]["invoicing"]["dueAfter"] == "P30D"


async def test_simultaneous_pins_make_one_override(http: httpx.AsyncClient) -> None:
    customer, other = await new_customer(http, "acme"), await new_profile(http)
    bodies = [{}, {"billingProfileId": other["id"]}] * 3
    await asyncio.gather(*(sent(http, "PUT", f"{PATH}/{customer}", body) for body in bodies))
    assert (await sent(http, "GET", PATH))["totalCount"] == 1


LISTS = [
    ("", "pinned,default"),
    ("includeAllCustomers=true", "free,pinned,default"),
    ("includeAllCustomers=true&orderBy=customerKey&order=ASC", "default,free,pinned"),
    ("includeAllCustomers=true&orderBy=customerName", "pinned,free,default"),
    ("includeAllCustomers=true&orderBy=customerPrimaryEmail&order=ASC", "pinned,free,default"),
    ("includeAllCustomers=true&orderBy=customerCreatedAt&order=ASC", "default,pinned,free"),
    ("includeAllCustomers=true&page=2&pageSize=2", "default"),
    ("customersWithoutPinnedProfile=true", "free"),
    ("billingProfile={other}", "pinned"),
    ("billingProfile={base}", "free,default"),
    ("billingProfile={base}&billingProfile={other}", "free,pinned,default"),
    ("billingProfile={unknown}", ""),
    ("includeAllCustomers=true&customerKey=free", "free"),
    ("includeAllCustomers=true&customerKey=fre", ""),
    ("customerName=PIN", "pinned"),
    ("customerPrimaryEmail=c@", "default"),
    ("includeAllCustomers=true&customerId={free}&customerId={unknown}", "free"),
]


async def test_the_list_walks_customers(http: httpx.AsyncClient) -> None:
    base, other = (await default_profile(http))["id"], (await new_profile(http))["id"]
    default, pinned, free, gone = [
        await new_customer(http, key, primaryEmail=f"{letter}@x.test")
        for key, letter in (("default", "c"), ("pinned", "a"), ("free", "b"), ("gone", "d"))
    ]
    await sent(http, "PUT", f"{PATH}/{default}", {})
    for customer in (pinned, gone):
        await sent(http, "PUT", f"{PATH}/{customer}", {"billingProfileId": other})
    await sent(http, "DELETE", "/api/v1/customers/gone", status=204)
    for query, expected in LISTS:
        asked = query.format(base=base, other=other, free=free, unknown=UNKNOWN)
        answer = await sent(http, "GET", f"{PATH}?expand=customer&{asked}")
        keys = [item["customer"]["key"] for item in answer["items"]]
        assert ",".join(keys) == expected, query
        if "page=" not in query:
            assert answer["totalCount"] == len(keys), query


async def test_a_list_of_two_minds_is_refused(http: httpx.AsyncClient) -> None:
    for query in (f"billingProfile={UNKNOWN}&customersWithoutPinnedProfile=true", "orderBy=name", "expand=all"):
        await sent(http, "GET", f"{PATH}?{query}", status=400)
