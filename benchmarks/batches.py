"""The same kind of events as `data`, made in Python: for what starts with bytes and not with rows."""

import random
from collections.abc import Sequence
from datetime import timedelta

import data
import msgspec

from meterhouse.kernel import clock
from meterhouse.kernel.ids import new_id
from meterhouse.metering.events.event import Event, to_payload
from meterhouse.metering.events.log import Record

# Events of one insert: what the sink takes at once.
BATCH = 10_000


def cloud_event(chance: random.Random) -> dict[str, object]:
    """Make a CloudEvent as a client sends it."""
    tokens = f"{chance.randrange(5_000)}.{chance.randrange(100):02}"
    time = data.START + timedelta(seconds=chance.randrange(data.DAYS * 86_400))
    return {
        "specversion": "1.0",
        "id": f"{chance.getrandbits(128):032x}",
        "source": f"service-{chance.randrange(5)}",
        "type": data.TYPE,
        "subject": f"customer-{int(data.SUBJECTS ** chance.random())}",
        "time": f"{time:%Y-%m-%dT%H:%M:%SZ}",
        "data": {
            "tokens": tokens if chance.random() < 0.2 else float(tokens),
            "model": f"model-{chance.randrange(5)}",
            "region": f"region-{chance.randrange(8)}",
            "kind": chance.choice(("input", "output")),
            "user_id": f"user-{chance.randrange(100_000)}",
            "meta": {"request": f"{chance.getrandbits(48):012x}", "retries": chance.randrange(3), "cached": False},
        },
    }


def body(chance: random.Random, count: int) -> bytes:
    """Make a request body: one event, or a batch of `count`."""
    if count == 1:
        return msgspec.json.encode(cloud_event(chance))
    return msgspec.json.encode([cloud_event(chance) for _ in range(count)])


def records(chance: random.Random, count: int = BATCH) -> list[Record]:
    """Make records as the sink reads them out of the log."""
    now = clock.now()
    found = []
    for position in range(count):
        made = cloud_event(chance)
        event = Event(
            namespace=data.NAMESPACE,
            id=str(made["id"]),
            source=str(made["source"]),
            type=str(made["type"]),
            subject=str(made["subject"]),
            time=data.START + timedelta(seconds=chance.randrange(data.DAYS * 86_400)),
            data=msgspec.json.encode(made["data"]).decode(),
            ingested_at=now,
        )
        found.append(Record(0, position, data.NAMESPACE, now, to_payload(event)))
    return found


class Wire(msgspec.Struct):
    """The payload of a record, as little typed as a sink without slots needs it."""

    id: str
    type: str
    source: str
    subject: str
    time: int
    data: str


_decoder = msgspec.json.Decoder(Wire)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def reference_insert(batch: Sequence[Record], table: str) -> str:
    """Write a batch as the reference does: one INSERT whose rows are text."""
    now = int(clock.now().timestamp())
    rows = []
    for record in batch:
        wire = _decoder.decode(record.payload)
        texts = (record.namespace, wire.id, wire.type, wire.subject, wire.source)
        received = int(record.ingested_at.timestamp())
        rows.append(f"({','.join(map(_quoted, texts))},{wire.time},{_quoted(wire.data)},{received},{now},'{new_id()}')")
    columns = "namespace, id, type, subject, source, time, data, ingested_at, stored_at, store_row_id"
    return f"INSERT INTO {table} ({columns}) VALUES {','.join(rows)}"
