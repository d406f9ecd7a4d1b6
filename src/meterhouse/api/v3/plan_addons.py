"""v3 plan add-ons (catalog section 5)."""

from collections.abc import Iterable, Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import Field

from meterhouse.api.deps import Namespace, Read, Write
from meterhouse.api.labels import Labels, metadata_of, replaced_metadata, well_formed
from meterhouse.api.paging import V3Page, V3Paging
from meterhouse.api.problems import errors
from meterhouse.api.v3.plans import PlanId
from meterhouse.api.v3.versions import ProductCatalogValidationError, errors_of
from meterhouse.api.wire import Counted, Description, Instant, Name, Opt, ResourceKey, Ulid, V3Model
from meterhouse.catalog import planaddons, plans
from meterhouse.catalog.planaddons import PlanAddonQuery
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import Issue

router = APIRouter(tags=["OpenMeter Product Catalog"])

_PATH = "/api/v3/openmeter/plans/{planId}/addons"
_ONE = _PATH + "/{planAddonId}"

PlanAddonId = Annotated[Ulid, Path(alias="planAddonId", description="The id of an assignment.")]


class AddonReference(V3Model):
    """Names an add-on version."""

    id: Ulid


class UpsertPlanAddonRequest(V3Model):
    """The new content of an assignment. Description and labels stay when left out, the maximum quantity does not."""

    name: Name
    description: Opt[Description] = None
    labels: Opt[Labels] = None
    from_plan_phase: ResourceKey = Field(
        description="Key of the first phase in which a subscription can take the add-on."
    )
    max_quantity: Opt[Counted] = Field(None, description="How many a subscription can take; absent for no limit.")

    def to_content(self, replaced: planaddons.PlanAddon) -> planaddons.PlanAddonContent:
        """Read the content that takes the place of `replaced`."""
        return planaddons.PlanAddonContent(
            from_plan_phase=self.from_plan_phase,
            max_quantity=self.max_quantity,
            name=self.name,
            description=self.description,
            metadata=None if self.labels is None else replaced_metadata(self.labels, replaced.metadata),
        )


class CreatePlanAddonRequest(UpsertPlanAddonRequest):
    """An add-on version to assign to a plan."""

    addon: AddonReference

    def to_value(self) -> planaddons.NewPlanAddon:
        """Read the assignment."""
        return planaddons.NewPlanAddon(
            addon_id=self.addon.id,
            from_plan_phase=self.from_plan_phase,
            max_quantity=self.max_quantity,
            name=self.name,
            description=self.description,
            metadata=metadata_of(self.labels),
        )


class PlanAddon(V3Model):
    """The assignment of an add-on version to a plan version."""

    id: Ulid
    name: Name = Field(description="The add-on's where it was given none of its own.")
    description: Opt[Description] = None
    labels: dict[str, str]
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None
    addon: AddonReference
    from_plan_phase: ResourceKey
    max_quantity: Opt[int] = None
    validation_errors: Opt[list[ProductCatalogValidationError]] = None

    @classmethod
    def of(cls, assignment: planaddons.PlanAddon, issues: Iterable[Issue]) -> "PlanAddon":
        """Show an assignment with its issues."""
        return cls.model_construct(
            id=assignment.id,
            name=assignment.name or assignment.addon.name,
            description=assignment.description,
            labels=well_formed(assignment.metadata),
            created_at=assignment.created_at,
            updated_at=assignment.updated_at,
            deleted_at=assignment.deleted_at,
            addon=AddonReference(id=assignment.addon.id),
            from_plan_phase=assignment.from_plan_phase,
            max_quantity=assignment.max_quantity,
            validation_errors=errors_of(issues),
        )


async def _shown(
    session: ReadSession, namespace: str, plan_id: str, assignments: Sequence[planaddons.PlanAddon]
) -> list[PlanAddon]:
    plan = await plans.get(session, namespace, plan_id)
    found = await planaddons.issues(session, plan, assignments)
    return [PlanAddon.of(one, issues) for one, issues in zip(assignments, found, strict=True)]


@router.get(
    _PATH,
    operation_id="listPlanAddons",
    summary="List the add-ons of a plan",
    responses=errors("v3", 400, 401, 403, 404),
)
async def list_plan_addons(plan_id: PlanId, session: Read, namespace: Namespace, page: V3Paging) -> V3Page[PlanAddon]:
    """List the add-ons of a plan version, the oldest assignment first."""
    found = await planaddons.list_plan_addons(session, namespace, plan_id, PlanAddonQuery(page=page))
    return V3Page.of(found, await _shown(session, namespace, plan_id, found.items))


@router.post(
    _PATH,
    operation_id="createPlanAddon",
    summary="Assign an add-on to a plan",
    status_code=201,
    responses=errors("v3", 400, 401, 403, 404, 409),
)
async def create_plan_addon(
    plan_id: PlanId, body: CreatePlanAddonRequest, session: Write, namespace: Namespace
) -> PlanAddon:
    """Let subscriptions of a draft plan take an active add-on. What does not fit is told, and kept from publishing."""
    made = await planaddons.create(session, namespace, plan_id, body.to_value())
    return (await _shown(session, namespace, plan_id, [made]))[0]


@router.get(
    _ONE,
    operation_id="getPlanAddon",
    summary="Get an add-on of a plan",
    responses=errors("v3", 400, 401, 403, 404),
)
async def get_plan_addon(plan_id: PlanId, plan_addon_id: PlanAddonId, session: Read, namespace: Namespace) -> PlanAddon:
    """Get an assignment, deleted ones too."""
    found = await planaddons.get(session, namespace, plan_id, plan_addon_id)
    return (await _shown(session, namespace, plan_id, [found]))[0]


@router.put(
    _ONE,
    operation_id="updatePlanAddon",
    summary="Replace an add-on of a plan",
    responses=errors("v3", 400, 401, 403, 404),
)
async def update_plan_addon(
    plan_id: PlanId, plan_addon_id: PlanAddonId, body: UpsertPlanAddonRequest, session: Write, namespace: Namespace
) -> PlanAddon:
    """Replace what the assignment says. What does not fit is refused."""
    await plans.locked(session, namespace, plan_id)
    content = body.to_content(await planaddons.get(session, namespace, plan_id, plan_addon_id))
    made = await planaddons.update(session, namespace, plan_id, plan_addon_id, content)
    return (await _shown(session, namespace, plan_id, [made]))[0]


@router.delete(
    _ONE,
    operation_id="deletePlanAddon",
    summary="Take an add-on from a plan",
    status_code=204,
    responses=errors("v3", 400, 401, 403, 404),
)
async def delete_plan_addon(
    plan_id: PlanId, plan_addon_id: PlanAddonId, session: Write, namespace: Namespace
) -> Response:
    """Take an add-on from a draft plan. Doing it again changes nothing."""
    await planaddons.delete(session, namespace, plan_id, plan_addon_id)
    return Response(status_code=204)
