"""A sink process is killed between any two of its steps, time and again: each acknowledged event counts once."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from meterhouse.kernel.db import Database
from meterhouse.metering.events.embedded import EmbeddedLog
from meterhouse.metering.events.kafka import KafkaLog
from meterhouse.metering.events.log import EventLog
from tests.faults.child import KILL_POINTS
from tests.faults.story import Story

ROOT = Path(__file__).parents[2]
CHILD_SECONDS = 60  # far more than it takes; other tests run beside this one
# Another story with METERHOUSE_TEST_SEED; the seed of a failed one is in its output.
SEED = int(os.environ.get("METERHOUSE_TEST_SEED", "7"))
# A dead member holds its partitions for so long.
SESSION = {"session.timeout.ms": 4000, "heartbeat.interval.ms": 500}


def run_child(**given: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.faults.child", json.dumps(given)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=CHILD_SECONDS, check=False)


async def killed_and_drained(story: Story, log: EventLog, given: dict[str, Any], rounds: list[str]) -> None:
    """Append the story in as many parts as there are rounds; a sink dies in each, and one at the end does not."""
    batches = list(story.batches(30))
    share = -(-len(batches) // len(rounds))
    died = 0
    for number, kill_at in enumerate(rounds):
        for batch in batches[number * share : (number + 1) * share]:
            await log.append(batch)
        end = {str(partition): position for partition, position in (await log.end()).items()}
        kill_on = story.random.randint(1, 2)
        done = run_child(**given, end=end, flush=story.random.randint(20, 60), kill_at=kill_at, kill_on=kill_on)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr[-3000:]
        died += done.returncode != 0
    end = {str(partition): position for partition, position in (await log.end()).items()}
    done = run_child(**given, end=end, flush=50)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["stored"] == dict.fromkeys(story.values, 1)
    assert found["keys"] == len(story.values)
    assert Decimal(found["sum"]) == story.total
    assert died >= len(rounds) // 2  # or the test would prove nothing


async def test_killed_on_the_embedded_log(db: Database, database_url: str, tmp_path: Path) -> None:
    story = Story(SEED, 600)
    log = EmbeddedLog(db)
    rounds = list(KILL_POINTS)
    story.random.shuffle(rounds)
    given = {"database": database_url, "clickhouse": f"chdb://{tmp_path / 'clickhouse'}"}
    await killed_and_drained(story, log, given, rounds)
    await log.close()


@pytest.fixture
def mock_cluster() -> Iterator[str]:
    """Run librdkafka's mock cluster, which speaks the real protocol; it lives in this process."""
    producer = Producer({"bootstrap.servers": "none:1", "test.mock.num.brokers": 1, "log_level": 0})
    yield ",".join(f"{broker.host}:{broker.port}" for broker in producer.list_topics(timeout=10).brokers.values())
    del producer


@pytest.fixture
async def mock_log(mock_cluster: str) -> AsyncIterator[tuple[KafkaLog, str, str]]:
    """Give a log on the mock cluster, its servers and its topic."""
    topic = "om_killed_events"
    # The mock makes a topic when it is asked about, but cannot be told to.
    Producer({"bootstrap.servers": mock_cluster}).list_topics(topic, timeout=10)
    log = KafkaLog(mock_cluster, topic)
    yield log, mock_cluster, topic
    await log.close()


async def test_killed_on_the_protocol_of_kafka(
    mock_log: tuple[KafkaLog, str, str], database_url: str, tmp_path: Path
) -> None:
    log, servers, topic = mock_log
    story = Story(SEED + 1, 300)
    given = {
        "database": database_url,
        "clickhouse": f"chdb://{tmp_path / 'clickhouse'}",
        "kafka": servers,
        "topic": topic,
        "consuming": SESSION,
    }
    await killed_and_drained(story, log, given, ["after_events", "after_keys"])
