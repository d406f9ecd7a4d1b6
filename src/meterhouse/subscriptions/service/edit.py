"""Editing a running subscription (subscriptions section 7)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from meterhouse.catalog import taxcodes
from meterhouse.catalog.cardrules import completed
from meterhouse.catalog.ratecards import RateCard
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import DomainError, Forbidden, Issue
from meterhouse.kernel.ids import new_id
from meterhouse.subscriptions import patches, timing, validation
from meterhouse.subscriptions.addons import repository as purchases
from meterhouse.subscriptions.patches import AddItem, Patch
from meterhouse.subscriptions.service import checks
from meterhouse.subscriptions.service.update import locked, update
from meterhouse.subscriptions.spec import PATCH_ID, SubscriptionSpec, of_view, sold_item
from meterhouse.subscriptions.status import Command, require
from meterhouse.subscriptions.timing import Timing
from meterhouse.subscriptions.views import SubscriptionView


async def edit(
    session: WriteSession, namespace: str, subscription_id: str, wishes: Sequence[Patch], timing_: Timing
) -> SubscriptionView:
    """Apply patches in order, all or none, as of the instant that `timing_` names.

    An `AddItem` needs the rate card alone in its item; the rest of the item is made here.

    Raises:
        NotFound: no such subscription.
        Forbidden: it is not active, has add-ons at any time, or a patch reaches what is past.
        InvalidSchedule: a new rate card or the schedule that comes out breaks rules.
        InvalidInput: a patch names what does not exist, or the timing is not possible.
        Conflict: a patch collides with what is scheduled.
    """
    row, view = await locked(session, namespace, subscription_id)
    require(view, Command.UPDATE, clock.now())
    if await purchases.giving(session, namespace, subscription_id):
        # What add-ons are laid over must stay as it is.
        raise Forbidden("subscription with addons cannot be edited")
    prepared = await _prepared(session, namespace, view, wishes)
    at = timing.of_edit(view, timing_)
    spec = of_view(view)
    for index, patch in enumerate(prepared):
        spec = _applied(spec, patch, index, at)
        validation.block(validation.schedule_issues(spec, complete=False))
    return await update(session, row, view, spec)


def _applied(spec: SubscriptionSpec, patch: Patch, index: int, at: datetime) -> SubscriptionSpec:
    try:
        return patches.apply(spec, patch, at)
    except DomainError as error:
        error.issues = tuple(issue.under(f"customizations[{index}]") for issue in error.issues)
        raise


async def _prepared(
    session: WriteSession, namespace: str, view: SubscriptionView, wishes: Sequence[Patch]
) -> list[Patch]:
    """Return the patches with their rate cards resolved and completed; all of their issues stand in one answer."""
    cards = [wish.item.rate_card for wish in wishes if isinstance(wish, AddItem)]
    keys = {card.feature_key for card in cards if card.feature_key is not None}
    live = await checks.live_features(session, namespace, keys)
    issues: list[Issue] = []
    prepared: list[Patch] = []
    for wish in wishes:
        if not isinstance(wish, AddItem):
            prepared.append(wish)
            continue
        card = completed(wish.item.rate_card)
        path = validation.added_path(wish.phase_key, card.key)
        issues += [*validation.card_issues(card, path), *validation.card_feature_issues(card, path, live)]
        feature = live.get(card.feature_key or "")
        card = card.model_copy(update={"feature_id": feature and feature.id})
        card = await _taxed(session, namespace, card, path)
        item = sold_item(card, view.currency)
        item = replace(item, annotations={**item.annotations, PATCH_ID: new_id()})
        prepared.append(replace(wish, item=item))
    validation.block(issues)
    return prepared


async def _taxed(session: WriteSession, namespace: str, card: RateCard, path: str) -> RateCard:
    if card.tax_config is None:
        return card
    config = await taxcodes.resolved(session, namespace, card.tax_config, field=f"{path}.taxConfig")
    return card.model_copy(update={"tax_config": config})
