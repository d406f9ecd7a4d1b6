"""Customers who change their minds at random: what they are billed follows from their timelines alone."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from meterhouse.api.wire import format_instant
from tests.scenarios.conftest import NewWorld
from tests.scenarios.shop import CARDS, D, Shop, flat_card, lines_of, phase, unit, usage_card, utc
from tests.scenarios.test_addon_stories import addon, sell, take

START, END = utc(2025, 1, 15), utc(2025, 4, 15)
BOUNDS = [utc(2025, month, 15) for month in (1, 2, 3, 4, 5)]
# What a plan asks for a seat, and for a token.
PLANS: dict[str, tuple[str | None, str]] = {
    "free": (None, "0.03"),
    "small": ("31.00", "0.02"),
    "large": ("62.00", "0.01"),
}
SEATS = (None, "10.01", "31.00", "33.33", "62.00", "99.99")
TOKENS = ("0.01", "0.02", "0.05")


@dataclass
class Timeline:
    """What one customer had from when on, and what it used."""

    key: str
    seats: list[tuple[datetime, Decimal]] = field(default_factory=list)
    tokens: list[tuple[datetime, Decimal]] = field(default_factory=list)
    uses: list[tuple[datetime, Decimal]] = field(default_factory=list)

    def sold(self, plan: str, at: datetime) -> None:
        seat, token = PLANS[plan]
        self.seats.append((at, D(seat or 0)))
        self.tokens.append((at, D(token)))

    def fees(self) -> Iterator[Decimal]:
        """Yield what each new price of a period adds for the days that are left, to what they were paid with."""
        prices, now = dict(self.seats), D(0)
        for low, high in pairwise(BOUNDS):
            # What changes at the very instant at which a period begins is in time: the invoice waits for late usage.
            paid = D(0)
            for at in sorted({low, *(at for at in prices if low < at < high)}):
                now = prices.get(at, now)
                if now > paid:
                    yield (now - paid) * (high - at).days / (high - low).days
                    paid = now

    def usage(self) -> Decimal:
        return sum((count * self._price(at) for at, count in self.uses), D(0))

    def _price(self, at: datetime) -> Decimal:
        return [price for since, price in self.tokens if since <= at][-1]


async def act(shop: Shop, one: Timeline, chance: random.Random) -> None:
    """Do one thing that a customer may do."""
    now, path = shop.world.clock.at, f"/api/v1/subscriptions/{shop.subscriptions[one.key]}"

    async def post(verb: str, body: Any) -> Any:
        return await shop.world.call("POST", f"{path}/{verb}", body)

    async def edit(operation: Any) -> None:
        await shop.world.call("PATCH", path, {"customizations": [operation], "timing": "immediate"})

    match chance.choice(["change", "seats", "seats", "tokens", "use", "use", "invoice", "hesitate"]):
        case "change":
            plan = chance.choice(list(PLANS))
            changed = await post("change", {"plan": {"key": plan}, "timing": "immediate"})
            shop.subscriptions[one.key] = changed["next"]["id"]
            one.sold(plan, now)
        case "seats":
            wanted, had = chance.choice(SEATS), one.seats[-1][1]
            if wanted is not None:
                await edit({"op": "add_item", "phaseKey": "main", "rateCard": flat_card("seat", wanted)})
            elif had:
                await edit({"op": "remove_item", "phaseKey": "main", "itemKey": "seat"})
            one.seats.append((now, D(wanted or 0)))
        case "tokens":
            price = chance.choice(TOKENS)
            card = usage_card(CARDS["unit"], price=unit(price))
            await edit({"op": "add_item", "phaseKey": "main", "rateCard": card})
            one.tokens.append((now, D(price)))
        case "use":
            count = D(chance.randrange(1, 2000))
            await shop.use([one.key], count)
            one.uses.append((now, count))
        case "invoice":
            await shop.world.invoice(shop.customers[one.key], progressive=True)
        case "hesitate":
            await post("cancel", {"timing": "next_billing_cycle"})
            await post("unschedule-cancelation", None)


@pytest.mark.parametrize("seed", [1, 2])
async def test_what_is_billed_follows_from_the_timeline(new_world: NewWorld, seed: int) -> None:
    chance = random.Random(seed)
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        for plan, (seat, token) in PLANS.items():
            cards = [usage_card(CARDS["unit"], price=unit(token))]
            await shop.plan(plan, phase(*cards, *([flat_card("seat", seat)] if seat else [])))
        everyone = [Timeline(f"customer-{number}") for number in range(6)]
        for one in everyone:
            plan = chance.choice(list(PLANS))
            await shop.subscribe(one.key, plan)
            one.sold(plan, START)
        day = START
        while (day := day + timedelta(days=chance.randrange(1, 5))) < END:
            await shop.move_to(day)
            for one in chance.sample(everyone, 2):
                await act(shop, one, chance)
        await shop.move_to(END + timedelta(hours=2))
        for one in everyone:
            lines = await lines_of(shop, one.key)
            fees = list(one.fees())
            billed = [worth for name, *_, worth in lines if name == "seat" and worth]
            # Every line is rounded once.
            assert abs(sum(billed, D(0)) - sum(fees, D(0))) <= D("0.01") * max(1, len(billed)), (one, lines)
            assert sum((worth for name, *_, worth in lines if name == "Tokens"), D(0)) == one.usage(), (one, lines)
        await shop.check_stable(differences=["seat"])


@pytest.mark.parametrize("seed", [1])
async def test_add_ons_taken_for_days_before(new_world: NewWorld, seed: int) -> None:
    """Quantities only rise, so nothing is to be given back: every day costs what was taken for it at last."""
    chance = random.Random(seed)
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        more = await addon(shop, "more", [flat_card("seats", "30.00"), flat_card("support", "60.00")])
        everyone = [f"customer_{number}" for number in range(5)]
        for key in everyone:
            await sell(shop, key, more, flat_card("seats", "90.00"), usage_card(CARDS["unit"]))
        taken: dict[str, dict[datetime, int]] = {key: {START: 0} for key in everyone}
        day = START
        while (day := day + timedelta(days=chance.randrange(1, 7))) < BOUNDS[2]:
            await shop.move_to(day)
            key = chance.choice(everyone)
            since = max(START, day - timedelta(days=chance.choice([0, 0, 3, 10, 25])))
            had = [count for at, count in sorted(taken[key].items()) if at <= since][-1]
            taken[key][since] = had + chance.randrange(1, 3)
            await take(shop, key, more, taken[key][since], format_instant(since))
            if chance.random() < 0.3:
                await world.invoice(shop.customers[key], progressive=True)
        await shop.move_to(BOUNDS[2] + timedelta(hours=2))
        for key in everyone:
            steps = sorted(taken[key].items())
            seats = support = D(0)
            for low, high in pairwise(BOUNDS[:4]):
                for (start, count), end in zip(steps, [*(at for at, _ in steps[1:]), BOUNDS[3]], strict=True):
                    share = D(max(0, (min(high, end) - max(low, start)).days)) / (high - low).days
                    seats += (90 + 30 * count) * share
                    support += 60 * count * share
            lines = [line for line in await lines_of(shop, key) if line[3]]
            for name, expected in (("seats", seats), ("support", support)):
                billed = [worth for item, *_, worth in lines if item == name]
                assert abs(sum(billed, D(0)) - expected) <= D("0.01") * max(1, len(billed)), (key, steps, name, lines)
        await shop.check_stable(differences=["seats", "support"])
