"""Dead letters: records of the event log that could not be stored, kept until somebody looks at them.

Whoever runs the server lists them, mends what kept them from being stored (by an upgrade, as a rule), and replays them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from meterhouse.kernel import clock
from meterhouse.kernel.db import Database, ReadSession, WriteSession
from meterhouse.kernel.ids import new_id
from meterhouse.metering import repository
from meterhouse.metering.events import event as events
from meterhouse.metering.events.log import EventLog, Record
from meterhouse.metering.models import EventDeadLetterRow

# Letters in memory at a time: payloads may have a megabyte each.
BATCH = 50
# Long enough for any message a person reads, short enough that no error fills the row.
MAX_REASON = 1000
# Rows of one statement; each has nine parameters, of which a statement takes 32767.
_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Refused:
    """A record, and why it cannot be stored."""

    record: Record
    reason: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was put aside at `created_at`. `position` is the record's place in its partition of the log."""

    id: str
    partition: int
    position: int
    namespace: str
    ingested_at: datetime
    payload: bytes
    reason: str
    created_at: datetime


async def add(session: WriteSession, refused: Sequence[Refused]) -> int:
    """Put records aside; return how many were not put aside before."""
    now, count = clock.now(), 0
    rows = [
        {
            "id": new_id(),
            "log_partition": one.record.partition,
            "log_position": one.record.position,
            # Postgres keeps no NUL in a text; the payload is kept as it is.
            "namespace": one.record.namespace.replace("\0", "\ufffd"),
            "ingested_at": one.record.ingested_at,
            "payload": one.record.payload,
            "payload_digest": blake2b(one.record.payload, digest_size=16).digest(),
            "reason": one.reason.replace("\0", "\ufffd")[:MAX_REASON],
            "created_at": now,
        }
        for one in refused
    ]
    for start in range(0, len(rows), _ROWS):
        count += await repository.add_dead_letters(session, rows[start : start + _ROWS])
    return count


async def list_letters(session: ReadSession, limit: int) -> list[DeadLetter]:
    """Return the oldest dead letters."""
    return [_letter(row) for row in await repository.dead_letters(session, limit)]


async def replay(db: Database, event_log: EventLog, ids: Collection[str] | None = None) -> tuple[int, dict[str, str]]:
    """Append the events of dead letters to the log again, and forget those letters. None for `ids` means all.

    A crash in between leaves letters whose events are in the log already; replayed again, they count once all the same.

    Returns:
        How many were replayed, and by id why others still cannot be; an id without a letter is among them.

    Raises:
        Unavailable: the log does not acknowledge; letters replayed before stay replayed.
    """
    replayed, failed = 0, dict.fromkeys(ids or (), "there is no such dead letter")
    after = ""
    while True:
        async with db.read() as session:
            letters = [_letter(row) for row in await repository.dead_letters(session, BATCH, after=after, ids=ids)]
        if not letters:
            return replayed, failed
        after = letters[-1].id
        found = []
        for letter in letters:
            failed.pop(letter.id, None)
            try:
                event = events.from_payload(letter.payload, namespace=letter.namespace, ingested_at=letter.ingested_at)
                found.append((letter.id, event))
            except ValueError as error:
                failed[letter.id] = str(error)
        if found:
            await event_log.append([event for _, event in found])
            async with db.write() as session:
                await repository.delete_dead_letters(session, [letter_id for letter_id, _ in found])
            replayed += len(found)


def _letter(row: EventDeadLetterRow) -> DeadLetter:
    return DeadLetter(
        row.id,
        row.log_partition,
        row.log_position,
        row.namespace,
        row.ingested_at,
        row.payload,
        row.reason,
        row.created_at,
    )
