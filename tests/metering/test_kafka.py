"""The event log on Kafka, against librdkafka's mock cluster, which speaks the real protocol."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from confluent_kafka import Consumer, Producer

from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import TooLarge, Unavailable
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.events import kafka
from meterhouse.metering.events.kafka import KafkaLog
from meterhouse.metering.events.log import Record
from meterhouse.metering.keys import event_key
from meterhouse.metering.sink import Sink
from tests.metering.conftest import event, running

TOPIC = "om_default_events"
# The mock forms a group for three seconds, and keeps a member that left until its session is over.
MOCK_SESSION = {"session.timeout.ms": 4000, "heartbeat.interval.ms": 500}
TIME = "2025-03-01T10:00:00.5Z"


@pytest.fixture(scope="module")
def servers() -> Iterator[str]:
    """Run a cluster of one broker for the module."""
    producer = Producer({"bootstrap.servers": "none:1", "test.mock.num.brokers": 1})
    brokers = producer.list_topics(timeout=10).brokers
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers.values())
    del producer


@pytest.fixture
async def log(servers: str, request: pytest.FixtureRequest) -> AsyncIterator[KafkaLog]:
    """Give a log on a topic of its own."""
    topic = f"om_{request.node.name}_events"
    # The mock makes a topic when it is asked about, but cannot be told to.
    Producer({"bootstrap.servers": servers}).list_topics(topic, timeout=10)
    log = KafkaLog(servers, topic, group=topic, consuming=MOCK_SESSION)
    yield log
    await log.close()


async def stored(clickhouse: ClickHouse) -> list[str]:
    """Return the ids of all stored events."""
    return [row[0] for row in await clickhouse.query("SELECT id FROM om_events ORDER BY id")]


async def test_messages(log: KafkaLog, servers: str) -> None:
    sent = event("e1", TIME, "s", '{"v":1}', type="t")
    await log.append([sent])
    reader = Consumer({"bootstrap.servers": servers, "group.id": "reader", "auto.offset.reset": "earliest"})
    reader.subscribe([log._topic])
    message = await asyncio.to_thread(reader.poll, 10)
    reader.close()
    assert message is not None
    assert message.key() == event_key("default", "srv", "e1").hex().encode()
    assert message.value() == (
        b'{"id":"e1","type":"t","source":"srv","subject":"s","time":1740823200,"data":"{\\"v\\":1}","micros":500000}'
    )
    assert message.timestamp()[1] == int(sent.ingested_at.timestamp() * 1000)
    assert dict(message.headers() or ())["namespace"] == b"default"
    assert dict(message.headers() or ())["ingested_at"].decode() == sent.ingested_at.isoformat()


async def test_death_between_events_and_commit(log: KafkaLog, db: Database, clickhouse: ClickHouse) -> None:
    doomed = Sink(log, clickhouse, db)
    insert = doomed.insert_events
    reached = asyncio.Event()

    async def insert_and_die(table: object) -> None:
        await insert(table)  # type: ignore[arg-type]
        reached.set()
        raise RuntimeError("dies here")

    doomed.insert_events = insert_and_die  # type: ignore[method-assign]
    await log.append([event(str(i), TIME) for i in [*range(10), 3]])
    async with running(doomed):
        await asyncio.wait_for(reached.wait(), 20)
    sink = Sink(log, clickhouse, db)
    async with running(sink):
        await log.append([event("5", TIME), event("x", TIME)])
        await asyncio.wait_for(sink.drain(), 20)
    assert await stored(clickhouse) == [*(str(i) for i in range(10)), "x"]


async def test_a_partition_is_taken_over_before_its_records_and_again_after_a_rewind(log: KafkaLog) -> None:
    await log.append([event("1", TIME)])
    reader = await log.consumer()

    async def next_batch() -> tuple[dict[int, int], list[Record]]:
        taken: dict[int, int] = {}
        async with asyncio.timeout(20):
            while not (batch := await reader.poll(10, 1000, 0.1)).records:
                taken.update(batch.taken_over)
        return taken, list(batch.records)

    taken, (record,) = await next_batch()
    assert taken[record.partition] == 0
    reader.rewind()
    assert await next_batch() == (taken, [record])
    await reader.commit({record.partition: record.position + 1})
    reader.rewind()
    again = await reader.poll(10, 1000, 0.1)
    assert again.taken_over[record.partition] == record.position + 1
    await reader.close()


async def test_a_batch_is_bounded_by_bytes(log: KafkaLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "CHUNK", 2)
    await log.append([event(str(i), TIME, data={"v": "x" * 1000}) for i in range(40)])
    reader, sizes = await log.consumer(), []
    async with asyncio.timeout(20):
        while sum(sizes) < 40:
            batch = await reader.poll(100, 5000, 0.1)
            sizes.append(len(batch.records))
    await reader.close()
    assert max(sizes) <= 6


async def test_what_waits_for_the_brokers_is_bounded(servers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log = KafkaLog(servers, "om_bounded_events", configuration={"queue.buffering.max.messages": 10})
    Producer({"bootstrap.servers": servers}).list_topics("om_bounded_events", timeout=10)
    with pytest.raises(Unavailable):
        await log.append([event(str(i), TIME) for i in range(1000)])
    async with asyncio.timeout(10):
        while True:
            try:
                return await log.append([event("after", TIME)])
            except Unavailable:
                await asyncio.sleep(0.01)  # the ten that were taken are still on their way


async def test_unavailable_within_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "APPEND_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(kafka, "BROKER_TIMEOUT_SECONDS", 0.5)
    log = KafkaLog("127.0.0.1:1", TOPIC)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(log.append([event("1", TIME)]), 5)
    with pytest.raises(Unavailable):
        await log.consumer()
    await log.close()


async def test_too_large_for_a_record(log: KafkaLog) -> None:
    with pytest.raises(TooLarge):
        await log.append([event("1", TIME), event("2", TIME, data={"v": "x" * kafka.MAX_RECORD_BYTES})])
    assert await log.end() == {}
