"""v1 plan add-ons (catalog section 5). An assignment is named by its plan and its add-on, each by id or key."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from meterhouse.api.deps import Namespace, Read, Write
from meterhouse.api.paging import V1Page, V1Paging
from meterhouse.api.problems import errors
from meterhouse.api.v1.addons import Addon
from meterhouse.api.v1.versions import (
    KEY_VERSION_PARAMETER,
    AnyUlid,
    CatalogValidationError,
    Order,
    OrderBy,
    errors_of,
    id_or_key_path,
    key_versions,
    refuse_beyond_v1,
    sorts_of,
)
from meterhouse.api.wire import Instant, Opt, ResourceKey, V1Model, Whole
from meterhouse.catalog import addons, planaddons, plans
from meterhouse.catalog.planaddons import PlanAddonQuery
from meterhouse.catalog.plans import Plan
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import Issue

router = APIRouter(tags=["Product Catalog"])

_PATH = "/api/v1/plans/{planId}/addons"
_ONE = _PATH + "/{planAddonId}"

PlanIdOrKey = Annotated[str, id_or_key_path("planId", "a plan version")]
AddonIdOrKey = Annotated[str, id_or_key_path("planAddonId", "an add-on version")]


class PlanAddonReplaceUpdate(V1Model):
    """The new content of an assignment. Metadata stays when left out, the maximum quantity does not."""

    from_plan_phase: str = Field(description="Key of the first phase in which a subscription can take the add-on.")
    max_quantity: Opt[Whole] = Field(None, description="How many a subscription can take; absent for no limit.")
    metadata: Opt[dict[str, str]] = None

    def to_content(self) -> planaddons.PlanAddonContent:
        """Read the content."""
        return planaddons.PlanAddonContent(
            from_plan_phase=self.from_plan_phase, max_quantity=self.max_quantity, metadata=self.metadata
        )


class PlanAddonCreate(PlanAddonReplaceUpdate):
    """An add-on version to assign to a plan."""

    addon_id: AnyUlid

    def to_value(self) -> planaddons.NewPlanAddon:
        """Read the assignment."""
        return planaddons.NewPlanAddon(
            addon_id=self.addon_id,
            from_plan_phase=self.from_plan_phase,
            max_quantity=self.max_quantity,
            metadata=self.metadata or {},
        )


class PlanAddon(V1Model):
    """The assignment of an add-on version to a plan version."""

    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    metadata: Opt[dict[str, str]] = None
    annotations: Opt[dict[str, Any]] = None
    addon: Addon
    from_plan_phase: str
    max_quantity: Opt[int] = None
    validation_errors: Opt[list[CatalogValidationError]] = None

    @classmethod
    def of(cls, assignment: planaddons.PlanAddon, issues: Iterable[Issue], at: datetime) -> "PlanAddon":
        """Show an assignment with its issues, and its add-on with the status at `at`."""
        return cls(
            created_at=assignment.created_at,
            updated_at=assignment.updated_at,
            deleted_at=assignment.deleted_at,
            metadata=dict(assignment.metadata) or None,
            annotations=dict(assignment.annotations) or None,
            addon=Addon.of(assignment.addon, addons.addon_issues(assignment.addon), at),
            from_plan_phase=assignment.from_plan_phase,
            max_quantity=assignment.max_quantity,
            validation_errors=errors_of(issues),
        )


async def _plan(session: ReadSession, namespace: str, id_or_key: str) -> Plan:
    """Return the plan version of that id, or the newest of a key."""
    return await plans.get_by_id_or_key(session, namespace, id_or_key, include_latest=True)


async def _shown(session: ReadSession, plan: Plan, assignments: Iterable[planaddons.PlanAddon]) -> list[PlanAddon]:
    """Show assignments, if v1 can show the plan and every one of them."""
    assignments = list(assignments)
    for version in (plan, *(one.addon for one in assignments)):
        refuse_beyond_v1(version)
    found = await planaddons.issues(session, plan, assignments)
    now = clock.now()
    return [PlanAddon.of(one, issues, now) for one, issues in zip(assignments, found, strict=True)]


@router.post(
    _PATH,
    operation_id="createPlanAddon",
    summary="Assign an add-on to a plan",
    status_code=201,
    responses=errors("v1", 400, 401, 403, 404, 409, 412, 500, 503),
)
async def create_plan_addon(
    plan_id: PlanIdOrKey, body: PlanAddonCreate, session: Write, namespace: Namespace
) -> PlanAddon:
    """Let subscriptions of a draft plan take an active add-on. What does not fit is told, and kept from publishing."""
    plan = await _plan(session, namespace, plan_id)
    made = await planaddons.create(session, namespace, plan.id, body.to_value(), guard=refuse_beyond_v1)
    return (await _shown(session, plan, [made]))[0]


@router.get(
    _PATH,
    operation_id="listPlanAddons",
    summary="List the add-ons of a plan",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
    openapi_extra={"parameters": [KEY_VERSION_PARAMETER]},
)
async def list_plan_addons(
    plan_id: PlanIdOrKey,
    request: Request,
    session: Read,
    namespace: Namespace,
    page: V1Paging,
    include_deleted: Annotated[bool, Query(alias="includeDeleted", description="Show deleted ones too.")] = False,
    ids: Annotated[list[AnyUlid] | None, Query(alias="id", description="Ids of add-on versions.")] = None,
    key: Annotated[list[ResourceKey] | None, Query(description="Keys of add-ons.")] = None,
    order: Order = None,
    order_by: OrderBy = "id",
) -> V1Page[PlanAddon]:
    """List the add-ons of a plan that meet every filter; the newest assignment first."""
    plan = await _plan(session, namespace, plan_id)
    query = PlanAddonQuery(
        addon_ids=ids or (),
        keys=key or (),
        key_versions=key_versions(request),
        include_deleted=include_deleted,
        sorts=sorts_of(order_by, order),
        page=page,
    )
    found = await planaddons.list_plan_addons(session, namespace, plan.id, query)
    return V1Page.of(found, await _shown(session, plan, found.items))


@router.get(
    _ONE,
    operation_id="getPlanAddon",
    summary="Get an add-on of a plan",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_plan_addon(
    plan_id: PlanIdOrKey, addon_id: AddonIdOrKey, session: Read, namespace: Namespace
) -> PlanAddon:
    """Get an add-on of a plan."""
    plan = await _plan(session, namespace, plan_id)
    found = await planaddons.get_by_addon(session, namespace, plan.id, addon_id)
    return (await _shown(session, plan, [found]))[0]


@router.put(
    _ONE,
    operation_id="updatePlanAddon",
    summary="Replace an add-on of a plan",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def update_plan_addon(
    plan_id: PlanIdOrKey, addon_id: AddonIdOrKey, body: PlanAddonReplaceUpdate, session: Write, namespace: Namespace
) -> PlanAddon:
    """Replace what the assignment says. What does not fit is refused."""
    plan = await _plan(session, namespace, plan_id)
    stored = await planaddons.get_by_addon(session, namespace, plan.id, addon_id)
    made = await planaddons.update(session, namespace, plan.id, stored.id, body.to_content(), guard=refuse_beyond_v1)
    return (await _shown(session, plan, [made]))[0]


@router.delete(
    _ONE,
    operation_id="deletePlanAddon",
    summary="Take an add-on from a plan",
    status_code=204,
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def delete_plan_addon(
    plan_id: PlanIdOrKey, addon_id: AddonIdOrKey, session: Write, namespace: Namespace
) -> Response:
    """Take an add-on from a draft plan."""
    plan = await _plan(session, namespace, plan_id)
    stored = await planaddons.get_by_addon(session, namespace, plan.id, addon_id)
    await planaddons.delete(session, namespace, plan.id, stored.id)
    return Response(status_code=204)
