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
from meterhouse.kernel.money import ZERO, total
from meterhouse.ledger import accounts
from meterhouse.ledger.accounts import Book
from meterhouse.ledger.balances import Address, AsOf, Bound, by_currency
from meterhouse.ledger.repository import addresses
from meterhouse.ledger.routes import ABSENT, Absent, RouteFilter

__all__ = ["Balance", "OutstandingCharge", "balances", "settled"]


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


def settled_addresses(book: Book, feature: str | Absent | None) -> list[Address]:
    """Return what makes up the settled balance: stored credit, and debts that no grant is behind of."""
    return [
        (book.fbo, RouteFilter(match_feature=feature)),
        (book.receivable, RouteFilter(match_feature=feature, cost_basis=None)),
    ]


async def settled(
    session: ReadSession, book: Book, bound: Bound, feature: str | Absent | None = ABSENT
) -> dict[str, Decimal]:
    """Return the settled balance by currency."""
    return await by_currency(session, book.namespace, settled_addresses(book, feature), bound)


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
    book = await accounts.find(session, namespace, customer_id)
    sums = await settled(session, book, AsOf(instant), feature) if book else {}
    shown = set(currencies) if currencies is not None else set(promised)
    if currencies is None and book:
        shown |= await repository.currencies(session, namespace, book.fbo)
    stock: dict[str, list[Stock]] = defaultdict(list)
    if book and at is None and outstanding:
        for one in await _stock(session, book, instant, feature):
            stock[one.route.currency].append(one)

    def balance(currency: str) -> Balance:
        amount = sums.get(currency, ZERO)
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


async def _stock(session: ReadSession, book: Book, at: datetime, feature: str | Absent | None) -> list[Stock]:
    """Return the stored credit there is at an instant, per sub-account."""
    route_filter = RouteFilter(match_feature=feature)
    movements = await repository.movements(session, book.namespace, book.fbo, route_filter, at)
    amounts: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for (sub_account_id, _), booked in movements.items():
        amounts[sub_account_id] += total(one.amount for one in booked if one.at <= at)
    places = await addresses(session, book.namespace, amounts)
    return [Stock(sub_account_id, places[sub_account_id][1], amount) for sub_account_id, amount in amounts.items()]
