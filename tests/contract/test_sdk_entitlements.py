"""The official Python client drives entitlements against a served process."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from corehttp.exceptions import ResourceExistsError, ResourceNotFoundError
from openmeter import Client
from openmeter.models import (
    CustomerCreate,
    CustomerUsageAttribution,
    EntitlementBooleanCreateInputs,
    EntitlementGrantCreateInputV2,
    EntitlementMeteredV2CreateInputs,
    EntitlementStaticCreateInputs,
    Event,
    ExpirationPeriod,
    FeatureCreateInputs,
    MeterCreate,
    RecurringPeriodCreateInput,
    ResetEntitlementUsageInput,
)

CUSTOMER, SUBJECT, KIND = "sdk-entitled", "sdk-entitled-app", "sdk_entitled"
STORED_WITHIN_SECONDS = 10


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Client]:
    """The synchronous client, with a customer and features of its own."""
    with Client(endpoint=url, token="any") as client:
        client.meters.create(MeterCreate(slug=KIND, event_type=KIND, aggregation="SUM", value_property="$.n"))
        client.features.create(FeatureCreateInputs(key=KIND, name="Metered", meter_slug=KIND))
        for key in ("sdk_flag", "sdk_config"):
            client.features.create(FeatureCreateInputs(key=key, name=key))
        attribution = CustomerUsageAttribution(subject_keys=[SUBJECT])
        client.customers.create(CustomerCreate(key=CUSTOMER, name="Entitled", usage_attribution=attribution))
        yield client


def test_a_metered_entitlement(client: Client) -> None:
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    one, all_ = client.customer_entitlement_v2, client.customer_entitlements_v2
    wanted = EntitlementMeteredV2CreateInputs(
        type="metered",
        feature_key=KIND,
        usage_period=RecurringPeriodCreateInput(interval="MONTH", anchor=minute - timedelta(hours=1)),
        measure_usage_from=minute - timedelta(minutes=5),
    )
    made = all_.post(CUSTOMER, wanted)
    # The client has no class for what may be one of several.
    assert (made["type"], made["featureKey"], made["usagePeriod"]["interval"]) == ("metered", KIND, "MONTH")
    with pytest.raises(ResourceExistsError):
        all_.post(CUSTOMER, wanted)
    grant = one.create_customer_entitlement_grant(
        CUSTOMER,
        KIND,
        EntitlementGrantCreateInputV2(
            amount=100, effective_at=minute, expiration=ExpirationPeriod(duration="MONTH", count=1)
        ),
    )
    assert (grant.amount, grant.max_rollover_amount, grant.expiration.count) == (100, 100, 1)

    client.events.ingest_event(
        Event(
            id="1",
            source="sdk",
            specversion="1.0",
            type=KIND,
            subject=SUBJECT,
            time=minute - timedelta(seconds=1),
            data={"n": 12.5},
        )
    )
    deadline = time.monotonic() + STORED_WITHIN_SECONDS
    while (value := one.get_customer_entitlement_value(CUSTOMER, KIND)).usage == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (value.has_access, value.usage, value.balance, value.overage) == (True, 12.5, 87.5, 0)
    assert value.grant_balances == {grant.id: 87.5}
    assert client.customer_entitlement.get_customer_entitlement_value(CUSTOMER, KIND).balance == 87.5
    assert client.customer.get_customer_access(CUSTOMER).entitlements[KIND].balance == 87.5
    history = one.get_customer_entitlement_history(CUSTOMER, KIND, window_size="HOUR")
    assert [segment.usage for segment in history.burndown_history if segment.usage] == [12.5]

    one.reset_customer_entitlement(CUSTOMER, KIND, ResetEntitlementUsageInput(effective_at=minute))
    value = one.get_customer_entitlement_value(CUSTOMER, KIND)
    assert (value.usage, value.balance) == (0, 100)
    assert {one.id for one in client.grants_v2.list(customer=[CUSTOMER]).items_property} == {grant.id}
    client.grants.delete(grant.id)
    assert not one.get_customer_entitlement_value(CUSTOMER, KIND).has_access
    (listed,) = all_.list(CUSTOMER).items_property
    assert listed["id"] == client.entitlements_v2.get(made["id"])["id"] == made["id"]
    all_.delete(CUSTOMER, made["id"])
    with pytest.raises(ResourceNotFoundError):
        all_.get(CUSTOMER, KIND)
    assert not one.get_customer_entitlement_value(CUSTOMER, KIND).has_access


def test_static_and_boolean_entitlements(client: Client) -> None:
    all_ = client.customer_entitlements_v2
    all_.post(CUSTOMER, EntitlementBooleanCreateInputs(type="boolean", feature_key="sdk_flag"))
    config = EntitlementStaticCreateInputs(type="static", feature_key="sdk_config", config='{"seats": 5}')
    all_.post(CUSTOMER, config)
    access = client.customer.get_customer_access(CUSTOMER).entitlements
    assert (access["sdk_flag"].has_access, access["sdk_config"].config) == (True, '{"seats": 5}')
    replaced = all_.override(
        CUSTOMER,
        "sdk_config",
        EntitlementStaticCreateInputs(type="static", feature_key="sdk_config", config='{"seats": 9}'),
    )
    assert all_.get(CUSTOMER, "sdk_config")["id"] == replaced["id"]
    (listed,) = client.entitlements.list(feature=["sdk_flag"], subject=[SUBJECT])
    assert listed["subjectKey"] == SUBJECT
