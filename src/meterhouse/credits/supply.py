"""What credit a customer has to take from, read from the ledger."""

from datetime import datetime

from meterhouse.credits import repository
from meterhouse.credits.sources import Source, build
from meterhouse.kernel.db import ReadSession
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
