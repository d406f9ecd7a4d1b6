"""Taking credit for what was consumed (ledger section 6), and giving it back (section 6.1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from meterhouse.catalog.prices import SettlementMode
from meterhouse.credits.allocations import Allocation, allocations
from meterhouse.kernel.db import WriteSession

__all__ = ["Allocation", "CollectRequest", "allocations", "collect", "correct", "fill_advances"]


@dataclass(frozen=True, slots=True)
class CollectRequest:
    """What to take, from which credit and in whose name.

    Attributes:
        amount: in `currency`, rounded to its minor unit, >= 0.
        feature_key: the charge's feature; None uses unrestricted credit only.
        booked_at: when the consumption counts.
        source_balance_as_of: only credit there was at this instant (inclusive) is used.
        labels: shown on the customer's transaction list: `subscription_id`, `subscription_phase_id`,
            `subscription_item_id`, `feature_id` (`charge_id` is added here).
        name: how the consumption is called on that list, the charge's name.
        operation_key: names the step; asking again with the same key takes nothing and returns what the first
            call took. Without one every call is a step of its own.
    """

    namespace: str
    customer_id: str
    charge_id: str
    run_id: str
    currency: str
    feature_key: str | None
    amount: Decimal
    settlement_mode: SettlementMode
    booked_at: datetime
    source_balance_as_of: datetime
    tax_code_id: str | None = None
    tax_behavior: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    operation_key: str | None = None


async def collect(session: WriteSession, request: CollectRequest) -> list[Allocation]:
    """Take credit in the order of ledger section 6 and return what this call took.

    `credit_only` takes the whole amount, the shortfall as an advance; `credit_then_invoice` takes what there is.
    """
    raise NotImplementedError


async def correct(
    session: WriteSession,
    *,
    namespace: str,
    customer_id: str,
    run_id: str,
    amount: Decimal,
    booked_at: datetime | None = None,
    operation_key: str | None = None,
) -> list[Allocation]:
    """Give `amount` of a run's credit back, the newest allocation first, and return the run's allocations after.

    A reversal is booked when what it reverses was booked, or at `booked_at` where that is later.

    Raises:
        InvalidInput: more than the run still holds (code `insufficient_funds`).
    """
    raise NotImplementedError


async def fill_advances(session: WriteSession, namespace: str, customer_id: str) -> None:
    """Cover open advances with eligible credit that exists by now (charges section 11)."""
    raise NotImplementedError
