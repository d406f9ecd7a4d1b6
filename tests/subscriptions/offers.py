"""Plans that offer add-ons, made through the catalog's services."""

from collections.abc import Sequence
from typing import Any

from meterhouse.catalog import addons, planaddons, plans
from meterhouse.catalog.addons import Addon, InstanceType, NewAddon
from meterhouse.catalog.planaddons import NewPlanAddon
from meterhouse.catalog.plans import PlanPhase
from meterhouse.catalog.ratecards import RateCard
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from tests.catalog.builders import new_plan
from tests.subscriptions.conftest import CATALOG_TIME, NS


async def addon(db: Database, key: str, *cards: RateCard, instance_type: InstanceType = InstanceType.MULTIPLE) -> Addon:
    """Publish an add-on."""
    with clock.frozen(CATALOG_TIME):
        async with db.write() as session:
            made = await addons.create(session, NS, NewAddon(key, f"The {key}", "USD", instance_type, cards))
            return await addons.publish(session, NS, made.id)


async def plan_with(
    db: Database, phases: Sequence[PlanPhase], *offered: Addon, key: str = "ws_pro", **members: Any
) -> None:
    """Publish a plan that offers add-ons, from its first phase on unless the assignments' members say otherwise."""
    members = {"from_plan_phase": phases[0].key, **members}
    with clock.frozen(CATALOG_TIME):
        async with db.write() as session:
            draft = await plans.create(session, NS, new_plan(key, phases))
            for one in offered:
                await planaddons.create(session, NS, draft.id, NewPlanAddon(one.id, **members))
            await plans.publish(session, NS, draft.id, check=planaddons.publish_issues)
