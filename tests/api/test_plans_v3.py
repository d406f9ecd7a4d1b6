"""Plans over HTTP v3, and what they and v1 make of each other (catalog sections 1, 3, 6 and 8)."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from meterhouse.catalog import addons, planaddons, plans
from meterhouse.catalog.addons import AddonContent, InstanceType
from meterhouse.catalog.planaddons import NewPlanAddon, PlanAddonContent
from meterhouse.catalog.plans import PlanContent
from meterhouse.catalog.ratecards import MeteredEntitlementTemplate
from meterhouse.kernel.db import Database
from meterhouse.metering.meters import Meter
from tests.catalog.builders import new_addon, new_plan, period, phase, unit_card
from tests.catalog.conftest import NS, meter
from tests.catalog.http import client_of
from tests.fixtures.waiting import waiting

__all__ = ["meter"]

V1, V3 = "/api/v1", "/api/v3/openmeter"
FLAT = {"key": "seats", "name": "Seats", "billing_cadence": "P1M", "price": {"type": "flat", "amount": "10"}}
V1_USAGE = {"type": "usage_based", "key": "api_calls", "name": "C", "featureKey": "api_calls", "billingCadence": "P1M"}


@pytest.fixture
async def client(db: Database, meter: Meter) -> AsyncIterator[httpx.AsyncClient]:
    """A client, and a metered feature `api_calls`."""
    async with client_of(db) as client:
        await client.post(f"{V1}/features", json={"key": "api_calls", "name": "API calls", "meterSlug": "calls"})
        yield client


@pytest.fixture
async def usage(client: httpx.AsyncClient) -> dict[str, Any]:
    """A v3 card on the feature."""
    feature = (await client.get(f"{V1}/features/api_calls")).json()["id"]
    price = {"type": "unit", "amount": "0.5"}
    return {"key": "api_calls", "name": "C", "billing_cadence": "P1M", "feature": {"id": feature}, "price": price}


def stage(*cards: dict[str, Any], key: str = "main", **members: Any) -> dict[str, Any]:
    """Write a phase."""
    return {"key": key, "name": key, "rate_cards": list(cards), **members}


def body(*phases: dict[str, Any], **members: Any) -> dict[str, Any]:
    """Write a plan."""
    given = {"key": "ws_pro", "name": "Pro", "currency": "USD", "billing_cadence": "P1M"}
    return {**given, "phases": list(phases) or [stage(FLAT)], **members}


async def create(client: httpx.AsyncClient, *phases: dict[str, Any], **members: Any) -> Any:
    """Create a plan."""
    answer = await client.post(f"{V3}/plans", json=body(*phases, **members))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_draft_is_repaired_and_published(client: httpx.AsyncClient, usage: dict[str, Any]) -> None:
    made = await create(client, stage(FLAT, key="trial"), stage({**FLAT, "billing_cadence": "P1W"}), labels={"a": "b"})
    path = f"{V3}/plans/{made['id']}"
    assert (made["status"], made["settlement_mode"], made["pro_rating_enabled"]) == (
        "draft",
        "credit_then_invoice",
        True,
    )
    expected = ["plan_has_non_last_phase_with_no_duration", "rate_card_billing_cadence_unaligned"]
    assert [one["code"] for one in made["validation_errors"]] == expected
    assert made["validation_errors"][0]["field"] == "$.phases[?(@.key=='trial')].duration"
    assert (await client.get(path)).json() == made
    assert (await client.get(f"{V3}/plans")).json()["data"] == [made]
    refused = await client.post(path + "/publish")
    assert refused.status_code == 400
    issues = refused.json()["extensions"]["validationErrors"]
    assert [(one["code"], one["severity"]) for one in issues] == [(code, "warning") for code in expected]

    phases = [stage(FLAT, key="trial", duration="P1M", labels={"p": "1"}), stage(FLAT, usage)]
    changed = (await client.put(path, json={"name": "Pro", "phases": phases, "pro_rating_enabled": False})).json()
    assert "validation_errors" not in changed
    assert (changed["labels"], changed["phases"][0]["labels"]) == ({"a": "b"}, {"p": "1"})
    # A mode that is shown in v1 stays a valid one.
    shown = (await client.get(f"{V1}/plans/{made['id']}")).json()
    assert shown["proRatingConfig"] == {"enabled": False, "mode": "prorate_prices"}
    assert (await client.post(path + "/publish")).json()["status"] == "active"
    for answer, phrase in (
        (
            await client.put(path, json={"name": "Pro", "phases": phases}),
            "only Plans in [draft scheduled] can be updated",
        ),
        (await client.delete(path), "only Plans in [archived scheduled draft] can be deleted"),
        (await client.post(path + "/publish"), "only Plans in [draft scheduled] can be published/rescheduled"),
    ):
        assert (answer.status_code, phrase in answer.json()["detail"]) == (400, True), answer.text
    second = await create(client)
    assert second["version"] == 2
    after = (await client.post(f"{V3}/plans/{second['id']}/publish")).json()
    before = (await client.get(path)).json()
    assert (before["status"], before["effective_to"]) == ("archived", after["effective_from"])
    assert (await client.post(f"{V3}/plans/{second['id']}/archive")).json()["status"] == "archived"
    assert (await client.delete(path)).status_code == (await client.delete(path)).status_code == 204
    assert (await client.get(path)).json()["deleted_at"]
    assert [one["version"] for one in (await client.get(f"{V3}/plans")).json()["data"]] == [2]


COMMITMENTS = {"minimumAmount": "1", "maximumAmount": "9"}
TIERS = [
    {"upToAmount": "100", "flatPrice": {"type": "flat", "amount": "5"}, "unitPrice": None},
    {"flatPrice": None, "unitPrice": {"type": "unit", "amount": "0.05"}},
]
V3_TIERS = [
    {"up_to_amount": "100", "flat_price": {"type": "flat", "amount": "5"}},
    {"unit_price": {"type": "unit", "amount": "0.05"}},
]


@pytest.mark.parametrize(
    ("price", "shown"),
    [
        pytest.param(
            {"type": "package", "amount": "4", "quantityPerPackage": "250"},
            {
                "price": {"type": "unit", "amount": "4"},
                "unit_config": {"operation": "divide", "conversion_factor": "250", "rounding": "ceiling"},
            },
            id="M1",
        ),
        pytest.param(
            {"type": "dynamic", "multiplier": "1.15", **COMMITMENTS},
            {
                "price": {"type": "unit", "amount": "1"},
                "unit_config": {"operation": "multiply", "conversion_factor": "1.15"},
                "commitments": {"minimum_amount": "1", "maximum_amount": "9"},
            },
            id="M2",
        ),
        ({"type": "tiered", "mode": "volume", "tiers": TIERS}, {"price": {"type": "volume", "tiers": V3_TIERS}}),
        ({"type": "tiered", "mode": "graduated", "tiers": TIERS}, {"price": {"type": "graduated", "tiers": V3_TIERS}}),
        (None, {"price": {"type": "free"}}),
    ],
)
async def test_v1_prices_as_v3_shows_them_survive_a_v3_replacement(
    client: httpx.AsyncClient, price: Any, shown: dict[str, Any]
) -> None:
    template = {
        "type": "metered",
        "issueAfterReset": 5,
        "issueAfterResetPriority": 7,
        "preserveOverageAtReset": True,
        "isSoftLimit": False,
        "usagePeriod": "P1M",
    }
    card = {**V1_USAGE, "price": price, "metadata": {"not a label": "x"}, "entitlementTemplate": template}
    phases = [{"key": "main", "name": "M", "duration": None, "rateCards": [card]}]
    given = {"key": "ws_pro", "name": "Pro", "currency": "USD", "billingCadence": "P1M", "phases": phases}
    for path, sent in (
        (f"{V1}/plans", given),
        (f"{V1}/addons", {**given, "instanceType": "single", "rateCards": [card]}),
    ):
        made = await client.post(path, json=sent)
        assert made.status_code == 201, made.text
        stored = made.json()
        third = path.replace(V1, V3) + "/" + stored["id"]
        read = (await client.get(third)).json()
        holder = read["phases"][0] if "phases" in read else read
        members = ("price", "unit_config", "commitments")
        assert {name: holder["rate_cards"][0][name] for name in members if name in holder["rate_cards"][0]} == shown
        assert holder["rate_cards"][0].pop("labels") == {}
        # Read, append a card, write back: the card that is there already stays as it was, what v3 does not show too.
        holder["rate_cards"].append(FLAT)
        content = (
            {"name": "Pro", "phases": [holder]}
            if "phases" in read
            else {"name": "Pro", "instance_type": "single", "rate_cards": holder["rate_cards"]}
        )
        replaced = await client.put(third, json=content)
        assert replaced.status_code == 200, replaced.text
        after = (await client.get(f"{path}/{stored['id']}")).json()
        old, new = (stored["phases"][0], after["phases"][0]) if "phases" in stored else (stored, after)
        assert (new["rateCards"][0], len(new["rateCards"])) == (old["rateCards"][0], 2)


def content(shown: dict[str, Any]) -> dict[str, Any]:
    """Write the replacement that leaves a plan or an add-on of v3 as it is shown."""
    return {name: shown[name] for name in ("name", "phases", "instance_type", "rate_cards", "labels") if name in shown}


async def test_a_replacement_keeps_what_was_written_while_it_waited(db: Database, client: httpx.AsyncClient) -> None:
    """What v3 does not show is that of the version that is replaced, not of the one that was shown."""
    template = MeteredEntitlementTemplate(issue_after_reset=Decimal(5), usage_period=period("P1M"))
    card = unit_card(entitlement_template=template)
    hidden = {"issue_after_reset_priority": 7, "preserve_overage_at_reset": True}
    richer = unit_card(entitlement_template=template.model_copy(update=hidden), metadata={"not a label": "x"})
    async with db.write() as session:
        plan_id = (await plans.create(session, NS, new_plan(phases=[phase(card)]))).id
        addon_id = (await addons.create(session, NS, new_addon(card))).id
        active_id = (await addons.create(session, NS, new_addon(key="active"))).id
        await addons.publish(session, NS, active_id)
        given = NewPlanAddon(active_id, "main", name="N", metadata={"a": "b"})
        assigned = await planaddons.create(session, NS, plan_id, given)
    paths = [f"{V3}/plans/{plan_id}", f"{V3}/addons/{addon_id}", f"{V3}/plans/{plan_id}/addons/{assigned.id}"]
    bodies = [content((await client.get(path)).json()) for path in paths]
    bodies[2]["from_plan_phase"] = "main"

    async with db.write() as session:
        await plans.update(session, NS, plan_id, PlanContent("Pro", (phase(richer),)))
        await addons.update(session, NS, addon_id, AddonContent("Extra", InstanceType.SINGLE, (richer,)))
        metadata = {"a": "b", "not a label": "x"}
        await planaddons.update(session, NS, plan_id, assigned.id, PlanAddonContent("main", metadata=metadata))
        replacing = [await waiting(db, client.put(path, json=sent)) for path, sent in zip(paths, bodies, strict=True)]
    for replacement in replacing:
        assert (await replacement).status_code == 200
    async with db.read() as session:
        sold = await plans.get(session, NS, plan_id)
        extra = await addons.get(session, NS, addon_id)
        kept = await planaddons.get(session, NS, plan_id, assigned.id)
    for after in (sold.phases[0].rate_cards[0], extra.rate_cards[0]):
        assert (after.entitlement_template, after.metadata) == (richer.entitlement_template, richer.metadata)
    assert kept.metadata == metadata


async def test_cards_move_as_they_are(client: httpx.AsyncClient) -> None:
    price = {"type": "package", "amount": "4", "quantityPerPackage": "250"}
    template = {"type": "metered", "issueAfterReset": 5, "issueAfterResetPriority": 7, "preserveOverageAtReset": True}
    card = {**V1_USAGE, "price": price, "metadata": {"not a label": "x"}, "entitlementTemplate": template}
    dynamic = {**card, "price": {"type": "dynamic", "multiplier": "1.15"}}
    seats = {"type": "flat_fee", "key": "seats", "name": "Seats", "billingCadence": "P1M"}
    seats |= {"price": {"type": "flat", "amount": "10"}}
    phases = [
        {"key": "a", "name": "A", "duration": "P1M", "rateCards": [card]},
        {"key": "b", "name": "B", "duration": "P1M", "rateCards": [dynamic]},
        {"key": "c", "name": "C", "duration": None, "rateCards": [seats]},
    ]
    given = {"key": "ws_pro", "name": "Pro", "currency": "USD", "billingCadence": "P1M", "phases": phases}
    made = (await client.post(f"{V1}/plans", json=given)).json()
    first, second, third = (phase["rateCards"] for phase in made["phases"])
    path = f"{V3}/plans/{made['id']}"

    async def cards(**moved: str) -> list[Any]:
        """Put cards of the phases into others; show all that there is in v1 then."""
        read = (await client.get(path)).json()
        holders = {phase["key"]: phase for phase in read["phases"]}
        last = len(moved) - 1
        read["phases"] = [
            stage(*holders[old]["rate_cards"], key=new, **({"duration": "P1M"} if at < last else {}))
            for at, (new, old) in enumerate(moved.items())
        ]
        replaced = await client.put(path, json=content(read))
        assert replaced.status_code == 200, replaced.text
        shown = await client.get(f"{V1}/plans/{made['id']}")
        assert shown.status_code == 200, shown.text
        return [phase["rateCards"] for phase in shown.json()["phases"]]

    assert await cards(trial="a", b="b", c="c") == [first, second, third]
    assert await cards(trial="b", b="trial", c="c") == [second, first, third]
    assert await cards(b="trial", c="c", d="b") == [second, third, first]


async def test_v3_members_as_v1_shows_them(client: httpx.AsyncClient, usage: dict[str, Any]) -> None:
    static = {**FLAT, "key": "api_calls", "feature": usage["feature"]}
    made = await create(
        client,
        stage(
            {**usage, "discounts": {"percentage": 12.3, "usage": "200"}, "payment_term": "in_advance"},
            FLAT,
            {"key": "free", "name": "Free", "price": {"type": "free"}},
            key="trial",
            duration="P1M",
        ),
        stage({**static, "entitlement": {"type": "static", "config": {"seats": 3, "big": 12345678901234567890123}}}),
    )
    trial, main = (await client.get(f"{V1}/plans/{made['id']}")).json()["phases"]
    by_usage, flat, free = trial["rateCards"]
    # M4: a percentage is kept as it was written.
    assert by_usage["discounts"] == {"percentage": {"percentage": 12.3}, "usage": {"quantity": "200"}}
    assert (flat["type"], flat["price"]["paymentTerm"]) == ("flat_fee", "in_arrears")
    assert (free["type"], free["price"], free["billingCadence"]) == ("flat_fee", None, None)
    assert "payment_term" not in made["phases"][0]["rate_cards"][0]
    # M3: the configuration is text in v1.
    config = '{"seats": 3, "big": 12345678901234567890123}'
    assert main["rateCards"][0]["entitlementTemplate"] == {"type": "static", "config": config}
    shown = made["phases"][1]["rate_cards"][0]["entitlement"]["config"]
    assert shown == {"seats": 3, "big": 12345678901234567890123}


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ({"rounding": "ceiling"}, {"rounding": "ceiling", "precision": 0}),
        ({"rounding": "none", "precision": 3, "display_unit": "GB"}, {"display_unit": "GB"}),
        ({"rounding": "half_up", "precision": 1}, {"rounding": "half_up", "precision": 1}),
    ],
)
async def test_unit_conversions(
    client: httpx.AsyncClient, usage: dict[str, Any], sent: dict[str, Any], shown: dict[str, Any]
) -> None:
    conversion = {"operation": "divide", "conversion_factor": "1000"}
    made = await create(client, stage({**usage, "unit_config": {**conversion, **sent}}))
    (card,) = made["phases"][0]["rate_cards"]
    assert card["unit_config"] == {**conversion, **shown}
    assert "validation_errors" not in made


@pytest.mark.parametrize(
    ("change", "status", "expected"),
    [
        (
            {"billing_cadence": None},
            201,
            ["billing_cadence_invalid_value"] * 2 + ["rate_card_billing_cadence_unaligned"],
        ),
        ({"feature": None}, 201, ["usage_based_price_with_no_feature"]),
        ({"key": "other"}, 400, ["rate_card_key_feature_key_mismatch"]),
        ({"feature": {"id": "01JNX8T0000000000000000001"}}, 400, ["rate_card_feature_not_found"]),
        ({"unit_config": {"operation": "divide", "conversion_factor": "0"}}, 400, [""]),
        ({"price": {"type": "unit", "amount": "-1"}}, 400, [""]),
        ({"currency": "EUR"}, 201, ["plan_multiple_fiat_currencies"]),
        ({"currency": "CREDITS"}, 400, ["currency_not_found"]),
        ({"currency": "USD", "price": {"type": "free"}}, 400, ["rate_card_currency_requires_price"]),
        ({"entitlement": {"type": "metered"}}, 201, ["entitlement_template_issue_after_reset_required"]),
        (
            {
                "price": {"type": "flat", "amount": "1"},
                "unit_config": {"operation": "divide", "conversion_factor": "2"},
            },
            201,
            ["unit_config_requires_usage_based_price"],
        ),
    ],
)
async def test_issues_of_a_card(
    client: httpx.AsyncClient, usage: dict[str, Any], change: dict[str, Any], status: int, expected: list[str]
) -> None:
    card = {name: value for name, value in {**usage, **change}.items() if value is not None}
    answer = await client.post(f"{V3}/plans", json=body(stage(card)))
    assert answer.status_code == status, answer.text
    found = answer.json()
    issues = found["extensions"]["validationErrors"] if status == 400 else found["validation_errors"]
    assert [one.get("code", "") for one in issues] == expected
    if status == 201:  # a draft that is not whole yet stands in nobody's way
        shown = await client.get(f"{V1}/plans/{found['id']}")
        assert shown.status_code == 200 or "not_representable" in shown.text
        assert (await client.get(f"{V1}/plans")).status_code == 200


@pytest.mark.parametrize(
    "members",
    [
        {"phases": []},
        {"billing_cadence": "P2M"},
        {"billing_cadence": "PT"},
        {"currency": "EURO"},
        {"currency": "XXZ"},
        {"labels": {"a b": "c"}},
        {"settlement_mode": "credit_only"},
        {"key": "Ws-Pro"},
        {"version": 3},
    ],
)
async def test_what_a_plan_cannot_be(client: httpx.AsyncClient, members: dict[str, Any]) -> None:
    answer = await client.post(f"{V3}/plans", json=body(**members))
    assert answer.status_code == 400, answer.text


async def test_a_custom_currency_needs_to_be_worth_something(client: httpx.AsyncClient) -> None:
    form = {"name": "Credits", "precision": 2, "decimal_mark": ".", "thousand_separator": ","}
    currency = await client.post(f"{V3}/currencies/custom", json={"code": "CREDITS", **form})
    assert currency.status_code == 201, currency.text
    made = await create(client, stage({**FLAT, "currency": "CREDITS"}))
    path = f"{V3}/plans/{made['id']}"
    assert [one["code"] for one in made["validation_errors"]] == ["currency_cost_basis_not_found"]
    refused = (await client.post(path + "/publish")).json()["extensions"]["validationErrors"]
    assert [one["code"] for one in refused] == ["currency_cost_basis_not_found"]
    basis = await client.post(
        f"{V3}/currencies/custom/{currency.json()['id']}/cost-bases", json={"fiat_code": "USD", "rate": "0.05"}
    )
    assert basis.status_code == 201, basis.text
    assert (await client.post(path + "/publish")).status_code == 200
    own = await create(client, stage(FLAT), key="own", currency="CREDITS")
    assert (await client.post(f"{V3}/plans/{own['id']}/publish")).status_code == 200
    assert (await client.get(f"{V1}/plans")).json()["totalCount"] == 0
    for plan_id, code in (
        (made["id"], "rate_card_currency_not_representable"),
        (own["id"], "currency_not_representable"),
    ):
        (issue,) = (await client.get(f"{V1}/plans/{plan_id}")).json()["extensions"]["validationErrors"]
        assert issue["code"] == code


async def test_lists(client: httpx.AsyncClient) -> None:
    first = await create(client, key="a", name="Alpha")
    await create(client, key="b", name="Beta", currency="EUR")
    await client.post(f"{V3}/plans/{first['id']}/publish")
    await create(client, key="a", name="Alpha 2")

    async def listed(query: str) -> list[str]:
        answer = await client.get(f"{V3}/plans?{query}")
        assert answer.status_code == 200, answer.text
        return [one["name"] for one in answer.json()["data"]]

    assert await listed("") == ["Alpha", "Beta", "Alpha 2"]
    assert await listed("filter[key]=a&sort=version desc") == ["Alpha 2", "Alpha"]
    assert await listed("filter[name][contains]=alpha&filter[status]=draft") == ["Alpha 2"]
    assert await listed("filter[currency][neq]=USD") == ["Beta"]
    assert await listed("filter[status][oeq]=active,archived") == ["Alpha"]
    assert await listed("page[size]=2&page[number]=2") == ["Alpha 2"]
    for query in ("filter[status][neq]=draft", "filter[status]=gone", "filter[id]=x", "sort=name"):
        assert (await client.get(f"{V3}/plans?{query}")).status_code == 400, query
