"""No answer is a 5xx, and none is other than the documents say, whatever is asked.

Requests are made up from the documents as the code exports them, so a route that documents less than it does fails.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from meterhouse.api.app import create_v1, create_v3
from meterhouse.api.wire import format_instant
from tests.contract.conftest import served_with_portal
from tests.contract.probing import Known, name_of, operations, probe
from tests.scenarios.served import Server

EXAMPLES = 15  # per operation; more find more, and take longer

OPERATIONS = [*operations(create_v1().openapi()), *operations(create_v3().openapi(), without={"Test clock"})]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: what is made up may change anything, also what others find there from the start."""
    with served_with_portal(tmp_path_factory.mktemp("made-up")) as running:
        yield running


@pytest.fixture(scope="module")
def known(server: Server) -> Known:
    """Names of what exists: two meters, a customer, subjects; there are events of them."""
    dimensions = {"model": "$.model"}
    meters = [
        server.call(
            "POST",
            "/api/v1/meters",
            {"slug": slug, "eventType": "made_up", "aggregation": aggregation, "groupBy": dimensions, **value},
            status=201,
        )["id"]
        for slug, aggregation, value in (
            ("made_up_count", "COUNT", {}),
            ("made_up_sum", "SUM", {"valueProperty": "$.tokens"}),
        )
    ]
    customer = server.customer("made-up")
    subjects = server.call("POST", "/api/v1/subjects", [{"key": "made-up-app"}, {"key": "made-up-other"}])
    event = {"specversion": "1.0", "source": "made-up", "type": "made_up", "subject": "made-up-app"}
    data = {"time": format_instant(datetime.now(UTC)), "data": {"tokens": 1, "model": "a"}}
    headers = {"content-type": "application/cloudevents-batch+json"}
    events = [{**event, **data, "id": str(n)} for n in range(3)]
    server.call("POST", "/api/v1/events", events, status=204, headers=headers)
    while not server.call("GET", "/api/v1/meters/made_up_count/query")["data"]:
        time.sleep(0.05)
    return {
        "meterIdOrSlug": [*meters, "made_up_sum"],
        "meterSlug": ["made_up_count", "made_up_sum"],
        "meterId": meters,
        "groupByKey": ["model"],
        "groupBy": [["model"], ["subject"]],
        "subjectIdOrKey": [subjects[0]["id"], "made-up-app", "made-up-other", "made-up-entitled-app"],
        "customerId": [customer],
        "customerIdOrKey": [customer, "made-up", "made-up-entitled"],
        **_offered(server, meters[0]),
        **_entitled(server),
        **_sold(server),
        **_billed(server),
    }


def _offered(server: Server, meter_id: str) -> Known:
    """Offer a feature, a draft of a plan, an active add-on, and the add-on with the draft."""
    feature = server.call("POST", "/api/v3/openmeter/features", {"key": "made_up", "name": "F"}, status=201)["id"]
    price = {"type": "flat", "amount": "1"}
    card = {"key": "made_up", "name": "Card", "billing_cadence": "P1M", "price": price, "feature": {"id": feature}}
    phases = [{"key": "full", "name": "Full", "rate_cards": [card]}]
    plan = {"key": "made_up_draft", "name": "Draft", "currency": "USD", "billing_cadence": "P1M", "phases": phases}
    plan_id = server.call("POST", "/api/v3/openmeter/plans", plan, status=201)["id"]
    cards = [{"key": "more", "name": "More", "billing_cadence": "P1M", "price": price}]
    addon = {"key": "made_up_more", "name": "More", "currency": "USD", "instance_type": "single", "rate_cards": cards}
    addon_id = server.call("POST", "/api/v3/openmeter/addons", addon, status=201)["id"]
    server.call("POST", f"/api/v3/openmeter/addons/{addon_id}/publish")
    offer = {"name": "Offer", "addon": {"id": addon_id}, "from_plan_phase": "full"}
    assigned = server.call("POST", f"/api/v3/openmeter/plans/{plan_id}/addons", offer, status=201)["id"]
    return {
        "featureId": [feature, "made_up"],
        "feature": [{"id": feature}],
        "featureKey": ["made_up", "made_up_metered"],
        "meter": [{"id": meter_id}],
        "planId": [plan_id, "made_up_draft"],
        "planIdOrKey": [plan_id, "made_up_draft"],
        "addonId": [addon_id, "made_up_more"],
        "planAddonId": [assigned, addon_id, "made_up_more"],
        "fromPlanPhase": ["full"],
        "from_plan_phase": ["full"],
    }


def _entitled(server: Server) -> Known:
    """Give a customer two entitlements, one of them metered and with a grant."""
    customer = server.customer("made-up-entitled")
    metered = {"key": "made_up_metered", "name": "M", "meterSlug": "made_up_sum"}
    server.call("POST", "/api/v1/features", metered, status=201)
    path = f"/api/v2/customers/{customer}/entitlements"
    grant = {"amount": 5, "effectiveAt": format_instant(datetime.now(UTC) + timedelta(days=1))}
    period = {"interval": "MONTH"}
    wanted = {"type": "metered", "featureKey": "made_up_metered", "usagePeriod": period, "grants": [grant]}
    made = [
        server.call("POST", path, body, status=201)["id"]
        for body in (wanted, {"type": "boolean", "featureKey": "made_up"})
    ]
    (granted,) = server.call("GET", f"{path}/made_up_metered/grants")["items"]
    return {
        "entitlementId": made,
        "entitlementIdOrFeatureKey": [*made, "made_up_metered"],
        "grantId": [granted["id"]],
    }


def _sold(server: Server) -> Known:
    """Sell a plan of two phases to three customers: one subscription runs, one is scheduled, one has an add-on."""
    price = {"type": "flat", "amount": "1"}
    card = {"type": "flat_fee", "key": "seat", "name": "Seat", "billingCadence": "P1M", "price": price}
    phases = [
        {"key": key, "name": key, "duration": duration, "rateCards": [card]}
        for key, duration in (("trial", "P1M"), ("full", None))
    ]
    addon = server.call(
        "POST",
        "/api/v1/addons",
        {"key": "made_up", "name": "Up", "currency": "USD", "instanceType": "multiple", "rateCards": [card]},
        status=201,
    )["id"]
    server.call("POST", f"/api/v1/addons/{addon}/publish")
    plan = {"key": "made_up", "name": "Made up", "currency": "USD", "billingCadence": "P1M", "phases": phases}
    plan_id = server.call("POST", "/api/v1/plans", plan, status=201)["id"]
    offer = {"addonId": addon, "fromPlanPhase": "trial"}
    server.call("POST", f"/api/v1/plans/{plan_id}/addons", offer, status=201)
    server.call("POST", f"/api/v1/plans/{plan_id}/publish")
    tomorrow = format_instant(datetime.now(UTC) + timedelta(days=1))
    made = [
        server.call(
            "POST",
            "/api/v1/subscriptions",
            {"customerId": server.customer(f"made-up-{n}"), "plan": {"key": "made_up"}, "timing": timing},
            status=201,
        )["id"]
        for n, timing in enumerate(("immediate", tomorrow, "immediate"))
    ]
    wish = {"addon": {"id": addon}, "quantity": 1, "timing": "immediate"}
    bought = server.call("POST", f"/api/v3/openmeter/subscriptions/{made[2]}/addons", wish, status=201)["id"]
    return {
        "subscriptionId": made,
        "subscriptionAddonId": [bought],
        "addon": [{"id": addon}],
        "customerKey": ["made-up-0", "made-up-1"],
        "phaseKey": ["trial", "full"],
        "itemKey": ["seat"],
        "startingPhase": ["full"],
        "plan": [{"key": "made_up"}],
    }


def _billed(server: Server) -> Known:
    """Make invoices, one gathering and one draft, and what prices and taxes are told by."""
    customer = server.customer("made-up-billed")
    period = {"from": "2025-01-01T00:00:00Z", "to": "2025-02-01T00:00:00Z"}
    price = {"type": "flat", "amount": "5", "paymentTerm": "in_advance"}
    lines = [
        {"name": "Line", "period": period, "invoiceAt": at, "price": price, "featureKey": None}
        for at in ("2025-01-01T00:00:00Z", format_instant(datetime.now(UTC) + timedelta(days=30)))
    ]
    path = f"/api/v1/billing/customers/{customer}/invoices/pending-lines"
    server.call("POST", path, {"currency": "USD", "lines": lines}, status=201)
    server.call("POST", "/api/v1/billing/invoices/invoice", {"customerId": customer}, status=201)
    invoices = server.call("GET", "/api/v1/billing/invoices", params={"customers": customer})["items"]
    (profile,) = server.call("GET", "/api/v1/billing/profiles")["items"]
    marks = {"precision": 2, "decimal_mark": ".", "thousand_separator": ","}
    credit = {"code": "MADEUP", "name": "Credit", "symbol": "C", **marks}
    currency = server.call("POST", "/api/v3/openmeter/currencies/custom", credit, status=201)["id"]
    code = {"key": "made_up", "name": "T", "app_mappings": []}
    tax_code = server.call("POST", "/api/v3/openmeter/tax-codes", code, status=201)["id"]
    prices = server.call("GET", "/api/v3/openmeter/llm-cost/prices")["data"]
    return {
        "invoiceId": [one["id"] for one in invoices],
        "id": [profile["id"]],
        "currencyId": [currency],
        "taxCodeId": [tax_code],
        "tax_code": [{"id": tax_code}],
        "priceId": [one["id"] for one in prices[:2]],
    }


@pytest.fixture(scope="module")
def session(server: Server, known: Known) -> Iterator[requests.Session]:
    """A client that holds a portal token; other routes do not look at it."""
    token = server.call("POST", "/api/v1/portal/tokens", {"subject": "made-up-app"})["token"]
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {token}"
        yield session


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_answers_are_as_documented(operation: Any, server: Server, session: requests.Session, known: Known) -> None:
    probe(operation, str(server.http.base_url).rstrip("/"), session, examples=EXAMPLES, known=known)
