"""What follows when the sink has stored usage: the customers behind it have their due charges advanced at once.

Nothing depends on it: the scheduler advances due charges on its ticks. It only comes sooner for who uses something.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b

from meterhouse.billing.charges import repository as charges
from meterhouse.billing.charges.service import ADVANCE
from meterhouse.customers import attribution
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from meterhouse.kernel.jobs import JobHandler, enqueue
from meterhouse.metering.sink import OnStored

USAGE_CHANGED = "metering.usage_changed"

SUBJECTS_PER_JOB = 500  # bounds a payload, and what one job does in its transaction


def announcer(db: Database) -> OnStored:
    """Return what enqueues the job `metering.usage_changed` for subjects: `namespace`, and `subjects` as a JSON list.

    A job for the same subjects that is still waiting stands for the new one too.
    """

    async def announce(namespace: str, subjects: set[str]) -> None:
        # Postgres keeps no NUL in a text, so nobody has such a subject.
        ordered = sorted(subject for subject in subjects if "\0" not in subject)
        async with db.write() as session:
            for start in range(0, len(ordered), SUBJECTS_PER_JOB):
                listed = json.dumps(ordered[start : start + SUBJECTS_PER_JOB])
                payload = {"namespace": namespace, "subjects": listed}
                key = blake2b(f"{namespace}\0{listed}".encode(), digest_size=16).hexdigest()
                await enqueue(session, USAGE_CHANGED, payload, dedupe_key=key)

    return announce


def handler(db: Database) -> JobHandler:
    """Return the job's handler: it enqueues the advance of each due charge of the subjects' customers."""

    async def advance_due(payload: Mapping[str, str]) -> None:
        namespace, now = payload["namespace"], clock.now()
        async with db.write() as session:
            next_due = await charges.next_due(session)
            if next_due is None or next_due > now:
                return  # as nearly always
            found = await attribution.resolve(session, namespace, json.loads(payload["subjects"]))
            for customer_id in sorted({customer.id for customer in found.values() if customer is not None}):
                for charge, _ in await charges.unfinished(session, namespace, customer_id):
                    waits = max(filter(None, (charge.advance_after, charge.retry_after)), default=None)
                    if charge.advance_after is not None and waits is not None and waits <= now:
                        advance = {"namespace": namespace, "charge_id": charge.id}
                        await enqueue(session, ADVANCE, advance, dedupe_key=charge.id)

    return JobHandler(USAGE_CHANGED, advance_due)
