"""The official Python client on features, plans, add-ons and plan add-ons of a served process.

It raises on every status but the documented one, and on bodies of another form.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from corehttp.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from openmeter import Client
from openmeter.models import (
    AddonCreate,
    AddonReplaceUpdate,
    FeatureCreateInputs,
    MeterCreate,
    PlanAddonCreate,
    PlanAddonReplaceUpdate,
    PlanCreate,
    PlanReplaceUpdate,
)

NOBODY = "01JNX8T0000000000000000001"


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Client]:
    """A client; there is a metered feature `sdk_tokens`."""
    with Client(endpoint=url, token="any") as client:
        client.meters.create(
            MeterCreate(slug="sdk_tokens", event_type="sdk_tokens", aggregation="SUM", value_property="$.tokens")
        )
        client.features.create(FeatureCreateInputs(key="sdk_tokens", name="Tokens", meter_slug="sdk_tokens"))
        yield client


# Cards and phases are written as JSON, because the client's own models leave out what is null.
JSON = dict[str, Any]


def fee(key: str = "fee", amount: str = "10", cadence: str | None = "P1M") -> JSON:
    """Make a fixed fee."""
    price = {"type": "flat", "amount": amount, "paymentTerm": "in_arrears"}
    return {"type": "flat_fee", "key": key, "name": key, "billingCadence": cadence, "price": price}


def usage() -> JSON:
    """Make a price by usage."""
    return {
        "type": "usage_based",
        "key": "sdk_tokens",
        "name": "Tokens",
        "featureKey": "sdk_tokens",
        "billingCadence": "P1M",
        "price": {"type": "unit", "amount": "0.002", "minimumAmount": "5"},
        "discounts": {"usage": {"quantity": "1000"}},
        "entitlementTemplate": {"type": "metered", "issueAfterReset": 5000},
    }


def phase(*cards: JSON, key: str = "main", duration: str | None = None) -> JSON:
    """Make a phase."""
    return {"key": key, "name": key, "duration": duration, "rateCards": list(cards)}


def refused(ask: Callable[[], object], phrase: str) -> None:
    """Check that a request is refused with these words."""
    with pytest.raises(HttpResponseError) as error:
        ask()
    assert (error.value.status_code, phrase in str(error.value.response.text())) == (400, True)


def test_features(client: Client) -> None:
    made = client.features.create(
        FeatureCreateInputs(
            key="sdk_feature", name="Feature", meter_slug="sdk_tokens", metadata={"team": "a"}, unit_cost=None
        )
    )
    assert (made.key, made.meter_slug, made.metadata) == ("sdk_feature", "sdk_tokens", {"team": "a"})
    assert client.features.get("sdk_feature").id == client.features.get(made.id).id == made.id
    assert {one["key"] for one in client.features.list(meter_slug=["sdk_tokens"])} >= {"sdk_feature", "sdk_tokens"}
    with pytest.raises(ResourceExistsError):
        client.features.create(FeatureCreateInputs(key="sdk_feature", name="Feature"))
    client.features.delete("sdk_feature")
    with pytest.raises(ResourceNotFoundError):
        client.features.get("sdk_feature")
    archived = {one["id"] for one in client.features.list(include_archived=True) if "archivedAt" in one}
    assert made.id in archived


def test_plans(client: Client) -> None:
    made = client.plans.create(
        PlanCreate(
            key="sdk_pro",
            name="Pro",
            currency="USD",
            billing_cadence="P1M",
            phases=[phase(fee("setup", cadence=None), key="trial", duration="P1M"), phase(fee(), usage())],
        )
    )
    assert (made.version, made.status, made.settlement_mode) == (1, "draft", "credit_then_invoice")
    assert [card["price"]["amount"] for card in made.phases[1].rate_cards] == ["10", "0.002"]
    assert made.phases[1].rate_cards[1]["entitlementTemplate"]["issueAfterReset"] == 5000
    changed = client.plans.update(
        made.id, PlanReplaceUpdate(name="Pro", billing_cadence="P1M", phases=[phase(fee(amount="12"), usage())])
    )
    assert (changed.phases[0].rate_cards[0]["price"]["amount"], len(changed.phases)) == ("12", 1)
    published = client.plans.publish(made.id)
    assert (published.status, published.effective_to) == ("active", None)
    refused(lambda: client.plans.delete(made.id), "only Plans in [archived scheduled draft] can be deleted")
    draft = client.plans.next("sdk_pro")
    assert (draft.version, draft.phases[0].rate_cards[0]["price"]["amount"]) == (2, "12")
    assert client.plans.get("sdk_pro").id == made.id
    assert client.plans.get("sdk_pro", include_latest=True).id == draft.id
    assert [one.version for one in client.plans.list(key=["sdk_pro"], order_by="version")] == [1, 2]
    assert [one.id for one in client.plans.list(key=["sdk_pro"], status=["draft"])] == [draft.id]
    client.plans.publish(draft.id)
    assert client.plans.get(made.id).status == "archived"
    assert client.plans.archive(draft.id).status == "archived"
    client.plans.delete(draft.id)
    assert client.plans.get(draft.id).deleted_at is not None
    with pytest.raises(ResourceNotFoundError):
        client.plans.get("sdk_pro")


def test_addons(client: Client) -> None:
    made = client.addons.create(
        AddonCreate(key="sdk_extra", name="Extra", currency="USD", instance_type="multiple", rate_cards=[fee("extra")])
    )
    assert (made.version, made.status, made.instance_type) == (1, "draft", "multiple")
    changed = client.addons.update(
        made.id, AddonReplaceUpdate(name="More", instance_type="single", rate_cards=[fee("extra", "7"), usage()])
    )
    assert (changed.name, [card["price"]["amount"] for card in changed.rate_cards]) == ("More", ["7", "0.002"])
    assert client.addons.publish(made.id).status == "active"
    assert client.addons.get("sdk_extra").id == made.id
    assert [one.id for one in client.addons.list(key=["sdk_extra"], status=["active"])] == [made.id]
    refused(lambda: client.addons.delete(made.id), "addon_invalid_status")
    assert client.addons.archive(made.id).status == "archived"
    client.addons.delete(made.id)
    assert client.addons.get(made.id).deleted_at is not None
    with pytest.raises(ResourceNotFoundError):
        client.addons.get(NOBODY)


def test_addons_of_a_plan(client: Client) -> None:
    plan = client.plans.create(
        PlanCreate(key="sdk_team", name="Team", currency="USD", billing_cadence="P1M", phases=[phase(fee())])
    )
    addon = client.addons.create(
        AddonCreate(key="sdk_seat", name="Seat", currency="USD", instance_type="multiple", rate_cards=[fee("seat")])
    )
    client.addons.publish(addon.id)
    request = PlanAddonCreate(addon_id=addon.id, from_plan_phase="main", max_quantity=3, metadata={"a": "b"})
    made = client.plan_addons.create(plan.id, request)
    assert (made.addon.id, made.from_plan_phase, made.max_quantity, made.metadata) == (addon.id, "main", 3, {"a": "b"})
    with pytest.raises(ResourceExistsError):
        client.plan_addons.create(plan.id, request)
    assert client.plan_addons.get("sdk_team", "sdk_seat").addon.id == addon.id
    assert [one.addon.key for one in client.plan_addons.list(plan.id).items_property] == ["sdk_seat"]
    changed = client.plan_addons.update(plan.id, addon.id, PlanAddonReplaceUpdate(from_plan_phase="main"))
    assert (changed.max_quantity, changed.metadata) == (None, {"a": "b"})
    client.plan_addons.delete(plan.id, "sdk_seat")
    with pytest.raises(ResourceNotFoundError):
        client.plan_addons.get(plan.id, "sdk_seat")
    client.plan_addons.create(plan.id, request)
    client.plans.publish(plan.id)
    update = PlanAddonReplaceUpdate(from_plan_phase="main")
    refused(
        lambda: client.plan_addons.update(plan.id, addon.id, update),
        "invalid active status, allowed statuses: [draft scheduled]",
    )
