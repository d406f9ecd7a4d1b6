"""The keys of stored events: what keeps an event single (metering section 5, design section 6).

A key is a 128-bit hash of namespace, source and id, each with its length in front, so that no two triples run together.
`om_event_keys` is the truth; in front of it an in-memory filter answers "surely new" for almost every new event.
"""

import asyncio
import base64
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from meterhouse.metering.clickhouse import ClickHouse

KEY_BYTES = 16

Words = npt.NDArray[np.uint64]

# Keys asked for at once: their text, 22 characters each, stays below the engine's limit for a query (256 KiB). The
# filter leaves few to ask about, so there are this many only when a batch is replayed.
_LOOKUP_KEYS = 10_000
# Bits of the filter for each key it is made for: one false "maybe" in some hundred new keys when it is full.
_BITS_PER_KEY = 16
# What a filter is made for at least: 16 MiB, so that a small server never builds a second one.
_LEAST_CAPACITY = 1 << 23
_WORD = 64
_PATTERN_BITS = 4


def event_key(namespace: str, source: str, event_id: str) -> bytes:
    """Return the key of an event."""
    return _digest(_measured(namespace) + _measured(source), event_id)


def event_keys(named: Iterable[tuple[str, str, str]]) -> list[bytes]:
    """Return the keys of events, given the namespace, source and id of each."""
    origins: dict[tuple[str, str], bytes] = {}
    keys = []
    for namespace, source, event_id in named:
        origin = origins.get((namespace, source))
        if origin is None:
            origin = origins[namespace, source] = _measured(namespace) + _measured(source)
        keys.append(_digest(origin, event_id))
    return keys


def _digest(origin: bytes, event_id: str) -> bytes:
    encoded = event_id.encode()
    return blake2b(b"%b%b%b" % (origin, len(encoded).to_bytes(4, "big"), encoded), digest_size=KEY_BYTES).digest()


def _measured(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(4, "big") + encoded


class KeyFilter:
    """A Bloom filter over keys, one memory word a key: "absent" is certain, "maybe" has to be looked up."""

    def __init__(self, capacity: int = _LEAST_CAPACITY) -> None:
        words = 1 << (max(capacity, 1) * _BITS_PER_KEY // _WORD).bit_length()
        self.capacity = capacity
        self.count = 0
        self._mask = np.uint64(words - 1)
        self._words = np.zeros(words, np.uint64)

    def _probe(self, keys: bytes | memoryview) -> tuple[Words, Words]:
        halves = np.frombuffer(keys, "<u8").reshape(-1, 2)
        pattern = np.zeros(len(halves), np.uint64)
        for bit in range(_PATTERN_BITS):
            shift = (halves[:, 1] >> np.uint64(6 * bit)) & np.uint64(_WORD - 1)
            pattern |= np.uint64(1) << shift
        return halves[:, 0] & self._mask, pattern

    def add(self, keys: bytes | memoryview) -> None:
        """Remember keys, given one after the other."""
        places, pattern = self._probe(keys)
        np.bitwise_or.at(self._words, places, pattern)
        self.count += len(places)

    def maybe(self, keys: Sequence[bytes]) -> list[bytes]:
        """Return the keys that may have been added."""
        if not keys:
            return []
        places, pattern = self._probe(b"".join(keys))
        present = (self._words[places] & pattern) == pattern
        return [key for key, maybe in zip(keys, present.tolist(), strict=True) if maybe]


class KeyStore:
    """The table of keys with its filter."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self._filter: KeyFilter | None = None

    async def load(self) -> None:
        """Fill the filter from the table. Must follow every moment in which another process may have written keys."""
        ((count,),) = await self._clickhouse.query("SELECT count() FROM om_event_keys")
        stored = await self._clickhouse.columns("SELECT key_hash FROM om_event_keys")
        self._filter = await asyncio.to_thread(_filled, max(2 * count, _LEAST_CAPACITY), stored["key_hash"])

    async def known(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of `keys` that belong to a stored event."""
        asked = keys if self._filter is None else self._filter.maybe(keys)
        found: set[bytes] = set()
        for start in range(0, len(asked), _LOOKUP_KEYS):
            # One text that the engine takes apart: a list of literals costs it many times the lookup. In base 64 there
            # is nothing to be quoted.
            some = asked[start : start + _LOOKUP_KEYS]
            listed = base64.b64encode(b"".join(some)).decode()
            # Usually there are few, for which rows are faster than columns.
            rows = await self._clickhouse.query(_KNOWN.format(keys=listed, count=len(some)))
            found.update(bytes.fromhex(row[0]) for row in rows)
        return found

    async def add(self, keys: Sequence[bytes]) -> None:
        """Write keys. Writing one again does no harm."""
        if not keys:
            return
        await self._clickhouse.insert("om_event_keys", pa.table({"key_hash": pa.array(keys, pa.binary(KEY_BYTES))}))
        if self._filter is not None:
            self._filter.add(b"".join(keys))
            if self._filter.count > self._filter.capacity:
                await self.load()


_KNOWN = (
    "SELECT hex(key_hash) FROM om_event_keys WHERE key_hash IN"
    f" (SELECT toFixedString(substring(base64Decode('{{keys}}'), {KEY_BYTES} * number + 1, {KEY_BYTES}), {KEY_BYTES})"
    " FROM numbers({count}))"
)


def _filled(capacity: int, stored: pa.ChunkedArray) -> KeyFilter:
    fresh = KeyFilter(capacity)
    for chunk in stored.chunks:
        if len(chunk):
            keys = memoryview(chunk.buffers()[1])
            fresh.add(keys[chunk.offset * KEY_BYTES : (chunk.offset + len(chunk)) * KEY_BYTES])
    return fresh
