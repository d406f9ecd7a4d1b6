"""Plans: versions of a key, each with phases of rate cards."""

from meterhouse.catalog.plans.plan import NewPlan, Plan, PlanContent, PlanPhase, PlanStatus, status

__all__ = ["NewPlan", "Plan", "PlanContent", "PlanPhase", "PlanStatus", "status"]
