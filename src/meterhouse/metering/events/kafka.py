"""The event log on Kafka (metering sections 3.4 and 4, design section 6).

The message key is the event's key, so the same event always meets the same consumer. The message's timestamp is the
time of receipt: with the event's own, retention by time could remove a late event before it is read.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError
from aiokafka.structs import ConsumerRecord

from meterhouse.kernel import clock
from meterhouse.kernel.errors import TooLarge, Unavailable
from meterhouse.metering.events import event as events
from meterhouse.metering.events.event import Event
from meterhouse.metering.events.log import APPEND_TIMEOUT_SECONDS, Batch, EventConsumer, Record
from meterhouse.metering.keys import event_key

# Gathering before a request to the broker; it bounds what a lone request waits for.
LINGER_MS = 2
# What brokers accept by default is 1 MiB for a batch of one record with its frame.
MAX_RECORD_BYTES = 1_000_000
# For starting, committing and asking for positions.
BROKER_TIMEOUT_SECONDS = 10.0
# How long a rebalance waits for the batch in hand. The group gives a member 30 s to join again.
HANDOVER_SECONDS = 20.0

log = structlog.get_logger(__name__)


class KafkaLog:
    """Keeps events in one topic of a Kafka cluster.

    Args:
        servers: `host:port`, several separated by commas.
        topic: created when missing; OpenMeter's is `om_default_events`.
        partitions: of a topic that is created: how many sinks can share the work.
        group: consumer group of the sinks.
        security: further arguments of aiokafka's clients: protocol, SASL, TLS.
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        *,
        partitions: int = 6,
        group: str = "meterhouse-sink",
        security: Mapping[str, Any] | None = None,
    ) -> None:
        self._client = {"bootstrap_servers": servers.split(","), **(security or {})}
        self._topic = topic
        self._partitions = partitions
        self._group = group
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._end: dict[int, int] = {}

    async def append(self, events: Sequence[Event]) -> None:
        """Append all events; returning means all in-sync replicas of each partition have them.

        Raises:
            Unavailable: the brokers do not acknowledge in time.
            TooLarge: an event is larger than a broker accepts; nothing was sent.
        """
        messages = [_message(event) for event in events]
        with _unavailable("the event log does not acknowledge"):
            async with asyncio.timeout(APPEND_TIMEOUT_SECONDS):
                producer = await self._started()
                sent: list[asyncio.Future[Any]] = []
                try:
                    for message in messages:
                        future = await producer.send(self._topic, **message)
                        sent.append(future)
                    acknowledged = await asyncio.gather(*sent)
                finally:
                    # Those that fail after the first have nobody who waits for them.
                    for future in sent:
                        future.add_done_callback(_retrieve)
        for metadata in acknowledged:
            self._end[metadata.partition] = max(self._end.get(metadata.partition, 0), metadata.offset + 1)

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                await self._create_topic()
                producer = AIOKafkaProducer(
                    **self._client,
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=LINGER_MS,
                    max_request_size=2 * MAX_RECORD_BYTES,
                )
                try:
                    await producer.start()
                except BaseException:
                    await _stopped(producer)
                    raise
                self._producer = producer
            return self._producer

    async def _create_topic(self) -> None:
        admin = AIOKafkaAdminClient(**self._client)
        try:
            await admin.start()
            if self._topic not in await admin.list_topics():
                # The replication that the cluster is configured for.
                topic = NewTopic(self._topic, self._partitions, replication_factor=-1)
                with contextlib.suppress(TopicAlreadyExistsError):
                    await admin.create_topics([topic])
        finally:
            await admin.close()

    async def consumer(self) -> EventConsumer:
        """Start a consumer of the group.

        Raises:
            Unavailable: the brokers do not answer.
        """
        consumer = AIOKafkaConsumer(
            **self._client,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        reader = _Reader(consumer)
        with _unavailable("the event log does not answer"):
            try:
                async with asyncio.timeout(BROKER_TIMEOUT_SECONDS):
                    await self._started()
                    consumer.subscribe([self._topic], listener=reader)
                    await consumer.start()
            except BaseException:
                await _stopped(consumer)
                raise
        return reader

    async def end(self) -> Mapping[int, int]:
        """Return the position after the last record of this process, by partition."""
        return dict(self._end)

    async def close(self) -> None:
        """Wait for what is under way and close the connections."""
        if self._producer is not None:
            await self._producer.stop()


class _Reader(ConsumerRebalanceListener):  # type: ignore[misc]
    """One member of the consumer group."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        # Partitions that were reported as taken over. Others are not read yet.
        self._ready: set[TopicPartition] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Give partitions up after the batch in hand is stored and committed."""
        try:
            await asyncio.wait_for(self._idle.wait(), HANDOVER_SECONDS)
        except TimeoutError:
            log.warning("partitions are given up while a batch is being stored")
        self._ready.clear()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Nothing: the next poll takes them over."""

    async def poll(self, limit: int, wait: float) -> Batch:
        """Return the next records. See `EventConsumer.poll`."""
        self._idle.set()
        with _unavailable("the event log cannot be read"):
            fresh = self._consumer.assignment() - self._ready
            if fresh:
                async with asyncio.timeout(BROKER_TIMEOUT_SECONDS):
                    return Batch(taken_over={place.partition: await self._take(place) for place in sorted(fresh)})
            found = await self._consumer.getmany(timeout_ms=int(wait * 1000), max_records=limit)
        records = [
            _record(message)
            for place, messages in sorted(found.items())
            # A partition that came meanwhile is read again from its committed position.
            if place in self._ready
            for message in messages
        ]
        if records:
            self._idle.clear()
        return Batch(records=records)

    async def _take(self, place: TopicPartition) -> int:
        committed: int | None = await self._consumer.committed(place)
        position = committed
        if position is None:
            position = (await self._consumer.beginning_offsets([place]))[place]
        self._consumer.seek(place, position)
        self._ready.add(place)
        return position

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Commit the offsets. See `EventConsumer.commit`."""
        offsets = {place: positions[place.partition] for place in self._ready if place.partition in positions}
        try:
            with _unavailable("the position in the event log cannot be committed"):
                if len(offsets) < len(positions):
                    raise Unavailable("a partition was taken away while its events were stored")
                async with asyncio.timeout(BROKER_TIMEOUT_SECONDS):
                    await self._consumer.commit(offsets)
        finally:
            self._idle.set()

    def rewind(self) -> None:
        """Take all partitions over again at the next poll."""
        self._ready.clear()
        self._idle.set()

    async def close(self) -> None:
        """Leave the group."""
        self._idle.set()
        await _stopped(self._consumer)


def _message(event: Event) -> dict[str, Any]:
    value = events.to_payload(event)
    if len(value) + len(event.namespace) > MAX_RECORD_BYTES:
        raise TooLarge(f"an event may have {MAX_RECORD_BYTES} bytes at most: {event.id[:100]}")
    return {
        "key": event_key(event.namespace, event.source, event.id).hex().encode(),
        "value": value,
        "timestamp_ms": int(event.ingested_at.timestamp() * 1000),
        "headers": [
            ("namespace", event.namespace.encode()),
            ("specversion", b"1.0"),
            ("ingested_at", event.ingested_at.isoformat().encode()),
        ],
    }


def _record(message: ConsumerRecord) -> Record:
    headers = dict(message.headers)
    try:
        # Go writes nanoseconds, of which Python reads the first six digits.
        ingested_at = clock.as_utc(datetime.fromisoformat(headers["ingested_at"].decode()))
    except (KeyError, ValueError):
        ingested_at = clock.now()
    namespace = headers.get("namespace", b"").decode("utf-8", "replace")
    return Record(message.partition, message.offset, namespace, ingested_at, message.value or b"")


@contextlib.contextmanager
def _unavailable(message: str) -> Iterator[None]:
    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(message) from error


def _retrieve(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()


async def _stopped(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    with contextlib.suppress(KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(BROKER_TIMEOUT_SECONDS):
            await client.stop()
