"""Plan add-ons: which add-on versions can be taken with a plan version."""

from meterhouse.catalog.planaddons.planaddon import NewPlanAddon, PlanAddon, PlanAddonContent
from meterhouse.catalog.planaddons.reading import addon_use, for_plan, issues, publish_issues
from meterhouse.catalog.planaddons.repository import PlanAddonQuery
from meterhouse.catalog.planaddons.service import (
    create,
    delete,
    get,
    get_by_addon,
    list_plan_addons,
    update,
)

__all__ = [
    "NewPlanAddon",
    "PlanAddon",
    "PlanAddonContent",
    "PlanAddonQuery",
    "addon_use",
    "create",
    "delete",
    "for_plan",
    "get",
    "get_by_addon",
    "issues",
    "list_plan_addons",
    "publish_issues",
    "update",
]
