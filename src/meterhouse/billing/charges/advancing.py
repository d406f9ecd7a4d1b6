"""Advancing charges that time makes due: one transaction a charge, so that a broken one stops no other (section 11)."""

from datetime import timedelta

import structlog

from meterhouse.billing.charges import machine, repository
from meterhouse.billing.charges.opened import open_charge
from meterhouse.billing.charges.states import Status
from meterhouse.billing.charges.tools import Tools
from meterhouse.credits import collector
from meterhouse.kernel import clock
from meterhouse.kernel.db import Database, WriteSession
from meterhouse.kernel.errors import NotFound
from meterhouse.kernel.locks import lock

log = structlog.get_logger(__name__)

# A failing charge is tried again after a minute, then after twice as long each time, at most an hour: soon enough for a
# short outage of a store, seldom enough that a charge that stays broken costs nothing.
FIRST_RETRY = timedelta(minutes=1)
LAST_RETRY = timedelta(hours=1)
# Long enough for any message a person reads, short enough that no error fills the row.
MAX_ERROR_LENGTH = 1000


async def advance(session: WriteSession, tools: Tools, namespace: str, charge_id: str) -> None:
    """Take every step that time allows, then fill the customer's open advances from credit there is.

    Raises:
        NotFound: there is no such charge.
    """
    row = await repository.by_id(session, charge_id, namespace)
    if row is None:
        raise NotFound(f"charge not found: {charge_id}")
    await lock(session, "customer", namespace, row.customer_id, "billing")
    charge = await open_charge(session, namespace, charge_id)
    before = charge.status
    if before in (Status.FINAL, Status.DELETED):
        return
    await machine.settle(session, tools, charge)
    row = charge.row
    row.last_error, row.error_at, row.retry_after, row.failures = None, None, None, 0
    await session.flush()
    if charge.by_credits_only and charge.status is not before and charge.runs and tools.credits_enabled:
        await collector.fill_advances(session, namespace, row.customer_id)


async def advance_alone(db: Database, tools: Tools, namespace: str, charge_id: str) -> None:
    """Advance a charge in its own transaction; a failure is recorded on the charge instead of raised."""
    try:
        async with db.write() as session:
            await advance(session, tools, namespace, charge_id)
    except NotFound:
        log.info("charge to advance is gone", charge_id=charge_id)
    except Exception as error:
        log.exception("charge could not be advanced", namespace=namespace, charge_id=charge_id)
        async with db.write() as session:
            await record_failure(session, namespace, charge_id, error)


async def record_failure(session: WriteSession, namespace: str, charge_id: str, error: Exception) -> None:
    """Keep why a charge failed and when to try again."""
    row = (await open_charge(session, namespace, charge_id)).row
    now = clock.now()
    row.last_error = (str(error) or type(error).__name__)[:MAX_ERROR_LENGTH]
    row.error_at = now
    # The doubling stops long before the exponent grows large.
    row.retry_after = now + min(FIRST_RETRY * 2 ** min(row.failures, 10), LAST_RETRY)
    row.failures += 1
    await session.flush()
