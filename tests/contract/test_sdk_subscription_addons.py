"""The official Python client on a served process: it takes, raises and drops add-ons of a subscription."""

from collections.abc import Iterator
from typing import Any

import pytest
from corehttp.exceptions import HttpResponseError, ResourceNotFoundError
from openmeter import Client
from openmeter.models import (
    AddonCreate,
    CustomerCreate,
    PlanAddonCreate,
    PlanCreate,
    PlanReferenceInput,
    PlanSubscriptionCreate,
    SubscriptionAddonCreate,
    SubscriptionAddonCreateAddon,
    SubscriptionAddonUpdate,
)

CUSTOMER = "sdk_addon_buyer"
NOBODY = "01JNX8T0000000000000000001"


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Client]:
    """The synchronous client."""
    with Client(endpoint=url, token="any") as client:
        yield client


def card(amount: str) -> dict[str, Any]:
    # As JSON: the client has no months.
    price = {"type": "flat", "amount": amount, "paymentTerm": "in_advance"}
    return {"type": "flat_fee", "key": "desk", "name": "desk", "billingCadence": "P1M", "price": price}


def test_the_life_of_an_addon(client: Client) -> None:
    client.customers.create(CustomerCreate(name="Buyer", key=CUSTOMER))
    addon = client.addons.create(
        AddonCreate(key="sdk_desks", name="Desks", currency="USD", instance_type="multiple", rate_cards=[card("3")])
    )
    client.addons.publish(addon.id)
    phases = [{"key": "main", "name": "main", "duration": None, "rateCards": [card("10")]}]
    body = {"key": "sdk_office", "name": "Office", "currency": "USD", "billingCadence": "P1M", "phases": phases}
    plan = client.plans.create(PlanCreate(body))
    client.plan_addons.create(plan.id, PlanAddonCreate(addon_id=addon.id, from_plan_phase="main", max_quantity=3))
    client.plans.publish(plan.id)
    sold = client.subscriptions.create(
        PlanSubscriptionCreate(plan=PlanReferenceInput(key="sdk_office"), customer_key=CUSTOMER)
    ).id

    bought = client.subscription_addons.create(
        sold,
        SubscriptionAddonCreate(
            name="Desks",
            quantity=2,
            timing="immediate",
            addon=SubscriptionAddonCreateAddon(id=addon.id),
            metadata={"a": "b"},
        ),
    )
    assert (bought.quantity, bought.addon.key, bought.addon.instance_type) == (2, "sdk_desks", "multiple")
    assert (bought.subscription_id, bought.metadata) == (sold, {"a": "b"})
    (rate_card,) = bought.rate_cards
    assert rate_card.rate_card["price"]["amount"] == "3"
    (desk,) = client.subscriptions.get_expanded(sold).phases[0].items_property
    assert desk.price["amount"] == "16"
    assert rate_card.affected_subscription_item_ids == [desk.id]

    changed = client.subscription_addons.update(
        sold, bought.id, SubscriptionAddonUpdate(quantity=0, timing="next_billing_cycle")
    )
    assert [segment.quantity for segment in changed.timeline] == [2, 0]
    assert changed.timeline[0].active_to == changed.timeline[1].active_from
    assert [one.id for one in client.subscription_addons.list(sold)] == [bought.id]
    assert client.subscription_addons.get(sold, bought.id).quantity == 2
    with pytest.raises(HttpResponseError) as refused:
        client.subscription_addons.update(sold, bought.id, SubscriptionAddonUpdate(quantity=4, timing="immediate"))
    assert refused.value.status_code == 400
    with pytest.raises(ResourceNotFoundError):
        client.subscription_addons.get(sold, NOBODY)
