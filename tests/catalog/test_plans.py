"""Versions and transitions of plans (catalog section 3.2)."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest
from sqlalchemy import text

from meterhouse.catalog import features, planaddons, plans, taxcodes
from meterhouse.catalog.features import FeatureInUse, NewFeature
from meterhouse.catalog.plans import PlanContent, PlanQuery, PlanStatus
from meterhouse.catalog.prices import FlatPrice, SettlementMode, TaxConfig, UnitConversion
from meterhouse.catalog.versions.rules import InvalidVersion
from meterhouse.kernel.clock import frozen
from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import InvalidInput, NotFound
from meterhouse.kernel.pages import PageRequest
from meterhouse.metering.meters import Meter
from tests.catalog.builders import flat_card, new_plan, period, phase, unit_card
from tests.catalog.conftest import NS

KEY = "ws_pro"
START = datetime(2031, 5, 10, 12, tzinfo=UTC)


publish = partial(plans.publish, check=planaddons.publish_issues)


async def create(db: Database, **members: object) -> plans.Plan:
    """Create a plan in its own transaction."""
    async with db.write() as session:
        return await plans.create(session, NS, new_plan(**members))  # type: ignore[arg-type]


async def test_versions_count_on_and_one_draft_is_enough(db: Database) -> None:
    first = await create(db)
    assert (first.version, plans.status(first, START)) == (1, PlanStatus.DRAFT)
    with pytest.raises(InvalidInput, match="only a single draft version is allowed for Plan"):
        await create(db)
    async with db.write() as session:
        await plans.delete(session, NS, first.id)
    second = await create(db)
    assert second.version == 2


async def test_publishing_archives_the_active_version_at_the_same_instant(db: Database) -> None:
    with frozen(START) as clock:
        first = await create(db)
        async with db.write() as session:
            first = await publish(session, NS, first.id)
        assert (first.effective_from, plans.status(first, START)) == (START, PlanStatus.ACTIVE)
        clock.at += timedelta(days=1)
        second = await create(db)
        async with db.read() as session:
            assert (await plans.get_active(session, NS, KEY)).version == 1
        async with db.write() as session:
            second = await publish(session, NS, second.id)
        async with db.read() as session:
            first = await plans.get(session, NS, first.id)
            assert first.effective_to == second.effective_from == clock.at
            assert plans.status(first, clock.at) is PlanStatus.ARCHIVED
            assert (await plans.get_active(session, NS, KEY)).version == 2
            assert (await plans.get_active(session, NS, KEY, START)).version == 1
        async with db.write() as session:
            with pytest.raises(InvalidInput, match=r"published/rescheduled, but it has archived state"):
                await publish(session, NS, first.id)
            with pytest.raises(InvalidInput, match=r"published/rescheduled, but it has active state"):
                await publish(session, NS, second.id)


async def test_next_copies_the_highest_live_version(db: Database) -> None:
    with frozen(START) as clock:
        ids = []
        for amount in (1, 2, 3):
            clock.at += timedelta(hours=1)
            card = flat_card(price=FlatPrice(amount=Decimal(amount)))
            made = await create(db, phases=[phase(card)])
            ids.append(made.id)
            if amount < 3:
                async with db.write() as session:
                    await publish(session, NS, made.id)
        async with db.write() as session:
            with pytest.raises(InvalidInput, match="only a single draft version"):
                await plans.next_version(session, NS, ids[0])
            await plans.delete(session, NS, ids[2])
            copied = await plans.next_version(session, NS, KEY)
            assert (copied.version, copied.effective_from) == (4, None)
            assert copied.phases[0].rate_cards[0].price == FlatPrice(amount=Decimal(2))
            await plans.delete(session, NS, copied.id)
            oldest = await plans.next_version(session, NS, ids[0])
            assert oldest.version == 5
            assert oldest.phases[0].rate_cards[0].price == FlatPrice(amount=Decimal(1))
            with pytest.raises(NotFound):
                await plans.next_version(session, NS, "nothing")


async def test_only_an_active_plan_is_archived_and_only_another_deleted(db: Database) -> None:
    made = await create(db)
    async with db.write() as session:
        with pytest.raises(InvalidInput, match=r"only Plans in \[active\] can be archived, but it is in draft state"):
            await plans.archive(session, NS, made.id)
        await publish(session, NS, made.id)
        with pytest.raises(
            InvalidInput, match=r"only Plans in \[archived scheduled draft\] can be deleted, but it has active state"
        ):
            await plans.delete(session, NS, made.id)
        with pytest.raises(InvalidInput, match=r"only Plans in \[draft scheduled\] can be updated.*active state"):
            await plans.update(session, NS, made.id, PlanContent("Pro", made.phases))
        await plans.archive(session, NS, made.id)
        with pytest.raises(NotFound):
            await plans.get_active(session, NS, KEY)
        await plans.delete(session, NS, made.id)
        deleted = await plans.get(session, NS, made.id)
        await plans.delete(session, NS, made.id)
        assert (await plans.get(session, NS, made.id)).deleted_at == deleted.deleted_at is not None
        for change in (publish, plans.archive):
            with pytest.raises(InvalidInput, match="plan is deleted"):
                await change(session, NS, made.id)


async def test_a_scheduled_version_can_be_changed_and_published(db: Database) -> None:
    with frozen(START):
        made = await create(db)
        async with db.write() as session:
            await session.execute(text("UPDATE plans SET effective_from = :at"), {"at": START + timedelta(days=9)})
            changed = await plans.update(session, NS, made.id, PlanContent("Max", made.phases))
            assert (changed.name, plans.status(changed, START)) == ("Max", PlanStatus.SCHEDULED)
            query = PlanQuery(statuses=[PlanStatus.SCHEDULED])
            assert (await plans.list_plans(session, NS, query)).total_count == 1
            published = await publish(session, NS, made.id)
            assert plans.status(published, START) is PlanStatus.ACTIVE


async def test_an_update_replaces_the_phases_and_keeps_what_is_left_out(db: Database) -> None:
    made = await create(
        db,
        description="Old",
        metadata={"a": "b"},
        pro_rating_enabled=False,
        settlement_mode=SettlementMode.CREDIT_ONLY,
    )
    phases = (phase(flat_card(), key="trial", duration="P1M"), phase(flat_card("support")))
    async with db.write() as session:
        await plans.update(session, NS, made.id, PlanContent("New", phases, billing_cadence=period("P3M")))
    async with db.read() as session:
        read = await plans.get(session, NS, made.id)
    assert (read.name, read.description, read.metadata) == ("New", "Old", {"a": "b"})
    assert (read.pro_rating_enabled, read.settlement_mode) == (True, SettlementMode.CREDIT_ONLY)
    assert (str(read.billing_cadence), read.phases) == ("P3M", phases)


async def test_references_are_resolved_on_write(db: Database, meter: Meter) -> None:
    async with db.write() as session:
        feature = await features.create(session, NS, NewFeature("api_calls", "API calls", meter_id=meter.id))
    card = unit_card(tax_config=TaxConfig(stripe_code="txcd_20030000"))
    by_id = unit_card(feature_key=None, feature_id=feature.id)
    made = await create(db, phases=[phase(card, duration="P1M", key="a"), phase(by_id)])
    async with db.read() as session:
        read = await plans.get(session, NS, made.id)
        assert read == made
        stored = [part.rate_cards[0] for part in read.phases]
        assert [(c.feature_id, c.feature_key) for c in stored] == [(feature.id, "api_calls")] * 2
        assert stored[0].tax_config is not None
        tax_code = await taxcodes.get(session, NS, stored[0].tax_config.tax_code_id or "")
        assert tax_code.key == "stripe_txcd_20030000"
    with pytest.raises(InvalidVersion) as error:
        await create(db, key="other", phases=[phase(unit_card("unknown"))])
    (issue,) = error.value.issues
    assert issue.code == "rate_card_feature_not_found"
    assert issue.field == "$.phases[?(@.key=='main')].rateCards[?(@.key=='unknown')].featureKey"


async def test_the_features_of_a_published_plan_are_live_and_measured(db: Database, meter: Meter) -> None:
    async with db.write() as session:
        feature = await features.create(session, NS, NewFeature("api_calls", "API calls"))
    made = await create(db, phases=[phase(unit_card())])
    async with db.write() as session:
        with pytest.raises(InvalidVersion) as error:
            await publish(session, NS, made.id)
        assert [issue.code for issue in error.value.issues] == ["usage_based_price_with_feature_and_no_meter"]
        assert [issue.code for issue in await plans.issues(session, made)] == [
            "usage_based_price_with_feature_and_no_meter"
        ]
        # A draft does not keep its feature.
        await features.archive(session, NS, "api_calls", uses=[plans.feature_use])
        with pytest.raises(InvalidVersion) as error:
            await publish(session, NS, made.id)
        assert [issue.code for issue in error.value.issues] == ["rate_card_feature_archived"]
        again = await features.create(session, NS, NewFeature("api_calls", "API calls", meter_id=meter.id))
        assert again.id != feature.id
        updated = await plans.update(session, NS, made.id, PlanContent("Pro", (phase(unit_card()),)))
        assert updated.phases[0].rate_cards[0].feature_id == again.id
        await publish(session, NS, made.id)
        with pytest.raises(FeatureInUse):
            await features.archive(session, NS, again.id, uses=[plans.feature_use])
        await plans.archive(session, NS, made.id)
        await features.archive(session, NS, again.id, uses=[plans.feature_use])


async def test_two_creates_of_one_key_make_one_draft(db: Database) -> None:
    outcomes = await asyncio.gather(*(create(db) for _ in range(4)), return_exceptions=True)
    made = [outcome for outcome in outcomes if isinstance(outcome, plans.Plan)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, InvalidInput)]
    assert (len(made), len(refused), made[0].version) == (1, 3, 1)


async def test_archiving_a_feature_and_publishing_its_plan_at_once(db: Database, meter: Meter) -> None:
    async with db.write() as session:
        await features.create(session, NS, NewFeature("api_calls", "API calls", meter_id=meter.id))
    made = await create(db, phases=[phase(unit_card())])

    async def publish_it() -> None:
        async with db.write() as session:
            await publish(session, NS, made.id)

    async def archive() -> None:
        async with db.write() as session:
            await features.archive(session, NS, "api_calls", uses=[plans.feature_use])

    outcomes = await asyncio.gather(publish_it(), archive(), return_exceptions=True)
    assert sum(isinstance(outcome, InvalidInput) for outcome in outcomes) == 1


async def test_lists_agree_with_statuses_and_hide_what_v1_cannot_show(db: Database, meter: Meter) -> None:
    async with db.write() as session:
        await features.create(session, NS, NewFeature("api_calls", "API calls", meter_id=meter.id))
    conversion = UnitConversion(operation="divide", conversion_factor=Decimal(1000))
    with frozen(START):
        active = await create(db, key="a")
        async with db.write() as session:
            await publish(session, NS, active.id)
        converted = await create(db, key="b", phases=[phase(unit_card(unit_conversion=conversion))])
        third = await create(db, key="c", currency="EUR")

        async def listed(**members: object) -> tuple[list[str], int]:
            async with db.read() as session:
                page = await plans.list_plans(session, NS, PlanQuery(**members))  # type: ignore[arg-type]
            return [plan.id for plan in page.items], page.total_count

        assert await listed() == ([active.id, converted.id, third.id], 3)
        assert await listed(only_v1=True) == ([active.id, third.id], 2)
        assert await listed(statuses=[PlanStatus.ACTIVE]) == ([active.id], 1)
        assert await listed(statuses=[PlanStatus.DRAFT]) == ([converted.id, third.id], 2)
        assert await listed(keys=["a"], currencies=["EUR"]) == ([], 0)
        assert await listed(keys=["a"], currencies=["EUR"], match_any=True) == ([active.id, third.id], 2)
        assert await listed(key_versions={"a": [1], "b": [2]}) == ([active.id], 1)
        assert await listed(page=PageRequest(2, 2)) == ([third.id], 3)
        async with db.write() as session:
            await plans.delete(session, NS, third.id)
        assert await listed() == ([active.id, converted.id], 2)
        assert await listed(include_deleted=True) == ([active.id, converted.id, third.id], 3)
