"""Balances: sums of entries over a route filter, up to a time (ledger section 2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import ColumnElement

from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.money import ZERO
from meterhouse.kernel.periods import Period
from meterhouse.ledger import repository
from meterhouse.ledger.routes import RouteFilter


@dataclass(frozen=True, slots=True)
class AsOf:
    """What was booked at or before an instant."""

    at: datetime


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A place in the order of transactions; as a bound, everything up to and including it."""

    booked_at: datetime
    created_at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class During:
    """What was booked in a period [start, end)."""

    period: Period


# Exactly one bound at a time; None counts everything, future bookings included.
Bound = AsOf | Cursor | During | None

Address = tuple[str, RouteFilter]


def _condition(bound: Bound) -> ColumnElement[bool] | None:
    match bound:
        case AsOf(at):
            return repository.booked_by(at)
        case Cursor(booked_at, created_at, transaction_id):
            return repository.through(booked_at, created_at, transaction_id)
        case During(period):
            return repository.booked_in(period.start, period.end)
        case None:
            return None


async def by_currency(
    session: ReadSession, namespace: str, addresses: Sequence[Address], bound: Bound
) -> dict[str, Decimal]:
    """Return the balance over several (account id, route filter) together, by currency.

    A currency is in the answer as soon as a sub-account was made for it, at zero as well.
    """
    return await repository.sums(session, namespace, addresses, _condition(bound))


async def balance(
    session: ReadSession, namespace: str, account_id: str, route_filter: RouteFilter, bound: Bound
) -> Decimal:
    """Return the balance of an account's sub-accounts that pass the filter; the filter must name one currency."""
    sums = await by_currency(session, namespace, [(account_id, route_filter)], bound)
    return sum(sums.values(), ZERO)
