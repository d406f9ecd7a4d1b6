"""What a charge's run took from the customer's credit: one allocation per ledger entry it was taken by."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from meterhouse.kernel.db import ReadSession

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
    raise NotImplementedError
