"""Events as rows of the event table, with their slots filled."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from meterhouse.kernel.ids import new_ids
from meterhouse.metering import extraction, jsonpath
from meterhouse.metering.events.event import Payload
from meterhouse.metering.events.log import Record
from meterhouse.metering.extraction import Documents
from meterhouse.metering.meter import Slot, SlotKind
from meterhouse.metering.repository import EventType

_INSTANT = pa.timestamp("us", "UTC")
_NUMBER = pa.decimal128(38, 19)
_TEXT = pa.string()

Decoded = tuple[Record, Payload]


def to_table(
    events: Sequence[Decoded],
    slots: Mapping[EventType, Sequence[Slot]],
    stored_at: datetime,
    marks: Mapping[int, int],
) -> pa.Table:
    """Lay events out as columns, type by type. Slots that no event fills are left out and take the table's defaults.

    Row ids rise in the order of `events`, for lists end with them.

    Args:
        marks: by partition of the log, what tells that its owner inserts the rows (`ownership`).
    """
    groups = _by_type(events)
    order = [place for group in groups.values() for place in group]
    ids = new_ids(len(events))
    events = [events[place] for place in order]
    records, payloads = [record for record, _ in events], [payload for _, payload in events]
    data = pa.array([payload.data for payload in payloads], _TEXT)
    exact_data = _exact(data)
    columns: dict[str, Any] = {
        "namespace": [record.namespace for record in records],
        "id": [payload.id for payload in payloads],
        "type": [payload.type for payload in payloads],
        "subject": [payload.subject for payload in payloads],
        "source": [payload.source for payload in payloads],
        "time": pa.array([payload.time * 1_000_000 + payload.micros for payload in payloads], _INSTANT),
        "data": data,
        "exact_data": exact_data,
        "ingested_at": pa.array([record.ingested_at for record in records], _INSTANT),
        "stored_at": pa.repeat(pa.scalar(stored_at, _INSTANT), len(events)),
        "store_row_id": [ids[place] for place in order],
        "log_partition": pa.array([record.partition for record in records], pa.uint32()),
        "log_position": pa.array([record.position for record in records], pa.uint64()),
        "owner_mark": pa.array([marks.get(record.partition, 0) for record in records], pa.uint64()),
        **_slot_columns({name: len(group) for name, group in groups.items()}, slots, payloads, exact_data),
    }
    return pa.table(columns)


def _by_type(events: Sequence[Decoded]) -> dict[EventType, list[int]]:
    """Return the places of the events of each type."""
    groups: dict[EventType, list[int]] = {}
    for place, (record, payload) in enumerate(events):
        name = (record.namespace, payload.type)
        if name in groups:
            groups[name].append(place)
        else:
            groups[name] = [place]
    return groups


def _exact(data: pa.Array) -> list[str]:
    exact = [""] * len(data)
    for index in pc.indices_nonzero(pc.match_substring_regex(data, extraction.SUSPICIOUS)).to_pylist():
        exact[index] = extraction.exact_form(data[index].as_py())
    return exact


def _slot_columns(
    sizes: Mapping[EventType, int],
    slots: Mapping[EventType, Sequence[Slot]],
    payloads: Sequence[Payload],
    exact_data: Sequence[str],
) -> dict[str, pa.ChunkedArray]:
    """Return `slots_version` and the slots of events that lie type after type, as many of each as `sizes` says."""
    kinds = {slot.column: slot.kind for name in sizes for slot in slots.get(name, ())}
    chunks: dict[str, list[pa.Array]] = {column: [] for column in ("slots_version", *kinds)}
    start = 0
    for name, size in sizes.items():
        filled: dict[str, pa.Array] = {}
        if mine := slots.get(name, ()):
            paths = {slot.path: jsonpath.parse(slot.path) for slot in mine}
            here = range(start, start + size)
            documents = Documents([exact_data[at] or payloads[at].data for at in here], list(paths.values()))
            for slot in mine:
                texts = documents.texts(paths[slot.path])
                filled[slot.column] = numbers(texts) if slot.kind is SlotKind.NUMBER else pa.array(texts, _TEXT)
        version = max((slot.version for slot in mine), default=0)
        chunks["slots_version"].append(pa.repeat(pa.scalar(version, pa.uint32()), size))
        for column, kind in kinds.items():
            chunks[column].append(filled[column] if column in filled else _unfilled(kind, size))
        start += size
    return {column: pa.chunked_array(found) for column, found in chunks.items()}


def _unfilled(kind: SlotKind, size: int) -> pa.Array:
    return pa.nulls(size, _NUMBER) if kind is SlotKind.NUMBER else pa.repeat(pa.scalar("", _TEXT), size)


def numbers(texts: Sequence[str]) -> pa.Array:
    """Read numbers as `extraction.number_of` does, those at once that need no second look."""
    plain = pc.match_substring_regex(pa.array(texts, _TEXT), f"^{extraction.FITTING_NUMBER}$")
    if pc.all(plain).as_py():
        return pa.array(texts, _TEXT).cast(_NUMBER)
    return pa.array([extraction.number_of(text) for text in texts], _NUMBER)
