"""The port of the event log: what ingest appends to and the sink reads from (metering section 3.4, design section 6).

A log has partitions; a record has a position that rises within its partition. Two events of one key always meet in one
partition, and one consumer at a time reads a partition.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import msgspec

from meterhouse.metering.events.event import Event

# An append that is not acknowledged by then is answered with 503: the client keeps its events and tries again.
APPEND_TIMEOUT_SECONDS = 10.0


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record as read: the payload of `event.to_payload` and what travels beside it."""

    partition: int
    position: int
    namespace: str
    ingested_at: datetime
    payload: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """What one poll gave.

    Attributes:
        taken_over: partitions that this consumer reads from now on, with their committed position. What the one
            before it stored at or past that position is unknown.
        records: in order of position within each partition.
    """

    taken_over: Mapping[int, int] = field(default_factory=dict)
    records: Sequence[Record] = ()


class EventConsumer(Protocol):
    """Reads partitions of the log. Not safe for concurrent use."""

    async def poll(self, limit: int, limit_bytes: int, wait: float) -> Batch:
        """Return up to `limit` records, waiting up to `wait` seconds for the first.

        Args:
            limit_bytes: of payload; no more records are added once they have as many. What is read in one step may go
                beyond it.

        Raises:
            Unavailable: the log does not answer; polling again is right.
        """
        ...

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Remember, by partition, the position to go on from: everything below it is stored.

        Raises:
            Unavailable: not remembered; the consumer takes its partitions over again at the next poll.
        """
        ...

    def rewind(self) -> None:
        """Go back to the committed positions: the next poll reports every partition as taken over again."""
        ...

    async def waiting(self) -> int:
        """Count the records of this consumer's partitions that it has not read yet, as far as is known at once.

        Raises:
            Unavailable: the log does not answer.
        """
        ...

    async def close(self) -> None:
        """Give the partitions up."""
        ...


class EventLog(Protocol):
    """Holds accepted events until they are stored."""

    async def append(self, events: Sequence[Event]) -> None:
        """Append all events; returning means they survive the death of any process.

        Raises:
            Unavailable: the log does not acknowledge. Some of the events may still be in it; sending them again is
                safe, because the sink keeps each event single.
        """
        ...

    async def consumer(self) -> EventConsumer:
        """Start a consumer."""
        ...

    async def end(self) -> Mapping[int, int]:
        """Return, by partition, the position after the last acknowledged record."""
        ...

    async def ping(self) -> None:
        """Return when the log answers.

        Raises:
            Unavailable: it does not.
        """
        ...

    async def close(self) -> None:
        """Let go of connections. Appends that are under way are finished first."""
        ...
