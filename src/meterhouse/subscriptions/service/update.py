"""Giving a subscription another schedule: what edits and add-ons have in common (subscriptions sections 7 and 12)."""

from meterhouse.customers import service as customers
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.locks import lock
from meterhouse.subscriptions import access, reconcile, repository
from meterhouse.subscriptions.models import SubscriptionRow
from meterhouse.subscriptions.service import checks
from meterhouse.subscriptions.service.read import load_row
from meterhouse.subscriptions.spec import SubscriptionSpec
from meterhouse.subscriptions.status import Command, require
from meterhouse.subscriptions.views import SubscriptionView


async def locked(
    session: WriteSession, namespace: str, subscription_id: str
) -> tuple[SubscriptionRow, SubscriptionView]:
    """Lock the customer's subscriptions, then read this one.

    Raises:
        NotFound: no such subscription, or it was deleted.
    """
    customer_id = (await load_row(session, namespace, subscription_id)).customer_id
    await lock(session, "customer", namespace, customer_id, "subscription")
    row = await load_row(session, namespace, subscription_id)
    return row, (await repository.views(session, [row]))[0]


async def update(
    session: WriteSession, row: SubscriptionRow, view: SubscriptionView, wanted: SubscriptionSpec
) -> SubscriptionView:
    """Give a `locked` subscription another schedule; what stays the same keeps its rows.

    Raises:
        Forbidden: the subscription is not active.
        InvalidSchedule: the schedule breaks rules.
        InvalidInput: it has prices in another currency than the customer's, or meters what has no meter.
        Conflict: the customer has an entitlement to one of its features already.
    """
    require(view, Command.UPDATE, clock.now())
    await checks.check(session, row.namespace, wanted)
    customer = await customers.get_live(session, row.namespace, row.customer_id)
    checks.check_currency(customer, wanted, "$")
    updated = await reconcile.apply(session, row, reconcile.diff(view, wanted))
    await access.follow(session, updated)
    await checks.settle_currency(session, customer, wanted)
    return updated
