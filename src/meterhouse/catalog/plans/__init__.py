"""Plans: versions of a key, each with phases of rate cards."""

from meterhouse.catalog.plans.plan import NewPlan, Plan, PlanContent, PlanPhase
from meterhouse.catalog.plans.repository import PlanQuery
from meterhouse.catalog.plans.service import (
    Guard,
    archive,
    create,
    delete,
    feature_use,
    get,
    get_active,
    get_by_id_or_key,
    issues,
    list_plans,
    next_version,
    publish,
    resolved,
    update,
)
from meterhouse.catalog.plans.validation import InvalidPlan, plan_issues
from meterhouse.catalog.versions import VersionStatus as PlanStatus
from meterhouse.catalog.versions import status

__all__ = [
    "Guard",
    "InvalidPlan",
    "NewPlan",
    "Plan",
    "PlanContent",
    "PlanPhase",
    "PlanQuery",
    "PlanStatus",
    "archive",
    "create",
    "delete",
    "feature_use",
    "get",
    "get_active",
    "get_by_id_or_key",
    "issues",
    "list_plans",
    "next_version",
    "plan_issues",
    "publish",
    "resolved",
    "status",
    "update",
]
