"""A customer's credit balance: settled, pending and live (ledger section 10.6)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from meterhouse.credits import repository
from meterhouse.credits.advances import serves
from meterhouse.credits.live import OutstandingCharge, Stock, live
from meterhouse.credits.models import CreditGrant
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.money import ZERO
from meterhouse.ledger import repository as ledger
from meterhouse.ledger.accounts import AccountType, Book
from meterhouse.ledger.balances import Address
from meterhouse.ledger.routes import ABSENT, Absent, RouteFilter

__all__ = ["Balance", "OutstandingCharge", "balances"]


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


def _settled(feature: str | Absent | None) -> list[tuple[AccountType, RouteFilter]]:
    """Return what makes up the settled balance: stored credit, and debts that no grant is behind of."""
    return [
        (AccountType.FBO, RouteFilter(match_feature=feature)),
        (AccountType.RECEIVABLE, RouteFilter(match_feature=feature, cost_basis=None)),
    ]


def settled_addresses(book: Book, feature: str | Absent | None) -> list[Address]:
    """Return where the settled balance lies."""
    return [(book.account_ids[kind], route_filter) for kind, route_filter in _settled(feature)]


async def balances(
    session: ReadSession,
    namespace: str,
    customer_id: str,
    *,
    currencies: Sequence[str] | None = None,
    feature: str | Absent | None = ABSENT,
    at: datetime | None = None,
    outstanding: Sequence[OutstandingCharge] = (),
) -> list[Balance]:
    """Return one balance per currency, by currency code.

    Args:
        currencies: exactly these, zero where there is nothing; None for all there are.
        feature: ABSENT counts everything; None unrestricted credit only; a key what that feature may use.
        at: the instant (inclusive); None for now, the only one that has a live balance.
        outstanding: what unfinished charges will still take, in the order in which they take it.
    """
    instant = at or clock.now()
    promised = _pending(await repository.pending(session, namespace, customer_id, instant), feature)
    holdings = await ledger.holdings(session, namespace, customer_id, _settled(feature), instant)
    sums: dict[str, Decimal] = defaultdict(lambda: ZERO)
    stock: dict[str, list[Stock]] = defaultdict(list)
    for one in holdings:
        if one.counts:
            sums[one.route.currency] += one.amount
        if one.counts and one.account_type == AccountType.FBO:
            stock[one.route.currency].append(Stock(one.sub_account_id, one.route, one.sourced))
    held = {one.route.currency for one in holdings if one.account_type == AccountType.FBO}
    shown = set(currencies) if currencies is not None else {*promised, *held}

    def balance(currency: str) -> Balance:
        amount = sums[currency]
        charges = [charge for charge in outstanding if charge.currency == currency]
        now = live(amount, stock[currency], charges, feature) if at is None else ZERO
        return Balance(currency, amount, promised.get(currency, ZERO), now)

    return [balance(currency) for currency in sorted(shown)]


def _pending(grants: Sequence[CreditGrant], feature: str | Absent | None) -> dict[str, Decimal]:
    promised: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for grant in grants:
        if feature is ABSENT or serves(grant.features, feature):
            promised[grant.currency] += grant.amount
    return dict(promised)
