"""Which credit is used first (ledger section 6): pure values and their order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from meterhouse.credits.steps import Terms, terms_of
from meterhouse.kernel.money import ZERO, total
from meterhouse.ledger.routes import Route

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Plan:
    """The expiry of a grant's credit and how much of it would still expire."""

    id: str
    expires_at: datetime
    open_amount: Decimal


@dataclass(frozen=True, slots=True)
class Source:
    """Credit of one grant on one sub-account, and how much of it can be taken, > 0."""

    sub_account_id: str
    route: Route
    grant_id: str
    available: Decimal
    plan: Plan | None = None

    @property
    def terms(self) -> Terms:
        """The terms of the credit."""
        return terms_of(self.route)

    @property
    def rank(self) -> tuple[object, ...]:
        """Return what sources are ordered by: priority, restricted before not, the next to expire, the oldest."""
        expires_at = self.plan.expires_at if self.plan else _NEVER
        return (self.route.credit_priority, self.route.features is None, expires_at, self.grant_id, self.sub_account_id)


@dataclass(frozen=True, slots=True)
class Slice:
    """An amount of a source."""

    source: Source
    amount: Decimal


def take(sources: Iterable[Source], amount: Decimal) -> list[Slice]:
    """Take up to `amount`, source by source in the order of their rank."""
    taken = []
    for source in sorted(sources, key=lambda one: one.rank):
        part = min(source.available, amount)
        if part > 0:
            taken.append(Slice(source, part))
            amount -= part
    return taken


@dataclass(frozen=True, slots=True)
class Movement:
    """The sum of what was booked on a source at an instant."""

    at: datetime
    amount: Decimal


def spendable(movements: Sequence[Movement], as_of: datetime, plan: Plan | None) -> Decimal:
    """Return how much may be taken from a source as of an instant, without any later balance going below zero.

    That is the least of the balance at `as_of` and of all balances after it, future bookings included (ledger section
    12). From its expiry on, credit is gone either way and taking it moves nothing there, so an expiring source is
    looked at up to its expiry only, and no more than would still expire can be taken.
    """
    expiring = plan if plan and plan.expires_at > as_of else None
    balance = total(movement.amount for movement in movements if movement.at <= as_of)
    least = balance if expiring is None else min(balance, expiring.open_amount)
    for movement in sorted((one for one in movements if one.at > as_of), key=lambda one: one.at):
        if expiring is not None and movement.at >= expiring.expires_at:
            break
        balance += movement.amount
        least = min(least, balance)
    return max(ZERO, least)


def build(
    movements: Mapping[tuple[str, str], Sequence[Movement]],
    routes: Mapping[str, Route],
    plans: Mapping[str, Plan],
    as_of: datetime,
) -> list[Source]:
    """Return the sources that have something to take, from movements by (sub-account, grant) and plans by grant."""
    sources = []
    for (sub_account_id, grant_id), booked in movements.items():
        plan = plans.get(grant_id)
        available = spendable(booked, as_of, plan)
        if available > 0:
            sources.append(Source(sub_account_id, routes[sub_account_id], grant_id, available, plan))
    return sources
