"""Commands that meet on a customer's subscriptions: each is carried out whole or refused, and timelines stay valid."""

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import text

from tests.scenarios.conftest import NewWorld
from tests.scenarios.shop import CARDS, D, Shop, flat_card, phase, usage_card
from tests.scenarios.test_addon_stories import addon

NOBODY = "01G65Z755AFWAKHE12NY0CQ9FH"
BADGE = {"entitlementTemplate": {"type": "boolean"}, "featureKey": "badge"}
METERED = {"entitlementTemplate": {"type": "metered", "issueAfterReset": 100, "usagePeriod": "P1M"}}
TIMINGS = ("immediate", "next_billing_cycle")
REFUSALS = {400, 403, 404, 409, 412}


async def open_shop(shop: Shop) -> str:
    """Publish two versions of a plan of two phases, and another plan; returns the id of the add-on of the first."""
    await shop.open()
    await shop.feature("badge")
    more = await addon(shop, "more", [flat_card("seat", "30.00")])
    badge = {**flat_card("badge", "0", cadence=None), "price": None, **BADGE}
    trial = phase(flat_card("seat", "31.00"), badge, key="trial", duration="P20D")
    main = phase(flat_card("seat", "62.00"), usage_card(CARDS["unit"], **METERED), badge)
    for version in (1, 2):
        body = {"key": "pro", "name": "pro", "currency": "USD", "billingCadence": "P1M", "phases": [trial, main]}
        draft = await shop.world.call("POST", "/api/v1/plans", body, status=201)
        offer = {"addonId": more, "fromPlanPhase": "trial"}
        await shop.world.call("POST", f"/api/v1/plans/{draft['id']}/addons", offer, status=201)
        await shop.world.call("POST", f"/api/v1/plans/{draft['id']}/publish")
        if version == 1:
            for number in range(4):
                await shop.subscribe(f"customer-{number}", "pro")
        shop.world.clock.at += timedelta(hours=1)
    await shop.plan("other", phase(flat_card("seat", "10.00"), badge))
    return more


def command(chance: random.Random, customer: str, subscriptions: Sequence[str], more: str) -> tuple[str, str, Any]:
    """Choose what is asked: method, path and body."""
    path, timing = f"/api/v1/subscriptions/{chance.choice(subscriptions)}", chance.choice(TIMINGS)
    phase_key = chance.choice(["trial", "main"])
    seat = flat_card("seat", str(chance.randrange(1, 99)))
    edits: list[dict[str, Any]] = [
        {"op": "add_item", "phaseKey": phase_key, "rateCard": seat},
        {"op": "remove_item", "phaseKey": phase_key, "itemKey": "badge"},
        {"op": "stretch_phase", "phaseKey": "trial", "extendBy": chance.choice(["P3D", "-P2D", "P1M"])},
        {"op": "unschedule_edit"},
    ]
    purchase = {"name": "More", "addon": {"id": more}, "quantity": chance.randrange(4), "timing": timing}
    commands: list[tuple[str, str, Any]] = [
        *(("PATCH", path, {"customizations": [one], "timing": timing}) for one in edits),
        ("POST", f"{path}/cancel", {"timing": timing}),
        ("POST", f"{path}/unschedule-cancelation", None),
        ("POST", f"{path}/change", {"plan": {"key": chance.choice(["pro", "other"])}, "timing": timing}),
        ("POST", f"{path}/migrate", {"timing": timing}),
        ("POST", f"{path}/addons", purchase),
        ("POST", f"{path}/restore", None),
        ("DELETE", path, None),
        ("POST", "/api/v1/subscriptions", {"customerId": customer, "plan": {"key": "pro"}}),
        ("DELETE", f"/api/v1/customers/{customer}", None),
    ]
    return chance.choice(commands)


async def check_timelines(shop: Shop) -> None:
    """Check that nobody has two subscriptions at a time, and no subscription two versions of an item."""
    for customer in shop.customers.values():
        listed = await shop.world.http.get(f"/api/v1/customers/{customer}/subscriptions")
        found = listed.json()["items"] if listed.status_code == 200 else []
        spans = sorted((one["activeFrom"], one.get("activeTo", "9")) for one in found)
        assert all(before[1] <= after[0] for before, after in pairwise(spans)), spans
        for one in found:
            shown = await shop.world.call("GET", f"/api/v1/subscriptions/{one['id']}")
            for part in shown["phases"]:
                for versions in part["itemTimelines"].values():
                    assert all(old["activeTo"] <= new["activeFrom"] for old, new in pairwise(versions)), versions


@pytest.mark.parametrize("seed", [1])
async def test_commands_at_once(new_world: NewWorld, seed: int) -> None:
    chance = random.Random(seed)
    async with new_world() as world:
        shop = Shop(world)
        more = await open_shop(shop)
        done = 0
        for _ in range(25):
            world.clock.at += timedelta(days=chance.randrange(6), hours=chance.randrange(20))
            if chance.random() < 0.5:
                await world.settle()
            customer = chance.choice(list(shop.customers.values()))
            listed = await world.http.get(f"/api/v1/customers/{customer}/subscriptions")
            ids = [one["id"] for one in listed.json()["items"]] if listed.status_code == 200 else []
            asked = [command(chance, customer, ids or [NOBODY], more) for _ in range(chance.randrange(2, 6))]
            answers = await asyncio.gather(
                *(world.http.request(method, path, json=body) for method, path, body in asked)
            )
            for what, answer in zip(asked, answers, strict=True):
                assert answer.is_success or answer.status_code in REFUSALS, (what, answer.text)
                assert answer.is_success or answer.json()["detail"], what
                done += answer.is_success
            await check_timelines(shop)
        assert done >= 10
        await shop.move_to(world.clock.at + timedelta(days=40))
        assert set((await world.ledger_sums()).values()) <= {D(0)}
        async with world.app.services.db.read() as session:
            failed = await session.execute(text("SELECT last_error FROM billing_sync_states WHERE last_error <> ''"))
            assert not failed.all()
