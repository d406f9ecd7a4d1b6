"""Work of charges in the background."""

from collections.abc import Mapping
from datetime import datetime

from meterhouse.billing.charges import advancing, repository
from meterhouse.billing.charges.service import ADVANCE, Charges
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.kernel.jobs import DueWork, JobHandler

# Charges looked up at a time: keeps the list in memory small; the next batch is looked up when this one is done.
BATCH = 200


def handlers(db: Database, charges: Charges) -> list[JobHandler]:
    """Return the handlers of this package: `charges.advance` with the payload `namespace` and `charge_id`."""

    async def run(payload: Mapping[str, str]) -> None:
        await advancing.advance_alone(db, charges.tools, payload["namespace"], payload["charge_id"])

    return [JobHandler(ADVANCE, run)]


def due_work(db: Database, charges: Charges) -> list[DueWork]:
    """Return what time makes due: charges whose `advance_after`, or whose retry after a failure, has come."""

    async def next_due() -> datetime | None:
        async with db.read() as session:
            return await repository.next_due(session)

    async def run_due() -> int:
        # Every charge that was tried is due later than this instant, or not at all, so the batches come to an end.
        at, count = clock.now(), 0
        while True:
            async with db.read() as session:
                batch = await repository.due(session, at, BATCH)
            for namespace, charge_id in batch:
                await advancing.advance_alone(db, charges.tools, namespace, charge_id)
            count += len(batch)
            if len(batch) < BATCH:
                return count

    return [DueWork(ADVANCE, next_due, run_due)]
