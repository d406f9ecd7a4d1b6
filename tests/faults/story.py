"""A seeded stream of events with everything that senders and networks do to it, and its truth."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from meterhouse.metering.events.event import Event
from tests.metering.conftest import event

START = datetime(2025, 1, 31, 12, tzinfo=UTC)
DAYS = 60  # three months, so that one batch lies in several partitions of the event table


class Story:
    """Events in the order of sending: some sent again, at once or late, with another content, and some out of order.

    Of several with one key the first one accepted counts, so what is sent again has the same value here; its time and
    its subject differ.
    """

    def __init__(self, seed: int, count: int) -> None:
        print(f"seed of the story: {seed}")  # noqa: T201 shown by pytest when the test fails
        self.random = random.Random(seed)
        self.values = {f"e{number}": Decimal(self.random.randint(1, 10_000)) / 100 for number in range(count)}
        once = [self._event(name) for name in self.values]
        again = [self._event(self.random.choice(list(self.values))) for _ in range(count // 3)]
        self.events = once + again
        # Reordered within reach of one another, and some far.
        place = {id(sent): index + self.random.uniform(0, count / 4) for index, sent in enumerate(once)}
        place |= {id(sent): self.random.uniform(0, 2 * count) for sent in again}
        self.events.sort(key=lambda sent: place[id(sent)])

    def _event(self, name: str) -> Event:
        time = START + timedelta(seconds=self.random.randrange(DAYS * 86400))
        subject = f"s{self.random.randrange(5)}"
        return event(name, time.isoformat(), subject, f'{{"v": "{self.values[name]}"}}')

    def batches(self, largest: int) -> Iterator[Sequence[Event]]:
        """Cut the stream into the requests of its senders."""
        position = 0
        while position < len(self.events):
            size = self.random.randint(1, largest)
            yield self.events[position : position + size]
            position += size

    @property
    def total(self) -> Decimal:
        """The sum over all events, each once."""
        return sum(self.values.values(), Decimal(0))
