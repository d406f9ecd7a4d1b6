"""Buying add-ons for a subscription and changing how many it has (subscriptions section 12).

A change takes the schedule without add-ons, lays all of them over it anew, and gives the subscription the schedule that
comes out, like an edit does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from meterhouse.catalog import addons, planaddons
from meterhouse.catalog.planaddons import PlanAddon
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import Conflict, NotFound, invalid
from meterhouse.kernel.pages import Page, PageRequest
from meterhouse.subscriptions import timing
from meterhouse.subscriptions.addons import baseline, repository, rules
from meterhouse.subscriptions.addons.instances import QuantityChange
from meterhouse.subscriptions.addons.models import SubscriptionAddonRow
from meterhouse.subscriptions.addons.overlay import overlay
from meterhouse.subscriptions.addons.purchase import Purchase
from meterhouse.subscriptions.addons.repository import OLDEST_FIRST
from meterhouse.subscriptions.models import SubscriptionRow
from meterhouse.subscriptions.service.read import load
from meterhouse.subscriptions.service.update import locked, update
from meterhouse.subscriptions.spec import SubscriptionSpec, of_view
from meterhouse.subscriptions.status import Command, require
from meterhouse.subscriptions.timing import Timing
from meterhouse.subscriptions.views import SubscriptionView


@dataclass(frozen=True, slots=True)
class NewPurchase:
    """Which add-on version to take, how many, and from when on."""

    addon_id: str
    quantity: int
    timing: Timing
    metadata: Mapping[str, str] = field(default_factory=dict)


async def buy(
    session: WriteSession, namespace: str, subscription_id: str, new: NewPurchase, *, or_change: bool = False
) -> Purchase:
    """Take an add-on; with `or_change` one that the subscription has already only changes its quantity.

    Raises:
        NotFound: no such subscription or add-on.
        Forbidden: the subscription is not active.
        InvalidInput: the plan does not offer the add-on then, or not so many, or it does not fit the schedule.
        Conflict: the subscription has it already, be it none of them any more.
    """
    row, view = await locked(session, namespace, subscription_id)
    require(view, Command.CHANGE_ADDONS, clock.now())
    addon = await addons.get(session, namespace, new.addon_id)
    link = await _link(session, view, addon.id)
    had = await _of(session, view)
    found = next((one for one in had if one.addon_id == addon.id), None)
    if found is not None and not or_change:
        change = f"PATCH /api/v3/meterhouse/subscriptions/{view.id}/addons/{found.id}"
        raise Conflict(f"the subscription has add-on {addon.key} already: {found.id}; {change} changes its quantity")
    purchase = found or SubscriptionAddonRow(
        namespace=namespace, subscription_id=view.id, addon_id=addon.id, labels=dict(new.metadata)
    )
    return await _set(session, row, view, link, purchase, new.quantity, new.timing, first=found is None)


async def change_quantity(
    session: WriteSession, namespace: str, subscription_id: str, purchase_id: str, quantity: int, timing_: Timing
) -> Purchase:
    """Set how many of an add-on the subscription has from an instant on; 0 removes it.

    Raises:
        NotFound: no such subscription, or it never had the add-on.
        Forbidden: the subscription is not active.
        InvalidInput: the plan does not offer so many, or not then.
    """
    row, view = await locked(session, namespace, subscription_id)
    found = await _find(session, namespace, purchase_id)
    if found.subscription_id != view.id:
        raise _not_found(purchase_id)
    require(view, Command.CHANGE_ADDONS, clock.now())
    link = await _link(session, view, found.addon_id)
    return await _set(session, row, view, link, found, quantity, timing_)


async def get(
    session: ReadSession, namespace: str, purchase_id: str, *, subscription_id: str | None = None
) -> Purchase:
    """Return an add-on of a subscription, of that one where it is named.

    Raises:
        NotFound: there is none.
    """
    row = await _find(session, namespace, purchase_id)
    if subscription_id not in (None, row.subscription_id):
        raise _not_found(purchase_id)
    view = await load(session, namespace, row.subscription_id)
    (found,) = await _purchases(session, view, [row])
    return found


async def list_purchases(
    session: ReadSession,
    namespace: str,
    subscription_id: str,
    *,
    sorts: Sequence[Sort] = OLDEST_FIRST,
    page: PageRequest | None = None,
) -> Page[Purchase]:
    """Return a page of a subscription's add-ons, or all on one page of number and size 0.

    Raises:
        NotFound: no such subscription.
    """
    view = await load(session, namespace, subscription_id)
    rows, total = await repository.listed(session, namespace, subscription_id, sorts, page)
    return Page(await _purchases(session, view, rows), total, page or PageRequest(0, 0))


async def _find(session: ReadSession, namespace: str, purchase_id: str) -> SubscriptionAddonRow:
    row = await repository.find(session, namespace, purchase_id)
    if row is None:
        raise _not_found(purchase_id)
    return row


def _not_found(purchase_id: str) -> NotFound:
    return NotFound(f"subscription add-on not found: {purchase_id}")


async def _link(session: ReadSession, view: SubscriptionView, addon_id: str) -> PlanAddon:
    if view.plan is None:
        raise invalid("a subscription to a plan of its own cannot have add-ons", field="$.addon.id")
    links = await planaddons.for_plan(session, view.namespace, view.plan.id)
    link = next((one for one in links if one.addon.id == addon_id), None)
    if link is None:
        message = f"the add-on is not linked to version {view.plan.version} of plan {view.plan.key}"
        raise invalid(message, field="$.addon.id")
    return link


async def _of(session: ReadSession, view: SubscriptionView) -> Sequence[SubscriptionAddonRow]:
    rows, _ = await repository.listed(session, view.namespace, view.id, OLDEST_FIRST, None)
    return rows


async def _purchases(
    session: ReadSession, view: SubscriptionView, rows: Sequence[SubscriptionAddonRow]
) -> list[Purchase]:
    timelines = await repository.timelines(session, [row.id for row in rows])
    versions = await addons.get_many(session, view.namespace, [row.addon_id for row in rows])
    return [
        Purchase(
            id=row.id,
            subscription=view,
            addon=versions[row.addon_id],
            metadata=row.labels,
            timeline=timelines[row.id],
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
        for row in rows
    ]


async def _base(session: WriteSession, view: SubscriptionView) -> SubscriptionSpec:
    """Return the schedule without the add-ons that there are so far.

    Without any it is the schedule as it stands, which is kept from then on: while there are add-ons nothing else
    changes the items.
    """
    spec = of_view(view)
    if await repository.giving(session, view.namespace, view.id):
        return baseline.without_addons(spec, await repository.base_items(session, view.namespace, view.id))
    await repository.keep_base_items(session, view.namespace, view.id, baseline.written(spec))
    return spec


async def _set(
    session: WriteSession,
    row: SubscriptionRow,
    view: SubscriptionView,
    link: PlanAddon,
    purchase: SubscriptionAddonRow,
    quantity: int,
    timing_: Timing,
    *,
    first: bool = False,
) -> Purchase:
    """Store a quantity, of a purchase that is stored with it where it is the first, and lay all add-ons anew."""
    rules.check_quantity(link, quantity, first=first)
    at = timing.of_quantity(view, timing_)
    rules.check_phase(view, link, at)
    base = await _base(session, view)
    await repository.set_quantity(session, purchase, QuantityChange(at, quantity))
    purchases = await _purchases(session, view, await _of(session, view))
    wanted = overlay(base, [one.layer() for one in purchases])
    updated = await update(session, row, view, wanted)
    (found,) = await _purchases(session, updated, [purchase])
    return found
