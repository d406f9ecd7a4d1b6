"""What can be done with add-ons (catalog section 4)."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from meterhouse.catalog.addons.addon import Addon, AddonContent, AddonStatus, NewAddon, status
from meterhouse.catalog.addons.repository import STORE
from meterhouse.catalog.addons.validation import addon_issues, publish_issues
from meterhouse.catalog.cardrules import completed
from meterhouse.catalog.versions import lifecycle
from meterhouse.catalog.versions.lifecycle import Guard, Lifecycle, anything
from meterhouse.catalog.versions.rules import block
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import InvalidInput, Issue
from meterhouse.kernel.ids import new_id

# Tells why an add-on version is still needed, or None: `planaddons.addon_use`, which stands above.
AddonUse = Callable[[ReadSession, Addon], Awaitable[str | None]]

LIFECYCLE = Lifecycle(STORE)

_NOUN = "add-on"

get = LIFECYCLE.get
locked = LIFECYCLE.locked
get_many = LIFECYCLE.get_many
get_active = LIFECYCLE.get_active
get_by_id_or_key = LIFECYCLE.get_by_id_or_key
list_addons = LIFECYCLE.listed


async def create(session: WriteSession, namespace: str, new: NewAddon) -> Addon:
    """Make the next version of a key, as a draft.

    Raises:
        InvalidVersion: the add-on has critical issues.
        InvalidInput: the key has a draft already, or a tax code does not exist.
    """
    now = clock.now()
    addon = Addon(
        id=new_id(),
        namespace=namespace,
        key=new.key,
        version=1,
        name=new.name,
        description=new.description,
        metadata=new.metadata,
        currency=new.currency,
        effective_from=None,
        effective_to=None,
        created_at=now,
        updated_at=now,
        deleted_at=None,
        instance_type=new.instance_type,
        rate_cards=new.rate_cards,
    ).with_cards(lambda _, card: completed(card))
    await _refuse_critical(session, addon)
    await LIFECYCLE.lock_key(session, namespace, new.key)
    addon = await LIFECYCLE.numbered(session, addon)
    addon = await lifecycle.resolved(session, _NOUN, addon)
    await _refuse_critical(session, addon)
    await STORE.insert(session, addon)
    return addon


async def _refuse_critical(session: ReadSession, addon: Addon) -> None:
    custom = await lifecycle.custom_currencies(session, addon.namespace, [addon])
    block(_NOUN, addon_issues(addon, custom), critical_only=True)


async def issues(session: ReadSession, addon: Addon) -> list[Issue]:
    """Return what stands against the add-on; for a draft also what its features would keep from being published."""
    (found,) = await listed_issues(session, addon.namespace, [addon])
    if addon.effective_from is None:
        found += await lifecycle.feature_issues(session, addon)
    return found


async def listed_issues(session: ReadSession, namespace: str, addons: Sequence[Addon]) -> list[list[Issue]]:
    """Return what stands against each of the add-ons by itself, in a fixed number of queries."""
    custom = await lifecycle.custom_currencies(session, namespace, addons)
    return [addon_issues(addon, custom) for addon in addons]


def deletion(addon: Addon) -> list[str]:
    """Return that an add-on is deleted, in the words that clients match on, or nothing where it is not."""
    return lifecycle.deletion("add-on", "deleted_at", addon)


def _status_issues(
    addon: Addon, allowed: Sequence[AddonStatus], verb: str, code: str = "addon_invalid_status"
) -> list[Issue]:
    found = status(addon, clock.now())
    if found in allowed:
        return []
    message = f"only add-ons in [{' '.join(allowed)}] can be {verb}, but it has {found} state"
    return [Issue(code, message, "$.status")]


async def update(
    session: WriteSession, namespace: str, addon_id: str, content: AddonContent, *, guard: Guard = anything
) -> Addon:
    """Replace the content of a draft.

    Raises:
        NotFound: there is no such version.
        InvalidInput: it is deleted, or a tax code does not exist.
        InvalidVersion: it has another status, or the result has critical issues.
    """
    stored = await LIFECYCLE.locked(session, namespace, addon_id)
    lifecycle.refuse(deletion(stored))
    guard(stored)
    block(_NOUN, _status_issues(stored, [AddonStatus.DRAFT], "updated"), critical_only=True)
    addon = replace(
        stored,
        name=content.name,
        description=stored.description if content.description is None else content.description,
        metadata=stored.metadata if content.metadata is None else content.metadata,
        instance_type=content.instance_type,
        rate_cards=content.rate_cards,
        updated_at=clock.now(),
    ).with_cards(lambda _, card: completed(card))
    await _refuse_critical(session, addon)
    addon = await lifecycle.resolved(session, _NOUN, addon)
    await _refuse_critical(session, addon)
    guard(addon)
    await STORE.save_content(session, addon)
    return addon


async def publish(session: WriteSession, namespace: str, addon_id: str, *, guard: Guard = anything) -> Addon:
    """Make a draft active now; the version that was active until now is archived at this instant.

    Raises:
        NotFound: there is no such version.
        InvalidInput: it is deleted.
        InvalidVersion: it is no draft or has issues, warnings included.
    """
    addon = await LIFECYCLE.locked(session, namespace, addon_id)
    lifecycle.refuse(deletion(addon))
    guard(addon)
    found = _status_issues(addon, [AddonStatus.DRAFT], "published", "addon_invalid_status_for_publish")
    (by_itself,) = await listed_issues(session, namespace, [addon])
    found += by_itself
    found += publish_issues(addon)
    found += await lifecycle.held_feature_issues(session, addon)
    block(_NOUN, found, critical_only=False)
    return await LIFECYCLE.activate(session, addon, guard=guard)


async def archive(session: WriteSession, namespace: str, addon_id: str, *, guard: Guard = anything) -> Addon:
    """End an active version now. Subscriptions that have it go on.

    Raises:
        NotFound: there is no such version.
        InvalidInput: it is deleted.
        InvalidVersion: it is not active.
    """
    addon = await LIFECYCLE.locked(session, namespace, addon_id)
    lifecycle.refuse(deletion(addon))
    guard(addon)
    block(_NOUN, _status_issues(addon, [AddonStatus.ACTIVE], "archived"), critical_only=True)
    now = clock.now()
    addon = replace(addon, effective_to=now, updated_at=now)
    await STORE.save(session, addon)
    return addon


async def delete(session: WriteSession, namespace: str, addon_id: str, *, use: AddonUse) -> None:
    """Hide a version that is not active and that no plan has. Deleting it again changes nothing.

    Raises:
        NotFound: there is no such version.
        InvalidInput: a plan has it.
        InvalidVersion: it is active.
    """
    addon = await LIFECYCLE.locked(session, namespace, addon_id)
    if addon.deleted_at is not None:
        return
    reason = await use(session, addon)
    if reason is not None:
        raise InvalidInput(f"add-on {addon.key} cannot be deleted: {reason}")
    deletable = [AddonStatus.ARCHIVED, AddonStatus.DRAFT]
    block(_NOUN, _status_issues(addon, deletable, "deleted"), critical_only=True)
    now = clock.now()
    await STORE.save(session, replace(addon, deleted_at=now, updated_at=now))
