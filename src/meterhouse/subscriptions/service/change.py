"""Another plan in the place of the present one (subscriptions section 9)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from meterhouse.catalog import plans
from meterhouse.catalog.plans import Plan, PlanQuery, PlanStatus
from meterhouse.catalog.prices import SettlementMode
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import NotFound, invalid
from meterhouse.subscriptions import links, timing
from meterhouse.subscriptions.addons import repository as purchases
from meterhouse.subscriptions.models import SubscriptionRow
from meterhouse.subscriptions.service.cancel import end_at
from meterhouse.subscriptions.service.create import CustomPlan, NewSubscription, PlanChoice, create
from meterhouse.subscriptions.service.read import load, load_row
from meterhouse.subscriptions.service.update import locked
from meterhouse.subscriptions.status import Command, require
from meterhouse.subscriptions.timeline import current_phase
from meterhouse.subscriptions.timing import NamedTiming, Timing
from meterhouse.subscriptions.views import CostBasisMode, PhaseView, PlanReference, SubscriptionView

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PlanChange:
    """What takes the place of a subscription; what is None is taken from the plan, the anchor from the subscription.

    Attributes:
        timing: when; what is possible is what is for a cancellation.
        keeps_name: take name and description of the subscription, and its metadata where none is given.
        starting_phase: key of the phase to begin with; the phases before it last no time.
    """

    plan: PlanChoice | CustomPlan
    timing: Timing
    name: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] | None = None
    settlement_mode: SettlementMode | None = None
    billing_anchor: datetime | None = None
    starting_phase: str | None = None
    keeps_name: bool = False
    cost_basis_mode: CostBasisMode = CostBasisMode.DYNAMIC


@dataclass(frozen=True, slots=True)
class Migration:
    """Which version of its plan a subscription goes on with; None: the active one.

    Attributes:
        starting_phase: key of the phase to begin with; the phases before it last no time.
        keeps_phase: without a `starting_phase`, go on in the phase of the key that runs at the changeover, end it when
            it would have ended, and owe nothing again that its beginning costs once.
    """

    version: int | None = None
    timing: Timing = NamedTiming.IMMEDIATE
    billing_anchor: datetime | None = None
    starting_phase: str | None = None
    keeps_phase: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """The subscription that ends, and the one that begins at that instant.

    Attributes:
        dropped_addons: keys of the add-ons that end with it, which it had then or later.
    """

    current: SubscriptionView
    next: SubscriptionView
    dropped_addons: tuple[str, ...] = ()


async def change(
    session: WriteSession, namespace: str, subscription_id: str, wanted: PlanChange, *, credits_enabled: bool = True
) -> Changed:
    """End an active subscription and begin another at the same instant, on another plan. Billing dates stay.

    Raises:
        NotFound: no such subscription or plan.
        Forbidden: the subscription is not active.
        InvalidInput: the timing is not possible, or the new subscription is not; see `create`.
        Conflict: the customer has another subscription after it.
    """
    row, view = await locked(session, namespace, subscription_id)
    require(view, Command.CANCEL, clock.now())
    end = timing.end_of(view, wanted.timing)
    name, description, metadata = wanted.name, wanted.description, wanted.metadata
    if wanted.keeps_name:
        name, description = name or view.name, description or view.description
        metadata = view.metadata if metadata is None else metadata
    following = NewSubscription(
        customer_id=view.customer_id,
        plan=wanted.plan,
        name=name,
        description=description,
        metadata=metadata or {},
        settlement_mode=wanted.settlement_mode,
        billing_anchor=wanted.billing_anchor,
        starting_phase=wanted.starting_phase,
        cost_basis_mode=wanted.cost_basis_mode,
    )
    return await _follow(session, row, view, following, end, credits_enabled=credits_enabled)


async def migrate(
    session: WriteSession, namespace: str, subscription_id: str, wanted: Migration, *, credits_enabled: bool = True
) -> Changed:
    """Let a subscription go on with a newer version of its plan; what was agreed beside the plan stays agreed.

    Raises:
        NotFound: no such subscription or version.
        Forbidden: the subscription is not active.
        InvalidInput: it has a plan of its own, the version is not a newer one that was published or lacks the phase to
            go on in, or the new subscription is not possible; see `create`.
        Conflict: the customer has another subscription after it.
    """
    row, view = await locked(session, namespace, subscription_id)
    require(view, Command.CANCEL, clock.now())
    if view.plan is None:
        raise invalid("a subscription with a plan of its own has no versions to migrate to", field="$.target_version")
    plan = await migration_target(session, namespace, view.plan, wanted.version)
    end = timing.end_of(view, wanted.timing)
    starting_phase, phase_ends, phase_began = wanted.starting_phase, None, False
    if starting_phase is None and wanted.keeps_phase:
        kept = _phase_to_keep(view, plan, end)
        starting_phase, phase_ends, phase_began = kept.key, kept.active_to, kept.active_from < end
    sold_as = await plans.get(session, namespace, view.plan.id)
    overridden = view.settlement_mode is not sold_as.settlement_mode
    following = NewSubscription(
        customer_id=view.customer_id,
        plan=plan,
        name=view.name,
        description=view.description,
        metadata=view.metadata,
        settlement_mode=view.settlement_mode if overridden else None,
        billing_anchor=wanted.billing_anchor,
        starting_phase=starting_phase,
        starting_phase_ends=phase_ends,
        starting_phase_began=phase_began,
        cost_basis_mode=view.cost_basis_mode,
    )
    return await _follow(session, row, view, following, end, credits_enabled=credits_enabled)


async def migration_target(session: ReadSession, namespace: str, current: PlanReference, version: int | None) -> Plan:
    """Return the version of its plan that a subscription can go on with, the active one where `version` is None.

    Raises:
        NotFound: there is no such version.
        InvalidInput: no version is active, or this one is deleted, was never published or is not a later one.
    """
    plan = await _version(session, namespace, current.key, version)
    field = "$.target_version"
    if plan.deleted_at is not None:
        raise invalid(f"plan is deleted: {plan.key} version {plan.version}", field=field)
    if plans.status(plan, clock.now()) not in (PlanStatus.ACTIVE, PlanStatus.ARCHIVED):
        raise invalid(f"plan was never published: {plan.key} version {plan.version}", field=field)
    if plan.version <= current.version:
        message = f"the subscription has version {current.version} of plan {plan.key}; {plan.version} is not newer"
        raise invalid(message, field=field)
    return plan


def _phase_to_keep(view: SubscriptionView, plan: Plan, at: datetime) -> PhaseView:
    """Return the phase that runs at `at`, whose key the plan must have."""
    phase = current_phase(view, at)
    assert phase is not None  # an active subscription began with its first phase
    if phase.key not in {one.key for one in plan.phases}:
        message = f"version {plan.version} of plan {plan.key} has no phase {phase.key}"
        raise invalid(f"{message}, which runs at the changeover; name a starting phase", field="$.starting_phase")
    return phase


async def _version(session: ReadSession, namespace: str, key: str, version: int | None) -> Plan:
    if version is None:
        try:
            return await plans.get_active(session, namespace, key)
        except NotFound:
            raise invalid(f"no version of plan {key} is active", field="$.target_version") from None
    found = await plans.list_plans(session, namespace, PlanQuery(key_versions={key: [version]}, include_deleted=True))
    if not found.items:
        raise NotFound(f"plan not found: {key} version {version}")
    return found.items[0]


async def _follow(
    session: WriteSession,
    row: SubscriptionRow,
    view: SubscriptionView,
    following: NewSubscription,
    end: datetime,
    *,
    credits_enabled: bool,
) -> Changed:
    dropped = await purchases.addon_keys(session, await purchases.giving(session, row.namespace, row.id, since=end))
    if dropped:
        log.info("add-ons end with their subscription", subscription=row.id, addons=dropped)
    await end_at(session, row, end)
    following = replace(following, timing=end, billing_anchor=following.billing_anchor or view.billing_anchor)
    begun = await create(session, row.namespace, following, credits_enabled=credits_enabled)
    links.link(row, await load_row(session, row.namespace, begun.id))
    await session.flush()
    current, next_ = await load(session, row.namespace, row.id), await load(session, row.namespace, begun.id)
    return Changed(current, next_, tuple(dropped))
