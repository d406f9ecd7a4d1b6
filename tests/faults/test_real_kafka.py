"""The log on a real Apache Kafka: brokers that die, sinks that share a group, come, go, sleep and are killed.

Run by `make test-kafka`. With METERHOUSE_TEST_KAFKA the tests use that cluster, but for those that kill the broker.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from meterhouse.kernel.db import Database
from meterhouse.kernel.errors import Unavailable
from meterhouse.kernel.ids import new_id
from meterhouse.metering import deadletters
from meterhouse.metering import sink as sinks
from meterhouse.metering.clickhouse import ClickHouse
from meterhouse.metering.events import kafka
from meterhouse.metering.events.kafka import KafkaLog
from meterhouse.metering.sink import Sink
from meterhouse.runtime.composition import event_log
from meterhouse.settings import Settings
from tests.faults.child import KILL_POINTS
from tests.faults.real_kafka import PASSWORD, USER, Broker
from tests.faults.story import Story
from tests.faults.test_kill import SEED, killed_and_drained
from tests.faults.world import Held, all_running, assert_each_counts_once, until_stored
from tests.metering.conftest import event

pytestmark = pytest.mark.kafka

TIME = "2025-03-01T10:00:00Z"
SESSION = {"session.timeout.ms": 2000, "heartbeat.interval.ms": 300}
PARTITIONS = 6


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker | None]:
    """Run a broker, unless a cluster is given."""
    if os.environ.get("METERHOUSE_TEST_KAFKA"):
        yield None
        return
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def servers(broker: Broker | None) -> str:
    """Give the servers to connect to."""
    return os.environ["METERHOUSE_TEST_KAFKA"] if broker is None else broker.servers


@pytest.fixture
def topic(servers: str) -> Iterator[str]:
    """Give the name of a topic that does not exist yet; it is deleted after the test."""
    name = f"om_test_{new_id().lower()}_events"
    yield name
    admin = AdminClient({"bootstrap.servers": servers})
    for done in admin.delete_topics([name]).values():
        done.exception()


@pytest.fixture
async def log(servers: str, topic: str) -> AsyncIterator[KafkaLog]:
    """Give a log on a topic of its own."""
    log = KafkaLog(servers, topic, group=topic, partitions=PARTITIONS, consuming=SESSION)
    yield log
    await log.close()


def committed(servers: str, topic: str) -> dict[int, int]:
    """Return what the group has committed."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": topic})
    places = consumer.committed([TopicPartition(topic, number) for number in range(PARTITIONS)], timeout=10)
    consumer.close()
    return {place.partition: place.offset for place in places if place.offset >= 0}


async def test_a_missing_topic_is_made_and_everything_is_committed(
    log: KafkaLog, servers: str, topic: str, db: Database, clickhouse: ClickHouse
) -> None:
    story = Story(SEED, 300)
    for batch in story.batches(50):
        await log.append(batch)
    made = AdminClient({"bootstrap.servers": servers}).list_topics(topic, timeout=10).topics[topic]
    assert len(made.partitions) == PARTITIONS
    sink = Sink(log, clickhouse, db)
    async with all_running([sink]):
        await asyncio.wait_for(sink.drain(), 30)
    await assert_each_counts_once(clickhouse, story)
    assert committed(servers, topic) == await log.end()
    assert sum((await log.end()).values()) == len(story.events)


async def test_two_sinks_share_a_group_and_rebalance_while_flushing(
    log: KafkaLog, servers: str, topic: str, db: Database, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sinks come and go in the middle of flushes, politely and not; events keep coming, some of them twice."""
    monkeypatch.setattr(sinks, "FLUSH_EVENTS", 50)
    story = Story(SEED, 1500)
    batches = list(story.batches(20))
    others = [KafkaLog(servers, topic, group=topic, consuming=SESSION) for _ in range(2)]

    async def send(part: int) -> None:
        for batch in batches[part::4]:
            await log.append(batch)
            await asyncio.sleep(0.02)

    first, second, third = Held(log, clickhouse, db), Sink(others[0], clickhouse, db), Sink(others[1], clickhouse, db)
    async with all_running([first]):
        await send(0)
        await asyncio.wait_for(first.reached.wait(), 30)
        async with all_running([second]):  # joins while the first one flushes
            await asyncio.sleep(1)
            first.go.set()
            await send(1)
            await _until(lambda: len(second._ownership.marks) > 0)
            async with all_running([third]):
                await send(2)
        await send(3)  # the second and the third have left
        await until_stored(clickhouse, len(story.values))
        await asyncio.wait_for(_until_committed(log, servers, topic), 60)
    for other in others:
        await other.close()
    await assert_each_counts_once(clickhouse, story)
    assert len(second._ownership.marks) in range(1, PARTITIONS + 1)


async def test_a_sink_that_the_group_gave_up_stores_nothing_more(
    servers: str, topic: str, db: Database, clickhouse: ClickHouse
) -> None:
    """It sleeps before an insert for longer than the group waits, and wakes up when another has stored its events."""
    slow = {**SESSION, "max.poll.interval.ms": 3000}
    log, other_log = (KafkaLog(servers, topic, group=topic, consuming=slow) for _ in range(2))
    story = Story(SEED, 200)
    await log.append(story.events)
    sleeper, other = Held(log, clickhouse, db), Sink(other_log, clickhouse, db)
    async with all_running([sleeper]):
        await asyncio.wait_for(sleeper.reached.wait(), 30)
        async with all_running([other]):
            await until_stored(clickhouse, len(story.values))
            sleeper.go.set()
            await asyncio.sleep(2)
            await assert_each_counts_once(clickhouse, story)
        await log.append([event("after", TIME), *story.events[:50]])
        await asyncio.wait_for(_until_committed(log, servers, topic), 60)
    await log.close()
    await other_log.close()
    assert (await clickhouse.query("SELECT count() FROM om_events")) == [(len(story.values) + 1,)]


async def test_killed_sinks(
    log: KafkaLog, servers: str, topic: str, db: Database, database_url: str, tmp_path: Path
) -> None:
    story = Story(SEED, 600)
    rounds = list(KILL_POINTS)
    story.random.shuffle(rounds)
    given = {
        "database": database_url,
        "clickhouse": f"chdb://{tmp_path / 'clickhouse'}",
        "kafka": servers,
        "topic": topic,
        "consuming": SESSION,
    }
    await killed_and_drained(story, log, given, rounds)


async def test_the_broker_is_killed_and_comes_back(
    broker: Broker | None, log: KafkaLog, db: Database, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is away appends are refused in bounded time; what was acknowledged before and after counts once."""
    if broker is None:
        pytest.skip("the cluster is not ours to kill")
    monkeypatch.setattr(kafka, "APPEND_TIMEOUT_SECONDS", 2.0)
    story = Story(SEED, 400)
    batches = list(story.batches(20))
    sink = Sink(log, clickhouse, db)
    acknowledged, refused, longest = 0, [], 0.0
    async with all_running([sink]):
        for number, batch in enumerate(batches):
            if number == len(batches) // 2:
                await asyncio.to_thread(broker.kill)
            begin = time.monotonic()
            try:
                await log.append(batch)
                acknowledged += 1
            except Unavailable:
                refused.append(batch)
            longest = max(longest, time.monotonic() - begin)
            if len(refused) == 3:
                await asyncio.to_thread(broker.start)
                for again in refused:
                    await _sent(log, again)
                refused.append([])  # so that this is done once
        await until_stored(clickhouse, len(story.values))
        await asyncio.wait_for(sink.drain(), 60)
    assert acknowledged >= len(batches) // 2
    assert longest < 4
    await assert_each_counts_once(clickhouse, story)


async def test_a_record_that_is_no_event_becomes_a_dead_letter(
    log: KafkaLog, servers: str, topic: str, db: Database, clickhouse: ClickHouse
) -> None:
    await log.append([event("good", TIME)])
    producer = Producer({"bootstrap.servers": servers})
    producer.produce(topic, b"nonsense", headers=[("namespace", b"default")])
    producer.produce(topic, None, headers=None)
    producer.flush(10)
    await log.append([event("better", TIME)])
    async with all_running([Sink(log, clickhouse, db)]):
        await until_stored(clickhouse, 2)
        async with asyncio.timeout(20):
            letters: list[deadletters.DeadLetter] = []
            while len(letters) < 2:
                async with db.read() as session:
                    letters = await deadletters.list_letters(session, 10)
                await asyncio.sleep(0.1)
    assert {letter.payload for letter in letters} == {b"nonsense", b""}


async def test_passwords_and_tls_are_passed_through(tmp_path: Path, db: Database, clickhouse: ClickHouse) -> None:
    secured = Broker(tmp_path / "secured", secured=True)
    secured.start()
    try:
        given = {
            "kafka_bootstrap_servers": secured.servers,
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_mechanism": "PLAIN",
            "kafka_sasl_username": USER,
            "kafka_ssl_cafile": secured.certificate,
        }
        log = event_log(Settings(**given, kafka_sasl_password=PASSWORD), db)
        await log.append([event("1", TIME)])
        sink = Sink(log, clickhouse, db)
        async with all_running([sink]):
            await asyncio.wait_for(sink.drain(), 30)
        await log.close()
        assert (await clickhouse.query("SELECT id FROM om_events")) == [("1",)]
        stranger = event_log(Settings(**given, kafka_sasl_password="guessed"), db)
        with pytest.raises(Unavailable):
            await asyncio.wait_for(stranger.append([event("2", TIME)]), 15)
        await stranger.close()
    finally:
        secured.kill()


async def _sent(log: KafkaLog, batch: list[object]) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                return await log.append(batch)  # type: ignore[arg-type]
            except Unavailable:
                await asyncio.sleep(0.2)


async def _until(holds: object) -> None:
    async with asyncio.timeout(30):
        while not holds():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _until_committed(log: KafkaLog, servers: str, topic: str) -> None:
    while await asyncio.to_thread(committed, servers, topic) != await log.end():  # noqa: ASYNC110
        await asyncio.sleep(0.2)
