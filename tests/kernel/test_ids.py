"""Ids rise strictly, one by one and many at once (api-conventions section 13)."""

from datetime import UTC, datetime

from meterhouse.kernel import clock, ids
from meterhouse.kernel.ids import is_ulid, made_at, new_id, new_ids

NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)


def test_ids_rise_also_when_time_stands_still() -> None:
    with clock.frozen(NOW) as stopped:
        found = [new_id(), *new_ids(5000), new_id(), *new_ids(0), *new_ids(1)]
        stopped.at = NOW.replace(second=1)
        found += [new_id(), *new_ids(2)]
    assert found == sorted(set(found))
    assert all(is_ulid(one) for one in (found[0], found[2500], found[-1]))
    assert (made_at(found[0]), made_at(found[-1])) == (NOW, NOW.replace(second=1))


def test_ids_of_one_call_count_on_beyond_what_a_prefix_holds() -> None:
    made = ids._MonotonicUlids()
    with clock.frozen(NOW):
        made.take(1)
        made._last_random = made._last_random >> 20 << 20 | 0xFFFFD
        found = made.take(5)
    assert found == sorted(set(found))
    assert [one[-4:] for one in found[:4]] == ["ZZZY", "ZZZZ", "0000", "0001"]
