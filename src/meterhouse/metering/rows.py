"""Events as rows of the event table, with their slots filled."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from meterhouse.kernel.ids import new_id
from meterhouse.metering import extraction, jsonpath
from meterhouse.metering.events.event import Event
from meterhouse.metering.events.log import Record
from meterhouse.metering.jsonpath import Path
from meterhouse.metering.meter import Slot, SlotKind
from meterhouse.metering.repository import EventType

_INSTANT = pa.timestamp("us", "UTC")
_NUMBER = pa.decimal128(38, 19)


class _Layout:
    """The slots of one event type, ready to be filled."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.version = max((slot.version for slot in slots), default=0)
        self.paths: list[tuple[Slot, Path]] = [(slot, jsonpath.parse(slot.path)) for slot in slots]
        self.names = tuple({name for _, path in self.paths for name in path.names()})

    def values(self, data: str) -> Iterable[tuple[str, Any]]:
        """Yield (column, value) of an event's data."""
        document = extraction.parse(data, self.names)
        for slot, path in self.paths if document is not None else ():
            text = extraction.text_at(document, path)
            yield slot.column, extraction.number_of(text) if slot.kind is SlotKind.NUMBER else text


def to_table(
    events: Sequence[tuple[Record, Event]],
    slots: Mapping[EventType, Sequence[Slot]],
    stored_at: datetime,
    marks: Mapping[int, int],
) -> pa.Table:
    """Lay events out as columns. Slots that no event fills are left out and take the table's defaults.

    Args:
        marks: by partition of the log, what tells that its owner inserts the rows (`ownership`).
    """
    layouts = {name: _Layout(found) for name, found in slots.items()}
    empty = _Layout(())
    filled: dict[str, list[Any]] = {
        slot.column: [None if slot.kind is SlotKind.NUMBER else ""] * len(events)
        for layout in layouts.values()
        for slot, _ in layout.paths
    }
    versions = []
    exact_data = [extraction.exact_form(event.data) for _, event in events]
    for index, (_, event) in enumerate(events):
        layout = layouts.get((event.namespace, event.type), empty)
        versions.append(layout.version)
        for column, value in layout.values(exact_data[index] or event.data) if layout.paths else ():
            filled[column][index] = value
    columns: dict[str, Any] = {
        "namespace": [event.namespace for _, event in events],
        "id": [event.id for _, event in events],
        "type": [event.type for _, event in events],
        "subject": [event.subject for _, event in events],
        "source": [event.source for _, event in events],
        "time": pa.array([event.time for _, event in events], _INSTANT),
        "data": [event.data for _, event in events],
        "exact_data": exact_data,
        "ingested_at": pa.array([event.ingested_at for _, event in events], _INSTANT),
        "stored_at": pa.array([stored_at] * len(events), _INSTANT),
        "store_row_id": [new_id() for _ in events],
        "log_partition": pa.array([record.partition for record, _ in events], pa.uint32()),
        "log_position": pa.array([record.position for record, _ in events], pa.uint64()),
        "owner_mark": pa.array([marks.get(record.partition, 0) for record, _ in events], pa.uint64()),
        "slots_version": pa.array(versions, pa.uint32()),
    }
    for column, values in filled.items():
        columns[column] = pa.array(values, _NUMBER if column.startswith("n") else pa.string())
    return pa.table(columns)
