"""Taking over partitions of the log, so that one sink at a time stores what is in them (design section 6).

The log alone cannot promise that: a sink that was stopped in the middle of a batch, and was taken for dead, does not
know it. So a new owner first writes a random mark into `om_partition_owners`. From then on the engine refuses every
insert that carries another mark (the constraint of migration 0002), and what had passed that check before is waited
for. Then nobody but the new owner writes, and what its predecessor left can be put in order.

On a cluster of replicas there is no mark: a table of marks would have to be the same on all of them at every instant.
There a sink is fenced by the log alone, which hands a partition over when its owner's session is over.
"""

import asyncio
import secrets
from collections.abc import Mapping

import structlog

from meterhouse.kernel.ids import new_id
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.keys import KeyStore, event_keys

log = structlog.get_logger(__name__)

# How long a new owner waits for inserts that a dead one left running in the server, and how often it looks.
ORPHAN_SECONDS, LOOK_SECONDS = 30.0, 0.1
# Events looked at in one step of a repair. Usually there are none; a new consumer group has all of them.
REPAIR_EVENTS = 50_000
_INSERT_PREFIX = "meterhouse-sink-"


def insert_name() -> str:
    """Return a name for an insert, by which a new owner finds those that are still running."""
    return _INSERT_PREFIX + new_id()


class Ownership:
    """The partitions that one sink reads.

    Attributes:
        marks: by partition, what every row that this sink inserts has to carry.
    """

    def __init__(self, clickhouse: ClickHouse, keys: KeyStore) -> None:
        self._clickhouse = clickhouse
        self._keys = keys
        self.marks: dict[int, int] = {}

    async def take(self, committed: Mapping[int, int]) -> None:
        """Take partitions over from whoever had them, given the positions committed in them."""
        for partition in committed if not self._clickhouse.replicated else ():
            mark = 1 + secrets.randbits(63)  # 0 is what a partition without an owner has
            await self._clickhouse.command(
                "INSERT INTO om_partition_owners (log_partition, mark) SELECT {partition:UInt32}, {mark:UInt64}",
                {"partition": partition, "mark": mark},
            )
            self.marks[partition] = mark
        await self._wait_for_orphans()
        for partition, position in committed.items():
            await self._repair(partition, position)
        await self._keys.load()

    async def _wait_for_orphans(self) -> None:
        running = (
            "SELECT count() FROM system.processes WHERE startsWith(query_id, {prefix:String})"
            " AND elapsed >= {waited:Float64}"
        )
        waited = 0.0
        while waited < ORPHAN_SECONDS:
            # Those that began later have seen the new mark.
            ((count,),) = await self._clickhouse.query(running, {"prefix": _INSERT_PREFIX, "waited": waited})
            if not count:
                return
            await asyncio.sleep(LOOK_SECONDS)
            waited += LOOK_SECONDS
        await self._clickhouse.command(
            "KILL QUERY WHERE startsWith(query_id, {prefix:String}) AND elapsed >= {waited:Float64} SYNC",
            {"prefix": _INSERT_PREFIX, "waited": waited},
        )

    async def _repair(self, partition: int, position: int) -> None:
        """Write the missing keys of events at or past the committed position."""
        while True:
            rows = await self._clickhouse.query(
                "SELECT namespace, source, id, log_position FROM om_events"
                " WHERE log_partition = {partition:UInt32} AND log_position >= {position:UInt64}"
                " ORDER BY log_position LIMIT {limit:UInt32}",
                {"partition": partition, "position": position, "limit": REPAIR_EVENTS},
            )
            keys = list(set(event_keys((namespace, source, event_id) for namespace, source, event_id, _ in rows)))
            known = await self._keys.known(keys)
            missing = [key for key in keys if key not in known]
            if missing:
                log.info("writing keys of events that a stopped sink left", partition=partition, count=len(missing))
            await self._keys.add(missing)
            if len(rows) < REPAIR_EVENTS:
                return
            position = rows[-1][3]
