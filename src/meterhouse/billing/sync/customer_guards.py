"""Bringing billing up to date before a customer goes, so that nothing of it is forgotten (customers section 4)."""

from contextlib import suppress
from datetime import timedelta

from meterhouse.billing.sync import repository
from meterhouse.billing.sync.service import CustomCurrency, SubscriptionSync
from meterhouse.customers.customer import Customer
from meterhouse.customers.guards import DeletionGuard
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession

LATELY = timedelta(hours=24)  # how far back an end may lie that no sync has seen, failures included


def settle_first(sync: SubscriptionSync) -> DeletionGuard:
    """Return the guard that syncs the customer's subscriptions that ended lately or were deleted.

    Those that run keep the customer anyway. It stands before the guard of invoices, which sees what comes of it.
    """

    async def settle(session: WriteSession, customer: Customer) -> None:
        now = clock.now()
        for subscription_id in await repository.ended(session, customer.namespace, customer.id, now - LATELY, now):
            with suppress(CustomCurrency):  # it has nothing to bill and never will
                await sync.sync(session, customer.namespace, subscription_id)

    return settle
