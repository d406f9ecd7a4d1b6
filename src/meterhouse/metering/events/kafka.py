"""The event log on Kafka, through librdkafka (metering sections 3.4 and 4, design section 6).

The message key is the event's key, so the same event always meets the same consumer. The message's timestamp is the
time of receipt: with the event's own, retention by time could remove a late event before it is read.

librdkafka works on threads of its own. What it tells comes in on the threads below, and is handed to the event loop.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

import structlog
from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from meterhouse.kernel import clock
from meterhouse.kernel.errors import TooLarge, Unavailable
from meterhouse.metering.events import event as events
from meterhouse.metering.events.event import Event
from meterhouse.metering.events.log import APPEND_TIMEOUT_SECONDS, Batch, EventConsumer, Record
from meterhouse.metering.keys import event_keys

R = TypeVar("R")

# Gathering before a request to the broker; it bounds what a lone request waits for.
LINGER_MS = 2
# What brokers accept by default is 1 MiB for a batch of one record with its frame.
MAX_RECORD_BYTES = 1_000_000
# For starting, committing and asking for positions.
BROKER_TIMEOUT_SECONDS = 10.0
# What may wait for acknowledgement in this process while the brokers are slow or away; beyond it, appends are refused.
MAX_IN_FLIGHT_KBYTES = 128 * 1024
# What librdkafka reads ahead of the sink, over all partitions.
READ_AHEAD_KBYTES = 32 * 1024
# How long the group waits for a sink that is silent before it gives its partitions to others.
SESSION_MS = 10_000
# Messages taken out at a time: the size of a batch in bytes is looked at in between.
CHUNK = 500
# Messages produced before other requests have their turn on the event loop.
YIELD_AFTER = 1_000
# Waiting for the next report of the producer; it only bounds how long closing takes.
REPORT_SECONDS = 0.1

log = structlog.get_logger(__name__)


class KafkaLog:
    """Keeps events in one topic of a Kafka cluster.

    Args:
        servers: `host:port`, several separated by commas.
        topic: created when missing; OpenMeter's is `om_default_events`.
        partitions: of a topic that is created: how many sinks can share the work. More of them later send an event to
            another partition than before, so restart all sinks then: at their start they learn the keys of all.
        group: consumer group of the sinks.
        configuration: further properties of librdkafka's clients, such as `security.protocol`.
        consuming: further properties of the consumer.
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        *,
        partitions: int = 6,
        group: str = "meterhouse-sink",
        configuration: Mapping[str, str | int] | None = None,
        consuming: Mapping[str, str | int] | None = None,
    ) -> None:
        self._client: dict[str, Any] = {
            "bootstrap.servers": servers,
            "socket.timeout.ms": int(BROKER_TIMEOUT_SECONDS * 1000),
            "log_level": 2,  # the library's own lines come several a second while a broker is away
            "error_cb": _told,
            **(configuration or {}),
        }
        self._topic = topic
        self._partitions = partitions
        self._group = group
        self._consuming = dict(consuming or {})
        self._producer: _Producer | None = None
        self._starting = asyncio.Lock()
        # Questions to the brokers, one after the other: those of an outage must not use up the threads of others.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka")
        self._end: dict[int, int] = {}

    async def append(self, events: Sequence[Event]) -> None:
        """Append all events; returning means all in-sync replicas of each partition have them.

        Raises:
            Unavailable: the brokers do not acknowledge in time, or too much waits for them already.
            TooLarge: an event is larger than a broker accepts; nothing was sent.
        """
        if not events:
            return
        keys = event_keys((event.namespace, event.source, event.id) for event in events)
        messages = [_message(event, key) for event, key in zip(events, keys, strict=True)]
        with _unavailable("the event log does not acknowledge"):
            async with asyncio.timeout(APPEND_TIMEOUT_SECONDS):
                producer = await self._started()
                try:
                    reached = await producer.send(self._topic, messages)
                except KafkaException as error:
                    if error.args[0].fatal():
                        # It will never send again. The next append starts another one.
                        self._producer = None
                        await self._on_thread(producer.close)
                    raise
        for partition, position in reached.items():
            self._end[partition] = max(self._end.get(partition, 0), position)

    async def _started(self) -> "_Producer":
        async with self._starting:
            if self._producer is None:
                await self._on_thread(self._create_topic)
                self._producer = _Producer(self._client)
            return self._producer

    def _create_topic(self) -> None:
        admin = AdminClient(self._client)
        if self._topic in admin.list_topics(timeout=BROKER_TIMEOUT_SECONDS).topics:
            return
        # The replication that the cluster is configured for.
        made = admin.create_topics([NewTopic(self._topic, self._partitions)], operation_timeout=BROKER_TIMEOUT_SECONDS)
        try:
            made[self._topic].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    async def consumer(self) -> EventConsumer:
        """Start a consumer of the group.

        Raises:
            Unavailable: the brokers do not answer.
        """
        with _unavailable("the event log does not answer"):
            async with asyncio.timeout(2 * BROKER_TIMEOUT_SECONDS):
                await self._started()
            return _Reader(
                self._topic,
                {
                    **self._client,
                    "group.id": self._group,
                    "enable.auto.commit": False,
                    "auto.offset.reset": "earliest",
                    # A sink that comes or goes takes partitions from the others, who go on with the rest.
                    "partition.assignment.strategy": "cooperative-sticky",
                    "session.timeout.ms": SESSION_MS,
                    "queued.max.messages.kbytes": READ_AHEAD_KBYTES,
                    **self._consuming,
                },
            )

    async def end(self) -> Mapping[int, int]:
        """Return the position after the last record of this process, by partition."""
        return dict(self._end)

    async def ping(self) -> None:
        """Ask the brokers for the topic.

        Raises:
            Unavailable: they do not answer.
        """
        with _unavailable("the event log does not answer"):
            async with asyncio.timeout(BROKER_TIMEOUT_SECONDS):
                producer = await self._started()
                await self._on_thread(lambda: producer.ping(self._topic))

    async def close(self) -> None:
        """Wait for what is under way and close the connections."""
        if self._producer is not None:
            await self._on_thread(self._producer.close)
            self._producer = None
        self._thread.shutdown(wait=False)

    async def _on_thread(self, call: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


class _Producer:
    """librdkafka's producer, and the thread on which it reports what was acknowledged."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._producer = Producer(
            {
                **client,
                "acks": "all",
                "enable.idempotence": True,
                # As Kafka's own clients place keys, so that producers of both kinds agree where a key lives.
                "partitioner": "murmur2_random",
                "linger.ms": LINGER_MS,
                "message.max.bytes": 2 * MAX_RECORD_BYTES,
                # What is not acknowledged by then has been refused to its client: it would only take up memory.
                "delivery.timeout.ms": int(APPEND_TIMEOUT_SECONDS * 1000),
                "queue.buffering.max.kbytes": MAX_IN_FLIGHT_KBYTES,
            }
        )
        self._closed = threading.Event()
        self._reports = threading.Thread(target=self._report, name="kafka reports", daemon=True)
        self._reports.start()

    def _report(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(REPORT_SECONDS)

    async def send(self, topic: str, messages: Sequence[Mapping[str, Any]]) -> Mapping[int, int]:
        """Send messages and wait for all acknowledgements; give the position reached by partition.

        Raises:
            KafkaException: one of them is not acknowledged.
            BufferError: too much waits already; some may have been sent.
        """
        request = _Request(len(messages))
        for index, message in enumerate(messages, 1):
            self._producer.produce(topic, on_delivery=request.delivered, **message)
            if index % YIELD_AFTER == 0:
                await asyncio.sleep(0)
        return await request.done

    def ping(self, topic: str) -> None:
        """Raise when the brokers do not answer."""
        self._producer.list_topics(topic, timeout=BROKER_TIMEOUT_SECONDS)

    def close(self) -> None:
        self._producer.flush(APPEND_TIMEOUT_SECONDS)
        self._closed.set()
        self._reports.join()


class _Request:
    """The messages of one append, as they are acknowledged."""

    def __init__(self, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[Mapping[int, int]] = self._loop.create_future()
        self._left = count
        self._reached: dict[int, int] = {}
        self._error: KafkaError | None = None

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        """Count one report; called on the thread of reports."""
        partition, offset = message.partition(), message.offset()
        if error is not None:
            self._error = error
        elif partition is not None and offset is not None:
            self._reached[partition] = max(self._reached.get(partition, 0), offset + 1)
        self._left -= 1
        if not self._left:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if self.done.done():
            return
        if self._error is None:
            self.done.set_result(self._reached)
        else:
            self.done.set_exception(KafkaException(self._error))


class _Reader:
    """One member of the consumer group.

    librdkafka takes partitions away and gives new ones only while it is asked for messages, so a batch in hand is
    always stored and committed, or given up, before its partitions go to another sink.
    """

    def __init__(self, topic: str, configuration: Mapping[str, Any]) -> None:
        self._topic = topic
        self._consumer = Consumer(dict(configuration))
        # One thread, so that closing waits for the poll that a cancelled sink left behind.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka consumer")
        self._mine: set[int] = set()
        self._fresh: set[int] = set()
        self._held: list[Record] = []
        self._rewinding = False
        self._consumer.subscribe([topic], on_assign=self._given, on_revoke=self._taken, on_lost=self._taken)

    def _given(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._mine |= {place.partition for place in partitions}
        self._fresh |= {place.partition for place in partitions}

    def _taken(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        gone = {place.partition for place in partitions}
        self._mine -= gone
        self._fresh -= gone
        self._held = [record for record in self._held if record.partition not in gone]

    async def poll(self, limit: int, limit_bytes: int, wait: float) -> Batch:
        """Return the next records. See `EventConsumer.poll`."""
        with _unavailable("the event log cannot be read"):
            return await self._on_thread(lambda: self._poll(limit, limit_bytes, wait))

    def _poll(self, limit: int, limit_bytes: int, wait: float) -> Batch:
        if self._rewinding:
            self._consumer.poll(0)  # lets partitions come and go; a message it gives is read again
            positions = self._positions(self._mine)
            for partition, position in positions.items():
                self._consumer.seek(TopicPartition(self._topic, partition, position))
            self._rewinding, self._fresh, self._held = False, set(), []
            return Batch(taken_over=positions)
        records = [*self._held, *(() if self._held else self._read(limit, limit_bytes, wait))]
        # Records of partitions that came with this very poll are kept until those have been reported.
        self._held = [record for record in records if record.partition in self._mine]
        if self._fresh:
            positions = self._positions(self._fresh)
            self._fresh = set()
            return Batch(taken_over=positions)
        records, self._held = self._held, []
        return Batch(records=records)

    def _read(self, limit: int, limit_bytes: int, wait: float) -> list[Record]:
        found: list[Record] = []
        message = self._consumer.poll(wait)
        messages = [] if message is None else [message]
        size = 0
        while messages:
            for message in messages:
                if (error := message.error()) is None:
                    found.append(_record(message))
                    size += len(found[-1].payload)
                elif error.code() not in (KafkaError._PARTITION_EOF, KafkaError._ALL_BROKERS_DOWN):
                    log.warning("message cannot be read", error=str(error))
            left = limit - len(found)
            messages = [] if left <= 0 or size >= limit_bytes else self._consumer.consume(min(left, CHUNK), 0)
        return found

    def _positions(self, partitions: set[int]) -> dict[int, int]:
        asked = [TopicPartition(self._topic, partition) for partition in sorted(partitions)]
        found: dict[int, int] = {}
        for place in self._consumer.committed(asked, timeout=BROKER_TIMEOUT_SECONDS) if asked else ():
            if place.error is not None:
                raise KafkaException(place.error)
            found[place.partition] = place.offset
            if place.offset == OFFSET_INVALID:  # nothing was committed yet: reading begins at the earliest
                found[place.partition] = self._consumer.get_watermark_offsets(place, timeout=BROKER_TIMEOUT_SECONDS)[0]
        return found

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Commit the offsets. See `EventConsumer.commit`."""
        offsets = [TopicPartition(self._topic, partition, position) for partition, position in positions.items()]

        def commit() -> None:
            for place in self._consumer.commit(offsets=offsets, asynchronous=False) or ():
                if place.error is not None:
                    raise KafkaException(place.error)

        with _unavailable("the position in the event log cannot be committed"):
            await self._on_thread(commit)

    def rewind(self) -> None:
        """Take all partitions over again at the next poll."""
        self._rewinding = True

    async def waiting(self) -> int:
        """Count the records not yet read, as of the last answers of the brokers."""
        return await self._on_thread(self._waiting)

    def _waiting(self) -> int:
        asked = [TopicPartition(self._topic, partition) for partition in sorted(self._mine)]
        count = 0
        with contextlib.suppress(KafkaException):
            for place in self._consumer.position(asked) if asked else ():
                low, high = self._consumer.get_watermark_offsets(place, cached=True) or (0, 0)
                count += max(high - max(place.offset, low), 0)
        return count

    async def close(self) -> None:
        """Leave the group."""
        with contextlib.suppress(KafkaException, TimeoutError):
            async with asyncio.timeout(BROKER_TIMEOUT_SECONDS):
                await self._on_thread(self._consumer.close)
        self._thread.shutdown(wait=False)

    async def _on_thread(self, call: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


def _told(error: KafkaError) -> None:
    log.warning("trouble with Kafka", error=error.str())


def _message(event: Event, key: bytes) -> dict[str, Any]:
    value = events.to_payload(event)
    if len(value) + len(event.namespace) > MAX_RECORD_BYTES:
        raise TooLarge(f"an event may have {MAX_RECORD_BYTES} bytes at most: {event.id[:100]}")
    return {
        "key": key.hex().encode(),
        "value": value,
        "timestamp": int(event.ingested_at.timestamp() * 1000),
        "headers": [
            ("namespace", event.namespace.encode()),
            ("specversion", b"1.0"),
            ("ingested_at", event.ingested_at.isoformat().encode()),
        ],
    }


def _record(message: Message) -> Record:
    headers: dict[str, Any] = dict(message.headers() or ())
    try:
        # Go writes nanoseconds, of which Python reads the first six digits.
        ingested_at = clock.as_utc(datetime.fromisoformat(headers["ingested_at"].decode()))
    except (KeyError, ValueError, AttributeError):
        ingested_at = clock.now()
    namespace = (headers.get("namespace") or b"").decode("utf-8", "replace")
    partition, offset, value = message.partition(), message.offset(), message.value()
    assert partition is not None
    assert offset is not None
    return Record(partition, offset, namespace, ingested_at, value if isinstance(value, bytes) else b"")


@contextlib.contextmanager
def _unavailable(message: str) -> Iterator[None]:
    try:
        yield
    except (KafkaException, BufferError, OSError, TimeoutError) as error:
        raise Unavailable(message) from error
