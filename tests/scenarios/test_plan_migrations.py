"""All subscriptions of a plan version go to another: what it would cost, that it does so, and what stops it."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from tests.scenarios.conftest import NewWorld
from tests.scenarios.shop import MODES, Shop, flat_card, phase
from tests.scenarios.test_addon_stories import addon, sell, take
from tests.scenarios.world import World

FEBRUARY = datetime(2025, 2, 15, tzinfo=UTC)


def _plan(fee: str, unit: str) -> dict[str, Any]:
    """A monthly fee in advance, and tokens in arrears."""
    cards = [
        {
            "type": "flat_fee",
            "key": "seat",
            "name": "Seat",
            "billingCadence": "P1M",
            "price": {"type": "flat", "amount": fee, "paymentTerm": "in_advance"},
        },
        {
            "type": "usage_based",
            "key": "tokens",
            "name": "Tokens",
            "featureKey": "tokens",
            "billingCadence": "P1M",
            "price": {"type": "unit", "amount": unit},
        },
    ]
    return {
        "name": "Team",
        "billingCadence": "P1M",
        "phases": [{"key": "main", "name": "Main", "duration": None, "rateCards": cards}],
    }


def _with_trial(fee: str, *, paid: str = "paid") -> dict[str, Any]:
    """A month for nothing, and then a monthly fee in advance in the phase of the key `paid`."""

    def phase(key: str, duration: str | None, price: Any) -> dict[str, Any]:
        card = {"type": "flat_fee", "key": "seat", "name": "Seat", "billingCadence": "P1M", "price": price}
        return {"key": key, "name": key, "duration": duration, "rateCards": [card]}

    price = {"type": "flat", "amount": fee, "paymentTerm": "in_advance"}
    return {
        "name": "Team",
        "billingCadence": "P1M",
        "phases": [phase("trial", "P1M", None), phase(paid, None, price)],
    }


def _lines(side: dict[str, Any]) -> list[tuple[str, str]]:
    return [(line["name"], line["amount"]) for line in side["lines"]]


class Company:
    """A plan `team` of two versions; customers `c0`, `c1`, ... subscribed to the first, before the second came."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.customers: list[str] = []
        self.subscriptions: list[str] = []
        self.versions: list[str] = []

    async def open(self, customers: int) -> None:
        await self.world.catalog()
        await self.version(_plan("10", "0.02"))
        for _ in range(customers):
            await self.subscribe()
        await self.version(_plan("12", "0.03"))

    async def subscribe(self) -> None:
        customer = await self.world.customer(f"c{len(self.customers)}")
        body = {"customerId": customer, "plan": {"key": "team"}}
        self.customers.append(customer)
        self.subscriptions.append((await self.world.call("POST", "/api/v1/subscriptions", body, status=201))["id"])

    async def version(self, plan: dict[str, Any]) -> None:
        body = {"key": "team", "currency": "USD", **plan}
        made = await self.world.call("POST", "/api/v1/plans", body, status=201)
        await self.world.call("POST", f"/api/v1/plans/{made['id']}/publish")
        self.versions.append(made["id"])

    @property
    def path(self) -> str:
        return f"/api/v3/meterhouse/plans/{self.versions[0]}/migrations"

    async def begin(self, *, status: int = 202, **body: Any) -> Any:
        return await self.world.call("POST", self.path, body, status=status)

    async def read(self, migration: Any) -> Any:
        return await self.world.call("GET", f"{self.path}/{migration['id']}")

    async def outcomes(self, migration: Any, **params: Any) -> list[dict[str, Any]]:
        params = {"page[size]": 100, **params}
        found = await self.world.call("GET", f"{self.path}/{migration['id']}/subscriptions", params=params)
        data: list[dict[str, Any]] = found["data"]
        return data

    async def running(self, customer: str) -> list[tuple[int, str | None]]:
        """Version and end of the customer's live subscriptions, by start."""
        found = await self.world.call("GET", f"/api/v1/customers/{customer}/subscriptions", params={"order": "ASC"})
        return [(one["plan"]["version"], one.get("activeTo")) for one in found["items"]]

    async def phases(self, subscription: str) -> dict[str, tuple[str, str | None]]:
        """Start and end of each phase of a subscription, by key."""
        found = await self.world.call("GET", f"/api/v1/subscriptions/{subscription}")
        return {one["key"]: (one["activeFrom"][:10], one.get("activeTo", "open")[:10]) for one in found["phases"]}

    async def dump(self) -> Any:
        """Every row of every table but those of migrations and jobs."""
        skipped = {"plan_migrations", "plan_migration_subscriptions", "job"}
        async with self.world.app.services.db.read() as session:
            tables = await session.scalars(
                text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
            )
            return {
                table: (await session.scalars(text(f'SELECT to_jsonb(t)::text FROM "{table}" t ORDER BY 1'))).all()
                for table in tables
                if table not in skipped
            }


async def test_a_dry_run_foretells_the_next_invoice_and_changes_nothing(new_world: NewWorld) -> None:
    async with new_world() as world:
        company = Company(world)
        await company.open(customers=2)
        world.pass_time(timedelta(days=10))
        await world.ingest(Decimal(1000), subject="c0-app")
        world.pass_time(timedelta(hours=1))
        await world.settle()
        as_it_was = await company.dump()

        migration = await company.begin(dry_run=True)
        assert (migration["status"], migration["progress"]["pending"]) == ("pending", 2)
        await world.app.worker.drain()

        ended = await company.read(migration)
        assert ended["status"] == "completed"
        assert ended["progress"] == {"total": 2, "pending": 0, "previewed": 2, "migrated": 0, "failed": 0}
        assert (ended["source"]["version"], ended["target"]["version"]) == (1, 2)
        found = {one["subscription_id"]: one for one in await company.outcomes(migration)}
        busy, idle = (found[one]["forecast"] for one in company.subscriptions)
        # The period's usage stays at the old price; the next period's fee is the new one.
        assert (busy["next_invoice_at"], busy["currency"]) == ("2025-02-15T00:00:00Z", "USD")
        assert [(line["name"], line["amount"]) for line in busy["before"]["lines"]] == [
            ("Tokens", "20"),
            ("Seat", "10"),
        ]
        assert [(line["name"], line["amount"]) for line in busy["after"]["lines"]] == [("Tokens", "20"), ("Seat", "12")]
        assert (busy["before"]["total"], busy["after"]["total"], busy["difference"]) == ("30", "32", "2")
        assert (idle["before"]["total"], idle["after"]["total"], idle["difference"]) == ("10", "12", "2")
        assert await company.dump() == as_it_was


async def test_a_migration_at_once_ends_fees_and_usage_now(new_world: NewWorld) -> None:
    async with new_world() as world:
        company = Company(world)
        await company.open(customers=1)
        await world.settle()
        # 31 days from 15 January: 15.5 days are exactly half.
        world.pass_time(timedelta(days=15))
        await world.ingest(Decimal(1000), subject="c0-app")
        world.pass_time(timedelta(hours=12))
        await world.settle()

        preview = await company.begin(dry_run=True, timing="immediate")
        await world.app.worker.drain()
        (one,) = await company.outcomes(preview)
        migration = await company.begin(timing="immediate")
        await world.app.worker.drain()
        (done,) = await company.outcomes(migration)
        assert done["outcome"] == "migrated"
        assert await company.running(company.customers[0]) == [(1, "2025-01-30T12:00:00Z"), (2, None)]

        world.clock.at = FEBRUARY + timedelta(days=3)
        await world.settle()
        billed = sum(
            Decimal(line["totals"]["amount"])
            for invoice in await world.invoices(company.customers[0])
            for line in invoice["lines"]
            if datetime.fromisoformat(line["invoiceAt"]) > datetime(2025, 1, 15, tzinfo=UTC)
        )
        # 1,000 tokens at the old price, half a month of the new seat, and the new seat of the next month.
        assert billed == Decimal("20") + Decimal("1") + Decimal("12") == Decimal(one["forecast"]["after"]["total"])
        assert one["forecast"]["before"]["total"] == "30"


async def test_everybody_goes_on_in_the_phase_that_they_are_in(new_world: NewWorld) -> None:
    async with new_world() as world:
        company = Company(world)
        await company.version(_with_trial("100"))
        await company.subscribe()
        world.clock.at = FEBRUARY + timedelta(days=5)
        await world.settle()
        await company.subscribe()
        # 28 days from 15 February: 14 days are half of the first paid month of the first customer.
        world.clock.at = FEBRUARY + timedelta(days=14)
        await world.settle()
        await company.version(_with_trial("150"))

        preview = await company.begin(dry_run=True, timing="immediate")
        await world.app.worker.drain()
        paying, trying = (one["forecast"] for one in await company.outcomes(preview))
        assert _lines(paying["before"]) == [("Seat", "100")]
        assert _lines(paying["after"]) == [("Seat", "25"), ("Seat", "150")]
        assert (trying["before"]["total"], trying["after"]["total"]) == ("100", "150")

        migration = await company.begin(timing="immediate")
        await world.app.worker.drain()
        paying, trying = (one["next_subscription_id"] for one in await company.outcomes(migration))
        day = "2025-03-01"
        assert await company.phases(paying) == {"trial": (day, day), "paid": (day, "open")}
        # The trial ends when it would have ended.
        assert await company.phases(trying) == {"trial": (day, "2025-03-20"), "paid": ("2025-03-20", "open")}
        world.clock.at = datetime(2025, 4, 2, tzinfo=UTC)
        await world.settle()
        billed = [
            [
                (line["invoiceAt"][:10], line["totals"]["total"])
                for invoice in await world.invoices(customer)
                for line in invoice["lines"]
            ]
            for customer in company.customers
        ]
        # Half of what the fee became dearer, then the new fee.
        assert [sorted(lines) for lines in billed] == [
            [("2025-02-15", "100"), ("2025-03-01", "25"), ("2025-03-15", "150")],
            [("2025-03-20", "150")],
        ]


async def test_a_phase_that_the_target_lacks_is_named(new_world: NewWorld) -> None:
    async with new_world() as world:
        company = Company(world)
        await company.version(_with_trial("100"))
        await company.subscribe()
        world.clock.at = FEBRUARY + timedelta(days=5)
        await company.subscribe()
        await company.version(_with_trial("150", paid="full"))
        refused = await company.begin(status=400, starting_phase="paid")
        assert "version 2 of plan team has no phase paid" in refused["detail"]
        assert [one["field"] for one in refused["extensions"]["validationErrors"]] == ["$.starting_phase"]

        for dry_run in (True, False):
            migration = await company.begin(dry_run=dry_run, timing="immediate")
            assert "starting_phase" not in migration
            await world.app.worker.drain()
            paying, trying = await company.outcomes(migration)
            assert trying["outcome"] == ("previewed" if dry_run else "migrated")
            assert paying["failure"]["message"] == (
                "version 2 of plan team has no phase paid, which runs at the changeover; name a starting phase"
            )
        # Nothing keeps those that are left from being sent to a phase by name.
        migration = await company.begin(timing="immediate", starting_phase="full")
        assert migration["starting_phase"] == "full"
        await world.app.worker.drain()
        (done,) = await company.outcomes(migration)
        day = "2025-02-20"
        phases = await company.phases(done["next_subscription_id"])
        assert phases == {"trial": (day, day), "full": (day, "open")}


async def test_what_cannot_be_migrated_is_named_and_does_not_stop_the_others(new_world: NewWorld) -> None:
    async with new_world() as world:
        company = Company(world)
        await company.open(customers=3)
        await world.settle()
        cancel = f"/api/v1/subscriptions/{company.subscriptions[1]}/cancel"
        await world.call("POST", cancel, {"timing": "next_billing_cycle"})

        migration = await company.begin()
        await world.app.worker.drain()
        assert (await company.read(migration))["progress"] == {
            "total": 3,
            "pending": 0,
            "previewed": 0,
            "migrated": 2,
            "failed": 1,
        }
        (failed,) = await company.outcomes(migration, outcome="failed")
        assert failed["subscription_id"] == company.subscriptions[1]
        assert "cancel" in failed["failure"]["message"]
        assert await company.running(company.customers[0]) == [(1, "2025-02-15T00:00:00Z"), (2, None)]
        assert await company.running(company.customers[1]) == [(1, "2025-02-15T00:00:00Z")]

        # Nothing is left to migrate of those that were: they are canceled now, and so refused.
        again = await company.begin()
        await world.app.worker.drain()
        assert (await company.read(again))["progress"]["failed"] == 3


async def _fail(world: World, customer: str, sqlstate: str) -> None:
    """Let the database refuse every further subscription of a customer."""
    async with world.app.services.db.write() as session:
        await session.execute(
            text(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                f"'BEGIN RAISE EXCEPTION ''secret of the house'' USING ERRCODE = ''{sqlstate}''; END'"
            )
        )
        await session.execute(
            text(
                "CREATE TRIGGER refuse BEFORE INSERT ON subscriptions FOR EACH ROW "
                f"WHEN (NEW.customer_id = '{customer}') EXECUTE FUNCTION refuse()"
            )
        )


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_failure_that_nobody_foresaw_does_not_stop_the_others(new_world: NewWorld, dry_run: bool) -> None:
    async with new_world() as world:
        company = Company(world)
        await company.open(customers=3)
        await _fail(world, company.customers[0], "22012")
        migration = await company.begin(dry_run=dry_run)
        with capture_logs() as logs:
            await world.app.worker.drain()
        assert (await company.read(migration))["status"] == "completed"
        failed, *others = await company.outcomes(migration)
        assert (failed["subscription_id"], failed["outcome"]) == (company.subscriptions[0], "failed")
        # What the failure says is for those who run the server.
        assert failed["failure"] == {
            "code": "internal",
            "message": "an internal failure; the logs of the server tell more",
        }
        assert {one["outcome"] for one in others} == {"previewed" if dry_run else "migrated"}
        (logged,) = [one for one in logs if one["log_level"] == "error"]
        assert logged["subscription"] == company.subscriptions[0]
        assert "secret of the house" in str(logged["exc_info"])
        assert await company.running(company.customers[0]) == [(1, None)]


@pytest.mark.parametrize("sqlstate", ["40P01", "53300"])
async def test_what_may_go_well_later_is_tried_again(new_world: NewWorld, sqlstate: str) -> None:
    """Two transactions that met badly, or a server that was short of something, say nothing about a subscription."""
    async with new_world() as world:
        company = Company(world)
        await company.open(customers=2)
        await _fail(world, company.customers[0], sqlstate)
        migration = await company.begin()
        migrations = world.app.services.plan_migrations
        assert migrations is not None
        with pytest.raises(DBAPIError, match="secret of the house"):
            await migrations.run({"migration_id": migration["id"]})
        assert (await company.read(migration))["progress"]["pending"] == 2
        async with world.app.services.db.write() as session:
            await session.execute(text("DROP FUNCTION refuse CASCADE"))
        await world.app.worker.drain()
        assert (await company.read(migration))["progress"]["migrated"] == 2
        assert (await company.read(migration))["status"] == "completed"


async def test_a_migration_goes_on_wherever_it_was_stopped(new_world: NewWorld) -> None:
    async with new_world() as world:
        company = Company(world)
        await company.open(customers=12)
        await world.settle()
        migration = await company.begin()
        payload = {"migration_id": migration["id"]}
        migrations = world.app.services.plan_migrations
        assert migrations is not None

        moments = random.Random(7)
        stops = 0
        for _ in range(8):
            work = asyncio.create_task(migrations.run(payload))
            await asyncio.sleep(moments.uniform(0, 0.15))
            work.cancel()
            stops += (await asyncio.gather(work, return_exceptions=True))[0] is not None
        assert stops > 0
        # Two at a time do not get into each other's way either.
        await asyncio.gather(migrations.run(payload), migrations.run(payload))
        await world.settle()

        assert (await company.read(migration))["progress"]["migrated"] == 12
        assert (await company.read(migration))["status"] == "completed"
        for customer in company.customers:
            assert await company.running(customer) == [(1, "2025-02-15T00:00:00Z"), (2, None)]
        world.clock.at = FEBRUARY + timedelta(days=2)
        await world.settle()
        for customer in company.customers:
            lines = [line for invoice in await world.invoices(customer) for line in invoice["lines"]]
            billed = sorted((line["invoiceAt"][:10], line["name"], line["totals"]["total"]) for line in lines)
            assert billed == [("2025-01-15", "Seat", "10"), ("2025-02-15", "Seat", "12"), ("2025-02-15", "Tokens", "0")]


async def test_a_canceled_migration_changes_nothing_more(new_world: NewWorld) -> None:
    async with new_world() as world:
        company = Company(world)
        await company.open(customers=2)
        migration = await company.begin()
        await company.begin(status=409)
        await company.begin(status=202, dry_run=True)
        canceled = await world.call("POST", f"{company.path}/{migration['id']}/cancel")
        assert canceled["status"] == "canceled"
        await world.app.worker.drain()
        assert (await company.read(migration))["progress"]["pending"] == 2
        assert await company.running(company.customers[0]) == [(1, None)]
        await world.call("POST", f"{company.path}/{migration['id']}/cancel", status=409)
        listed = await world.call("GET", company.path)
        assert [(one["dry_run"], one["status"]) for one in listed["data"]] == [(True, "completed"), (False, "canceled")]


async def test_requests_that_make_no_sense_are_refused(new_world: NewWorld) -> None:
    async with new_world() as world:
        company = Company(world)
        await company.open(customers=0)
        unknown = "01G65Z755AFWAKHE12NY0CQ9FH"
        await world.call("POST", f"/api/v3/meterhouse/plans/{unknown}/migrations", {}, status=404)
        await world.call("GET", f"/api/v3/meterhouse/plans/{unknown}/migrations", status=404)
        await world.call("GET", f"{company.path}/{unknown}", status=404)
        for version, words in ((7, "version 7"), (1, "1 is not newer")):
            refused = await company.begin(status=400, target_version=version)
            assert words in refused["detail"]
        await company.begin(status=400, timing="2025-03-01T00:00:00Z")
        # A version without subscriptions is migrated at once.
        empty = await company.begin()
        await world.app.worker.drain()
        assert (await company.read(empty))["status"] == "completed"


def _with_setup(seat: str, mode: str) -> dict[str, Any]:
    cards = [flat_card("seat", seat), flat_card("setup", "500", cadence=None)]
    return {"name": "Team", "billingCadence": "P1M", "settlementMode": mode, "phases": [phase(*cards)]}


@pytest.mark.parametrize("mode", MODES)
async def test_a_setup_is_paid_once_and_credits_come_back(new_world: NewWorld, mode: str) -> None:
    async with new_world() as world:
        company = Company(world)
        await company.version(_with_setup("100", mode))
        await company.subscribe()
        (customer,) = company.customers
        await world.grant(customer, Decimal(2000))
        world.pass_time(timedelta(hours=2))
        await world.settle()
        # Half of the 31 days from 15 January.
        world.clock.at = datetime(2025, 1, 30, 12, tzinfo=UTC)
        await company.version(_with_setup("110", mode))

        async def foretold(**options: Any) -> Any:
            preview = await company.begin(dry_run=True, timing="immediate", **options)
            await world.app.worker.drain()
            return (await company.outcomes(preview))[0]["forecast"]

        # What an invoice bills stays, and half of what the seat became dearer comes to it; credits are set right.
        now = [("seat", "5")] if mode == MODES[0] else [("seat", "-50"), ("seat", "55")]
        found = await foretold()
        assert (_lines(found["before"]), found["difference"]) == ([("seat", "100")], "15")
        assert sorted(_lines(found["after"])) == sorted([*now, ("seat", "110")])
        # Who is sent to the beginning of a phase pays for that.
        assert ("setup", "500") in _lines((await foretold(starting_phase="main"))["after"])

        migration = await company.begin(timing="immediate")
        await world.app.worker.drain()
        (done,) = await company.outcomes(migration)
        (setup,) = await _items(world, done["next_subscription_id"], "setup")
        assert setup["price"] is None
        world.clock.at = FEBRUARY + timedelta(hours=2)
        await world.settle()
        assert (await world.balance(customer))["settled"] == 2000 - (100 + 500) - 115


async def _items(world: World, subscription: str, key: str) -> list[dict[str, Any]]:
    found = await world.call("GET", f"/api/v1/subscriptions/{subscription}")
    items: list[dict[str, Any]] = found["phases"][0]["itemTimelines"][key]
    return items


async def test_add_ons_that_end_are_named(new_world: NewWorld) -> None:
    async with new_world() as world:
        shop = Shop(world)
        await shop.open()
        extra = await addon(shop, "extra", [flat_card("seat", "30.00")])
        await sell(shop, "team", extra, flat_card("seat", "100"))
        await shop.subscribe("other", "team")
        await take(shop, "team", extra, 2)
        first = (await world.call("GET", "/api/v1/plans/team"))["id"]
        await shop.plan("team", phase(flat_card("seat", "110")))
        path = f"/api/v3/meterhouse/plans/{first}/migrations"
        for dry_run in (True, False):
            made = await world.call("POST", path, {"dry_run": dry_run, "timing": "immediate"}, status=202)
            await world.app.worker.drain()
            rows = (await world.call("GET", f"{path}/{made['id']}/subscriptions"))["data"]
            found = {one["subscription_id"]: one["dropped_addons"] for one in rows}
            assert found == {shop.subscriptions["team"]: ["extra"], shop.subscriptions["other"]: []}
