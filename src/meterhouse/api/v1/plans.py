"""v1 plans (catalog section 3)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from meterhouse.api.deps import Namespace, Read, ServicesDep, Write
from meterhouse.api.paging import V1Page, V1Paging
from meterhouse.api.problems import errors
from meterhouse.api.v1.ratecards import RateCard, rate_card_of, rate_card_value
from meterhouse.api.v1.versions import (
    KEY_VERSION_PARAMETER,
    AnyUlid,
    Order,
    OrderBy,
    VersionMembers,
    id_or_key_path,
    id_path,
    key_versions,
    members,
    refuse_beyond_v1,
    sorts_of,
)
from meterhouse.api.wire import (
    CurrencyCode,
    Description,
    ISODuration,
    Name,
    Opt,
    ResourceKey,
    V1Model,
)
from meterhouse.catalog import planaddons, plans
from meterhouse.catalog.plans import PlanQuery, PlanStatus
from meterhouse.catalog.prices import SettlementMode
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import Issue

router = APIRouter(tags=["Product Catalog"])

PlanId = Annotated[str, id_path("planId", "a plan version")]


class Alignment(V1Model):
    """Accepted and ignored."""

    billables_must_align: Opt[bool] = Field(None, json_schema_extra={"deprecated": True})


class ProRatingConfig(V1Model):
    """Whether a price covers a part of its period in proportion."""

    enabled: bool
    mode: Literal["prorate_prices"]


class PlanPhase(V1Model):
    """A stretch of a subscription's time with its own prices."""

    key: ResourceKey
    name: Name
    description: Opt[Description] = None
    metadata: Opt[dict[str, str]] = None
    duration: ISODuration | None = Field(description="Null for the last phase, which does not end by itself.")
    rate_cards: list[RateCard]

    @classmethod
    def of(cls, phase: plans.PlanPhase) -> "PlanPhase":
        """Show a phase."""
        return cls(
            key=phase.key,
            name=phase.name,
            description=phase.description,
            metadata=dict(phase.metadata) or None,
            duration=phase.duration,
            rate_cards=[rate_card_of(card) for card in phase.rate_cards],
        )

    def to_value(self) -> plans.PlanPhase:
        """Read the phase."""
        return plans.PlanPhase(
            key=self.key,
            name=self.name,
            description=self.description,
            metadata=self.metadata or {},
            duration=self.duration,
            rate_cards=tuple(rate_card_value(card) for card in self.rate_cards),
        )


class _PlanInput(V1Model):
    name: Name
    description: Opt[Description] = None
    metadata: Opt[dict[str, str]] = None
    alignment: Opt[Alignment] = None
    billing_cadence: ISODuration = Field(description="How often subscriptions are billed.")
    pro_rating_config: ProRatingConfig = ProRatingConfig(enabled=True, mode="prorate_prices")
    settlement_mode: Opt[SettlementMode] = Field(None, description="How charges are paid: credits before invoices.")
    phases: list[PlanPhase] = Field(min_length=1, description="In order of time.")

    def phase_values(self) -> tuple[plans.PlanPhase, ...]:
        return tuple(phase.to_value() for phase in self.phases)


class PlanCreate(_PlanInput):
    """The next version of a plan, made as a draft."""

    key: ResourceKey
    currency: CurrencyCode

    def to_value(self) -> plans.NewPlan:
        """Read the plan."""
        return plans.NewPlan(
            key=self.key,
            name=self.name,
            currency=self.currency,
            billing_cadence=self.billing_cadence,
            phases=self.phase_values(),
            description=self.description,
            metadata=self.metadata or {},
            pro_rating_enabled=self.pro_rating_config.enabled,
            settlement_mode=self.settlement_mode or SettlementMode.CREDIT_THEN_INVOICE,
        )


class PlanReplaceUpdate(_PlanInput):
    """The new content of a draft. Description, metadata and settlement mode stay when left out."""

    def to_value(self) -> plans.PlanContent:
        """Read the content."""
        return plans.PlanContent(
            name=self.name,
            phases=self.phase_values(),
            description=self.description,
            metadata=self.metadata,
            billing_cadence=self.billing_cadence,
            pro_rating_enabled=self.pro_rating_config.enabled,
            settlement_mode=self.settlement_mode,
        )


class Plan(VersionMembers):
    """A plan version."""

    billing_cadence: ISODuration
    pro_rating_config: ProRatingConfig
    settlement_mode: SettlementMode
    status: PlanStatus
    phases: list[PlanPhase]

    @classmethod
    def of(cls, plan: plans.Plan, issues: Iterable[Issue], at: datetime) -> "Plan":
        """Show a plan with its issues and its status at `at`."""
        return cls(
            **members(plan, issues),
            billing_cadence=plan.billing_cadence,
            pro_rating_config=ProRatingConfig(enabled=plan.pro_rating_enabled, mode="prorate_prices"),
            settlement_mode=plan.settlement_mode,
            status=plans.status(plan, at),
            phases=[PlanPhase.of(phase) for phase in plan.phases],
        )


async def _shown(session: ReadSession, plan: plans.Plan) -> Plan:
    return Plan.of(plan, await plans.issues(session, plan), clock.now())


@router.post(
    "/api/v1/plans",
    operation_id="createPlan",
    summary="Create a plan",
    status_code=201,
    responses=errors("v1", 400, 401, 403, 412, 500, 503),
)
async def create_plan(body: PlanCreate, session: Write, namespace: Namespace, services: ServicesDep) -> Plan:
    """Create a plan, or the next version of one, as a draft. Warnings do not keep it from being saved."""
    plan = await plans.create(session, namespace, body.to_value(), credits_enabled=services.credits_enabled)
    return await _shown(session, plan)


@router.get(
    "/api/v1/plans",
    operation_id="listPlans",
    summary="List plans",
    responses=errors("v1", 400, 401, 403, 412, 500, 503),
    openapi_extra={"parameters": [KEY_VERSION_PARAMETER]},
)
async def list_plans(
    request: Request,
    session: Read,
    namespace: Namespace,
    page: V1Paging,
    include_deleted: Annotated[bool, Query(alias="includeDeleted", description="Show deleted ones too.")] = False,
    ids: Annotated[list[AnyUlid] | None, Query(alias="id", description="Ids of versions.")] = None,
    key: Annotated[list[ResourceKey] | None, Query(description="Keys, with all their versions.")] = None,
    status: Annotated[list[PlanStatus] | None, Query(description="Statuses to show; all when left out.")] = None,
    currency: Annotated[list[CurrencyCode] | None, Query(description="Currencies.")] = None,
    order: Order = None,
    order_by: OrderBy = "id",
) -> V1Page[Plan]:
    """List plan versions that match any of id, key, key version and currency; the newest first."""
    query = PlanQuery(
        ids=ids or (),
        keys=key or (),
        key_versions=key_versions(request),
        currencies=currency or (),
        statuses=status or (),
        match_any=True,
        include_deleted=include_deleted,
        only_v1=True,
        sorts=sorts_of(order_by, order),
        page=page,
    )
    found = await plans.list_plans(session, namespace, query)
    now = clock.now()
    return V1Page.of(found, [Plan.of(plan, plans.plan_issues(plan), now) for plan in found.items])


@router.get(
    "/api/v1/plans/{planId}",
    operation_id="getPlan",
    summary="Get a plan",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_plan(
    plan_id: Annotated[str, id_or_key_path("planId", "a plan version")],
    session: Read,
    namespace: Namespace,
    include_latest: Annotated[
        bool, Query(alias="includeLatest", description="By key: the highest version instead of the active one.")
    ] = False,
) -> Plan:
    """Get a version by id, or the active version of a key."""
    plan = await plans.get_by_id_or_key(session, namespace, plan_id, include_latest=include_latest)
    refuse_beyond_v1(plan)
    return await _shown(session, plan)


@router.put(
    "/api/v1/plans/{planId}",
    operation_id="updatePlan",
    summary="Replace a plan",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def update_plan(
    plan_id: PlanId, body: PlanReplaceUpdate, session: Write, namespace: Namespace, services: ServicesDep
) -> Plan:
    """Replace the content of a draft or scheduled version."""
    plan = await plans.update(
        session,
        namespace,
        plan_id,
        body.to_value(),
        guard=refuse_beyond_v1,
        credits_enabled=services.credits_enabled,
    )
    return await _shown(session, plan)


@router.delete(
    "/api/v1/plans/{planId}",
    operation_id="deletePlan",
    summary="Delete a plan",
    status_code=204,
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def delete_plan(plan_id: PlanId, session: Write, namespace: Namespace) -> Response:
    """Delete a version that is not active."""
    await plans.delete(session, namespace, plan_id)
    return Response(status_code=204)


@router.post(
    "/api/v1/plans/{planId}/publish",
    operation_id="publishPlan",
    summary="Publish a plan",
    responses=errors("v1", 400, 401, 403, 404, 409, 412, 500, 503),
)
async def publish_plan(plan_id: PlanId, session: Write, namespace: Namespace) -> Plan:
    """Make a version active now; the version that was active is archived at the same instant."""
    plan = await plans.publish(session, namespace, plan_id, check=planaddons.publish_issues, guard=refuse_beyond_v1)
    return await _shown(session, plan)


@router.post(
    "/api/v1/plans/{planId}/archive",
    operation_id="archivePlan",
    summary="Archive a plan",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def archive_plan(plan_id: PlanId, session: Write, namespace: Namespace) -> Plan:
    """End an active version now. Subscriptions made from it go on."""
    return await _shown(session, await plans.archive(session, namespace, plan_id, guard=refuse_beyond_v1))


@router.post(
    "/api/v1/plans/{planIdOrKey}/next",
    operation_id="nextPlan",
    summary="Copy a plan to a new draft",
    status_code=201,
    deprecated=True,
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def next_plan(
    id_or_key: Annotated[str, id_or_key_path("planIdOrKey", "a plan version")],
    session: Write,
    namespace: Namespace,
) -> Plan:
    """Copy a version, or the highest one of a key, to a new draft."""
    plan = await plans.next_version(session, namespace, id_or_key, guard=refuse_beyond_v1)
    return await _shown(session, plan)
