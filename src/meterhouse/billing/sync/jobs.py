"""Syncs in the background: after an event, and when time or a failure makes them due (subscription-sync section 6)."""

from collections.abc import Mapping
from datetime import datetime

from meterhouse.billing.sync import repository
from meterhouse.billing.sync.service import SubscriptionSync
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.kernel.jobs import DueWork, JobHandler

SYNC = "billing.sync_subscription"

# Subscriptions looked up at a time: keeps the list in memory small; the next batch is looked up when this one is done.
BATCH = 200


def handlers(db: Database, sync: SubscriptionSync) -> list[JobHandler]:
    """Return the handlers of this package: `billing.sync_subscription`, payload `namespace` and `subscription_id`."""

    async def run(payload: Mapping[str, str]) -> None:
        await sync.sync_quietly(db, payload["namespace"], payload["subscription_id"])

    return [JobHandler(SYNC, run)]


def due_work(db: Database, sync: SubscriptionSync) -> list[DueWork]:
    """Return what time makes due.

    That is subscriptions whose known charges come to an end, whose last sync failed, or that no event synced after
    their last change: the inline sync runs after the commit of the change, and a process can die between the two.
    """

    async def next_due() -> datetime | None:
        async with db.read() as session:
            return await repository.next_due(session)

    async def run_due() -> int:
        at, after, count = clock.now(), "", 0
        while True:
            async with db.read() as session:
                batch = await repository.due(session, at, after, BATCH)
            for namespace, subscription_id in batch:
                await sync.sync_quietly(db, namespace, subscription_id)
            count += len(batch)
            if len(batch) < BATCH:
                return count
            after = batch[-1][1]

    return [DueWork(SYNC, next_due, run_due)]
