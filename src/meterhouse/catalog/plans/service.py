"""What can be done with plans (catalog section 3).

Everything that changes a version of a key holds the key's lock, so versions are counted, drafts are single and at most
one version is active without a race.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from meterhouse.catalog import features, taxcodes
from meterhouse.catalog.cardrules import completed
from meterhouse.catalog.features import Feature
from meterhouse.catalog.plans import repository
from meterhouse.catalog.plans.plan import NewPlan, Plan, PlanContent
from meterhouse.catalog.plans.repository import PlanQuery
from meterhouse.catalog.plans.validation import block, feature_issues, plan_issues, with_features
from meterhouse.catalog.prices import TaxConfig
from meterhouse.catalog.settlement import require_credits
from meterhouse.catalog.versions import VersionStatus, card_path, status
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession, WriteSession, violated
from meterhouse.kernel.errors import Conflict, InvalidInput, Issue, NotFound
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.locks import lock
from meterhouse.kernel.pages import Page

# Refuses a plan that the caller's API could not show; called at the places that section 8.4 names.
Guard = Callable[[Plan], None]

_EDITABLE = (VersionStatus.DRAFT, VersionStatus.SCHEDULED)


def _any_plan(_: Plan) -> None:
    """Refuse nothing."""


def _not_found(what: str) -> NotFound:
    return NotFound(f"plan not found: {what}")


async def create(session: WriteSession, namespace: str, new: NewPlan, *, credits_enabled: bool = True) -> Plan:
    """Make the next version of a key, as a draft.

    Raises:
        InvalidPlan: the plan has critical issues.
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
    block(plan_issues(plan), critical_only=True)
    await _lock(session, namespace, new.key)
    plan = await _as_next_version(session, plan)
    plan = await resolved(session, plan)
    block(plan_issues(plan), critical_only=True)
    return await _stored(session, plan)


async def next_version(session: WriteSession, namespace: str, id_or_key: str, *, guard: Guard = _any_plan) -> Plan:
    """Copy a version, named by id, or the highest of a key, to a new draft of the key.

    Raises:
        NotFound: there is no such version.
        InvalidInput: the key has a draft already.
        InvalidPlan: the copied plan has issues, warnings included.
    """
    key = await repository.key_of(session, namespace, id_or_key)
    by_id = key is not None
    await _lock(session, namespace, key or id_or_key)
    find = repository.find if by_id else repository.find_latest
    source = await find(session, namespace, id_or_key)
    if source is None:
        raise _not_found(id_or_key)
    now = clock.now()
    copy = replace(
        source, id=new_id(), effective_from=None, effective_to=None, created_at=now, updated_at=now, deleted_at=None
    )
    copy = await _as_next_version(session, copy)
    guard(source)
    block(plan_issues(copy), critical_only=False)
    return await _stored(session, copy)


async def _as_next_version(session: ReadSession, plan: Plan) -> Plan:
    if await repository.has_draft(session, plan.namespace, plan.key):
        raise InvalidInput(f"only a single draft version is allowed for Plan: {plan.key}")
    return replace(plan, version=await repository.last_version(session, plan.namespace, plan.key) + 1)


async def _stored(session: WriteSession, plan: Plan) -> Plan:
    await repository.insert(session, plan)
    return plan


async def resolved(session: WriteSession, plan: Plan) -> Plan:
    """Return the plan with features and tax codes of its cards resolved (sections 2.5 and 6.6).

    The plan may be one that is not stored, such as a subscription's custom plan.

    Raises:
        InvalidPlan: a card names a feature that does not exist, or two different ones.
        InvalidInput: a card names a tax code that does not exist.
    """
    cards = [card for _, card in plan.placed_cards()]
    found = await features.named(
        session,
        plan.namespace,
        ids={card.feature_id for card in cards if card.feature_id is not None},
        keys={card.feature_key for card in cards if card.feature_key is not None},
    )
    plan = with_features(plan, [feature for feature in found if feature.archived_at is None])
    configs: dict[TaxConfig, TaxConfig] = {}
    for holder, card in plan.placed_cards():
        if card.tax_config is not None and card.tax_config not in configs:
            configs[card.tax_config] = await taxcodes.resolved(
                session, plan.namespace, card.tax_config, field=f"{card_path(holder, card)}.taxConfig"
            )
    return plan.with_cards(
        lambda _, card: (
            card.model_copy(update={"tax_config": configs[card.tax_config]}) if card.tax_config is not None else card
        )
    )


async def get(session: ReadSession, namespace: str, plan_id: str) -> Plan:
    """Return the version of that id, deleted or not.

    Raises:
        NotFound: there is none.
    """
    found = await repository.find(session, namespace, plan_id)
    if found is None:
        raise _not_found(plan_id)
    return found


async def get_active(session: ReadSession, namespace: str, key: str, at: datetime | None = None) -> Plan:
    """Return the version of the key that is active at `at` (default: now).

    Raises:
        NotFound: none is.
    """
    found = await repository.find_active(session, namespace, key, at or clock.now())
    if found is None:
        raise _not_found(key)
    return found


async def get_by_id_or_key(
    session: ReadSession, namespace: str, id_or_key: str, *, include_latest: bool = False
) -> Plan:
    """Return the version of that id, else the key's active one, or with `include_latest` its highest.

    Raises:
        NotFound: there is none.
    """
    found = await repository.find(session, namespace, id_or_key)
    if found is None and include_latest:
        found = await repository.find_latest(session, namespace, id_or_key)
    return found or await get_active(session, namespace, id_or_key)


async def list_plans(session: ReadSession, namespace: str, query: PlanQuery) -> Page[Plan]:
    """Return a page of plans."""
    return await repository.listed(session, namespace, query, clock.now())


async def issues(session: ReadSession, plan: Plan) -> list[Issue]:
    """Return what stands against the plan; for a draft also what would stand against publishing it now."""
    found = plan_issues(plan)
    if plan.effective_from is None:
        found += feature_issues(plan, _by_id(await features.named(session, plan.namespace, ids=_feature_ids(plan))))
    return found


def _by_id(found: list[Feature]) -> dict[str, Feature]:
    return {feature.id: feature for feature in found}


def _feature_ids(plan: Plan) -> set[str]:
    return {card.feature_id for _, card in plan.placed_cards() if card.feature_id is not None}


async def _lock(session: WriteSession, namespace: str, key: str) -> None:
    await lock(session, "catalog", "plan", namespace, key)


async def _locked(session: WriteSession, namespace: str, plan_id: str) -> Plan:
    key = await repository.key_of(session, namespace, plan_id)
    if key is None:
        raise _not_found(plan_id)
    await _lock(session, namespace, key)
    return await get(session, namespace, plan_id)


def _not_deleted(plan: Plan) -> None:
    if plan.deleted_at is not None:
        raise InvalidInput(f"plan is deleted [deletedAt={plan.deleted_at.isoformat()}]")


async def update(
    session: WriteSession,
    namespace: str,
    plan_id: str,
    content: PlanContent,
    *,
    guard: Guard = _any_plan,
    credits_enabled: bool = True,
) -> Plan:
    """Replace the content of a draft or scheduled version.

    Raises:
        NotFound: there is no such version.
        InvalidInput: it is deleted or has another status, a tax code does not exist, or it becomes `credit_only` where
            credits are off.
        InvalidPlan: the result has critical issues.
    """
    require_credits(content.settlement_mode, enabled=credits_enabled)
    stored = await _locked(session, namespace, plan_id)
    _not_deleted(stored)
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
    block(plan_issues(plan), critical_only=True)
    plan = await resolved(session, plan)
    block(plan_issues(plan), critical_only=True)
    guard(plan)
    await repository.save_content(session, plan)
    return plan


async def publish(session: WriteSession, namespace: str, plan_id: str, *, guard: Guard = _any_plan) -> Plan:
    """Make a draft or scheduled version active now; the version that was active until now is archived at this instant.

    Raises:
        NotFound: there is no such version.
        InvalidInput: it is deleted or has another status.
        InvalidPlan: it has issues, warnings included.
        Conflict: another version without an end is scheduled.
    """
    plan = await _locked(session, namespace, plan_id)
    guard(plan)
    _not_deleted(plan)
    now = clock.now()
    if status(plan, now) not in _EDITABLE:
        raise InvalidInput(
            f"only Plans in [draft scheduled] can be published/rescheduled, but it has {status(plan, now)} state"
        )
    held = await features.held(session, namespace, _feature_ids(plan))
    block([*plan_issues(plan), *feature_issues(plan, _by_id(held))], critical_only=False)
    active = await repository.find_active(session, namespace, plan.key, now)
    if active is not None:
        guard(active)
        await repository.save(session, replace(active, effective_to=now, updated_at=now))
    plan = replace(plan, effective_from=now, effective_to=None, updated_at=now)
    try:
        await repository.save(session, plan)
    except IntegrityError as error:
        if violated(error) != "uq_plans_open_ended":
            raise
        raise Conflict(f"another version of plan {plan.key} is scheduled without an end") from None
    return plan


async def archive(session: WriteSession, namespace: str, plan_id: str, *, guard: Guard = _any_plan) -> Plan:
    """End an active version now. Subscriptions made from it go on.

    Raises:
        NotFound: there is no such version.
        InvalidInput: it is deleted or not active.
    """
    plan = await _locked(session, namespace, plan_id)
    guard(plan)
    _not_deleted(plan)
    now = clock.now()
    if status(plan, now) is not VersionStatus.ACTIVE:
        raise InvalidInput(f"only Plans in [active] can be archived, but it is in {status(plan, now)} state")
    plan = replace(plan, effective_to=now, updated_at=now)
    await repository.save(session, plan)
    return plan


async def delete(session: WriteSession, namespace: str, plan_id: str) -> None:
    """Hide a version that is not active. Deleting it again changes nothing.

    Raises:
        NotFound: there is no such version.
        InvalidInput: it is active.
    """
    plan = await _locked(session, namespace, plan_id)
    if plan.deleted_at is not None:
        return
    now = clock.now()
    if status(plan, now) is VersionStatus.ACTIVE:
        raise InvalidInput("only Plans in [archived scheduled draft] can be deleted, but it has active state")
    await repository.save(session, replace(plan, deleted_at=now, updated_at=now))


async def feature_use(session: ReadSession, namespace: str, feature: Feature) -> str | None:
    """Tell which published plan sells the feature; see `catalog.features.FeatureUse`."""
    key = await repository.selling(session, namespace, feature_id=feature.id, feature_key=feature.key, at=clock.now())
    return f"plan {key} uses it" if key is not None else None
