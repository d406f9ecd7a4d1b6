"""What can be done with plans (catalog section 3)."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from meterhouse.catalog import currencies
from meterhouse.catalog.cardrules import completed
from meterhouse.catalog.features import Feature
from meterhouse.catalog.plans import repository
from meterhouse.catalog.plans.plan import NewPlan, Plan, PlanContent
from meterhouse.catalog.plans.repository import STORE
from meterhouse.catalog.plans.validation import cost_basis_issues, needs_cost_basis, plan_issues
from meterhouse.catalog.settlement import require_credits
from meterhouse.catalog.versions import VersionStatus, lifecycle, status
from meterhouse.catalog.versions.lifecycle import Guard, Lifecycle, anything
from meterhouse.catalog.versions.rules import block
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import InvalidInput, Issue
from meterhouse.kernel.ids import new_id

# Tells what of a plan's surroundings keeps it from being published: `planaddons.publish_issues`, which stands above.
PublishCheck = Callable[[ReadSession, Plan], Awaitable[list[Issue]]]

LIFECYCLE = Lifecycle(STORE)

_NOUN = "plan"
_EDITABLE = (VersionStatus.DRAFT, VersionStatus.SCHEDULED)

get = LIFECYCLE.get
locked = LIFECYCLE.locked
get_active = LIFECYCLE.get_active
get_by_id_or_key = LIFECYCLE.get_by_id_or_key
list_plans = LIFECYCLE.listed


async def create(session: WriteSession, namespace: str, new: NewPlan, *, credits_enabled: bool = True) -> Plan:
    """Make the next version of a key, as a draft.

    Raises:
        InvalidVersion: the plan has critical issues.
        InvalidInput: the key has a draft already, a tax code does not exist, or the plan is `credit_only` where
            credits are off.
    """
    require_credits(new.settlement_mode, enabled=credits_enabled)
    now = clock.now()
    plan = Plan(
        id=new_id(),
        namespace=namespace,
        key=new.key,
        version=1,
        name=new.name,
        description=new.description,
        metadata=new.metadata,
        currency=new.currency,
        billing_cadence=new.billing_cadence,
        pro_rating_enabled=new.pro_rating_enabled,
        settlement_mode=new.settlement_mode,
        effective_from=None,
        effective_to=None,
        created_at=now,
        updated_at=now,
        deleted_at=None,
        phases=new.phases,
    ).with_cards(lambda _, card: completed(card))
    await _refuse_critical(session, plan)
    await LIFECYCLE.lock_key(session, namespace, new.key)
    plan = await LIFECYCLE.numbered(session, plan)
    plan = await resolved(session, plan)
    await _refuse_critical(session, plan)
    await STORE.insert(session, plan)
    return plan


async def _refuse_critical(session: ReadSession, plan: Plan) -> None:
    custom = await lifecycle.custom_currencies(session, plan.namespace, [plan])
    block(_NOUN, plan_issues(plan, custom), critical_only=True)


async def resolved(session: WriteSession, plan: Plan) -> Plan:
    """Return the plan with features and tax codes of its cards resolved (sections 2.5 and 6.6).

    The plan may be one that is not stored, such as a subscription's custom plan.

    Raises:
        InvalidVersion: a card names a feature that does not exist, or two different ones.
        InvalidInput: a card names a tax code that does not exist.
    """
    return await lifecycle.resolved(session, _NOUN, plan)


async def next_version(session: WriteSession, namespace: str, id_or_key: str, *, guard: Guard = anything) -> Plan:
    """Copy a version, named by id, or the highest of a key, to a new draft of the key. Plan add-ons are not copied.

    Raises:
        NotFound: there is no such version.
        InvalidInput: the key has a draft already, or a tax code of the source was deleted.
        InvalidVersion: the copied plan has issues, warnings included.
    """
    key = await STORE.key_of(session, namespace, id_or_key)
    by_id = key is not None
    await LIFECYCLE.lock_key(session, namespace, key or id_or_key)
    find = STORE.find if by_id else STORE.find_latest
    source = await find(session, namespace, id_or_key)
    if source is None:
        raise LIFECYCLE.not_found(id_or_key)
    now = clock.now()
    copy = replace(
        source, id=new_id(), effective_from=None, effective_to=None, created_at=now, updated_at=now, deleted_at=None
    )
    copy = await LIFECYCLE.numbered(session, copy)
    guard(source)
    custom = await lifecycle.custom_currencies(session, namespace, [copy])
    block(_NOUN, plan_issues(copy, custom), critical_only=False)
    copy = await lifecycle.taxed(session, copy)
    await STORE.insert(session, copy)
    return copy


async def issues(session: ReadSession, plan: Plan) -> list[Issue]:
    """Return what stands against the plan; for a draft also what would stand against publishing it now."""
    (found,) = await listed_issues(session, plan.namespace, [plan])
    if plan.effective_from is None:
        found += await lifecycle.feature_issues(session, plan)
        found += await _cost_basis_issues(session, plan)
    return found


async def listed_issues(session: ReadSession, namespace: str, plans: Sequence[Plan]) -> list[list[Issue]]:
    """Return what stands against each of the plans by itself, in a fixed number of queries."""
    custom = await lifecycle.custom_currencies(session, namespace, plans)
    return [plan_issues(plan, custom) for plan in plans]


async def _cost_basis_issues(session: ReadSession, plan: Plan) -> list[Issue]:
    codes = {code for _, card in plan.placed_cards() for code in needs_cost_basis(plan, card.currency)}
    worth = await currencies.with_cost_basis(session, plan.namespace, codes, plan.currency, clock.now())
    return cost_basis_issues(plan, worth)


def deletion(plan: Plan) -> list[str]:
    """Return that a plan is deleted, in the words that clients match on, or nothing where it is not."""
    return lifecycle.deletion("plan", "deletedAt", plan)


async def update(
    session: WriteSession,
    namespace: str,
    plan_id: str,
    content: PlanContent,
    *,
    guard: Guard = anything,
    credits_enabled: bool = True,
) -> Plan:
    """Replace the content of a draft or scheduled version.

    Raises:
        NotFound: there is no such version.
        InvalidInput: it is deleted or has another status, a tax code does not exist, or it becomes `credit_only` where
            credits are off.
        InvalidVersion: the result has critical issues.
    """
    require_credits(content.settlement_mode, enabled=credits_enabled)
    stored = await LIFECYCLE.locked(session, namespace, plan_id)
    lifecycle.refuse(deletion(stored))
    now = clock.now()
    if status(stored, now) not in _EDITABLE:
        raise InvalidInput(f"only Plans in [draft scheduled] can be updated, but it has {status(stored, now)} state")
    guard(stored)
    plan = replace(
        stored,
        name=content.name,
        description=stored.description if content.description is None else content.description,
        metadata=stored.metadata if content.metadata is None else content.metadata,
        billing_cadence=content.billing_cadence or stored.billing_cadence,
        pro_rating_enabled=content.pro_rating_enabled,
        settlement_mode=content.settlement_mode or stored.settlement_mode,
        phases=content.phases,
        updated_at=now,
    ).with_cards(lambda _, card: completed(card))
    await _refuse_critical(session, plan)
    plan = await resolved(session, plan)
    await _refuse_critical(session, plan)
    guard(plan)
    await STORE.save_content(session, plan)
    return plan


async def publish(
    session: WriteSession, namespace: str, plan_id: str, *, check: PublishCheck, guard: Guard = anything
) -> Plan:
    """Make a draft or scheduled version active now; the version that was active until now is archived at this instant.

    Raises:
        NotFound: there is no such version.
        InvalidInput: it is deleted or has another status.
        InvalidVersion: it has issues, warnings included, or one of its add-ons cannot be taken with it.
        Conflict: another version without an end is scheduled.
    """
    plan = await LIFECYCLE.locked(session, namespace, plan_id)
    guard(plan)
    lifecycle.refuse(deletion(plan))
    now = clock.now()
    if status(plan, now) not in _EDITABLE:
        raise InvalidInput(
            f"only Plans in [draft scheduled] can be published/rescheduled, but it has {status(plan, now)} state"
        )
    (found,) = await listed_issues(session, namespace, [plan])
    found += await lifecycle.held_feature_issues(session, plan)
    found += await _cost_basis_issues(session, plan)
    found += await check(session, plan)
    block(_NOUN, found, critical_only=False)
    return await LIFECYCLE.activate(session, plan, guard=guard)


async def archive(session: WriteSession, namespace: str, plan_id: str, *, guard: Guard = anything) -> Plan:
    """End an active version now. Subscriptions made from it go on.

    Raises:
        NotFound: there is no such version.
        InvalidInput: it is deleted or not active.
    """
    plan = await LIFECYCLE.locked(session, namespace, plan_id)
    guard(plan)
    lifecycle.refuse(deletion(plan))
    now = clock.now()
    if status(plan, now) is not VersionStatus.ACTIVE:
        raise InvalidInput(f"only Plans in [active] can be archived, but it is in {status(plan, now)} state")
    plan = replace(plan, effective_to=now, updated_at=now)
    await STORE.save(session, plan)
    return plan


async def delete(session: WriteSession, namespace: str, plan_id: str) -> None:
    """Hide a version that is not active. Deleting it again changes nothing.

    Raises:
        NotFound: there is no such version.
        InvalidInput: it is active.
    """
    plan = await LIFECYCLE.locked(session, namespace, plan_id)
    if plan.deleted_at is not None:
        return
    now = clock.now()
    if status(plan, now) is VersionStatus.ACTIVE:
        raise InvalidInput("only Plans in [archived scheduled draft] can be deleted, but it has active state")
    await STORE.save(session, replace(plan, deleted_at=now, updated_at=now))


async def feature_use(session: ReadSession, namespace: str, feature: Feature) -> str | None:
    """Tell which published plan sells the feature; see `catalog.features.FeatureUse`."""
    key = await repository.selling(session, namespace, feature_id=feature.id, feature_key=feature.key, at=clock.now())
    return f"plan {key} uses it" if key is not None else None
