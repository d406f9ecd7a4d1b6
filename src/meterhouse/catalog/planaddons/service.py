"""What can be done with plan add-ons (catalog section 5).

An assignment changes under the lock of its plan's key, so none changes while the plan is being published.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy.exc import IntegrityError

from meterhouse.catalog import addons
from meterhouse.catalog.addons import service as addon_service
from meterhouse.catalog.addons.addon import Addon, AddonStatus
from meterhouse.catalog.planaddons import compatibility, reading, repository
from meterhouse.catalog.planaddons.planaddon import NewPlanAddon, PlanAddon, PlanAddonContent
from meterhouse.catalog.planaddons.repository import PlanAddonQuery
from meterhouse.catalog.plans import service as plan_service
from meterhouse.catalog.plans.plan import Plan
from meterhouse.catalog.versions import VersionStatus, lifecycle, status
from meterhouse.catalog.versions.lifecycle import Guard, anything
from meterhouse.catalog.versions.rules import block
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession, WriteSession, violated
from meterhouse.kernel.errors import Conflict, NotFound
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.pages import Page

_NOUN = "plan add-on"
_PLAN_STATUSES = (VersionStatus.DRAFT, VersionStatus.SCHEDULED)


def _not_found(what: str) -> NotFound:
    return NotFound(f"plan add-on not found: {what}")


def _status_fault(found: str, allowed: Sequence[str]) -> list[str]:
    # Clients match on these words.
    return [] if found in allowed else [f"invalid {found} status, allowed statuses: [{' '.join(allowed)}]"]


def _require_changeable(plan: Plan) -> None:
    lifecycle.refuse(plan_service.deletion(plan) + _status_fault(status(plan, clock.now()), _PLAN_STATUSES))


def _require_active(addon: Addon) -> None:
    found = addons.status(addon, clock.now())
    lifecycle.refuse(addon_service.deletion(addon) + _status_fault(found, [AddonStatus.ACTIVE]))


async def create(
    session: WriteSession, namespace: str, plan_id: str, new: NewPlanAddon, *, guard: Guard = anything
) -> PlanAddon:
    """Assign an add-on version to a plan version.

    Raises:
        NotFound: there is no such plan or add-on.
        Conflict: the plan has the add-on already.
        InvalidInput: the plan cannot be changed any more, or the add-on is not active.
        InvalidVersion: a price of the add-on has a currency that the plan cannot have; other issues are only listed.
    """
    # Held too, so that the add-on is not deleted meanwhile; locks are taken in the order of their names.
    addon = await addon_service.LIFECYCLE.locked(session, namespace, new.addon_id)
    plan = await plan_service.LIFECYCLE.locked(session, namespace, plan_id)
    if await repository.find_by_addon(session, namespace, plan.id, addon.id) is not None:
        raise _taken(plan, addon)
    _require_changeable(plan)
    _require_active(addon)
    guard(plan)
    guard(addon)
    now = clock.now()
    assignment = PlanAddon(
        id=new_id(),
        namespace=namespace,
        plan_id=plan.id,
        addon=addon,
        from_plan_phase=new.from_plan_phase,
        max_quantity=new.max_quantity,
        name=new.name,
        description=new.description,
        metadata=new.metadata,
        annotations=new.annotations,
        created_at=now,
        updated_at=now,
        deleted_at=None,
    )
    worth = await reading.worth(session, plan, [assignment])
    block(_NOUN, compatibility.currency_issues(plan, assignment, worth), critical_only=False)
    try:
        await repository.insert(session, assignment)
    except IntegrityError as error:
        if violated(error) != "uq_plan_addons_live":
            raise
        raise _taken(plan, addon) from None
    return assignment


def _taken(plan: Plan, addon: Addon) -> Conflict:
    return Conflict(f"plan {plan.key} version {plan.version} already has add-on {addon.key} version {addon.version}")


async def get(session: ReadSession, namespace: str, plan_id: str, plan_addon_id: str) -> PlanAddon:
    """Return an assignment of a plan, deleted or not.

    Raises:
        NotFound: the plan has no such assignment.
    """
    found = await repository.find(session, namespace, plan_addon_id)
    if found is None or found.plan_id != plan_id:
        raise _not_found(plan_addon_id)
    return found


async def get_by_addon(session: ReadSession, namespace: str, plan_id: str, addon_id_or_key: str) -> PlanAddon:
    """Return a plan's live assignment of an add-on version, or of the highest version of a key that the plan has.

    Raises:
        NotFound: the plan has no such add-on.
    """
    found = await repository.find_by_addon(session, namespace, plan_id, addon_id_or_key)
    if found is None:
        raise _not_found(addon_id_or_key)
    return found


async def list_plan_addons(
    session: ReadSession, namespace: str, plan_id: str, query: PlanAddonQuery
) -> Page[PlanAddon]:
    """Return a page of the assignments of a plan."""
    return await repository.listed(session, namespace, plan_id, query)


async def update(
    session: WriteSession,
    namespace: str,
    plan_id: str,
    plan_addon_id: str,
    content: PlanAddonContent,
    *,
    guard: Guard = anything,
) -> PlanAddon:
    """Replace what an assignment says.

    Raises:
        NotFound: the plan has no such live assignment.
        InvalidInput: the plan cannot be changed any more.
        InvalidVersion: the add-on does not go with the plan; every issue refuses.
    """
    plan = await plan_service.LIFECYCLE.locked(session, namespace, plan_id)
    stored = await get(session, namespace, plan_id, plan_addon_id)
    if stored.deleted_at is not None:
        raise _not_found(plan_addon_id)
    _require_changeable(plan)
    guard(plan)
    guard(stored.addon)
    assignment = replace(
        stored,
        from_plan_phase=content.from_plan_phase,
        max_quantity=content.max_quantity,
        name=stored.name if content.name is None else content.name,
        description=stored.description if content.description is None else content.description,
        metadata=stored.metadata if content.metadata is None else content.metadata,
        updated_at=clock.now(),
    )
    (found,) = await reading.issues(session, plan, [assignment])
    block(_NOUN, found, critical_only=False)
    await repository.save(session, assignment)
    return assignment


async def delete(session: WriteSession, namespace: str, plan_id: str, plan_addon_id: str) -> None:
    """Take an add-on from a plan. Deleting an assignment again changes nothing.

    Raises:
        NotFound: the plan has no such assignment.
        InvalidInput: the plan cannot be changed any more.
    """
    plan = await plan_service.LIFECYCLE.locked(session, namespace, plan_id)
    stored = await get(session, namespace, plan_id, plan_addon_id)
    if stored.deleted_at is not None:
        return
    _require_changeable(plan)
    now = clock.now()
    await repository.save(session, replace(stored, deleted_at=now, updated_at=now))
