"""Edits and changes in money: a year of one customer that a timeline explains, and edits while a part is billed."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

from tests.scenarios.conftest import NewWorld
from tests.scenarios.shop import CARDS, D, Shop, cents, flat_card, lines_of, phase, unit, usage_card, utc
from tests.scenarios.world import totals

KEY = "acme"
# Billing periods begin on the 15th; the subscription starts on 15 January 2025.
BOUNDS = [utc(2025, month, 15) for month in range(1, 13)] + [utc(2026, 1, 15)]


@dataclass(frozen=True)
class Held:
    """A price that the customer had for a time; for a fee paid in advance, up to when it was paid."""

    name: str
    price: Decimal
    start: datetime
    end: datetime

    def parts(self) -> Iterator[tuple[datetime, datetime, Decimal]]:
        """Yield the part of each billing period in which the price holds, and its share of the period."""
        for low, high in pairwise(BOUNDS):
            start, end = max(low, self.start), min(high, self.end)
            if start < end:
                yield start, end, Decimal((end - start).days) / (high - low).days


FEES = [
    # The upgrade of 1 March came when the period was paid; there are no credit notes.
    Held("seat", D("31.00"), utc(2025, 1, 15), utc(2025, 3, 15)),
    Held("team_seat", D("62.00"), utc(2025, 3, 1), utc(2025, 8, 15)),
    # The raise of 30 July: the period was paid, so what it is more is owed for the days that are left.
    Held("raised_seat", D("31.00"), utc(2025, 7, 30), utc(2025, 8, 15)),
    Held("raised_seat", D("93.00"), utc(2025, 8, 15), utc(2025, 9, 15)),
    # Bought by an edit in the middle of a period, gone with the plan it was added to.
    Held("audit", D("31.00"), utc(2025, 4, 10), utc(2025, 9, 15)),
    Held("seat", D("31.00"), utc(2025, 9, 15), utc(2025, 11, 15)),
    # The phase that an edit inserted; it was paid up to 15 December when the customer left on 1 December.
    Held("promo_seat", D("15.50"), utc(2025, 11, 15), utc(2025, 12, 15)),
]
TOKENS = [
    Held("Tokens", D("0.02"), utc(2025, 1, 15), utc(2025, 3, 1)),
    Held("Tokens", D("0.01"), utc(2025, 3, 1), utc(2025, 9, 15)),
    Held("Tokens", D("0.02"), utc(2025, 9, 15), utc(2025, 11, 15)),
    Held("Tokens", D("0.05"), utc(2025, 11, 15), utc(2025, 12, 1)),
]
USES = [(utc(2025, month, day), D(100 * month + day)) for month in range(1, 13) for day in (5, 20)][1:]
CREDIT = D("100.00")


def expected() -> list[tuple[str, str, str, Decimal]]:
    """Return what must be invoiced: item, from, to, worth."""
    lines = [(held.name, start, end, cents(held.price * share)) for held in FEES for start, end, share in held.parts()]
    for held in TOKENS:
        for start, end, _ in held.parts():
            used = sum((tokens for when, tokens in USES if start <= when < end), D(0))
            lines.append((held.name, start, end, cents(used * held.price)))
    return sorted((name, start.isoformat()[:10], end.isoformat()[:10], worth) for name, start, end, worth in lines)


class Year:
    """The shop, the customer's present subscription, and the time that passes with use."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.uses = iter(USES)
        self.coming = next(self.uses)

    async def on(self, *date: int) -> None:
        """Go to a date; the customer uses tokens on the way."""
        while self.coming is not None and self.coming[0] < utc(*date):
            when, tokens = self.coming
            await self.shop.move_to(max(when, self.shop.world.clock.at))
            await self.shop.use([KEY], tokens, at=when)
            self.coming = next(self.uses, None)  # type: ignore[assignment]
        await self.shop.move_to(utc(*date))

    @property
    def path(self) -> str:
        return f"/api/v1/subscriptions/{self.shop.subscriptions[KEY]}"

    async def post(self, verb: str, body: Any = None) -> Any:
        return await self.shop.world.call("POST", f"{self.path}/{verb}", body)

    async def change(self, plan: str, timing: str) -> None:
        changed = await self.post("change", {"plan": {"key": plan}, "timing": timing})
        self.shop.subscriptions[KEY] = changed["next"]["id"]

    async def edit(self, *operations: Any, timing: str = "immediate") -> None:
        body = {"customizations": operations, "timing": timing}
        await self.shop.world.call("PATCH", self.path, body)


def add(card: Any, phase_key: str = "main") -> dict[str, Any]:
    return {"op": "add_item", "phaseKey": phase_key, "rateCard": card}


def tokens_at(price: str) -> dict[str, Any]:
    return usage_card(CARDS["unit"], price=unit(price))


async def live_through(year: Year) -> None:
    """Let everything happen, in order."""
    shop = year.shop
    await shop.subscribe(KEY, "starter")
    await shop.grant(KEY, str(CREDIT))
    await year.on(2025, 3, 1)
    await year.change("team", "immediate")
    await year.on(2025, 4, 10)
    await year.edit(add(flat_card("audit", "31.00")))
    await year.on(2025, 5, 20)
    # Planned, and taken back before it comes.
    await year.edit(add(flat_card("team_seat", "99.00")), add(flat_card("more", "9.00")), timing="next_billing_cycle")
    await year.on(2025, 6, 2)
    await year.edit({"op": "unschedule_edit"})
    await year.on(2025, 6, 20)
    await shop.cancel(KEY, "next_billing_cycle")
    await year.on(2025, 7, 1)
    await shop.continue_(KEY)
    await year.on(2025, 7, 30)
    await year.edit(add({**flat_card("team_seat", "93.00"), "name": "raised_seat"}))
    await year.on(2025, 8, 1)
    kept = shop.subscriptions[KEY]
    await year.change("starter", "next_billing_cycle")
    shop.subscriptions[KEY] = kept
    await year.on(2025, 8, 10)
    await year.post("restore")
    await year.on(2025, 8, 20)
    await year.change("starter", "next_billing_cycle")
    await year.on(2025, 10, 1)
    promotion = {"key": "promo", "name": "Promotion", "startAfter": "P2M"}
    await year.edit(
        {"op": "add_phase", "phase": promotion},
        add(flat_card("promo_seat", "15.50"), "promo"),
        add(tokens_at("0.05"), "promo"),
    )
    await year.on(2025, 12, 1)
    await shop.cancel(KEY)
    await year.on(2026, 1, 15)


def asked(invoices: Sequence[dict[str, Any]]) -> dict[str, Decimal]:
    """Return what was invoiced on each day, before credits."""
    days: dict[str, Decimal] = {}
    for one in invoices:
        worth = D(one["totals"]["total"]) + D(one["totals"]["creditsTotal"])
        days[one["createdAt"][:10]] = days.get(one["createdAt"][:10], D(0)) + worth
    return days


def owed(lines: Sequence[tuple[str, str, str, Decimal]]) -> dict[str, Decimal]:
    """Return what must be invoiced on each day: fees when they begin, usage when its part of a period is over."""
    days: dict[str, Decimal] = {}
    for name, start, end, worth in lines:
        day = end if name == "Tokens" else start
        days[day] = days.get(day, D(0)) + worth
    return days


async def test_a_year_to_the_cent(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        await shop.plan("starter", phase(tokens_at("0.02"), flat_card("seat", "31.00")))
        await shop.plan("team", phase(tokens_at("0.01"), flat_card("team_seat", "62.00")))
        await live_through(Year(shop))
        lines, invoices = expected(), await shop.invoices(KEY)
        assert await lines_of(shop, KEY) == lines
        assert asked(invoices) == owed(lines)
        worth = sum((line[3] for line in lines), D(0))
        assert totals(invoices, "creditsTotal") == CREDIT
        assert totals(invoices, "total") == worth - CREDIT
        assert await shop.settled(KEY) == 0
        await shop.check_stable()


async def test_another_plan_with_the_same_item(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        await shop.plan("small", phase(flat_card("seat", "31.00")))
        await shop.plan("large", phase(flat_card("seat", "62.00")))
        await shop.plan("largest", phase(flat_card("seat", "93.00")))
        await shop.plan("yearly", phase(flat_card("seat", "730.00", cadence="P1Y")), billingCadence="P1Y")
        moves = {
            "up": ("small", [("large", utc(2025, 1, 30)), ("largest", utc(2025, 2, 7))]),
            "down": ("large", [("small", utc(2025, 1, 30))]),
            "long": ("large", [("yearly", utc(2025, 1, 30))]),
        }
        for key, (plan, _) in moves.items():
            await shop.subscribe(key, plan)
        for when, key, plan in sorted((when, key, plan) for key, (_, all_) in moves.items() for plan, when in all_):
            await shop.move_to(when)
            path = f"/api/v1/subscriptions/{shop.subscriptions[key]}/change"
            changed = await world.call("POST", path, {"plan": {"key": plan}, "timing": "immediate"})
            shop.subscriptions[key] = changed["next"]["id"]
        await shop.move_to(utc(2025, 2, 15, 2))
        found = {key: [line for line in await lines_of(shop, key) if line[3]] for key in moves}
        # Half a month at twice the price, less half of what was paid; then a quarter month, in the same way.
        month = ("seat", "2025-01-15", "2025-02-15")
        rest = cents(D(62) * 16 / 31) - cents(D(31) * 16 / 31)
        last = cents(D(93) * 8 / 31) - cents(D(62) * 8 / 31)
        assert found["up"] == [
            (*month, D("31.00")),
            ("seat", "2025-01-30", "2025-02-15", rest),
            ("seat", "2025-02-07", "2025-02-15", last),
            ("seat", "2025-02-15", "2025-03-15", D("93.00")),
        ]
        # Nothing is given back, and nothing is paid again.
        assert found["down"] == [(*month, D("62.00")), ("seat", "2025-02-15", "2025-03-15", D("31.00"))]
        assert found["long"] == [
            (*month, D("62.00")),
            ("seat", "2025-01-30", "2026-01-15", D(2 * 350) - D("32.00")),
        ]
        for key in moves:
            assert not any(one.get("validationIssues") for one in await shop.invoices(key))
        await shop.check_stable(differences=["seat"])


async def test_a_phase_that_lasts_longer_after_it_was_invoiced(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        fee = flat_card("seat", "28.00")
        await shop.plan("seats", phase(fee, key="start", duration="P6W"), phase(fee, key="main"))
        await shop.subscribe(KEY, "seats")
        await shop.move_to(utc(2025, 2, 18))
        stretch = {"op": "stretch_phase", "phaseKey": "start", "extendBy": "P1W"}
        path = f"/api/v1/subscriptions/{shop.subscriptions[KEY]}"
        await world.call("PATCH", path, {"customizations": [stretch], "timing": "immediate"})
        await shop.move_to(utc(2025, 3, 16))
        # The invoice of 15 February knew of eleven days of the first phase.
        assert await lines_of(shop, KEY) == [
            ("seat", "2025-01-15", "2025-02-15", D("28.00")),
            ("seat", "2025-02-15", "2025-02-26", D("11.00")),
            ("seat", "2025-02-26", "2025-03-05", D("7.00")),
            ("seat", "2025-03-05", "2025-03-15", D("10.00")),
            ("seat", "2025-03-15", "2025-04-15", D("28.00")),
        ]
        assert not any(one.get("validationIssues") for one in await shop.invoices(KEY))
        await shop.check_stable()


async def test_edits_while_a_part_is_billed(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        await shop.plan("pro", phase(tokens_at("0.02"), flat_card("seat", "31.00")))
        dearer, removed = add(tokens_at("0.05")), {"op": "remove_item", "phaseKey": "main", "itemKey": "tokens"}
        edits = {
            "now": (dearer, "immediate"),
            "draft": (dearer, "immediate"),
            "gone": (removed, "immediate"),
            "later": (dearer, "next_billing_cycle"),
        }
        for key in edits:
            await shop.subscribe(key, "pro")
        await shop.move_to(utc(2025, 1, 20))
        await shop.use(list(edits), D(1000))
        await shop.move_to(utc(2025, 1, 22))
        for key in set(edits) - {"draft"}:
            await world.invoice(shop.customers[key], progressive=True)
        await shop.move_to(utc(2025, 1, 24))
        await shop.use(list(edits), D(500))
        await shop.move_to(utc(2025, 1, 25))
        # Its part is a draft still when the price changes, and ends at that very second.
        await world.invoice(shop.customers["draft"], progressive=True)
        for key, (operation, timing) in edits.items():
            body = {"customizations": [operation], "timing": timing}
            await world.call("PATCH", f"/api/v1/subscriptions/{shop.subscriptions[key]}", body)
        await shop.move_to(utc(2025, 2, 1))
        await shop.use(list(edits), D(300))
        await shop.move_to(utc(2025, 2, 15, 2))
        tokens = {key: [line[1:] for line in await lines_of(shop, key) if line[0] == "Tokens"] for key in edits}
        first = ("2025-01-15", "2025-01-22", D("20.00"))
        rest = ("2025-01-22", "2025-01-25", D("10.00"))
        after = ("2025-01-25", "2025-02-15", D("15.00"))
        assert tokens == {
            "now": [first, rest, after],
            "draft": [("2025-01-15", "2025-01-25", D("30.00")), after],
            "gone": [first, rest],
            "later": [first, ("2025-01-22", "2025-02-15", D("16.00"))],
        }
        await shop.check_stable()


async def test_edits_changes_invoices_and_jobs_at_once(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        await shop.plan("pro", phase(tokens_at("0.02"), flat_card("seat", "31.00")))
        await shop.subscribe(KEY, "pro")
        await shop.move_to(utc(2025, 2, 10))
        await shop.use([KEY], D(1000))
        world.clock.at = utc(2025, 2, 15)
        path = f"/api/v1/subscriptions/{shop.subscriptions[KEY]}"
        edits = [{"customizations": [add(flat_card("seat", amount))]} for amount in ("40.00", "50.00", "60.00")]
        edits.append({"customizations": [add(flat_card("extra", "31.00"))]})
        move = {"plan": {"key": "pro"}, "timing": "next_billing_cycle"}
        asked = [world.http.patch(path, json=body) for body in edits]
        asked += [world.http.post(f"{path}/change", json=move), world.http.post(f"{path}/restore")]
        asked += [world.invoice(shop.customers[KEY], progressive=progressive) for progressive in (True, False)]
        answers, _ = await asyncio.gather(
            asyncio.gather(*asked), asyncio.gather(*(world.run(work.name) for work in world.app.due_works * 2))
        )
        assert {answer.status_code for answer in answers} <= {200, 201, 400, 403, 409}
        # A change of plan that comes first leaves nothing to edit.
        assert any(answer.status_code == 200 for answer in answers[: len(edits) + 1])
        await shop.move_to(utc(2025, 2, 16))
        # Whichever came first, the month that ended cost what it cost.
        ended = [line for line in await lines_of(shop, KEY) if line[1] == "2025-01-15"]
        assert [line[0] for line in ended] == ["Tokens", "seat"]
        assert [line[3] for line in ended] == [D("20.00"), D("31.00")]
        await shop.check_stable()


async def test_days_that_were_paid_long_before_a_change(new_world: NewWorld) -> None:
    """Fees of periods that begin with a change or after it can be paid by then; what follows goes on from that."""
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        monthly = flat_card("seat", "31.00")
        await shop.plan("ahead", phase(monthly), billingCadence="P1Y")
        await shop.plan("monthly", phase(monthly))
        await shop.plan("dearer", phase(flat_card("seat", "62.00")))
        for key, plan in (("other", "ahead"), ("again", "ahead"), ("bound", "monthly"), ("up", "monthly")):
            await shop.subscribe(key, plan)
        await shop.move_to(utc(2025, 1, 25))
        for key in ("other", "again"):
            assert len(await lines_of(shop, key)) == 12
        path = f"/api/v1/subscriptions/{shop.subscriptions['other']}/change"
        changed = await world.call("POST", path, {"plan": {"key": "monthly"}, "timing": "immediate"})
        shop.subscriptions["other"] = changed["next"]["id"]
        again = f"/api/v1/subscriptions/{shop.subscriptions['again']}"
        remove = {"op": "remove_item", "phaseKey": "main", "itemKey": "seat"}
        await world.call("PATCH", again, {"customizations": [remove], "timing": "immediate"})
        await shop.move_to(utc(2025, 1, 29))
        await world.call("PATCH", again, {"customizations": [add(monthly)], "timing": "immediate"})
        await shop.move_to(utc(2025, 2, 15))
        for key, plan in (("bound", "monthly"), ("up", "dearer")):
            path = f"/api/v1/subscriptions/{shop.subscriptions[key]}/change"
            await world.call("POST", path, {"plan": {"key": plan}, "timing": "immediate"})
        await shop.move_to(utc(2026, 1, 16))
        months = [("seat", f"{low:%Y-%m-%d}", f"{high:%Y-%m-%d}") for low, high in pairwise(BOUNDS)]
        paid = [(*month, D("31.00")) for month in months]
        later = [("seat", f"2026-{month:02}-15", f"2026-{month + 1:02}-15", D("31.00")) for month in range(1, 12)]
        found = {key: [line for line in await lines_of(shop, key) if line[3]] for key in shop.customers}
        for key in ("other", "bound"):
            assert found[key] == [*paid, later[0]]
        assert found["again"] == [*paid, *later, ("seat", "2026-12-15", "2027-01-15", D("31.00"))]
        # What it is more is billed at once, and then the new fee.
        assert found["up"][:4] == [paid[0], paid[1], paid[1], (*months[2], D("62.00"))]
        for key in ("other", "bound", "up"):
            assert not any(one.get("validationIssues") for one in await shop.invoices(key))
        await shop.check_stable(differences=["seat"])
