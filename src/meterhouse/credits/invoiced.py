"""What goes to an invoice instead of being taken from credit, and its payment (ledger section 4).

Invoiced value has cost basis 1. Every step is booked once per run, however often it is asked for.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from meterhouse.kernel.db import WriteSession


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
    raise NotImplementedError


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
    raise NotImplementedError


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
    """Book that the payment of a run arrived, now; zero books nothing."""
    raise NotImplementedError
