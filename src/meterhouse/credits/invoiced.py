"""What goes to an invoice instead of being taken from credit, and its payment (ledger section 4).

Invoiced value has cost basis 1. Every step is booked once per run, however often it is asked for.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from meterhouse.credits import steps
from meterhouse.credits.labels import charge_annotations
from meterhouse.credits.steps import Tax, Terms
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.ledger import accounts, journal


def _terms(currency: str) -> Terms:
    return Terms(currency, Decimal(1))


async def accrue(
    session: WriteSession,
    *,
    namespace: str,
    customer_id: str,
    charge_id: str,
    run_id: str,
    currency: str,
    amount: Decimal,
    booked_at: datetime,
    tax_code_id: str | None = None,
    tax_behavior: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> None:
    """Book that the customer owes `amount` for consumption; zero books nothing."""
    if amount == 0:
        return
    book = await accounts.hold(session, namespace, customer_id)
    annotations = charge_annotations(namespace, charge_id, labels or {})
    tax = Tax(tax_code_id, tax_behavior)
    draft = steps.accrue(_terms(currency), tax, amount, booked_at, spend=charge_id, annotations=annotations)
    await journal.post(session, book, f"credits.accrue/{run_id}", [draft])


async def authorize_payment(
    session: WriteSession,
    *,
    namespace: str,
    customer_id: str,
    charge_id: str,
    run_id: str,
    currency: str,
    amount: Decimal,
) -> None:
    """Book that the payment of a run was authorised, now; zero books nothing."""
    if amount == 0:
        return
    book = await accounts.hold(session, namespace, customer_id)
    annotations = charge_annotations(namespace, charge_id, {})
    draft = steps.authorize(_terms(currency), amount, clock.now(), spend=charge_id, annotations=annotations)
    await journal.post(session, book, f"credits.authorize/{run_id}", [draft])


async def settle_payment(
    session: WriteSession,
    *,
    namespace: str,
    customer_id: str,
    charge_id: str,
    run_id: str,
    currency: str,
    amount: Decimal,
) -> None:
    """Book that the payment of a run arrived, now, and that it was authorised if that was not booked before."""
    if amount == 0:
        return
    await authorize_payment(
        session,
        namespace=namespace,
        customer_id=customer_id,
        charge_id=charge_id,
        run_id=run_id,
        currency=currency,
        amount=amount,
    )
    book = await accounts.hold(session, namespace, customer_id)
    annotations = charge_annotations(namespace, charge_id, {})
    draft = steps.settle(_terms(currency), amount, clock.now(), spend=charge_id, annotations=annotations)
    await journal.post(session, book, f"credits.settle/{run_id}", [draft])
