"""Which subscription took the place of which (subscriptions sections 8 and 9): annotations on both rows."""

from meterhouse.kernel.db import WriteSession
from meterhouse.subscriptions import repository
from meterhouse.subscriptions.models import SubscriptionRow
from meterhouse.subscriptions.views import PREVIOUS, SUPERSEDING


def link(before: SubscriptionRow, after: SubscriptionRow) -> None:
    """Note that `after` takes the place of `before`."""
    _set(before, SUPERSEDING, after.id)
    _set(after, PREVIOUS, before.id)


async def unlink(session: WriteSession, row: SubscriptionRow) -> None:
    """Take a subscription that goes out of the chain: its neighbours follow each other then."""
    before = await _neighbour(session, row, PREVIOUS)
    after = await _neighbour(session, row, SUPERSEDING)
    if before is not None:
        _set(before, SUPERSEDING, after.id if after else None)
    if after is not None:
        _set(after, PREVIOUS, before.id if before else None)


async def _neighbour(session: WriteSession, row: SubscriptionRow, name: str) -> SubscriptionRow | None:
    found = row.annotations.get(name)
    return None if found is None else await repository.by_id(session, row.namespace, found)


def _set(row: SubscriptionRow, name: str, value: str | None) -> None:
    others = {key: other for key, other in row.annotations.items() if key != name}
    row.annotations = others if value is None else {**others, name: value}
    row.touch()
