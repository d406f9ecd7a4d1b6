"""Every kind of price, billed in parts and whole, compared with what a few lines of arithmetic say it must cost."""

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest

from meterhouse.billing.invoices import repository
from meterhouse.credits.recognition import recognize
from tests.scenarios.conftest import NewWorld
from tests.scenarios.shop import (
    CARDS,
    MODES,
    D,
    Shop,
    cents,
    flat_card,
    graduated,
    lines_of,
    phase,
    unit,
    usage_card,
    utc,
)
from tests.scenarios.world import totals


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


async def test_credit_with_restrictions_expiry_priorities_and_promises(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        await shop.feature("images")
        cards = (
            usage_card(CARDS["unit"]),
            usage_card(CARDS["unit"], key="images", name="Images", featureKey="images", price=unit("0.01")),
        )
        for key, mode in zip(("hybrid", "prepaid"), MODES, strict=True):
            await shop.plan(key, phase(*cards), mode=mode)
            await shop.subscribe(key)
            await shop.grant(key, "5.00", priority=10)
            await shop.grant(key, "7.00", priority=20, filters={"features": ["tokens"]})
            await shop.grant(key, "4.00", priority=1, expires_after="P10D")
            await shop.grant(key, "3.00", filters={"features": ["images"]})
            await shop.grant(key, "100.00", effective_at="2025-03-01T00:00:00Z")
        await shop.move_to(utc(2025, 2, 14))
        await shop.use(["hybrid", "prepaid"], D(1000))
        await shop.move_to(utc(2025, 2, 16))
        # 20.00 and 10.00 are due. The 4.00 have expired, the 100.00 do not count yet.
        assert totals(await shop.invoices("hybrid"), "creditsTotal") == 15
        assert totals(await shop.invoices("hybrid"), "total") == 15
        assert await shop.settled("hybrid") == 0
        assert await shop.settled("prepaid") == -15
        await shop.grant("prepaid", "6.00", filters={"features": ["other"]})
        assert await shop.settled("prepaid") == -9
        await shop.grant("prepaid", "8.00")
        assert await shop.settled("prepaid") == -1
        await shop.move_to(utc(2025, 3, 1))
        assert await shop.settled("hybrid") == 100
        assert await shop.settled("prepaid") == 99
        await shop.use(["hybrid", "prepaid"], D(1000))
        await shop.move_to(utc(2025, 3, 16))
        assert await shop.settled("hybrid") == 70
        assert await shop.settled("prepaid") == 69
        assert totals(await shop.invoices("hybrid"), "creditsTotal") == 45
        assert totals(await shop.invoices("hybrid"), "total") == 15
        await shop.check_stable()


async def test_late_usage_on_both_sides_of_the_bounds(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        for key, mode in zip(("hybrid", "prepaid"), MODES, strict=True):
            await shop.plan(key, phase(usage_card(CARDS["unit"])), mode=mode)
            await shop.subscribe(key)
        both = ("hybrid", "prepaid")
        await shop.move_to(utc(2025, 1, 20, 12))
        await shop.use(both, D(1000), at=utc(2025, 1, 20, 11))
        world.clock.at += timedelta(seconds=1)
        await world.invoice(shop.customers["hybrid"], progressive=True)
        world.clock.at += timedelta(seconds=29)
        # Too late for the part that is being billed, in time for the next.
        await shop.use(both, D(50), at=utc(2025, 1, 20, 11))
        await shop.move_to(utc(2025, 2, 15, 0, 59, 59))
        await shop.use(both, D(200), at=utc(2025, 2, 14))
        await shop.move_to(utc(2025, 2, 15, 1))
        await shop.use(both, D(400), at=utc(2025, 2, 14))
        await shop.use(both, D(800), at=utc(2025, 2, 15))
        await shop.move_to(utc(2025, 3, 15, 2))
        assert await lines_of(shop, "hybrid") == [
            ("Tokens", "2025-01-15", "2025-01-20", D("20.00")),
            ("Tokens", "2025-01-20", "2025-02-15", D("5.00")),
            ("Tokens", "2025-02-15", "2025-03-15", D("16.00")),
        ]
        assert await shop.settled("prepaid") == -41
        # What came too late is not billed, but it shows: the usage of a final charge is worth more than was booked.
        path = f"/api/v3/openmeter/customers/{shop.customers['prepaid']}/charges"
        (late, *_) = (await world.call("GET", path, params={"expand": "real_time_usage"}))["data"]
        assert D(late["totals"]["booked"]["credits_total"]) == 25
        assert D(late["totals"]["realtime"]["total"]) == 33
        await shop.check_stable()


async def test_currencies_of_other_minor_units(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        expected = {
            # 5 x 0.7 yen; a fee of 1000 for 17 of 31 days; then 0 and nothing.
            "jpy": [("Tokens", D(4)), ("late", D(548))],
            "kwd": [("Tokens", D("0.018")), ("late", D("548.387"))],
        }
        for key, each in (("jpy", "0.7"), ("kwd", "0.0035")):
            cards = (usage_card(CARDS["unit"], price=unit(each)), flat_card("late", "1000", term="in_arrears"))
            await shop.plan(key, phase(*cards), currency=key.upper())
            await shop.subscribe(key)
            await shop.grant(key, "3", currency=key.upper())
        await shop.move_to(utc(2025, 1, 20))
        await shop.use(["jpy", "kwd"], D(5))
        await shop.move_to(utc(2025, 2, 1))
        for key in expected:
            await shop.cancel(key)
        await shop.move_to(utc(2025, 2, 2))
        for key, lines in expected.items():
            assert [(name, worth) for name, _, _, worth in await lines_of(shop, key)] == lines
            credits = totals(await shop.invoices(key), "creditsTotal")
            assert credits == 3
            assert await shop.settled(key, key.upper()) == 0
        await shop.check_stable()


async def test_usage_that_is_taken_back(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        await shop.plan("pro", phase(usage_card(CARDS["unit"]), flat_card("seat", "31.00")))
        for key in ("whole", "parts"):
            await shop.subscribe(key, "pro")
        await shop.move_to(utc(2025, 1, 20))
        await shop.use(["whole", "parts"], D(1000))
        await shop.move_to(utc(2025, 1, 22))
        await world.invoice(shop.customers["parts"], progressive=True)
        await shop.move_to(utc(2025, 1, 25))
        await shop.use(["whole", "parts"], D(-400))
        await shop.move_to(utc(2025, 2, 15, 2))
        usage = {
            key: [(start, end, worth) for name, start, end, worth in await lines_of(shop, key) if name == "Tokens"]
            for key in ("whole", "parts")
        }
        assert usage["whole"] == [("2025-01-15", "2025-02-15", D("12.00"))]
        # There are no credit notes: less than what was billed cannot be billed, and says so when it is asked for.
        assert usage["parts"] == [("2025-01-15", "2025-01-22", D("20.00"))]
        refused = await world.invoice(shop.customers["parts"], progressive=False)
        assert "charge_total_is_negative" in refused.text
        # Nothing else of the customer waits for it.
        seats = [line for line in await lines_of(shop, "parts") if line[0] == "seat"]
        assert [start for _, start, _, _ in seats] == ["2025-01-15", "2025-02-15"]
        await shop.check_books()


async def test_everything_at_once_and_twice(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        await shop.plan("pro", phase(usage_card(CARDS["graduated"]), flat_card("seat", "31.00")))
        await shop.plan("prepaid", phase(usage_card(CARDS["graduated"])), mode=MODES[1])
        keys = {"one": "pro", "two": "pro", "three": "prepaid"}
        await asyncio.gather(*(shop.subscribe(key, plan) for key, plan in keys.items()))
        await shop.move_to(utc(2025, 2, 10))
        await shop.use(list(keys), D(1200))
        for at in (utc(2025, 2, 10, 1), utc(2025, 2, 15), utc(2025, 2, 15, 1, 1), utc(2025, 2, 15, 1, 2)):
            world.clock.at = at
            # Two processes do all work at once, while customers are billed, given credit and one leaves.
            works = [world.run(work.name) for work in world.app.due_works * 2]
            jobs = [world.app.worker.drain() for _ in range(2)]
            asked = [world.invoice(shop.customers[key], progressive=True) for key in ("one", "one", "two")]
            given = [shop.grant(key, "5.00") for key in keys]
            leaving = [shop.cancel("two", "next_billing_cycle")] if at.hour == 1 and at.day == 10 else []
            await asyncio.gather(*works, *jobs, *asked, *given, *leaving)
        await shop.move_to(utc(2025, 2, 15, 3))
        cost = graduated(D(1200))
        # `one` was also billed the first seconds of the next period, which owe the flat price of the first tier.
        for key, fees in (("one", D(62) + graduated(D(0))), ("two", D(31))):
            invoices = await shop.invoices(key)
            assert totals(invoices, "total") + totals(invoices, "creditsTotal") == cost + fees
            assert await shop.settled(key) == 20 - totals(invoices, "creditsTotal")
            assert {one["status"] for one in invoices} == {"paid"}
        assert await shop.settled("three") == 20 - cost
        await shop.check_stable()


async def test_a_process_that_dies_between_two_steps(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        await shop.plan("pro", phase(usage_card(CARDS["unit"]), flat_card("seat", "31.00")))
        await shop.subscribe("acme", "pro")
        await shop.grant("acme", "5.00")
        await shop.use(["acme"], D(1000))
        world.clock.at = utc(2025, 2, 15)
        services = world.app.services
        async with services.db.read() as session:
            (gathering,) = await repository.live_gatherings(session, "default", shop.customers["acme"])
        async with services.db.write() as session:
            made = await services.invoices.collect(session, "default", shop.customers["acme"], gathering.id)
        assert len(made) == 1
        # Nobody advances what was made; the next process finds it. Revenue is recognised twice.
        world.clock.at += timedelta(hours=2)
        await world.settle()
        for _ in range(2):
            async with services.db.write() as session:
                await recognize(session, "default", shop.customers["acme"], "USD")
        invoices = await shop.invoices("acme")
        assert totals(invoices, "total") == 31 + 31 + 20 - 5
        assert {one["status"] for one in invoices} == {"paid"}
        await shop.check_stable()


async def test_a_fresh_namespace_is_used_by_many_at_once(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        await shop.plan("pro", phase(usage_card(CARDS["unit"]), flat_card("seat", "31.00")))

        async def live(key: str) -> None:
            await shop.subscribe(key, "pro")
            line = {
                "name": "Hardware",
                "period": {"from": "2025-01-14T00:00:00Z", "to": "2025-01-15T00:00:00Z"},
                "invoiceAt": "2025-01-15T00:00:00Z",
                "price": {"type": "flat", "amount": "9.00"},
            }
            path = f"/api/v1/billing/customers/{shop.customers[key]}/invoices/pending-lines"
            await asyncio.gather(
                shop.grant(key, "5.00"),
                world.call("POST", path, {"currency": "USD", "lines": [line]}, status=201),
                world.invoice(shop.customers[key], progressive=True),
                shop.grant(key, "1.00", filters={"features": ["tokens"]}),
                world.invoice(shop.customers[key], progressive=True),
                world.run(),
            )

        keys = [f"customer-{number}" for number in range(6)]
        await asyncio.gather(*(live(key) for key in keys))
        await shop.move_to(utc(2025, 1, 16))
        for key in keys:
            invoices = await shop.invoices(key)
            assert totals(invoices, "total") + totals(invoices, "creditsTotal") == 31 + 9
            assert await shop.settled(key) == 6 - totals(invoices, "creditsTotal")
        await shop.check_stable()


async def test_a_cancellation_while_the_part_is_a_draft(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        await shop.plan("pro", phase(usage_card(CARDS["minimum"]), flat_card("late", "31.00", term="in_arrears")))
        for key in ("same_second", "later", "undone"):
            await shop.subscribe(key, "pro")
            await shop.grant(key, "20.00")
        await shop.move_to(utc(2025, 1, 20))
        await shop.use(list(shop.customers), D(1000))
        await shop.move_to(utc(2025, 1, 22))
        for key in shop.customers:
            await world.invoice(shop.customers[key], progressive=True)
        await shop.cancel("same_second")
        world.clock.at += timedelta(seconds=10)
        await shop.cancel("later")
        await shop.cancel("undone", "next_billing_cycle")
        await shop.continue_("undone")
        await shop.move_to(utc(2025, 2, 15, 2))
        fee = cents(D(31) * 7 / 31)
        # The part became the whole, and so owes the minimum.
        assert [(line[0], line[3]) for line in await lines_of(shop, "same_second")] == [
            ("Tokens", D(50)),
            ("late", fee),
        ]
        for key, worth in (("later", fee), ("undone", D(31))):
            lines = [(line[0], line[3]) for line in await lines_of(shop, key)]
            assert lines == [("Tokens", D(20)), ("Tokens", D(30)), ("late", worth)]
        for key in shop.customers:
            assert await shop.settled(key) == 0
        await shop.check_stable()


async def test_a_fee_that_changes_on_a_draft_shows_the_days_it_bills(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        (profile,) = (await world.call("GET", "/api/v1/billing/profiles"))["items"]
        profile["workflow"]["invoicing"] |= {"draftPeriod": "P5D"}
        await world.call("PUT", f"/api/v1/billing/profiles/{profile['id']}", profile)
        await shop.plan("pro", phase(usage_card(CARDS["unit"]), flat_card("seat", "31.00")))
        await shop.plan("max", phase(flat_card("seat", "62.00")))
        await shop.move_to(utc(2025, 8, 1))
        for key in ("cancelled", "upgraded", "edited"):
            await shop.subscribe(key, "pro")
        await shop.use(["cancelled"], D(1000))
        await shop.move_to(utc(2025, 8, 2))
        await world.invoice(shop.customers["cancelled"], progressive=True)
        (draft,) = await shop.invoices("edited")
        draft["lines"][0] |= {
            "period": {"from": "2025-08-01T00:00:00Z", "to": "2025-08-11T00:00:00Z"},
            "rateCard": {"price": {"type": "flat", "amount": "10", "paymentTerm": "in_advance"}},
        }
        await world.call("PUT", f"/api/v1/billing/invoices/{draft['id']}", draft)
        await shop.move_to(utc(2025, 8, 3))
        await shop.cancel("cancelled")
        await shop.cancel("edited")
        path = f"/api/v1/subscriptions/{shop.subscriptions['upgraded']}/change"
        await world.call("POST", path, {"plan": {"key": "max"}, "timing": "immediate"})
        first, cut, typed, last = "2025-08-01", "2025-08-03", "2025-08-11", "2025-09-01"
        part = ("Tokens", first, "2025-08-02", D(20))
        seats = {
            "cancelled": [(first, cut, D(2))],
            "upgraded": [(first, cut, D(2)), (cut, last, D(58))],
            "edited": [(first, typed, D(10))],
        }
        for day, status in ((4, "draft"), (15, "paid")):
            await shop.move_to(utc(2025, 8, day))
            assert part in await lines_of(shop, "cancelled")
            for key, fees in seats.items():
                assert [line[1:] for line in await lines_of(shop, key) if line[0] == "seat"] == fees
                for invoice in await shop.invoices(key):
                    assert invoice["status"] == status
                    await _check_days(shop, invoice)
        await shop.check_stable()


async def _check_days(shop: Shop, invoice: dict[str, Any]) -> None:
    """Check that both APIs show the same days of the invoice, its lines, what lies beneath them, and flat charges."""
    shown = await shop.world.call("GET", f"/api/v3/openmeter/billing/invoices/{invoice['id']}")
    charges = {one["id"]: one for one in await shop.world.charges(invoice["customer"]["id"])}
    lines = {line["id"]: line["service_period"] for line in shown["lines"]}
    assert lines == {line["id"]: line["period"] for line in invoice["lines"]}
    for line in shown["lines"]:
        assert {str(one["service_period"]) for one in line["detailed_lines"]} <= {str(line["service_period"])}
        charge = charges[line["charge"]["id"]]
        assert charge["type"] == "usage_based" or charge["service_period"] == line["service_period"]
    whole = {"from": min(one["from"] for one in lines.values()), "to": max(one["to"] for one in lines.values())}
    assert shown["service_period"] == invoice["period"] == whole
