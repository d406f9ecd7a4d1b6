"""Identifiers: ULIDs, 26 upper-case characters, ordered by time of making (api-conventions section 13)."""

import secrets
import threading
from datetime import datetime

from ulid import ULID

from meterhouse.kernel import clock

_RANDOM_BITS = 80


class _MonotonicUlids:
    """Makes ULIDs that rise strictly within a process, also when the clock stands still or many are made at once.

    Lists use the id as their last sort key, so two rows made in one millisecond must still keep their order.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ms = -1
        self._last_random = 0

    def next(self) -> str:
        ms = int(clock.now().timestamp() * 1000)
        with self._lock:
            if ms == self._last_ms:
                self._last_random += 1
            else:
                # The top bit stays free so that counting up can never overflow into the timestamp.
                self._last_ms, self._last_random = ms, secrets.randbits(_RANDOM_BITS - 1)
            value = (ms << _RANDOM_BITS) | self._last_random
        return str(ULID.from_bytes(value.to_bytes(16, "big")))


_ulids = _MonotonicUlids()


def new_id() -> str:
    """Return a new ULID whose time part is the present of `kernel.clock`."""
    return _ulids.next()


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
