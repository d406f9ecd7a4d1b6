"""Voiding a grant: what is left of its credit is taken away (ledger sections 8 and 10.4)."""

from meterhouse.credits import breakage, steps
from meterhouse.credits.booking import Booking
from meterhouse.credits.grants import Grant, find_row, of_row
from meterhouse.credits.models import CreditVoid
from meterhouse.credits.supply import sources
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import Conflict
from meterhouse.kernel.ids import new_id
from meterhouse.kernel.money import total
from meterhouse.ledger import accounts
from meterhouse.ledger import postings as names
from meterhouse.ledger.routes import RouteFilter


async def void(session: WriteSession, namespace: str, customer_id: str, grant_id: str) -> Grant:
    """Take away what is left of a grant; what was used and what was paid stay as they are. Idempotent.

    A grant that takes effect later is voided at that instant, so it never counts.

    Raises:
        NotFound: no such grant, or one of another customer.
        Conflict: its credit was not given yet, has expired, or is used up.
    """
    row = await find_row(session, namespace, customer_id, grant_id)
    book = await accounts.hold(session, namespace, customer_id)
    await session.refresh(row, with_for_update=True)
    if row.voided_at is not None:
        return of_row(row)
    now = clock.now()
    if row.granted_at is None:
        raise Conflict(f"credit grant {grant_id} is pending and cannot be voided")
    if row.expires_at is not None and row.expires_at <= now:
        raise Conflict(f"credit grant {grant_id} has expired and cannot be voided")
    booked_at = max(now, row.starts_at)
    left = await sources(session, book, RouteFilter(currency=row.currency), booked_at, lock=True, grant_id=grant_id)
    if not left:
        raise Conflict(f"nothing is left of credit grant {grant_id} to void")
    void_id, booking = new_id(), Booking(namespace)
    annotations = {
        names.CHARGE_NAMESPACE: namespace,
        names.CHARGE_ID: row.id,
        names.CHARGE_NAME: row.name,
        names.VOID_RECORD_ID: void_id,
    }
    for source in left:
        terms, amount = source.terms, source.available
        booking.add(steps.withdraw(terms, amount, booked_at, source=grant_id, annotations=annotations))
        if source.plan:
            booking.expire(
                breakage.change("release", "credit_purchase_correction", terms, amount, source.plan, grant_id)
            )
    group = await booking.post(session, book, f"credits.void/{grant_id}")
    session.add(
        CreditVoid(
            id=void_id,
            namespace=namespace,
            customer_id=customer_id,
            grant_id=grant_id,
            currency=row.currency,
            amount=total(source.available for source in left),
            group_id=group.id,
            booked_at=booked_at,
            created_at=group.created_at,
        )
    )
    row.voided_at = now
    await session.flush()
    return of_row(row)
