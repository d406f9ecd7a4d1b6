"""A customer's credit balance: settled, pending and live (ledger section 10.6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from meterhouse.catalog.prices import SettlementMode
from meterhouse.kernel.db import ReadSession
from meterhouse.ledger.routes import ABSENT, Absent


@dataclass(frozen=True, slots=True)
class OutstandingCharge:
    """What an unfinished charge will still take: its current amount minus the credit its runs hold, >= 0.

    Amounts that are on an issued invoice are not outstanding any more.
    """

    charge_id: str
    currency: str
    feature_key: str | None
    settlement_mode: SettlementMode
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Balance:
    """The balance of one currency.

    Attributes:
        settled: credit minus open advances; negative when more was advanced than there is.
        pending: credit granted that does not count yet.
        live: settled minus what unfinished charges will take; 0 for a balance of another instant than now.
    """

    currency: str
    settled: Decimal
    pending: Decimal
    live: Decimal


async def balances(
    session: ReadSession,
    namespace: str,
    customer_id: str,
    *,
    currencies: Sequence[str] | None = None,
    feature: str | None | Absent = ABSENT,
    at: datetime | None = None,
    outstanding: Sequence[OutstandingCharge] = (),
) -> list[Balance]:
    """Return one balance per currency, by currency code.

    Args:
        currencies: exactly these, zero where there is nothing; None for all there are.
        feature: ABSENT counts everything; None unrestricted credit only; a key what that feature may use.
        at: the instant (inclusive); None for now, the only one that has a live balance.
    """
    raise NotImplementedError
