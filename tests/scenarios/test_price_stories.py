"""Every kind of price, billed in parts and whole, compared with what a few lines of arithmetic say it must cost."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Any

import pytest

from meterhouse.api.wire import format_instant
from tests.scenarios.conftest import NewWorld
from tests.scenarios.world import World, totals

CENT = Decimal("0.01")
D = Decimal


def cents(amount: Decimal, unit: Decimal = CENT) -> Decimal:
    return amount.quantize(unit, ROUND_HALF_UP)


@dataclass(frozen=True)
class Card:
    """A rate card as it is sent, and what `quantity` units of a whole period must cost."""

    price: Mapping[str, Any]
    cost: Callable[[Decimal], Decimal]
    discounts: Mapping[str, Any] | None = None


def unit(amount: str, **limits: str) -> dict[str, Any]:
    return {"type": "unit", "amount": amount, **limits}


def tiers(mode: str, *steps: tuple[str | None, str | None, str | None], **limits: str) -> dict[str, Any]:
    return {
        "type": "tiered",
        "mode": mode,
        "tiers": [
            {
                **({"upToAmount": up_to} if up_to else {}),
                "unitPrice": {"type": "unit", "amount": each} if each else None,
                "flatPrice": {"type": "flat", "amount": flat} if flat else None,
            }
            for up_to, each, flat in steps
        ],
        **limits,
    }


def graduated(q: Decimal) -> Decimal:
    """Flat 5 from the start; 0.10 each up to 1000; then 0.05 each and 7 once."""
    return 5 + min(q, D(1000)) * D("0.10") + (max(q - 1000, D(0)) * D("0.05") + (7 if q > 1000 else 0))


def volume(q: Decimal) -> Decimal:
    return q * D("1.00") if q <= 1000 else q * D("0.80") + 3


CARDS: dict[str, Card] = {
    "unit": Card(unit("0.02"), lambda q: q * D("0.02")),
    "graduated": Card(
        tiers("graduated", ("1000", "0.10", "5"), (None, "0.05", "7")),
        graduated,
    ),
    "volume": Card(tiers("volume", ("1000", "1.00", None), (None, "0.80", "3")), volume),
    "package": Card(
        {"type": "package", "amount": "1.50", "quantityPerPackage": "300"}, lambda q: (q + 299) // 300 * D("1.50")
    ),
    "dynamic": Card({"type": "dynamic", "multiplier": "1.25"}, lambda q: q * D("1.25")),
    "minimum": Card(unit("0.02", minimumAmount="50"), lambda q: max(q * D("0.02"), D(50))),
    "maximum": Card(unit("0.02", maximumAmount="30"), lambda q: min(q * D("0.02"), D(30))),
    "both": Card(unit("0.02", minimumAmount="10", maximumAmount="40"), lambda q: min(max(q * D("0.02"), D(10)), D(40))),
    "share_off": Card(unit("0.02"), lambda q: q * D("0.02") * D("0.75"), {"percentage": {"percentage": 25}}),
    "free_units": Card(unit("0.02"), lambda q: max(q - 700, D(0)) * D("0.02"), {"usage": {"quantity": "700"}}),
    "all_at_once": Card(
        tiers("graduated", ("1000", "0.10", None), (None, "0.05", None), minimumAmount="20", maximumAmount="90"),
        lambda q: max(
            min(
                cents(min(max(q - 500, D(0)), D(1000)) * D("0.10") * D("0.9"))
                + cents(max(q - 1500, D(0)) * D("0.05") * D("0.9")),
                D(90),
            ),
            D(20),
        ),
        {"percentage": {"percentage": 10}, "usage": {"quantity": "500"}},
    ),
}
MODES = ("credit_then_invoice", "credit_only")


@dataclass
class Shop:
    """A world with one sum meter, and plans made of rate cards."""

    world: World
    events: int = 0
    customers: dict[str, str] = field(default_factory=dict)
    subscriptions: dict[str, str] = field(default_factory=dict)

    async def open(self) -> None:
        meter = {"slug": "tokens", "eventType": "completion", "aggregation": "SUM", "valueProperty": "$.tokens"}
        await self.world.call("POST", "/api/v1/meters", meter, status=201)
        await self.feature("tokens")

    async def feature(self, key: str) -> None:
        body = {"key": key, "name": key, "meterSlug": "tokens"}
        await self.world.call("POST", "/api/v1/features", body, status=201)

    async def plan(self, key: str, *phases: Mapping[str, Any], mode: str = MODES[0], **options: Any) -> None:
        body = {
            "key": key,
            "name": key,
            "currency": "USD",
            "billingCadence": "P1M",
            "settlementMode": mode,
            "phases": list(phases),
            **options,
        }
        made = await self.world.call("POST", "/api/v1/plans", body, status=201)
        await self.world.call("POST", f"/api/v1/plans/{made['id']}/publish")

    async def subscribe(self, key: str, plan: str | None = None, **options: Any) -> str:
        """Make a customer `key` who subscribes to `plan`; its events have the same subject."""
        body = {"key": key, "name": key}
        self.customers[key] = (await self.world.call("POST", "/api/v1/customers", body, status=201))["id"]
        body = {"customerId": self.customers[key], "plan": {"key": plan or key}, **options}
        made = await self.world.call("POST", "/api/v1/subscriptions", body, status=201)
        self.subscriptions[key] = made["id"]
        return self.customers[key]

    async def use(self, subjects: Sequence[str], tokens: Decimal, *, at: datetime | None = None) -> None:
        """Send an event of each subject at an instant, now by default, and store it now."""
        self.events += 1
        batch = [
            {
                "specversion": "1.0",
                "id": f"event-{self.events}-{subject}",
                "source": "tests",
                "type": "completion",
                "subject": subject,
                "time": format_instant(at or self.world.clock.at),
                "data": {"tokens": str(tokens)},
            }
            for subject in subjects
        ]
        headers = {"content-type": "application/cloudevents-batch+json"}
        answer = await self.world.http.post("/api/v1/events", json=batch, headers=headers)
        assert answer.status_code == 204, answer.text
        await self.world.app.sink.drain()

    async def move_to(self, at: datetime) -> None:
        """Let time pass, stopping at everything that becomes due on the way."""
        while True:
            await self.world.settle()
            dues = [await work.next_due() for work in self.world.app.due_works]
            stop = min((due for due in dues if due is not None), default=at)
            if stop >= at:
                break
            self.world.clock.at = stop
        self.world.clock.at = at
        await self.world.settle()

    async def grant(self, key: str, amount: str, *, currency: str = "USD", **options: Any) -> str:
        body = {"name": "Credit", "funding_method": "none", "currency": currency, "amount": amount, **options}
        path = f"/api/v3/openmeter/customers/{self.customers[key]}/credits/grants"
        return str((await self.world.call("POST", path, body, status=201))["id"])

    async def cancel(self, key: str, timing: str = "immediate") -> None:
        path = f"/api/v1/subscriptions/{self.subscriptions[key]}/cancel"
        await self.world.call("POST", path, {"timing": timing})

    async def continue_(self, key: str) -> None:
        await self.world.call("POST", f"/api/v1/subscriptions/{self.subscriptions[key]}/unschedule-cancelation")

    async def invoices(self, key: str) -> list[dict[str, Any]]:
        return await self.world.invoices(self.customers[key])

    async def paid(self, key: str) -> tuple[Decimal, Decimal]:
        """Return what the customer's invoices ask for, and what credits paid."""
        charges = await self.world.charges(self.customers[key])
        credits = D(0)
        for one in charges:
            if one["type"] == "usage_based":
                credits += D(one["totals"]["booked"]["credits_total"])
        return totals(await self.invoices(key), "total"), credits

    async def settled(self, key: str, currency: str = "USD") -> Decimal:
        path = f"/api/v3/openmeter/customers/{self.customers[key]}/credits/balance"
        found = await self.world.call("GET", path, params={"filter[currency][eq]": currency})
        return D(found["balances"][0]["settled"])

    async def check_books(self) -> None:
        """Check what holds at any time: sums of the ledger and of invoices, and that no day is billed twice."""
        assert set((await self.world.ledger_sums()).values()) <= {D(0)}
        for key in self.customers:
            billed: dict[str, list[tuple[str, str]]] = {}
            for invoice in await self.invoices(key):
                sums = {name: D(value) for name, value in invoice["totals"].items()}
                charged = sums["amount"] + sums["chargesTotal"]
                assert sums["total"] == charged - sums["discountsTotal"] - sums["creditsTotal"] >= 0
                for line in invoice["lines"]:
                    period = (line["period"]["from"], line["period"]["to"])
                    billed.setdefault(line["name"], []).append(period)
            for periods in billed.values():
                periods.sort()
                assert all(one[1] <= other[0] for one, other in pairwise(periods)), periods

    async def check_stable(self) -> None:
        """Check that everything is paid, and that running all work again changes nothing."""
        await self.check_books()
        before = [await self.world.everything(one) for one in self.customers.values()]
        await self.world.run()
        await self.world.settle()
        assert [await self.world.everything(one) for one in self.customers.values()] == before


def usage_card(card: Card, **options: Any) -> dict[str, Any]:
    return {
        "type": "usage_based",
        "key": "tokens",
        "name": "Tokens",
        "featureKey": "tokens",
        "billingCadence": "P1M",
        "price": card.price,
        **({"discounts": card.discounts} if card.discounts else {}),
        **options,
    }


def flat_card(key: str, amount: str, cadence: str | None = "P1M", term: str = "in_advance") -> dict[str, Any]:
    price = {"type": "flat", "amount": amount, "paymentTerm": term}
    return {"type": "flat_fee", "key": key, "name": key, "billingCadence": cadence, "price": price}


def phase(*cards: Mapping[str, Any], key: str = "main", duration: str | None = None) -> dict[str, Any]:
    return {"key": key, "name": key, "duration": duration, "rateCards": list(cards)}


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def month(seed: int) -> list[tuple[int, str, int]]:
    """Return what happens in a month of 31 days, by minutes after its start."""
    chance = random.Random(seed)

    def moments(number: int) -> list[int]:
        return [chance.randrange(1, 31 * 24 * 60) for _ in range(number)]

    # Twenties, so that every price of the cards comes to whole cents.
    uses = [(minute, "use", 20 * chance.randint(1, 40)) for minute in moments(5)]
    grants = [(minute, "grant", chance.randint(1, 40)) for minute in moments(2)]
    return sorted([*uses, *grants, *((minute, "invoice", 0) for minute in moments(2))])


# Another seed is another month.
@pytest.mark.parametrize("seed", [7])
async def test_every_price_costs_the_same_in_parts_and_whole(seed: int, new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        start = world.clock.at
        by_invoice = list(CARDS)
        by_credits = ["graduated", "both"]
        cards = CARDS | {f"{name}_prepaid": CARDS[name] for name in by_credits}
        for key, card in cards.items():
            await shop.plan(key, phase(usage_card(card)), mode=MODES[key.endswith("_prepaid")])
            await shop.subscribe(key)
        used = granted = D(0)
        for minute, step, amount in month(seed):
            await shop.move_to(start + timedelta(minutes=minute))
            if step == "use":
                await shop.use(list(cards), D(amount))
                used += amount
            elif step == "grant":
                granted += amount
                for key in cards:
                    await shop.grant(key, str(amount))
            else:
                for key in by_invoice:
                    await world.invoice(shop.customers[key], progressive=True)
        # A second month without any usage owes minimum and first tier only.
        await shop.move_to(utc(2025, 3, 15, 2))
        for key, card in cards.items():
            expected = card.cost(used) + card.cost(D(0))
            invoiced, credits = await shop.paid(key)
            assert invoiced + credits == expected, key
            assert await shop.settled(key) == granted - credits, key
            if key in by_invoice:
                # Less than all of it where the usage was invoiced before the credit came.
                assert 0 < credits <= min(granted, expected), key
                assert {one["status"] for one in await shop.invoices(key)} <= {"paid"}, key
            else:
                assert invoiced == 0
        await shop.check_stable()


async def lines_of(shop: Shop, key: str) -> list[tuple[str, str, str, Decimal]]:
    """Return (item, from, to, amount before credits) of every invoiced line, in order of the periods."""
    found = []
    for invoice in await shop.invoices(key):
        for line in invoice["lines"]:
            worth = D(line["totals"]["total"]) + D(line["totals"]["creditsTotal"])
            found.append((line["name"], line["period"]["from"][:10], line["period"]["to"][:10], worth))
    return sorted(found)


async def test_cadences_a_trial_and_the_ends_of_months(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        await shop.move_to(utc(2025, 1, 31))
        await shop.plan(
            "pro",
            phase(usage_card(CARDS["unit"], price=None), key="trial", duration="P1M"),
            phase(
                usage_card(CARDS["unit"]),
                flat_card("setup", "10.00", cadence=None),
                flat_card("seat", "31.00"),
                flat_card("support", "90.00", cadence="P3M", term="in_arrears"),
                flat_card("license", "365.00", cadence="P1Y"),
            ),
        )
        await shop.subscribe("acme", "pro")
        await shop.use(["acme"], D(100), at=utc(2025, 1, 31))
        await shop.move_to(utc(2025, 2, 28))
        await shop.use(["acme"], D(100))
        await shop.move_to(utc(2025, 3, 31))
        await shop.use(["acme"], D(50), at=utc(2025, 3, 30, 23))
        await shop.use(["acme"], D(25))
        await shop.move_to(utc(2025, 6, 30, 2))
        assert await lines_of(shop, "acme") == [
            ("Tokens", "2025-02-28", "2025-03-31", D("3.00")),
            ("Tokens", "2025-03-31", "2025-04-30", D("0.50")),
            ("Tokens", "2025-04-30", "2025-05-31", D(0)),
            ("Tokens", "2025-05-31", "2025-06-30", D(0)),
            # Aligned to the anchor, 31 January, and so without the 28 days of the trial.
            ("license", "2025-02-28", "2026-01-31", D("337.00")),
            ("seat", "2025-02-28", "2025-03-31", D("31.00")),
            ("seat", "2025-03-31", "2025-04-30", D("31.00")),
            ("seat", "2025-04-30", "2025-05-31", D("31.00")),
            ("seat", "2025-05-31", "2025-06-30", D("31.00")),
            ("seat", "2025-06-30", "2025-07-31", D("31.00")),
            # Once, at a single instant: the phase has no end.
            ("setup", "2025-02-28", "2025-02-28", D("10.00")),
            ("support", "2025-02-28", "2025-04-30", cents(D(90) * 61 / 89)),
        ]
        await shop.check_stable()


async def test_cancel_and_undo_around_a_partial_invoice(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        arrears = flat_card("late", "31.00", term="in_arrears")
        await shop.plan("pro", phase(usage_card(CARDS["minimum"]), flat_card("seat", "31.00"), arrears))
        everyone = ("undone_before", "undone_after", "gone", "ended")
        for key in everyone:
            await shop.subscribe(key, "pro")
            await shop.grant(key, "20.00")
        await shop.move_to(utc(2025, 1, 20))
        await shop.use(everyone, D(1000))
        await shop.cancel("undone_before", "next_billing_cycle")
        await shop.continue_("undone_before")
        await shop.move_to(utc(2025, 1, 22))
        for key in everyone:
            await world.invoice(shop.customers[key], progressive=True)
        await shop.move_to(utc(2025, 1, 25))
        await shop.cancel("undone_after", "next_billing_cycle")
        await shop.use(everyone, D(500))
        await shop.move_to(utc(2025, 1, 30))
        await shop.continue_("undone_after")
        await shop.cancel("gone")
        await shop.cancel("ended", "next_billing_cycle")
        await shop.move_to(utc(2025, 2, 20, 2))
        await shop.use(everyone, D(3000))
        await shop.move_to(utc(2025, 3, 15, 2))
        part = ("Tokens", "2025-01-15", "2025-01-22", D("20.00"))
        whole = [
            part,
            # The minimum is owed once, by the line that reaches the end.
            ("Tokens", "2025-01-22", "2025-02-15", D("30.00")),
            ("late", "2025-01-15", "2025-02-15", D("31.00")),
            ("seat", "2025-01-15", "2025-02-15", D("31.00")),
        ]
        further = [
            ("Tokens", "2025-02-15", "2025-03-15", D("60.00")),
            ("late", "2025-02-15", "2025-03-15", D("31.00")),
            ("seat", "2025-02-15", "2025-03-15", D("31.00")),
            ("seat", "2025-03-15", "2025-04-15", D("31.00")),
        ]
        assert await lines_of(shop, "ended") == whole
        for key in ("undone_before", "undone_after"):
            assert await lines_of(shop, key) == sorted(whole + further)
        assert await lines_of(shop, "gone") == [
            part,
            ("Tokens", "2025-01-22", "2025-01-30", D("30.00")),
            ("late", "2025-01-15", "2025-01-30", D("15.00")),
            # Issued before the cancellation: it stays, with a warning, because there are no credit notes.
            ("seat", "2025-01-15", "2025-02-15", D("31.00")),
        ]
        for key in everyone:
            assert await shop.settled(key) == 0
            assert totals(await shop.invoices(key), "creditsTotal") == 20
        await shop.check_stable()
