"""What others ask about the add-ons of a plan."""

from collections.abc import Sequence

from meterhouse.catalog import currencies
from meterhouse.catalog.addons.addon import Addon
from meterhouse.catalog.cardrules import warning
from meterhouse.catalog.planaddons import compatibility, repository
from meterhouse.catalog.planaddons.planaddon import PlanAddon
from meterhouse.catalog.plans.plan import Plan
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import Issue


async def for_plan(session: ReadSession, namespace: str, plan_id: str) -> list[PlanAddon]:
    """Return the live assignments of a plan version, the oldest first; none for an unknown plan."""
    return await repository.live_of_plan(session, namespace, plan_id)


async def worth(session: ReadSession, plan: Plan, assignments: Sequence[PlanAddon]) -> frozenset[str]:
    """Return the custom currencies of the assignments that have a cost basis in the plan's fiat now."""
    codes = {code for one in assignments for code in compatibility.codes_to_be_worth(plan, one.addon)}
    return await currencies.with_cost_basis(session, plan.namespace, codes, plan.currency, clock.now())


async def issues(session: ReadSession, plan: Plan, assignments: Sequence[PlanAddon]) -> list[list[Issue]]:
    """Return what stands against each of a plan's assignments, in a fixed number of queries."""
    known = await worth(session, plan, assignments)
    return [compatibility.issues(plan, one, clock.now(), known) for one in assignments]


async def addon_use(session: ReadSession, addon: Addon) -> str | None:
    """Tell which plan has an add-on version; see `catalog.addons.AddonUse`."""
    key = await repository.plan_with(session, addon.namespace, addon.id)
    return f"it is assigned to plan {key}" if key is not None else None


async def publish_issues(session: ReadSession, plan: Plan) -> list[Issue]:
    """Return which assignments keep a plan from being published: for each one issue, followed by its causes.

    See `catalog.plans.PublishCheck`.
    """
    assignments = await for_plan(session, plan.namespace, plan.id)
    found: list[Issue] = []
    for assignment, causes in zip(assignments, await issues(session, plan, assignments), strict=True):
        if causes:
            key = assignment.addon.key
            message = f"the add-on {key} does not go with the plan"
            found.append(warning("plan_has_incompatible_addon", message, None))
            found += [cause.under(f"addons[?(@.addon.key=='{key}')]") for cause in causes]
    return found
