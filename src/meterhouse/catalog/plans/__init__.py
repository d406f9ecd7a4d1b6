"""Plans: versions of a key, each with phases of rate cards."""

from meterhouse.catalog.plans.plan import NewPlan, Plan, PlanContent, PlanPhase
from meterhouse.catalog.plans.service import (
    PublishCheck,
    archive,
    create,
    delete,
    feature_use,
    get,
    get_active,
    get_by_id_or_key,
    issues,
    list_plans,
    listed_issues,
    locked,
    next_version,
    publish,
    resolved,
    update,
)
from meterhouse.catalog.plans.validation import plan_issues
from meterhouse.catalog.versions import VersionStatus as PlanStatus
from meterhouse.catalog.versions import status
from meterhouse.catalog.versions.repository import VersionQuery as PlanQuery

__all__ = [
    "NewPlan",
    "Plan",
    "PlanContent",
    "PlanPhase",
    "PlanQuery",
    "PlanStatus",
    "PublishCheck",
    "archive",
    "create",
    "delete",
    "feature_use",
    "get",
    "get_active",
    "get_by_id_or_key",
    "issues",
    "list_plans",
    "listed_issues",
    "locked",
    "next_version",
    "plan_issues",
    "publish",
    "resolved",
    "status",
    "update",
]
