"""The merged view of a profile and a customer's override (billing section 3.1), and what the schema refuses."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy.exc import IntegrityError

from meterhouse.billing.profiles import Profile, Profiles, Workflow
from meterhouse.billing.profiles.mapping import columns_of
from meterhouse.billing.profiles.models import OverrideRow, ProfileRow
from meterhouse.billing.profiles.values import Alignment
from meterhouse.catalog.prices import TaxConfig
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import Database
from meterhouse.kernel.pages import PageRequest
from meterhouse.kernel.periods import Duration, Recurrence

ANCHOR = datetime(2025, 1, 1, tzinfo=UTC)
MONTHLY = Recurrence(Duration.parse("P1M"), ANCHOR)


async def second_profile(db: Database, profiles: Profiles) -> Profile:
    async with db.write() as session:
        default = await profiles.default(session, "acme")
        workflow = Workflow(
            collection_alignment=Alignment(MONTHLY),
            collection_interval=Duration.parse("P1D"),
            auto_advance=False,
            subscription_end_proration_mode="bill_full_period",
            default_tax_config=TaxConfig(behavior="exclusive"),
            tax_enforced=True,
        )
        row = ProfileRow(**columns_of(replace(default, name="Other", default=False, workflow=workflow)))
        session.add(row)
        await session.flush()
        return await profiles.get(session, "acme", row.id)


async def test_a_stored_profile_reads_back(db: Database, profiles: Profiles) -> None:
    other = await second_profile(db, profiles)
    assert other.workflow.collection_ticks == MONTHLY
    assert other.workflow.default_tax_config == TaxConfig(behavior="exclusive")
    assert other.workflow.subscription_end_proration_mode == "bill_full_period"
    async with db.read() as session:
        page = await profiles.list_profiles(session, "acme", PageRequest())
        assert [profile.name for profile in page.items] == ["Other", "openmeter-sandbox"]
        oldest = await profiles.list_profiles(session, "acme", PageRequest(1, 1), sort=Sort("name", descending=True))
        assert ([profile.name for profile in oldest.items], oldest.total_count) == (["openmeter-sandbox"], 2)


async def test_an_override_pins_a_profile_and_replaces_what_it_gives(db: Database, profiles: Profiles) -> None:
    other = await second_profile(db, profiles)
    async with db.write() as session:
        session.add(
            OverrideRow(
                namespace="acme",
                customer_id="customer-1",
                profile_id=other.id,
                collection_alignment="subscription",
                progressive_billing=False,
                due_after="P10D",
                default_tax_config={"behavior": "inclusive"},
            )
        )
        await session.flush()
        merged = await profiles.merged(session, "acme", "customer-1")
    assert merged.id == other.id
    assert merged.workflow == replace(
        other.workflow,
        collection_alignment=Alignment(),
        progressive_billing=False,
        due_after=Duration(days=10),
        default_tax_config=TaxConfig(behavior="inclusive"),
    )


async def test_an_override_without_profile_follows_the_default(db: Database, profiles: Profiles) -> None:
    async with db.write() as session:
        session.add(
            OverrideRow(
                namespace="acme",
                customer_id="customer-1",
                collection_alignment="anchored",
                collection_anchor=ANCHOR,
                collection_anchor_interval="P1M",
            )
        )
        await session.flush()
        unstored = await profiles.find_merged(session, "acme", "customer-1")
        merged = await profiles.merged(session, "acme", "customer-1")
    assert unstored.workflow == merged.workflow == Workflow(collection_alignment=Alignment(MONTHLY))
    assert merged.default


@pytest.mark.parametrize(
    "wrong",
    [
        {"is_default": True},
        {"supplier_name": ""},
        {"supplier_address": {"city": "Oslo"}},
        {"collection_alignment": "anchored"},
        {"collection_anchor": ANCHOR, "collection_anchor_interval": "P1M"},
        {"tax_enabled": False, "tax_enforced": True},
        {"collection_method": "by_mail"},
        {"subscription_end_proration_mode": "never"},
    ],
)
async def test_the_schema_refuses(db: Database, profiles: Profiles, wrong: dict[str, object]) -> None:
    async with db.write() as session:
        columns = {**columns_of(await profiles.default(session, "acme")), "is_default": False}
    async with db.write() as session:
        session.add(ProfileRow(**{**columns, **wrong}))
        with pytest.raises(IntegrityError):
            await session.flush()
        await session.rollback()
