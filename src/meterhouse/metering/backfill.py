"""Fills slots of events that were stored before the slots were given out (design section 6).

A mutation writes the slots and, with them, the row's `slots_version`: a row says at every moment what it carries, so a
query before, during and after answers the same, only faster. The texts come out of the JSON by the very expressions
that a query falls back to.
"""

from collections.abc import Sequence

import structlog

from meterhouse.kernel.db import Database
from meterhouse.metering import repository, sql
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.meter import Slot
from meterhouse.metering.sql import Bound, Value

log = structlog.get_logger(__name__)

# A sink that read the list of slots before it grew may insert after a mutation began; another round finds its rows.
# Rows that come even later stay right without slots, and the next backfill of their type takes them along.
ROUNDS = 3


async def backfill(db: Database, clickhouse: ClickHouse, namespace: str, event_type: str) -> None:
    """Fill all slots of an event type in the events that lack any. Doing it again changes nothing.

    Raises:
        MutationFailed: the engine could not do it.
    """
    async with db.read() as session:
        slots = (await repository.slots_of(session, [(namespace, event_type)])).get((namespace, event_type), [])
    if not slots:
        return
    for _ in range(ROUNDS):
        if not await lacking(clickhouse, namespace, event_type, slots):
            return
        log.info("filling slots of stored events", namespace=namespace, event_type=event_type, slots=len(slots))
        bound = Bound()
        filled = [
            f"{slot.column} = {sql.read(Value(slot.path, slot.kind, slot), bound, everywhere=False)}" for slot in slots
        ]
        filled.append(f"slots_version = {_version(slots)}")
        where = _older(namespace, event_type, slots, bound)
        await clickhouse.mutate(
            "om_events", f"ALTER TABLE om_events UPDATE {', '.join(filled)} WHERE {where}", bound.parameters
        )


async def lacking(clickhouse: ClickHouse, namespace: str, event_type: str, slots: Sequence[Slot]) -> bool:
    """Tell whether a stored event lacks one of the slots."""
    bound = Bound()
    where = _older(namespace, event_type, slots, bound)
    return bool(await clickhouse.query(f"SELECT 1 FROM om_events WHERE {where} LIMIT 1", bound.parameters))


def _version(slots: Sequence[Slot]) -> int:
    return max(slot.version for slot in slots)


def _older(namespace: str, event_type: str, slots: Sequence[Slot], bound: Bound) -> str:
    return (
        f"namespace = {bound.text(namespace)} AND type = {bound.text(event_type)} AND slots_version < {_version(slots)}"
    )
