"""What a subscription gives access to: an entitlement for each version of an item with a template (section 11).

Called in the transaction of every command, after it has changed the schedule.
"""

from meterhouse.entitlements import scheduling
from meterhouse.entitlements.scheduling import ItemEntitlement
from meterhouse.kernel.db import WriteSession
from meterhouse.subscriptions.views import SubscriptionView


async def follow(session: WriteSession, view: SubscriptionView) -> None:
    """Bring the entitlements of a subscription in line with its schedule; a deleted one has none.

    Raises:
        InvalidInput: a metered template names a feature that has no meter.
        Conflict: the customer has another entitlement to one of the features in that time.
    """
    given = [] if view.deleted_at is not None else wanted(view)
    await scheduling.align(session, view.namespace, view.customer_id, view.id, given)


def wanted(view: SubscriptionView) -> list[ItemEntitlement]:
    """Return what the items give, those of future phases and those that last no time too."""
    return [
        ItemEntitlement(
            feature_key=card.feature_key,
            template=card.entitlement_template,
            active_from=item.active_from,
            active_to=item.active_to,
            phase_start=phase.active_from,
            billing_anchor=view.billing_anchor,
            cadence=card.billing_cadence,
            conversion=card.unit_conversion,
        )
        for phase in view.phases
        for item in phase.items
        if (card := item.rate_card).entitlement_template is not None and card.feature_key is not None
    ]
