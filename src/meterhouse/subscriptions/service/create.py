"""Making a subscription from a plan, or from a plan written for one customer (subscriptions section 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from meterhouse.catalog import plans
from meterhouse.catalog.cardrules import completed
from meterhouse.catalog.plans import Plan, PlanPhase, PlanStatus
from meterhouse.catalog.prices import SettlementMode
from meterhouse.catalog.settlement import require_credits
from meterhouse.customers import service as customers
from meterhouse.customers.customer import Customer
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession, violated
from meterhouse.kernel.errors import Conflict, NotFound, invalid
from meterhouse.kernel.locks import lock
from meterhouse.kernel.periods import Duration
from meterhouse.kernel.reach import within_reach
from meterhouse.subscriptions import access, repository, timing, uniqueness, validation
from meterhouse.subscriptions.models import (
    ONE_AT_A_TIME,
    SubscriptionRow,
)
from meterhouse.subscriptions.service import checks
from meterhouse.subscriptions.spec import SubscriptionSpec, from_plan
from meterhouse.subscriptions.timing import NamedTiming, Timing
from meterhouse.subscriptions.views import CostBasisMode, SubscriptionView

_CUSTOM_PLAN_KEY = "custom"


@dataclass(frozen=True, slots=True)
class PlanChoice:
    """Which plan version: by id, or the active one of a key, which must have the `version` where one is named."""

    id: str | None = None
    key: str | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class CustomPlan:
    """A plan written for one subscription; it gets no key and is not kept."""

    name: str
    currency: str
    billing_cadence: Duration
    phases: tuple[PlanPhase, ...]
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    pro_rating_enabled: bool = True
    settlement_mode: SettlementMode = SettlementMode.CREDIT_THEN_INVOICE


@dataclass(frozen=True, slots=True)
class NewSubscription:
    """What a subscription is created from; what is None is taken from the plan.

    Attributes:
        plan: chosen by the customer, who gets an active version; or a version that the caller has checked.
        named_after_version: without a name, take "<plan key> v<version>" instead of the plan's name.
        billing_anchor: where billing periods are counted from, before or after the start; default: the start.
        starting_phase: key of the phase to begin with; the phases before it last no time.
        starting_phase_ends: when that phase ends, if it ever does; default: after its duration.
        starting_phase_began: whether it began before, in the subscription that this one follows; what its beginning
            costs once is not owed again.
    """

    customer_id: str
    plan: PlanChoice | CustomPlan | Plan
    timing: Timing = NamedTiming.IMMEDIATE
    name: str | None = None
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    settlement_mode: SettlementMode | None = None
    billing_anchor: datetime | None = None
    starting_phase: str | None = None
    starting_phase_ends: datetime | None = None
    starting_phase_began: bool = False
    named_after_version: bool = False
    cost_basis_mode: CostBasisMode = CostBasisMode.DYNAMIC


async def create(
    session: WriteSession, namespace: str, new: NewSubscription, *, credits_enabled: bool = True
) -> SubscriptionView:
    """Create a subscription that runs until it is canceled.

    Raises:
        NotFound: the customer or the plan does not exist.
        CustomerDeleted: the customer was deleted.
        InvalidInput: the plan is not active, the start has passed, the schedule breaks a rule, the customer is invoiced
            in another currency, or it would be `credit_only` where credits are off.
        Conflict: the customer has another subscription, or an entitlement to one of its features, at that time.
    """
    # In this order: what the deployment cannot serve is refused whoever the customer is (subscriptions section 4.5).
    plan = await _plan(session, namespace, new.plan)
    settlement_mode = new.settlement_mode or plan.settlement_mode
    require_credits(settlement_mode, enabled=credits_enabled)
    if settlement_mode is SettlementMode.CREDIT_ONLY and new.cost_basis_mode is CostBasisMode.PINNED:
        raise invalid("credits are not worth a pinned cost basis: the mode must be dynamic", field="$.cost_basis_mode")
    await lock(session, "customer", namespace, new.customer_id, "subscription")
    customer = await customers.get_live(session, namespace, new.customer_id)
    start = timing.start_of_new(new.timing)
    anchor = start if new.billing_anchor is None else within_reach(new.billing_anchor, "$.billing_anchor")
    spec = from_plan(
        plan,
        active_from=start,
        billing_anchor=anchor,
        starting_phase=new.starting_phase,
        starting_phase_ends=new.starting_phase_ends,
        starting_phase_began=new.starting_phase_began,
    )
    await checks.check(session, namespace, spec)
    checks.check_currency(customer, spec, "$.plan")
    await _check_alone(session, namespace, customer, start)
    row = _subscription(namespace, new, plan, spec)
    await _store(session, row, spec)
    await checks.settle_currency(session, customer, spec)
    (view,) = await repository.views(session, [row])
    await access.follow(session, view)
    return view


async def _plan(session: WriteSession, namespace: str, choice: PlanChoice | CustomPlan | Plan) -> Plan:
    if isinstance(choice, Plan):
        return choice
    if isinstance(choice, CustomPlan):
        return await _custom(session, namespace, choice)
    if choice.id is not None:
        plan = await plans.get(session, namespace, choice.id)
    elif choice.key is not None:
        plan = await _active(session, namespace, choice.key)
    else:
        raise invalid("a plan is named by id or by key", field="$.plan")
    if plan.deleted_at is not None:
        raise invalid(f"plan is deleted: {plan.key}", field="$.plan")
    if plans.status(plan, clock.now()) is not PlanStatus.ACTIVE:
        raise invalid(f"plan is not active: {plan.key} version {plan.version}", field="$.plan")
    if choice.version is not None and choice.version != plan.version:
        message = f"version {choice.version} of plan {plan.key} is not active, version {plan.version} is"
        raise invalid(message, field="$.plan.version")
    return plan


async def _active(session: WriteSession, namespace: str, key: str) -> Plan:
    try:
        return await plans.get_active(session, namespace, key)
    except NotFound:
        # A key that exists without an active version is a wrong request, an unknown key a missing plan.
        return await plans.get_by_id_or_key(session, namespace, key, include_latest=True)


async def _custom(session: WriteSession, namespace: str, custom: CustomPlan) -> Plan:
    now = clock.now()
    plan = Plan(
        id="",
        namespace=namespace,
        key=_CUSTOM_PLAN_KEY,
        version=1,
        name=custom.name,
        description=custom.description,
        metadata=custom.metadata,
        currency=custom.currency,
        billing_cadence=custom.billing_cadence,
        pro_rating_enabled=custom.pro_rating_enabled,
        settlement_mode=custom.settlement_mode,
        effective_from=None,
        effective_to=None,
        created_at=now,
        updated_at=now,
        deleted_at=None,
        phases=custom.phases,
    )
    plan = await plans.resolved(session, plan.with_cards(lambda _, card: completed(card)))
    issues = [issue.under("plan") for issue in await plans.issues(session, plan)]
    validation.block(issues)
    return plan


async def _check_alone(session: WriteSession, namespace: str, customer: Customer, start: datetime) -> None:
    # It has no end yet, so whatever has not ended when it begins, overlaps with it.
    others = await repository.not_ended(session, namespace, customer.id, start)
    if others:
        raise _not_alone(await repository.views(session, others), start)


def _not_alone(others: Sequence[SubscriptionView], start: datetime) -> Conflict:
    return uniqueness.refusal(others, f"the new one would run from {start.isoformat()} on", clock.now())


def _subscription(namespace: str, new: NewSubscription, plan: Plan, spec: SubscriptionSpec) -> SubscriptionRow:
    custom = isinstance(new.plan, CustomPlan)
    return SubscriptionRow(
        namespace=namespace,
        customer_id=new.customer_id,
        plan_id=None if custom else plan.id,
        plan_key=None if custom else plan.key,
        plan_version=None if custom else plan.version,
        name=new.name or (f"{plan.key} v{plan.version}" if new.named_after_version else plan.name),
        description=plan.description if custom else new.description,
        labels=dict(plan.metadata if custom else new.metadata),
        annotations={},
        currency=spec.currency,
        settlement_mode=str(new.settlement_mode or plan.settlement_mode),
        cost_basis_mode=str(new.cost_basis_mode),
        pro_rating_enabled=plan.pro_rating_enabled,
        billing_cadence=str(spec.billing_cadence),
        billing_anchor=spec.billing_anchor,
        active_from=spec.active_from,
        active_to=None,
    )


async def _store(session: WriteSession, row: SubscriptionRow, spec: SubscriptionSpec) -> None:
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        if violated(error) == ONE_AT_A_TIME:
            raise _not_alone([], row.active_from) from error
        raise
    await repository.insert_phases(session, row, spec.phases)
