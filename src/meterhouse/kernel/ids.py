"""Identifiers: ULIDs, 26 upper-case characters, ordered by time of making (api-conventions section 13)."""

import secrets
import threading
from datetime import datetime

from ulid import ULID

from meterhouse.kernel import clock

_RANDOM_BITS = 80
# Crockford's base 32, two characters at a time: ids are made for every event and request.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_PAIR_BITS = 10
_PAIR_MASK = (1 << _PAIR_BITS) - 1
# What one prefix serves: ids of one millisecond differ in their last bits only.
_TAIL_BITS = 2 * _PAIR_BITS
_TAIL_MASK = (1 << _TAIL_BITS) - 1
_ID_PAIRS = 13


class _MonotonicUlids:
    """Makes ULIDs that rise strictly within a process, also when the clock stands still or many are made at once.

    Lists use the id as their last sort key, so two rows made in one millisecond must still keep their order.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ms = -1
        self._last_random = 0
        self._head = -1
        self._prefix = ""

    def take(self, count: int) -> list[str]:
        ms = int(clock.now().timestamp() * 1000)
        found: list[str] = []
        with self._lock:
            if ms != self._last_ms:
                # The top bit stays free so that counting up can never overflow into the timestamp.
                self._last_ms, self._last_random = ms, secrets.randbits(_RANDOM_BITS - 1) - 1
            value = (ms << _RANDOM_BITS) + self._last_random + 1
            self._last_random += count
            while count > 0:
                head, tail = value >> _TAIL_BITS, value & _TAIL_MASK
                if head != self._head:
                    self._head, self._prefix = head, _base32(head, _ID_PAIRS - 2)
                prefix = self._prefix
                tails = range(tail, min(tail + count, _TAIL_MASK + 1))
                found += [prefix + _PAIRS[tail >> _PAIR_BITS] + _PAIRS[tail & _PAIR_MASK] for tail in tails]
                value += len(tails)
                count -= len(tails)
        return found


def _base32(value: int, pairs: int) -> str:
    return "".join([_PAIRS[value >> shift & _PAIR_MASK] for shift in range((pairs - 1) * _PAIR_BITS, -1, -_PAIR_BITS)])


_ulids = _MonotonicUlids()


def new_id() -> str:
    """Return a new ULID whose time part is the present of `kernel.clock`."""
    return _ulids.take(1)[0]


def new_ids(count: int) -> list[str]:
    """Return as many new ULIDs, rising, at a fraction of the cost of one by one."""
    return _ulids.take(count)


def is_ulid(text: str) -> bool:
    """Tell whether `text` is a ULID in its canonical upper-case form."""
    if len(text) != 26 or text != text.upper():
        return False
    try:
        ULID.from_str(text)
    except ValueError:
        return False
    return True


def made_at(ulid: str) -> datetime:
    """Return when an id of `new_id` was made, to the millisecond."""
    return ULID.from_str(ulid).datetime
