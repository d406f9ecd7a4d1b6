"""Plans made of rate cards on a composed server, with what every card must cost by a few lines of arithmetic."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Any

from meterhouse.api.wire import format_instant
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

    async def check_books(self, *, differences: Sequence[str] = ()) -> None:
        """Check what holds at any time: sums of the ledger and of invoices, and that no day is billed twice.

        Items of which later lines bill what they became dearer, for the same days, are named in `differences`.
        """
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
            for periods in (days for name, days in billed.items() if name not in differences):
                periods.sort()
                assert all(one[1] <= other[0] for one, other in pairwise(periods)), periods

    async def check_stable(self, *, differences: Sequence[str] = ()) -> None:
        """Check the books, and that running all work again changes nothing."""
        await self.check_books(differences=differences)
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


async def lines_of(shop: Shop, key: str) -> list[tuple[str, str, str, Decimal]]:
    """Return (item, from, to, amount before credits) of every invoiced line, in order of the periods."""
    found = []
    for invoice in await shop.invoices(key):
        for line in invoice["lines"]:
            worth = D(line["totals"]["total"]) + D(line["totals"]["creditsTotal"])
            found.append((line["name"], line["period"]["from"][:10], line["period"]["to"][:10], worth))
    return sorted(found)
