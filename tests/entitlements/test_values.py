"""Values of metered entitlements over real engines: snapshots, late events, resets (entitlements sections 9 to 12)."""

from decimal import Decimal

import pytest
from sqlalchemy import event, text

from meterhouse.customers import service as customers
from meterhouse.customers.customer import CustomerChanges
from meterhouse.entitlements import grants, runs, service
from meterhouse.entitlements.entitlement import EntitlementType, MeasureFrom, NewEntitlement, NewRecurrence
from meterhouse.entitlements.expiration import Expiration, ExpirationUnit
from meterhouse.kernel.errors import Forbidden, InvalidInput
from meterhouse.kernel.periods import Duration
from meterhouse.metering import voids
from meterhouse.metering.listing import EventQuery, StoredEvents
from tests.entitlements.conftest import MONTH, NS, Tenant, at


async def snapshots(tenant: Tenant) -> list[tuple[str, dict[str, str]]]:
    async with tenant.house.db.read() as session:
        rows = await session.execute(text("SELECT at, balances FROM entitlement_balance_snapshots ORDER BY at"))
        return [(when.strftime("%m-%d"), balances) for when, balances in rows]


async def test_late_events_count_though_a_snapshot_was_taken_before_them(tenant: Tenant) -> None:
    given = await tenant.give()
    first = await tenant.grant(given, 100, "2025-03-01", priority=1)
    await tenant.grant(given, 50, "2025-03-10", priority=2)
    await tenant.use("2025-03-05", 30)
    await tenant.use("2025-03-12", 20)
    tenant.clock.at = at("2025-03-20T12")
    assert await tenant.numbers(given) == (100, 50, 0, 150)
    assert await snapshots(tenant) == [("03-10", {first.id: "70"} | (await snapshots(tenant))[0][1])]
    await tenant.use("2025-03-15", 5)
    assert await tenant.numbers(given) == (95, 55, 0, 150)
    await tenant.use("2025-03-08", 10)
    assert await tenant.numbers(given) == (85, 65, 0, 150)
    assert (await snapshots(tenant))[0][1][first.id] == "60"


async def test_voided_events_and_moved_subjects_make_snapshots_stale(tenant: Tenant) -> None:
    given = await tenant.give()
    await tenant.grant(given, 100, "2025-03-01")
    await tenant.grant(given, 50, "2025-03-10")
    event_id = await tenant.use("2025-03-05", 30)
    await tenant.use("2025-03-06", 7, subject="acme-2")
    tenant.clock.at = at("2025-03-20")
    assert await tenant.numbers(given) == (120, 30, 0, 150)
    db, clickhouse = tenant.house.db, tenant.house.clickhouse
    (stored,) = await StoredEvents(clickhouse).list_events(EventQuery(NS, 10, keys=[("srv", event_id)]))
    async with db.write() as session:
        await voids.record(session, NS, [stored], voided=True, reason="wrong", actor="ann")
    await voids.mirror(db, clickhouse, NS)
    assert await tenant.numbers(given) == (150, 0, 0, 150)
    async with db.write() as session:
        changes = CustomerChanges("Acme", "acme", ("acme-1", "acme-2"))
        await customers.update(session, NS, tenant.customer.id, changes)
    assert await tenant.numbers(given) == (143, 7, 0, 150)


async def test_snapshots_never_change_a_value(tenant: Tenant) -> None:
    """Two entitlements of the same grants and usage, one of which is read all the time."""
    recurring = NewRecurrence(Duration(days=3), at("2025-03-02"))
    given = await tenant.give(preserve_overage=True)
    await tenant.grant(given, 40, "2025-03-01", rollover_min=Decimal(5), recurrence=recurring)
    await tenant.grant(given, 9, "2025-03-04", priority=3, expiration=Expiration(5, ExpirationUnit.DAY))
    for day, quantity in ((2, 11), (3, 45), (5, 7), (9, 90), (20, 13), (31, 44)):
        await tenant.use(f"2025-03-{day:02}T07:30", quantity)
    await tenant.use("2025-04-02T07:30", 3)
    for day in ("2025-03-03", "2025-03-08T12", "2025-03-11", "2025-03-29", "2025-04-01", "2025-04-06T05"):
        tenant.clock.at = at(day)
        seen = await tenant.numbers(given)
        async with tenant.house.db.write() as session:
            await session.execute(text("DELETE FROM entitlement_balance_snapshots"))
        assert await tenant.numbers(given) == seen
    assert len(await snapshots(tenant)) == 1


async def test_many_phases_are_measured_by_the_minute(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    hourly = NewRecurrence(Duration(hours=1), at("2025-03-01T00:07"))
    given = await tenant.give(usage_period=hourly, preserve_overage=True)
    await tenant.grant(given, 30, "2025-03-01", recurrence=NewRecurrence(Duration(hours=5)))
    used = {"01T00:06:59": 4, "01T00:07:00": "1.5", "01T09": 70, "02T03:06:59.5": 2, "02T03:07": 5}
    for when, quantity in used.items():
        await tenant.use(f"2025-03-{when}", quantity)
    tenant.clock.at = at("2025-03-02T03:30")
    one_by_one = await tenant.numbers(given, remember=False)
    monkeypatch.setattr(runs, "MANY_PHASES", 0)
    assert await tenant.numbers(given, remember=False) == one_by_one == (23, 5, 0, 28)


@pytest.mark.parametrize(
    ("key", "numbers"),
    [
        ("users", (4, 3, 0, 7)),
        # The latest value burns full grants: first 2, then 3.
        ("seats", (4, 5, 0, 9)),
    ],
    ids=["unique count", "latest"],
)
async def test_other_meters(tenant: Tenant, key: str, numbers: tuple[int, ...]) -> None:
    given = await tenant.give(key)
    await tenant.grant(given, 2, "2025-03-01", priority=1)
    await tenant.grant(given, 5, "2025-03-05", priority=2)
    for day, name in ((2, 1), (3, 2), (6, 1), (7, 3)):
        await tenant.use(f"2025-03-{day:02}", name)
    tenant.clock.at = at("2025-03-08")
    assert await tenant.numbers(given) == numbers


async def test_a_reading_that_was_overtaken_keeps_nothing(tenant: Tenant) -> None:
    given = await tenant.give()
    await tenant.grant(given, 100, "2025-03-01")
    await tenant.grant(given, 50, "2025-03-10")
    tenant.clock.at = at("2025-03-20")
    async with tenant.house.db.read() as session:
        fresh = await service.get(session, NS, given.id)
        answer = await tenant.access.values(session, NS, [fresh], tenant.clock.at)
    assert len(answer.notes) == 1
    await tenant.grant(given, 7, "2025-03-05")
    await tenant.access.remember(tenant.house.db, answer.notes)
    assert await snapshots(tenant) == []
    assert await tenant.numbers(given) == (157, 0, 0, 157)


async def test_usage_periods_roll_over_by_themselves(tenant: Tenant) -> None:
    given = await tenant.give(issue_after_reset=Decimal(100))
    await tenant.use("2025-03-10", 140)
    await tenant.use("2025-04-02", 25)
    tenant.clock.at = at("2025-04-03")
    assert await tenant.numbers(given) == (75, 25, 0, 100)
    assert await tenant.numbers(given, "2025-03-20") == (0, 140, 40, 100)
    assert await tenant.numbers(given, "2025-06-15") == (100, 0, 0, 100)
    # Nothing of March matters to April, so there is nothing to keep.
    assert await snapshots(tenant) == []


async def test_usage_is_read_to_the_full_minute(tenant: Tenant) -> None:
    given = await tenant.give()
    await tenant.grant(given, 100, "2025-03-01")
    for when, quantity in (("10:00:10", 7), ("10:00:50", 2), ("10:01:00", 50)):
        await tenant.use(f"2025-03-01T{when}", quantity)
    tenant.clock.at = at("2025-03-02")
    assert await tenant.numbers(given, "2025-03-01T10:00:20") == (91, 9, 0, 100)


async def test_a_manual_reset_keeps_its_own_rule_for_overage(tenant: Tenant) -> None:
    given = await tenant.give(issue_after_reset=Decimal(100))
    await tenant.use("2025-03-10", 130)
    tenant.clock.at = at("2025-03-12T08:30:40")
    await tenant.reset(given, preserve_overage=True)
    assert await tenant.numbers(given) == (70, 0, 0, 100)
    tenant.clock.at = at("2025-03-20")
    await tenant.use("2025-03-15", 10)
    assert await tenant.numbers(given) == (60, 10, 0, 100)
    async with tenant.house.db.read() as session:
        after = await service.get(session, NS, given.id)
    period = after.current_usage_period(at("2025-03-20"))
    assert period is not None
    assert (period.start, period.end) == (at("2025-03-12T08:30"), at("2025-04-12T08:30"))


@pytest.mark.parametrize(
    "when",
    [
        "2025-04-10T10:30:00.5",  # in the future
        "2025-03-31T23:59",  # in the usage period before
    ],
)
async def test_only_the_current_usage_period_can_be_reset(tenant: Tenant, when: str) -> None:
    given = await tenant.give()
    tenant.clock.at = at("2025-04-10T10:30")
    with pytest.raises(InvalidInput):
        await tenant.reset(given, at=at(when))


async def test_usage_is_reset_once_a_minute(tenant: Tenant) -> None:
    given = await tenant.give()
    with pytest.raises(InvalidInput, match="same minute"):
        await tenant.reset(given)
    tenant.clock.at = at("2025-04-10T10:30")
    for when in ("2025-04-01", "2025-04-05T10:00:59"):
        await tenant.reset(given, at=at(when), retain_anchor=True)
        with pytest.raises(InvalidInput, match="same minute"):
            await tenant.reset(given, at=at(when))


async def test_measuring_can_begin_before_the_entitlement(tenant: Tenant) -> None:
    await tenant.use("2025-02-28T23", 5)
    await tenant.use("2025-03-02", 10)
    tenant.clock.at = at("2025-03-05T12:30:30")
    given = await tenant.give(measure_usage_from=MeasureFrom.CURRENT_PERIOD_START, issue_after_reset=Decimal(50))
    assert given.metered is not None
    assert given.metered.periods.start == at("2025-03-01")
    assert await tenant.numbers(given) == (40, 10, 0, 50)
    assert await tenant.value(given, "2025-03-05T12:30:20") == await tenant.value(given, "2025-01-01")


async def test_before_measuring_begins_nothing_is_used(tenant: Tenant) -> None:
    given = await tenant.give(measure_usage_from=at("2025-05-10"))
    await tenant.use("2025-03-02", 10)
    tenant.clock.at = at("2025-03-05")
    assert await tenant.numbers(given) == (0, 0, 0, 0)


async def test_voiding_ends_a_grant_but_not_what_it_covered(tenant: Tenant) -> None:
    given = await tenant.give()
    burnt = await tenant.grant(given, 100, "2025-03-01", priority=1)
    await tenant.grant(given, 20, "2025-03-01", priority=9)
    for when, quantity in (("2025-03-02T09", 60), ("2025-03-04T11:59:59", 1), ("2025-03-04T12", 5)):
        await tenant.use(when, quantity)
    tenant.clock.at = at("2025-03-05")
    async with tenant.house.db.write() as session:
        await grants.void(session, NS, burnt.id, at("2025-03-04T12:00:30"))
    assert await tenant.numbers(given) == (15, 66, 0, 81)
    # Reading the past shows what it was, with today's grants.
    assert await tenant.numbers(given, "2025-03-04T11") == (60, 60, 0, 120)
    with pytest.raises(InvalidInput, match="already"):
        async with tenant.house.db.write() as session:
            await grants.void(session, NS, burnt.id)


async def test_an_override_begins_anew(tenant: Tenant) -> None:
    old = await tenant.give(issue_after_reset=Decimal(10))
    await tenant.use("2025-03-01T06", 4)
    tenant.clock.at = at("2025-03-01T12:00:01")
    new = NewEntitlement(
        EntitlementType.METERED,
        feature_key="api_calls",
        usage_period=NewRecurrence(MONTH),
        issue_after_reset=Decimal(3),
    )
    async with tenant.house.db.write() as session:
        replaced = await service.override(session, NS, tenant.customer.id, "api_calls", new)
    assert await tenant.numbers(replaced) == (3, 0, 0, 3)
    assert not (await tenant.value(old)).has_access
    # Until then it was what it was.
    assert await tenant.numbers(old, "2025-03-01T11") == (6, 4, 0, 10)


async def test_reading_costs_the_same_however_many_there_are(tenant: Tenant) -> None:
    """Few statements, and the same number for one as for three."""
    given = [await tenant.give(key, issue_after_reset=Decimal(9)) for key in ("api_calls", "users", "seats")]
    executed: list[str] = []
    asked: list[str] = []
    query = tenant.house.clickhouse.query

    async def counted(statement: str, *arguments: object) -> object:
        asked.append(statement)
        return await query(statement, *arguments)  # type: ignore[arg-type]

    engine = tenant.house.db.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *arguments: executed.append(arguments[2]))
    tenant.house.clickhouse.query = counted  # type: ignore[method-assign,assignment]
    tenant.clock.at = at("2025-03-20")
    counts = []
    # The first connection asks what server it is on.
    for some in (given, given[:1], given):
        executed.clear()
        asked.clear()
        async with tenant.house.db.read() as session:
            active = await service.active_of(session, NS, [tenant.customer.id], tenant.clock.at)
            await tenant.access.values(session, NS, active[: len(some)], tenant.clock.at)
        counts.append((len(executed), len(asked)))
    _, (sql, clickhouse), several = counts
    assert several == (sql, clickhouse)
    assert (sql <= 9, clickhouse) == (True, 1)


async def test_managed_entitlements_can_only_be_read(tenant: Tenant) -> None:
    given = await tenant.give(issue_after_reset=Decimal(9))
    async with tenant.house.db.write() as session:
        await session.execute(text("UPDATE entitlements SET subscription_id = 'S'"))
    async with tenant.house.db.read() as session:
        (issued,), _ = await grants.list_of(session, NS, given.id, (), service.Stretch(0, 10))
    tenant.clock.at = at("2025-03-02")
    for step in (
        lambda session: service.delete(session, NS, given.id),
        lambda session: grants.void(session, NS, issued.id),
    ):
        with pytest.raises(Forbidden):
            async with tenant.house.db.write() as session:
                await step(session)
    with pytest.raises(Forbidden):
        await tenant.reset(given)
    with pytest.raises(Forbidden):
        await tenant.grant(given, 1, "2025-03-02")
