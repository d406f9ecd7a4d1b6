"""v3 plans (catalog section 3)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field

from meterhouse.api.deps import Namespace, Read, Write
from meterhouse.api.filters import FieldKind, list_parameters, members_of, parse_filters, parse_sort
from meterhouse.api.labels import Labels, metadata_of, replaced_metadata, well_formed
from meterhouse.api.paging import V3Page, V3Paging
from meterhouse.api.problems import errors
from meterhouse.api.v3.prices import BillingCurrencyCode
from meterhouse.api.v3.ratecards import BillingRateCard
from meterhouse.api.v3.versions import VersionMembers, members
from meterhouse.api.wire import Description, Name, Opt, ResourceKey, Ulid, UnsignedDuration, V3Model
from meterhouse.catalog import planaddons, plans
from meterhouse.catalog.plans import PlanQuery, PlanStatus
from meterhouse.catalog.prices import SettlementMode
from meterhouse.catalog.ratecards import RateCard
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import Issue

router = APIRouter(tags=["OpenMeter Product Catalog"])

_PATH = "/api/v3/openmeter/plans"
_ONE = _PATH + "/{planId}"
_FIELDS = {
    "key": FieldKind.STRING,
    "name": FieldKind.STRING,
    "currency": FieldKind.EXACT,
    "status": FieldKind.EXACT,
}
_SORT_FIELDS = ("id", "key", "version", "created_at", "updated_at")

PlanId = Annotated[Ulid, Path(alias="planId", description="The id of a plan version.")]


class BillingPlanPhase(V3Model):
    """A stretch of a subscription's time with its own prices."""

    name: Name
    description: Opt[Description] = None
    labels: Opt[Labels] = None
    key: ResourceKey
    duration: Opt[UnsignedDuration] = Field(
        None, description="Absent for the last phase, which does not end by itself."
    )
    rate_cards: list[BillingRateCard]

    @classmethod
    def of(cls, phase: plans.PlanPhase) -> "BillingPlanPhase":
        """Show a phase."""
        return cls.model_construct(
            name=phase.name,
            description=phase.description,
            labels=well_formed(phase.metadata),
            key=phase.key,
            duration=phase.duration,
            rate_cards=[BillingRateCard.of(card) for card in phase.rate_cards],
        )

    def to_value(self, replaced: plans.PlanPhase | None, stored: Mapping[str, Sequence[RateCard]]) -> plans.PlanPhase:
        """Read the phase that takes the place of `replaced`; `stored` has the cards of all phases, by key."""
        cards = {card.key: card for card in replaced.rate_cards} if replaced else {}
        return plans.PlanPhase(
            key=self.key,
            name=self.name,
            description=self.description,
            metadata=replaced_metadata(self.labels, replaced.metadata if replaced else {}),
            duration=self.duration,
            rate_cards=tuple(
                card.to_value(replaced=cards.get(card.key), others=stored.get(card.key, ())) for card in self.rate_cards
            ),
        )


class UpsertPlanRequest(V3Model):
    """The new content of a plan version. Description and labels stay when left out."""

    name: Name
    description: Opt[Description] = None
    labels: Opt[Labels] = None
    pro_rating_enabled: bool = Field(True, description="Whether a price covers a part of its period in proportion.")
    phases: list[BillingPlanPhase] = Field(min_length=1, description="In order of time.")

    def phase_values(self, replaced: Sequence[plans.PlanPhase] = ()) -> tuple[plans.PlanPhase, ...]:
        """Read the phases; those of the same keys are replaced, and cards may come from any of them."""
        phases = {phase.key: phase for phase in replaced}
        cards: defaultdict[str, list[RateCard]] = defaultdict(list)
        for old in replaced:
            for card in old.rate_cards:
                cards[card.key].append(card)
        return tuple(phase.to_value(phases.get(phase.key), cards) for phase in self.phases)

    def to_content(self, replaced: plans.Plan) -> plans.PlanContent:
        """Read the content that takes the place of `replaced`."""
        return plans.PlanContent(
            name=self.name,
            phases=self.phase_values(replaced.phases),
            description=self.description,
            metadata=None if self.labels is None else replaced_metadata(self.labels, replaced.metadata),
            pro_rating_enabled=self.pro_rating_enabled,
        )


class CreatePlanRequest(UpsertPlanRequest):
    """The next version of a plan, made as a draft."""

    key: ResourceKey
    currency: BillingCurrencyCode
    billing_cadence: UnsignedDuration = Field(description="How often subscriptions are billed.")

    def to_value(self) -> plans.NewPlan:
        """Read the plan."""
        return plans.NewPlan(
            key=self.key,
            name=self.name,
            currency=self.currency,
            billing_cadence=self.billing_cadence,
            phases=self.phase_values(),
            description=self.description,
            metadata=metadata_of(self.labels),
            pro_rating_enabled=self.pro_rating_enabled,
        )


class BillingPlan(VersionMembers):
    """A plan version."""

    billing_cadence: UnsignedDuration
    pro_rating_enabled: bool
    settlement_mode: SettlementMode
    status: PlanStatus
    phases: list[BillingPlanPhase]

    @classmethod
    def of(cls, plan: plans.Plan, issues: Iterable[Issue], at: datetime) -> "BillingPlan":
        """Show a plan with its issues and its status at `at`."""
        return cls.model_construct(
            **members(plan, issues),
            billing_cadence=plan.billing_cadence,
            pro_rating_enabled=plan.pro_rating_enabled,
            settlement_mode=plan.settlement_mode,
            status=plans.status(plan, at),
            phases=[BillingPlanPhase.of(phase) for phase in plan.phases],
        )


async def _shown(session: ReadSession, plan: plans.Plan) -> BillingPlan:
    return BillingPlan.of(plan, await plans.issues(session, plan), clock.now())


@router.get(
    _PATH,
    operation_id="listPlans",
    summary="List plans",
    responses=errors("v3", 400, 401, 403),
    openapi_extra=list_parameters(_FIELDS, _SORT_FIELDS),
)
async def list_plans(request: Request, session: Read, namespace: Namespace, page: V3Paging) -> V3Page[BillingPlan]:
    """List plan versions that meet every filter, the oldest first unless asked otherwise."""
    filters = parse_filters(request, _FIELDS)
    query = PlanQuery(
        conditions={name: condition for name, condition in filters.items() if name != "status"},
        statuses=members_of(PlanStatus, filters, "status") or (),
        sorts=parse_sort(request, _SORT_FIELDS, [Sort("id")]),
        page=page,
    )
    found = await plans.list_plans(session, namespace, query)
    issues = await plans.listed_issues(session, namespace, found.items)
    now = clock.now()
    items = [BillingPlan.of(plan, about, now) for plan, about in zip(found.items, issues, strict=True)]
    return V3Page.of(found, items)


@router.post(
    _PATH,
    operation_id="createPlan",
    summary="Create a plan",
    status_code=201,
    responses=errors("v3", 400, 401, 403),
)
async def create_plan(body: CreatePlanRequest, session: Write, namespace: Namespace) -> BillingPlan:
    """Create a plan, or the next version of one, as a draft. Warnings do not keep it from being saved."""
    return await _shown(session, await plans.create(session, namespace, body.to_value()))


@router.get(
    _ONE,
    operation_id="getPlan",
    summary="Get a plan",
    responses=errors("v3", 400, 401, 403, 404, 410),
)
async def get_plan(plan_id: PlanId, session: Read, namespace: Namespace) -> BillingPlan:
    """Get a plan version, deleted ones too."""
    return await _shown(session, await plans.get(session, namespace, plan_id))


@router.put(
    _ONE,
    operation_id="updatePlan",
    summary="Replace a plan",
    responses=errors("v3", 400, 401, 403, 404, 410),
)
async def update_plan(plan_id: PlanId, body: UpsertPlanRequest, session: Write, namespace: Namespace) -> BillingPlan:
    """Replace the content of a draft or scheduled version. A rate card sent back as it was shown stays as it is."""
    content = body.to_content(await plans.locked(session, namespace, plan_id))
    return await _shown(session, await plans.update(session, namespace, plan_id, content))


@router.delete(
    _ONE,
    operation_id="deletePlan",
    summary="Delete a plan",
    status_code=204,
    responses=errors("v3", 400, 401, 403, 404),
)
async def delete_plan(plan_id: PlanId, session: Write, namespace: Namespace) -> Response:
    """Delete a version that is not active."""
    await plans.delete(session, namespace, plan_id)
    return Response(status_code=204)


@router.post(
    _ONE + "/archive",
    operation_id="archivePlan",
    summary="Archive a plan",
    responses=errors("v3", 400, 401, 403, 404),
)
async def archive_plan(plan_id: PlanId, session: Write, namespace: Namespace) -> BillingPlan:
    """End an active version now. Subscriptions made from it go on."""
    return await _shown(session, await plans.archive(session, namespace, plan_id))


@router.post(
    _ONE + "/publish",
    operation_id="publishPlan",
    summary="Publish a plan",
    responses=errors("v3", 400, 401, 403, 404, 409),
)
async def publish_plan(plan_id: PlanId, session: Write, namespace: Namespace) -> BillingPlan:
    """Make a version active now; the version that was active is archived at the same instant."""
    plan = await plans.publish(session, namespace, plan_id, check=planaddons.publish_issues)
    return await _shown(session, plan)
