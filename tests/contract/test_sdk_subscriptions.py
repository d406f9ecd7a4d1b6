"""The official Python client on a served process: it creates, edits, changes, cancels and deletes subscriptions."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from corehttp.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from openmeter import Client
from openmeter.models import (
    CustomerCreate,
    EditSubscriptionAddItem,
    EditSubscriptionAddPhase,
    EditSubscriptionRemoveItem,
    EditSubscriptionRemovePhase,
    EditSubscriptionStretchPhase,
    EditSubscriptionUnscheduleEdit,
    PlanCreate,
    PlanReferenceInput,
    PlanSubscriptionChange,
    PlanSubscriptionCreate,
    RateCardFlatFee,
    SubscriptionEdit,
    SubscriptionPhaseCreate,
)

CUSTOMER = "sdk_subscriber"
SOON = timedelta(days=2)


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Client]:
    """The synchronous client, with a customer and the plans `sdk_basic` (two phases) and `sdk_better` to sell."""
    with Client(endpoint=url, token="any") as client:
        client.customers.create(CustomerCreate(name="Subscriber", key=CUSTOMER))
        publish(client, "sdk_basic", phase("trial", duration="P2W"), phase("main"))
        publish(client, "sdk_better", phase("main"))
        yield client


def card(key: str = "seat", amount: str = "10") -> dict[str, Any]:
    # As JSON: the client has no months.
    price = {"type": "flat", "amount": amount, "paymentTerm": "in_advance"}
    return {"type": "flat_fee", "key": key, "name": key, "billingCadence": "P1M", "price": price}


def phase(key: str, duration: str | None = None) -> dict[str, Any]:
    return {"key": key, "name": key, "duration": duration, "rateCards": [card()]}


def publish(client: Client, key: str, *phases: dict[str, Any]) -> None:
    plan = {"key": key, "name": key, "currency": "USD", "billingCadence": "P1M", "phases": list(phases)}
    client.plans.publish(client.plans.create(PlanCreate(plan)).id)


def subscribe(client: Client, plan: str = "sdk_basic", **members: Any) -> str:
    body = PlanSubscriptionCreate(plan=PlanReferenceInput(key=plan), customer_key=CUSTOMER, **members)
    return str(client.subscriptions.create(body).id)


def edit(client: Client, subscription: str, *operations: Any, **members: Any) -> None:
    edited = client.subscriptions.edit(subscription, SubscriptionEdit(customizations=list(operations), **members))
    assert (edited.id, edited.status) == (subscription, "active")


def shape(client: Client, subscription: str) -> dict[str, dict[str, int]]:
    """Return how many versions each item of each phase has."""
    shown = client.subscriptions.get_expanded(subscription)
    return {one.key: {key: len(items) for key, items in one.item_timelines.items()} for one in shown.phases}


def test_the_life_of_a_subscription(client: Client) -> None:
    made = subscribe(client, metadata={"a": "b"})
    shown = client.subscriptions.get_expanded(made)
    assert (shown.status, shown.plan.key, shown.metadata) == ("active", "sdk_basic", {"a": "b"})
    assert shown.alignment.current_aligned_billing_period.from_property == shown.active_from
    assert shape(client, made) == {"trial": {"seat": 1}, "main": {"seat": 1}}

    edit(
        client,
        made,
        EditSubscriptionAddItem(op="add_item", phase_key="trial", rate_card=RateCardFlatFee(card("support", "5"))),
        EditSubscriptionAddItem(op="add_item", phase_key="trial", rate_card=RateCardFlatFee(card(amount="20"))),
        EditSubscriptionStretchPhase(op="stretch_phase", phase_key="trial", extend_by=timedelta(days=7)),
        timing="immediate",
    )
    edit(
        client,
        made,
        EditSubscriptionAddPhase(
            op="add_phase",
            phase=SubscriptionPhaseCreate(
                key="promo", name="Promo", start_after=timedelta(days=21), duration=timedelta(days=7)
            ),
        ),
        EditSubscriptionAddItem(op="add_item", phase_key="promo", rate_card=RateCardFlatFee(card())),
        EditSubscriptionUnscheduleEdit(op="unschedule_edit"),
    )
    edit(client, made, EditSubscriptionRemoveItem(op="remove_item", phase_key="trial", item_key="support"))
    assert shape(client, made) == {
        "trial": {"seat": 2, "support": 1},
        "promo": {"seat": 1},
        "main": {"seat": 1},
    }
    edit(client, made, EditSubscriptionRemovePhase(op="remove_phase", phase_key="promo", shift="next"))
    after = client.subscriptions.get_expanded(made)
    assert [(one.key, one.active_from - after.active_from) for one in after.phases] == [
        ("trial", timedelta()),
        ("main", timedelta(days=21)),
    ]

    with pytest.raises(ResourceExistsError):
        subscribe(client)
    canceled = client.subscriptions.cancel(made, {"timing": "next_billing_cycle"})
    assert (canceled.status, canceled.active_to) == ("canceled", after.phases[1].active_from)
    assert client.subscriptions.unschedule_cancelation(made).status == "active"

    to_pro = PlanSubscriptionChange(timing="next_billing_cycle", plan=PlanReferenceInput(key="sdk_better"))
    planned = client.subscriptions.change(made, to_pro)
    assert (planned.current.status, planned.next.status) == ("canceled", "scheduled")
    assert client.subscriptions.restore(made).active_to is None
    with pytest.raises(ResourceNotFoundError):
        client.subscriptions.get_expanded(planned.next.id)

    now = PlanSubscriptionChange(timing="immediate", plan=PlanReferenceInput(key="sdk_better"), name="Pro")
    changed = client.subscriptions.change(made, now)
    assert (changed.current.id, changed.current.status) == (made, "inactive")
    assert (changed.next.name, changed.next.status, changed.next.plan.key) == ("Pro", "active", "sdk_better")
    assert changed.next.active_from == changed.current.active_to

    publish(client, "sdk_better", phase("main"))
    migrated = client.subscriptions.migrate(changed.next.id, {"timing": "immediate", "targetVersion": 2})
    assert (migrated.next.plan.version, migrated.next.name) == (2, "Pro")
    assert client.subscriptions.cancel(migrated.next.id, {"timing": "immediate"}).status == "inactive"

    later = subscribe(client, timing=datetime.now(UTC) + SOON)
    with pytest.raises(HttpResponseError) as refused:
        client.subscriptions.cancel(later, {"timing": "immediate"})
    assert refused.value.status_code == 403
    client.subscriptions.delete(later)
    with pytest.raises(ResourceNotFoundError):
        client.subscriptions.delete(later)
