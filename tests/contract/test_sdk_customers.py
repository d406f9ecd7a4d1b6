"""The official Python client and customers: what they are, how they are billed, what apps know of them.

It leaves members that may have several forms as the JSON that came.
"""

import pytest
from corehttp.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from openmeter import Client
from openmeter.models import (
    Address,
    BillingParty,
    BillingProfileCreate,
    BillingProfileCustomerOverrideCreate,
    BillingProfileReplaceUpdateWithWorkflow,
    CustomerCreate,
    CustomerReplaceUpdate,
    CustomerUsageAttribution,
    SandboxCustomerAppData,
)

from tests.contract.test_sdk import client
from tests.scenarios.served import Server

__all__ = ["client"]

SUPPLIER = BillingParty(name="Supplier", addresses=[Address(country="AT")])


def customer(key: str) -> CustomerCreate:
    """Describe a customer."""
    return CustomerCreate(
        name=f"Customer {key}",
        key=key,
        usage_attribution=CustomerUsageAttribution(subject_keys=[f"{key}-2", f"{key}-1"]),
        primary_email=f"{key}@example.test",
        currency="EUR",
        billing_address=Address(country="AT", city="Graz"),
        metadata={"team": "x"},
    )


def test_customers(client: Client) -> None:
    made = client.customers.create(customer("sdk-c1"))
    assert (made.key, made.currency, made.billing_address.city) == ("sdk-c1", "EUR", "Graz")
    assert made.usage_attribution.subject_keys == ["sdk-c1-1", "sdk-c1-2"]
    assert client.customers.get("sdk-c1").id == client.customers.get(made.id).id == made.id
    assert client.customers.get(made.id).subscriptions == []
    found = client.customers.list(key="SDK-C1", order="DESC", order_by="createdAt", page_size=1)
    assert ([one.id for one in found.items_property], found.total_count) == ([made.id], 1)
    with pytest.raises(ResourceExistsError):
        client.customers.create(customer("sdk-c1"))
    changed = client.customers.update("sdk-c1", CustomerReplaceUpdate(name="New", key="sdk-c1"))
    assert (changed.name, changed.primary_email, changed.metadata) == ("New", "sdk-c1@example.test", None)
    assert (changed.usage_attribution, changed.billing_address) == (None, None)
    assert changed.updated_at > made.updated_at
    assert client.customers.list_customer_subscriptions("sdk-c1").items_property == []
    client.customers.delete("sdk-c1")
    with pytest.raises(ResourceNotFoundError):
        client.customers.get("sdk-c1")
    assert client.customers.get(made.id).deleted_at
    with pytest.raises(HttpResponseError) as refused:
        client.customers.delete(made.id)
    assert refused.value.status_code == 412


def test_how_a_customer_is_billed(client: Client, server: Server) -> None:
    made = client.customers.create(customer("sdk-c2"))
    (default,) = [one for one in client.billing_profiles.list(expand=["apps"]).items_property if one.default]
    assert default.apps["payment"]["type"] == "sandbox"
    app = default.apps["payment"]["id"]
    workflow = {"invoicing": {"dueAfter": "P14D"}, "payment": {"collectionMethod": "send_invoice"}}
    profile = client.billing_profiles.create(
        BillingProfileCreate(
            name="Other",
            default=False,
            supplier=SUPPLIER,
            workflow=workflow,
            apps={"tax": app, "invoicing": app, "payment": app},
        )
    )
    assert client.billing_profiles.get(profile.id).workflow.invoicing.due_after == "P14D"
    renamed = BillingProfileReplaceUpdateWithWorkflow(
        name="Renamed", default=False, supplier=SUPPLIER, workflow=workflow
    )
    assert client.billing_profiles.update(profile.id, renamed).name == "Renamed"

    overrides = client.customer_overrides
    assert overrides.get(made.id).base_billing_profile_id == default.id
    pinned = overrides.upsert(made.id, BillingProfileCustomerOverrideCreate(billing_profile_id=profile.id))
    assert (pinned.customer_override.billing_profile_id, pinned.base_billing_profile_id) == (profile.id, profile.id)
    (listed,) = overrides.list(billing_profile=[profile.id], expand=["customer"]).items_property
    assert listed.customer.key == "sdk-c2"
    settings = f"/api/v3/openmeter/customers/{made.id}/billing"
    shown = {"billing_profile": {"id": profile.id}, "app_data": {}}
    assert server.call("GET", settings) == shown
    with pytest.raises(HttpResponseError) as refused:
        client.billing_profiles.delete(profile.id)
    assert refused.value.status_code == 400
    overrides.delete(made.id)
    client.billing_profiles.delete(profile.id)
    assert server.call("PUT", settings, {"billing_profile": {"id": default.id}})["billing_profile"] == {
        "id": default.id
    }


def test_what_apps_know_of_a_customer(client: Client) -> None:
    client.customers.create(customer("sdk-c3"))
    (known,) = client.customer_apps.list_app_data("sdk-c3").items_property
    assert (known["type"], known["app"]["name"]) == ("sandbox", "Sandbox")
    data = SandboxCustomerAppData(type="sandbox", id=known["id"])
    (written,) = client.customer_apps.upsert_app_data("sdk-c3", [data])
    assert written["id"] == known["id"]
    client.customer_apps.delete_app_data("sdk-c3", known["id"])
