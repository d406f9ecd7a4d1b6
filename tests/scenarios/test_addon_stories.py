"""What add-ons cost: bought in the middle of a month, raised, and given back. April has 30 days."""

from collections.abc import Sequence
from typing import Any

from tests.scenarios.conftest import NewWorld
from tests.scenarios.shop import CARDS, MODES, D, Shop, flat_card, lines_of, phase, usage_card, utc
from tests.scenarios.world import totals

SEATS, SUPPORT = flat_card("seats", "30.00"), flat_card("support", "60.00")
SETUP = flat_card("setup", "25.00", cadence=None)


async def addon(shop: Shop, key: str, cards: Sequence[dict[str, Any]], kind: str = "multiple") -> str:
    """Publish an add-on; returns its id."""
    body = {"key": key, "name": key, "currency": "USD", "instanceType": kind, "rateCards": list(cards)}
    made = await shop.world.call("POST", "/api/v1/addons", body, status=201)
    await shop.world.call("POST", f"/api/v1/addons/{made['id']}/publish")
    return str(made["id"])


async def sell(shop: Shop, key: str, offered: str, *cards: dict[str, Any], mode: str = MODES[0]) -> None:
    """Publish a plan that offers an add-on, and subscribe a customer of the same key to it."""
    body = {"key": key, "name": key, "currency": "USD", "billingCadence": "P1M", "settlementMode": mode}
    draft = await shop.world.call("POST", "/api/v1/plans", {**body, "phases": [phase(*cards)]}, status=201)
    assignment = {"name": "Offered", "addon": {"id": offered}, "from_plan_phase": "main"}
    await shop.world.call("POST", f"/api/v3/openmeter/plans/{draft['id']}/addons", assignment, status=201)
    await shop.world.call("POST", f"/api/v1/plans/{draft['id']}/publish")
    await shop.subscribe(key)


async def take(shop: Shop, key: str, offered: str, quantity: int, timing: str = "immediate") -> None:
    """Set how many of an add-on a customer has."""
    path = f"/api/v1/subscriptions/{shop.subscriptions[key]}/addons"
    body = {"name": "More", "addon": {"id": offered}, "quantity": quantity, "timing": timing}
    await shop.world.call("POST", path, body, status=201)


async def test_bought_raised_and_dropped_within_a_month(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        await shop.move_to(utc(2025, 4, 1))
        growth = await addon(shop, "growth", [SEATS, SUPPORT, SETUP])
        more = await addon(shop, "more", [SEATS, SUPPORT])
        priced = await addon(shop, "priced", [usage_card(CARDS["unit"])], kind="single")
        seats = flat_card("seats", "90.00")
        await sell(shop, "acme", growth, seats)
        await sell(shop, "prepaid", growth, seats, mode=MODES[1])
        await sell(shop, "late", more, seats)
        await sell(shop, "metered", priced, usage_card(CARDS["unit"], price=None))
        await shop.grant("prepaid", "1000")
        await shop.use(["metered"], D(1000))

        await shop.move_to(utc(2025, 4, 11))
        for key in ("acme", "prepaid"):
            await take(shop, key, growth, 1)
        await take(shop, "metered", priced, 1)
        await shop.use(["metered"], D(500))

        await shop.move_to(utc(2025, 4, 21))
        for key in ("acme", "prepaid"):
            await take(shop, key, growth, 3)
        await take(shop, "late", more, 1, "2025-04-06T00:00:00Z")

        await shop.move_to(utc(2025, 4, 26))
        await take(shop, "acme", growth, 0, "next_billing_cycle")
        await take(shop, "prepaid", growth, 0)
        await take(shop, "late", more, 5, "2025-04-03T00:00:00Z")
        await take(shop, "metered", priced, 0)
        await shop.use(["metered"], D(300))
        await shop.move_to(utc(2025, 5, 1, 2))

        # In advance: the month; 20 of 30 days of one add-on; 10 of 30 days of two more; the next month without any.
        # The seats of the plan are paid once, whatever is added to them, and so is each setup.
        assert await lines_of(shop, "acme") == [
            ("seats", "2025-04-01", "2025-05-01", D(90)),
            ("seats", "2025-04-11", "2025-05-01", D(20)),
            ("seats", "2025-04-21", "2025-05-01", D(20)),
            ("seats", "2025-05-01", "2025-06-01", D(90)),
            ("setup", "2025-04-11", "2025-04-11", D(25)),
            ("setup", "2025-04-21", "2025-04-21", D(50)),
            ("support", "2025-04-11", "2025-05-01", D(40)),
            ("support", "2025-04-21", "2025-05-01", D(40)),
        ]
        assert [D(one["totals"]["total"]) for one in await shop.invoices("acme")] == [90, 85, 110, 90]
        assert not any(one.get("validationIssues") for one in await shop.invoices("acme"))

        # By credits everything can be set right, so five days without the add-on are given back:
        # 10 days of 90, 10 of 120, 5 of 180, 5 of 90; 10 days of 60, 5 of 180; setups; and the next month.
        spent = (30 + 40 + 30 + 15) + (20 + 30) + (25 + 50) + 90
        assert await shop.settled("prepaid") == 1000 - spent

        # What was taken for days before, is paid for these days: 25 of 30 days of one, then 3 of 30 days of five.
        assert await lines_of(shop, "late") == [
            ("seats", "2025-04-01", "2025-05-01", D(90)),
            ("seats", "2025-04-03", "2025-04-06", D(15)),
            ("seats", "2025-04-06", "2025-05-01", D(25)),
            ("seats", "2025-05-01", "2025-06-01", D(120)),
            ("support", "2025-04-03", "2025-04-06", D(30)),
            ("support", "2025-04-06", "2025-05-01", D(50)),
            ("support", "2025-05-01", "2025-06-01", D(60)),
        ]

        # Usage costs while the add-on that gives it a price is there: 500, of 1000 before and 300 after.
        assert await lines_of(shop, "metered") == [("Tokens", "2025-04-11", "2025-04-26", D(10))]
        assert totals(await shop.invoices("metered"), "total") == 10

        await shop.check_stable(differences=["seats", "support"])


async def test_an_addon_that_converts_units_is_dropped_and_taken_up_again(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        await shop.move_to(utc(2025, 4, 1))
        thousands = {"operation": "divide", "conversion_factor": "1000", "rounding": "ceiling"}
        feature = (await world.call("GET", "/api/v1/features/tokens"))["id"]
        card = {
            "key": "tokens",
            "name": "Tokens",
            "feature": {"id": feature},
            "billing_cadence": "P1M",
            "price": {"type": "unit", "amount": "3"},
            "unit_config": thousands,
        }
        body = {"key": "bulk", "name": "Bulk", "currency": "USD", "instance_type": "single", "rate_cards": [card]}
        bulk = (await world.call("POST", "/api/v3/openmeter/addons", body, status=201))["id"]
        await world.call("POST", f"/api/v3/openmeter/addons/{bulk}/publish")
        await sell(shop, "acme", bulk, usage_card(CARDS["unit"], price=None))
        path = f"subscriptions/{shop.subscriptions['acme']}/addons"
        wish = {"addon": {"id": bulk}, "quantity": 1, "timing": "immediate"}
        bought = (await world.call("POST", f"/api/v3/openmeter/{path}", wish, status=201))["id"]
        for day, quantity, tokens in ((11, 0, 1500), (21, 1, 800), (26, 0, 2100)):
            await shop.use(["acme"], D(tokens))
            await shop.move_to(utc(2025, 4, day))
            await world.call(
                "PATCH", f"/api/v3/meterhouse/{path}/{bought}", {"quantity": quantity, "timing": "immediate"}
            )
        await shop.use(["acme"], D(9000))
        await shop.move_to(utc(2025, 5, 1, 2))
        # 1500 of the first days are two thousands, 2100 of the last are three; what was used without it costs nothing.
        assert await lines_of(shop, "acme") == [
            ("Tokens", "2025-04-01", "2025-04-11", D(6)),
            ("Tokens", "2025-04-21", "2025-04-26", D(9)),
        ]
        await shop.check_stable()


async def test_taken_for_days_that_were_invoiced(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        await shop.move_to(utc(2025, 4, 1))
        once = await addon(shop, "once", [SETUP])
        priced = await addon(shop, "priced", [usage_card(CARDS["unit"])], kind="single")
        await sell(shop, "hurried", once, flat_card("seats", "90.00"))
        await sell(shop, "metered", priced, usage_card(CARDS["unit"], price=None))
        await shop.move_to(utc(2025, 4, 8))
        await shop.use(["metered"], D(1000))
        await shop.move_to(utc(2025, 4, 11))
        await take(shop, "hurried", once, 2)
        await take(shop, "metered", priced, 1)
        await shop.use(["metered"], D(500))
        await shop.move_to(utc(2025, 4, 20))
        await world.invoice(shop.customers["metered"], progressive=True)
        await shop.move_to(utc(2025, 4, 21))
        await shop.use(["metered"], D(300))
        # Three were in use since the 6th, and the price by usage holds since then.
        await take(shop, "hurried", once, 3, "2025-04-06T00:00:00Z")
        await take(shop, "metered", priced, 1, "2025-04-06T00:00:00Z")
        await shop.move_to(utc(2025, 5, 1, 2))

        assert [line for line in await lines_of(shop, "hurried") if line[0] == "setup"] == [
            ("setup", "2025-04-06", "2025-04-11", D(25)),
            ("setup", "2025-04-11", "2025-04-11", D(50)),
        ]
        assert await lines_of(shop, "metered") == [
            ("Tokens", "2025-04-06", "2025-04-11", D(20)),
            ("Tokens", "2025-04-11", "2025-04-20", D(10)),
            ("Tokens", "2025-04-20", "2025-05-01", D(6)),
        ]
        await shop.check_stable()


async def test_taken_from_the_start_of_a_period_that_was_paid(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        await shop.move_to(utc(2025, 4, 1))
        growth = await addon(shop, "growth", [SEATS, SUPPORT])
        await sell(shop, "issued", growth, flat_card("seats", "90.00"))
        await sell(shop, "prepaid", growth, flat_card("seats", "90.00"), mode=MODES[1])
        await shop.grant("prepaid", "1000")
        await shop.move_to(utc(2025, 4, 11))
        (profile,) = (await world.call("GET", "/api/v1/billing/profiles"))["items"]
        profile["workflow"]["invoicing"] |= {"draftPeriod": "P5D"}
        await world.call("PUT", f"/api/v1/billing/profiles/{profile['id']}", profile)
        await sell(shop, "draft", growth, flat_card("seats", "90.00"))
        await shop.move_to(utc(2025, 4, 12))
        for key, start in (("issued", 1), ("prepaid", 1), ("draft", 11)):
            await take(shop, key, growth, 2, f"2025-04-{start:02}T00:00:00Z")
        await shop.move_to(utc(2025, 4, 20))
        assert await lines_of(shop, "issued") == [
            ("seats", "2025-04-01", "2025-05-01", D(60)),
            ("seats", "2025-04-01", "2025-05-01", D(90)),
            ("support", "2025-04-01", "2025-05-01", D(120)),
        ]
        # What is not issued yet is set right where it stands.
        assert await shop.settled("prepaid") == 1000 - (90 + 60) - 120
        assert await lines_of(shop, "draft") == [
            ("seats", "2025-04-11", "2025-05-11", D(150)),
            ("support", "2025-04-11", "2025-05-11", D(120)),
        ]
        await shop.check_stable(differences=["seats"])
