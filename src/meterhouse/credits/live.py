"""The live balance: what unfinished charges will still take from the settled one (ledger section 10.6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from meterhouse.catalog.prices import SettlementMode
from meterhouse.credits.advances import serves
from meterhouse.ledger.routes import ABSENT, Absent, Route


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


@dataclass(slots=True)
class Stock:
    """Stored credit on one sub-account; used up in memory."""

    sub_account_id: str
    route: Route
    amount: Decimal

    @property
    def rank(self) -> tuple[object, ...]:
        """Return what stock is ordered by; expiry is ignored here."""
        return (self.route.credit_priority, self.route.features is None, self.sub_account_id)


def live(
    settled: Decimal, stock: Sequence[Stock], charges: Sequence[OutstandingCharge], feature: str | Absent | None
) -> Decimal:
    """Return the settled balance of one currency after all charges took what they will.

    A `credit_only` charge takes its whole amount, another one only what eligible stored credit can pay; a charge that
    the feature filter leaves out takes nothing.
    """
    left = sorted((one for one in stock if one.amount > 0), key=lambda one: one.rank)
    for charge in charges:
        if feature is not ABSENT and charge.feature_key not in (None, feature):
            continue
        open_amount = max(charge.amount, Decimal(0))
        for one in left:
            if serves(one.route.features, charge.feature_key):
                part = min(one.amount, open_amount)
                one.amount -= part
                open_amount -= part
                settled -= part
        if charge.settlement_mode is SettlementMode.CREDIT_ONLY:
            settled -= open_amount
    return settled
