"""A batch is checked rule by rule, a single event all at once: both say the same (metering sections 3 and 19)."""

import random
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from meterhouse.kernel.errors import InvalidInput
from meterhouse.metering.events import event as events
from meterhouse.metering.events.event import Event

RECEIVED = datetime(2025, 3, 1, 12, tzinfo=UTC)
GOOD: list[dict[str, Any]] = [
    {},
    {"specversion": "0.3", "datacontenttype": "application/json", "dataschema": "x"},
    *(
        {"source": source}
        for source in ("/a/b", "urn:x:1", "http://h/p?q=1#f", "a.b_c~d", "x y".replace(" ", "%20"), "é")
    ),
    *(
        {"time": time}
        for time in (
            None,
            "2025-03-01T10:00:00Z",
            "2025-03-01T10:00:00.5Z",
            "2025-03-01T10:00:00.123456789Z",
            "2025-03-01T10:00:00.999999999+02:00",
            "1970-01-01T00:00:00Z",
            "2106-02-07T06:28:15.999999999Z",
        )
    ),
    *({"data": data} for data in (None, {}, {"a": "ünï\0😀"}, {"a": 1.5, "b": [{}]})),
]
BAD: list[dict[str, Any]] = [
    {"specversion": "2.0"},
    {"datacontenttype": "text/plain"},
    *({"source": source} for source in ("a b", "%zz", ":x", "a_b:c", "x\n")),
    *(
        {"time": time}
        for time in (
            "",
            "yesterday",
            "2025-03-01T10:00:00",
            "2025-02-30T10:00:00Z",
            "2106-02-07T06:28:16Z",
            "1969-12-31T23:59:59.999999999Z",
            "0001-01-01T00:00:00+14:00",
        )
    ),
    *({"data": data} for data in ([1], "text", 5, True)),
]


def wire(**members: Any) -> dict[str, Any]:
    """An event as a client sends it."""
    return {"specversion": "1.0", "id": "1", "source": "srv", "type": "t", "subject": "s", **members}


def decoded(body: Any) -> list[Event]:
    """Decode a body for a namespace."""
    given = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return events.decode(given, "application/json", namespace="n", received_at=RECEIVED)


def test_good_events_are_the_same_alone_and_in_a_batch() -> None:
    chance = random.Random(1)
    alone = [decoded(wire(**members))[0] for members in GOOD]
    for _ in range(50):
        picked = chance.choices(range(len(GOOD)), k=chance.randint(1, 12))
        assert decoded([wire(**GOOD[index]) for index in picked]) == [alone[index] for index in picked]


@pytest.mark.parametrize("members", BAD, ids=str)
def test_a_bad_event_is_named_the_same_alone_and_in_a_batch(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as alone:
        decoded(wire(**members))
    with pytest.raises(InvalidInput) as among:
        decoded([wire(), wire(**members), wire(id="2", **members)])
    assert among.value.message == alone.value.message.replace("`$.", "`$[1].")
    (name,) = members
    assert f"`$[1].{name}`" in among.value.message


def test_data_that_is_no_utf8_names_its_event() -> None:
    good, bad = msgspec.json.encode(wire()), msgspec.json.encode(wire(data={"v": "X"})).replace(b"X", b"\xff")
    for body, where in ((bad, "$"), (b"[" + good + b"," + bad + b"]", "$[1]")):
        with pytest.raises(InvalidInput) as refused:
            decoded(body)
        assert where in refused.value.message


@pytest.mark.parametrize(
    ("text", "micros"), [("2025-03-01T10:00:00.9999999Z", 999_999), ("2025-03-01T10:00:00.0000009Z", 0)]
)
def test_fractions_are_cut(text: str, micros: int) -> None:
    (one,), (among, _) = decoded(wire(time=text)), decoded([wire(time=text), wire()])
    assert one.time == among.time == datetime(2025, 3, 1, 10, 0, 0, micros, tzinfo=UTC)


def test_a_record_holds_the_whole_event() -> None:
    for members in GOOD:
        (event,) = decoded(wire(**members))
        assert events.from_payload(events.to_payload(event), namespace="n", ingested_at=RECEIVED) == event
