"""What metering does in the background."""

from collections.abc import Mapping
from datetime import datetime

from meterhouse.kernel.db import Database
from meterhouse.kernel.jobs import JobHandler
from meterhouse.metering import backfill, voids
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.corrections import APPEND_EVENT
from meterhouse.metering.events.event import from_payload
from meterhouse.metering.events.log import EventLog
from meterhouse.metering.meters import BACKFILL_SLOTS


def handlers(db: Database, clickhouse: ClickHouse, event_log: EventLog) -> list[JobHandler]:
    """Return the handlers of metering's jobs."""

    async def fill(payload: Mapping[str, str]) -> None:
        await backfill.backfill(db, clickhouse, payload["namespace"], payload["event_type"])

    async def mirror(payload: Mapping[str, str]) -> None:
        await voids.mirror(db, clickhouse, payload["namespace"])

    async def append(payload: Mapping[str, str]) -> None:
        # It was appended before the answer, unless the process died; the sink keeps the second one out.
        received_at = datetime.fromisoformat(payload["ingested_at"])
        event = from_payload(payload["event"].encode(), namespace=payload["namespace"], ingested_at=received_at)
        await event_log.append([event])

    return [
        JobHandler(BACKFILL_SLOTS, fill),
        JobHandler(voids.MIRROR_VOIDS, mirror),
        JobHandler(APPEND_EVENT, append),
    ]
