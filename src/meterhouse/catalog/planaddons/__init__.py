"""Plan add-ons: which add-on versions can be taken with a plan version."""

from meterhouse.catalog.planaddons.planaddon import NewPlanAddon, PlanAddon, PlanAddonContent

__all__ = ["NewPlanAddon", "PlanAddon", "PlanAddonContent"]
