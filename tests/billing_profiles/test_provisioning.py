"""The first profile of a namespace makes itself (billing section 2.2, apps section 1.1)."""

import asyncio

import pytest
from sqlalchemy import func, select, update

from meterhouse.apps.models import AppRow
from meterhouse.apps.registry import InstalledApps
from meterhouse.billing.errors import BillingNotFound
from meterhouse.billing.ports import AppRef
from meterhouse.billing.profiles import Profile, Profiles, Workflow
from meterhouse.billing.profiles.models import ProfileRow
from meterhouse.kernel.db import Database
from meterhouse.kernel.pages import PageRequest


async def test_first_use_makes_the_sandbox_profile(db: Database, profiles: Profiles) -> None:
    async with db.write() as session:
        made = await profiles.merged(session, "acme", "customer-1")
    assert (made.name, made.default, made.namespace) == ("openmeter-sandbox", True, "acme")
    assert (made.supplier.name, made.supplier.address.country) == ("OpenMeter", "US")
    assert made.workflow == Workflow()
    async with db.read() as session:
        assert await InstalledApps().find(session, "acme", made.app_id) == AppRef(made.app_id, "sandbox", "Sandbox")
        assert await profiles.find_merged(session, "acme", "customer-2") == made
        assert await profiles.get(session, "acme", made.id) == made


def test_defaults_of_the_workflow() -> None:
    workflow = Workflow()
    assert [str(workflow.collection_interval), str(workflow.draft_period), str(workflow.due_after)] == [
        "PT1H",
        "P0D",
        "P30D",
    ]
    assert workflow.collection_ticks is None
    assert (workflow.auto_advance, workflow.progressive_billing) == (True, True)
    assert (workflow.tax_enabled, workflow.tax_enforced) == (True, False)
    assert workflow.subscription_end_proration_mode == "bill_actual_period"
    assert (workflow.collection_method, workflow.default_tax_config) == ("charge_automatically", None)


async def test_reading_makes_nothing(db: Database, profiles: Profiles) -> None:
    async with db.read() as session:
        built_in = await profiles.find_merged(session, "acme", "customer-1")
        assert (built_in.id, built_in.app_id, built_in.name) == ("", "", "openmeter-sandbox")
        assert (await profiles.list_profiles(session, "acme", PageRequest())).total_count == 0


async def test_first_uses_that_meet_make_one_profile(db: Database, profiles: Profiles) -> None:
    async def use(customer_id: str) -> Profile:
        async with db.write() as session:
            return await profiles.merged(session, "acme", customer_id)

    made = await asyncio.gather(*(use(f"customer-{n}") for n in range(5)))
    assert len({profile.id for profile in made}) == 1
    async with db.read() as session:
        assert await session.scalar(select(func.count()).select_from(ProfileRow)) == 1
        assert await session.scalar(select(func.count()).select_from(AppRow)) == 1


async def test_each_namespace_has_its_own(db: Database, profiles: Profiles) -> None:
    async with db.write() as session:
        first, second = [await profiles.default(session, namespace) for namespace in ("acme", "globex")]
    assert first.id != second.id
    assert first.app_id != second.app_id
    async with db.read() as session:
        with pytest.raises(BillingNotFound) as error:
            await profiles.get(session, "globex", first.id)
        assert await InstalledApps().find(session, "globex", first.app_id) is None
    assert error.value.code == "profile_not_found"


async def test_the_sandbox_stands_in_for_an_app_that_is_gone(db: Database, profiles: Profiles) -> None:
    async with db.write() as session:
        profile = await profiles.default(session, "acme")
        await session.execute(update(AppRow).values(deleted_at=func.now()))
        merged = await profiles.merged(session, "acme", "customer-1")
        assert merged.id == profile.id
        assert merged.app_id != profile.app_id
        assert await InstalledApps().find(session, "acme", merged.app_id) is not None
