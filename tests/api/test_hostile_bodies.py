"""Whatever stands in place of a member of a body is taken, or refused by name: never a 5xx."""

import copy
import json
from collections.abc import Iterator
from typing import Any

from tests.scenarios.conftest import new_world

__all__ = ["new_world"]

V3 = "/api/v3/openmeter"
UNKNOWN = "01JNX8T0000000000000000001"
WRONG: list[Any] = [
    None,
    -1,
    {},
    [],
    "",
    "x\x00",
    "\ud800",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.9999999Z",
    "P999999999999Y",
    "-P1M",
    "P\u0663M",
    "1E400",
    "9" * 60,
    "0." + "0" * 60 + "1",
]
PERIOD = {"from": "2025-01-01T00:00:00Z", "to": "2025-02-01T00:00:00Z"}
TIERS = [
    {"upToAmount": "10", "flatPrice": {"type": "flat", "amount": "1"}},
    {"unitPrice": {"type": "unit", "amount": "1"}},
]
CARD = {
    "type": "usage_based",
    "key": "tokens",
    "name": "Tokens",
    "featureKey": "tokens",
    "billingCadence": "P1M",
    "price": {"type": "tiered", "mode": "graduated", "tiers": TIERS, "maximumAmount": "9"},
    "discounts": {"percentage": {"percentage": 10}},
    "entitlementTemplate": {"type": "metered", "issueAfterReset": 5, "usagePeriod": "P1M"},
}
TOKENS = {f"{kind}_per_token": "1" for kind in ("input", "output", "cache_read")}
MAPPINGS = [{"app_type": "stripe", "tax_code": "txcd_20030000"}]
V3_CARD = {
    "key": "tokens",
    "name": "Tokens",
    "billing_cadence": "P1M",
    "price": {"type": "unit", "amount": "1"},
    "unit_config": {"operation": "divide", "conversion_factor": "1000", "rounding": "ceiling", "precision": 2},
    "payment_term": "in_arrears",
    "commitments": {"minimum_amount": "1"},
    "discounts": {"percentage": 10, "usage": "5"},
    "entitlement": {"type": "static", "config": {"a": [1]}},
}
BODIES: list[tuple[str, dict[str, Any]]] = [
    (V3 + "/tax-codes", {"key": "t", "name": "n", "labels": {"a": "b"}, "app_mappings": MAPPINGS}),
    (
        V3 + "/currencies/custom",
        {"code": "COINS", "name": "n", "symbol": "c", "precision": 2, "decimal_mark": ".", "thousand_separator": ","},
    ),
    (
        V3 + "/llm-cost/overrides",
        {
            "provider": "openai",
            "model_id": "m",
            "model_name": "M",
            "pricing": TOKENS,
            "currency": "USD",
            "effective_from": "2025-01-01T00:00:00Z",
            "effective_to": "2026-01-01T00:00:00Z",
        },
    ),
    ("/api/v1/customers", {"key": "k", "name": "n", "metadata": {"a": "b"}, "billingAddress": {"country": "AT"}}),
    (V3 + "/customers", {"key": "l", "name": "n", "labels": {"a": "b"}, "usage_attribution": {"subject_keys": ["s"]}}),
    (
        "/api/v1/billing/profiles",
        {
            "name": "n",
            "default": False,
            "metadata": {"a": "b"},
            "supplier": {"key": "k", "name": "s", "taxId": {"code": "c"}, "addresses": [{"country": "AT"}]},
            "workflow": {
                "collection": {
                    "alignment": {
                        "type": "anchored",
                        "recurringPeriod": {"interval": "P1M", "anchor": "2025-01-01T00:00:00Z"},
                    },
                    "interval": "PT1H",
                },
                "invoicing": {
                    "autoAdvance": True,
                    "draftPeriod": "P1D",
                    "dueAfter": "P1D",
                    "subscriptionEndProrationMode": "bill_full_period",
                    "defaultTaxConfig": {"behavior": "inclusive", "stripe": {"code": "txcd_20030000"}},
                },
                "payment": {"collectionMethod": "send_invoice"},
                "tax": {"enabled": True},
            },
            "apps": {"tax": UNKNOWN, "invoicing": UNKNOWN, "payment": UNKNOWN},
        },
    ),
    (
        V3 + "/profiles",
        {
            "name": "n",
            "default": False,
            "labels": {"a": "b"},
            "supplier": {"name": "s", "addresses": {"billing_address": {"country": "AT"}}},
            "workflow": {
                "collection": {
                    "alignment": {
                        "type": "anchored",
                        "recurring_period": {"interval": "P1M", "anchor": "2025-01-01T00:00:00Z"},
                    }
                },
                "invoicing": {"draft_period": "P1D"},
                "payment": {"collection_method": "send_invoice", "due_after": "P1D"},
                "tax": {"default_tax_config": {"tax_code": {"id": UNKNOWN}}},
            },
            "apps": {name: {"id": UNKNOWN} for name in ("tax", "invoicing", "payment")},
        },
    ),
    ("/api/v1/features", {"key": "f", "name": "n", "unitCost": {"type": "manual", "amount": "1"}}),
    (
        "/api/v1/plans",
        {
            "key": "p",
            "name": "P",
            "currency": "USD",
            "billingCadence": "P1M",
            "phases": [{"key": "a", "name": "A", "duration": None, "rateCards": [CARD]}],
        },
    ),
    (
        V3 + "/plans",
        {
            "key": "q",
            "name": "Q",
            "currency": "USD",
            "billing_cadence": "P1M",
            "labels": {"a": "b"},
            "phases": [{"key": "a", "name": "A", "duration": "P1M", "rate_cards": [V3_CARD]}],
        },
    ),
    (
        "/api/v1/addons",
        {"key": "p", "name": "P", "currency": "USD", "instanceType": "single", "rateCards": [CARD]},
    ),
    (
        V3 + "/addons",
        {"key": "q", "name": "Q", "currency": "USD", "instance_type": "multiple", "rate_cards": [V3_CARD]},
    ),
    (
        V3 + "/subscriptions",
        {"customer": {"id": UNKNOWN}, "plan": {"key": "pro", "version": 1}, "billing_anchor": "2025-01-01T00:00:00Z"},
    ),
    (
        V3 + "/customers/{customer}/credits/grants",
        {
            "name": "g",
            "currency": "USD",
            "amount": "5",
            "funding_method": "external",
            "purchase": {"currency": "USD", "per_unit_cost_basis": "0.5"},
            "effective_at": "2025-01-15T00:00:00Z",
            "expires_after": "P1M",
            "filters": {"features": ["tokens"]},
        },
    ),
    (
        "/api/v2/customers/{customer}/entitlements",
        {
            "type": "metered",
            "featureKey": "tokens",
            "isSoftLimit": True,
            "usagePeriod": {"interval": "P1M", "anchor": "2025-01-01T00:00:00Z"},
            "measureUsageFrom": "2025-01-01T00:00:00Z",
            "grants": [
                {
                    "amount": 5.5,
                    "priority": 2,
                    "effectiveAt": "2025-01-15T00:00:00Z",
                    "expiration": {"duration": "MONTH", "count": 2},
                    "minRolloverAmount": 1,
                    "maxRolloverAmount": 2,
                    "recurrence": {"interval": "WEEK", "anchor": "2025-01-01T00:00:00Z"},
                    "annotations": {"a": [1]},
                }
            ],
        },
    ),
    (
        "/api/v2/customers/{customer}/entitlements",
        {"type": "static", "featureKey": "tokens", "config": "[1]", "usagePeriod": {"interval": "PT1H"}},
    ),
    (
        V3 + "/entitlement-access/query",
        {"customer": {"keys": ["acme", "x"]}, "feature": {"keys": ["tokens"]}, "include_credits": True},
    ),
    (
        V3 + "/customers/{customer}/charges",
        {
            "type": "flat_fee",
            "name": "c",
            "currency": "USD",
            "invoice_at": "2025-02-01T00:00:00Z",
            "service_period": PERIOD,
            "settlement_mode": "credit_then_invoice",
            "payment_term": "in_arrears",
            "proration_configuration": {"mode": "prorate_prices"},
            "amount_before_proration": {"amount": "1", "currency": "USD"},
        },
    ),
    (
        "/api/v1/billing/customers/{customer}/invoices/pending-lines",
        {
            "currency": "USD",
            "lines": [
                {
                    "name": "l",
                    "period": PERIOD,
                    "invoiceAt": "2025-02-01T00:00:00Z",
                    "price": {"type": "flat", "amount": "1"},
                }
            ],
        },
    ),
]
# These codes speak of a line or an invoice as a whole.
WITHOUT_FIELD = {"invoice_line_zero_amount_create"}


def _variants(body: Any) -> Iterator[Any]:
    """Yield the body with each wrong value in each place."""
    places: list[tuple[Any, ...]] = []

    def walk(node: Any, place: tuple[Any, ...]) -> None:
        steps = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for step, inner in steps:
            places.append((*place, step))
            walk(inner, (*place, step))

    walk(body, ())
    for *outer, last in places:
        for wrong in WRONG:
            changed = node = copy.deepcopy(body)
            for step in outer:
                node = node[step]
            node[last] = wrong
            yield changed


async def test_a_wrong_value_is_named_or_taken(new_world: Any) -> None:
    async with new_world() as world:
        await world.catalog()
        customer = await world.customer()
        for template, body in BODIES:
            path = template.format(customer=customer)
            for changed in _variants(body):
                sent = json.dumps(changed)
                answer = await world.http.post(path, content=sent, headers={"content-type": "application/json"})
                assert answer.status_code < 500, (path, sent)
                if answer.status_code == 201 and path.endswith(("/plans", "/addons", "/entitlements")):
                    # There is one at a time; the next one would be refused for that alone.
                    assert (await world.http.delete(f"{path}/{answer.json()['id']}")).status_code == 204
                if answer.status_code == 400:
                    found = answer.json()
                    refused = found.get("extensions", {})
                    if refused.get("code") in WITHOUT_FIELD:
                        continue
                    assert refused.get("validationErrors"), (path, sent, found)
                    assert all(one.get("field") for one in refused["validationErrors"]), (path, sent, found)
