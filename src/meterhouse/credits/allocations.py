"""What a charge's run took from the customer's credit: one allocation per ledger entry it was taken by."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, cast

from meterhouse.credits import repository
from meterhouse.credits.models import CreditAllocation
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.money import ZERO

Origin = Literal["real_credit", "advance"]


@dataclass(frozen=True, slots=True)
class Allocation:
    """Credit taken for a run (ledger section 6).

    Attributes:
        amount: what was taken, > 0.
        remaining: `amount` minus what corrections gave back.
        origin: taken from credit there was, or advanced (the balance went below zero).
    """

    id: str
    run_id: str
    charge_id: str
    amount: Decimal
    remaining: Decimal
    origin: Origin
    created_at: datetime


async def allocations(session: ReadSession, namespace: str, run_ids: Sequence[str]) -> dict[str, list[Allocation]]:
    """Return the allocations of each run, oldest first; every given run is in the answer."""
    found: dict[str, list[Allocation]] = {run_id: [] for run_id in run_ids}
    rows = await repository.run_allocations(session, namespace, run_ids) if run_ids else []
    for allocation in await shown(session, namespace, rows):
        found[allocation.run_id].append(allocation)
    return found


async def shown(session: ReadSession, namespace: str, rows: Sequence[CreditAllocation]) -> list[Allocation]:
    """Return stored allocations with what they still hold."""
    remaining = await repository.remaining(session, namespace, [row.id for row in rows]) if rows else {}
    return [
        Allocation(
            row.id,
            row.run_id,
            row.charge_id,
            row.amount,
            remaining.get(row.id, ZERO),
            cast("Origin", row.origin),
            row.created_at,
        )
        for row in rows
    ]
