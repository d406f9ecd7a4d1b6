"""What credit a customer has to take from, read from the ledger."""

from datetime import datetime
from decimal import Decimal

from meterhouse.credits import repository
from meterhouse.credits.sources import Source, build
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.money import ZERO, total
from meterhouse.ledger import accounts
from meterhouse.ledger.accounts import Book
from meterhouse.ledger.repository import addresses
from meterhouse.ledger.routes import RouteFilter


async def sources(
    session: ReadSession,
    book: Book,
    route_filter: RouteFilter,
    as_of: datetime,
    *,
    lock: bool,
    grant_id: str | None = None,
) -> list[Source]:
    """Return the credit that may be taken as of an instant, of one grant or of all, in no particular order.

    `lock` also holds the expiry plans; it needs the customer's book to be held.
    """
    movements = await repository.movements(session, book.namespace, book.fbo, route_filter, as_of, grant_id)
    plans = await repository.plans(session, book.namespace, {grant for _, grant in movements}, lock=lock)
    places = await addresses(session, book.namespace, {sub_account for sub_account, _ in movements})
    routes = {sub_account: route for sub_account, (_, route) in places.items()}
    return build(movements, routes, plans, as_of)


async def available_now(
    session: ReadSession, namespace: str, customer_id: str, currency: str, feature_key: str | None
) -> Decimal:
    """Return how much credit there is now for a charge of a feature, or of none."""
    book = await accounts.find(session, namespace, customer_id)
    if book is None:
        return ZERO
    route_filter = RouteFilter(currency=currency, match_feature=feature_key)
    return total(one.available for one in await sources(session, book, route_filter, clock.now(), lock=False))
