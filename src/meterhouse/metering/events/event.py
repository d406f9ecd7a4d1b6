"""The event value and its decoding from CloudEvents (metering sections 3 and 19)."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec

from meterhouse.kernel.errors import InvalidInput, TooLarge

JSON = "application/json"
CLOUDEVENT = "application/cloudevents+json"
CLOUDEVENT_BATCH = "application/cloudevents-batch+json"
_MEDIA_TYPES = frozenset({JSON, CLOUDEVENT, CLOUDEVENT_BATCH})

# Bounds one append to the log; a body of 10 MiB of the smallest possible events holds about as many.
MAX_BATCH_EVENTS = 100_000

# What ClickHouse's DateTime can hold; windows and partitions are computed in it.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2106, 2, 7, 6, 28, 15, 999_999, tzinfo=UTC)

_SPEC_VERSIONS = frozenset({"1.0", "0.3"})
_DATA_TYPES = frozenset({None, JSON})
# How the payload may begin: it is absent, an object, or null.
_DATA_BEGINS = frozenset({"", "{", "n"})

Text = Annotated[str, msgspec.Meta(min_length=1)]


class Event(msgspec.Struct, frozen=True, gc=False):
    """A normalised event.

    Attributes:
        source, id: with the namespace, what makes an event one and the same (metering section 5).
        time: when it happened, UTC.
        data: the JSON text of the payload exactly as sent; "" when there was none.
        ingested_at: when this server received it.
    """

    namespace: str
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: str
    ingested_at: datetime


class _Incoming(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: Text
    source: Text
    type: Text
    subject: Text
    specversion: Text = "1.0"
    time: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")
    datacontenttype: str | None = None
    dataschema: Text | None = None


class _Extended(_Incoming, forbid_unknown_fields=False):
    """The same, for events with extensions: their names were checked and their values are dropped."""


_one_or_many = msgspec.json.Decoder(_Incoming | list[_Incoming])
_one_or_many_extended = msgspec.json.Decoder(_Extended | list[_Extended])
_names_only = msgspec.json.Decoder(dict[str, msgspec.Raw] | list[dict[str, msgspec.Raw]])

_EXTENSION_NAME = re.compile(r"[A-Za-z0-9]+")
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]
_LONGEST_EXACT = len("2025-03-01T10:00:00.000000Z")
_LONG_FRACTION = re.compile(r"(\.[0-9]{6})[0-9]+")
# A path of letters, digits and marks: what most sources are.
_PLAIN_SOURCE = re.compile(r"[A-Za-z0-9._~/-]+")
_BAD_URI = re.compile(r"[\x00-\x20\x7f]|%(?![0-9A-Fa-f]{2})|^:")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


def decode(
    body: bytes,
    content_type: str | None,
    *,
    namespace: str,
    received_at: datetime,
    extensions: bool = True,
    max_events: int = MAX_BATCH_EVENTS,
) -> list[Event]:
    """Decode a request body into events; one bad event refuses all of them.

    Args:
        body: the body as received.
        content_type: the header; its parameters are ignored.
        namespace: the tenant that the events belong to.
        received_at: becomes `ingested_at`, and `time` where the event has none.
        extensions: whether unknown members are read as CloudEvents extensions (v1) or refused (v3).
        max_events: the largest batch.

    Raises:
        InvalidInput: the media type is not one of events, or an event breaks a rule; names its index and member.
        TooLarge: the batch is above its limit.
    """
    media_type = content_type
    if media_type not in _MEDIA_TYPES:
        media_type = (content_type or "").partition(";")[0].strip().lower()
        if media_type not in _MEDIA_TYPES:
            raise InvalidInput(f"invalid content type: {media_type or 'none'}")
    found = _parse(body, extensions)
    if isinstance(found, _Incoming):
        if media_type == CLOUDEVENT_BATCH:
            raise InvalidInput(f"invalid event: {media_type} holds an array of events")
        return [_normalised(found, "$", namespace, received_at)]
    if media_type == CLOUDEVENT:
        raise InvalidInput(f"invalid event: {media_type} holds one event")
    if not found and media_type == JSON:
        raise InvalidInput("invalid event: no events found")
    if len(found) > max_events:
        raise TooLarge(f"a batch may hold {max_events} events at most")
    events = _all_normalised(found, namespace, received_at)
    if events is None:
        events = [_normalised(event, f"$[{index}]", namespace, received_at) for index, event in enumerate(found)]
    return events


def _parse(body: bytes, extensions: bool) -> _Incoming | list[_Incoming]:
    try:
        try:
            plain: _Incoming | list[_Incoming] = _one_or_many.decode(body)
            return plain
        except msgspec.ValidationError as error:
            if not extensions or "unknown field" not in str(error):
                raise
        _check_names(_names_only.decode(body))
        extended: _Extended | list[_Extended] = _one_or_many_extended.decode(body)
        return list(extended) if isinstance(extended, list) else extended
    except RecursionError:
        raise InvalidInput("invalid event: data is nested too deeply") from None
    except ValueError as error:
        # Covers broken JSON, members of the wrong type and text that is no UTF-8.
        raise InvalidInput(f"invalid event: {error}") from None


def _check_names(found: dict[str, Any] | list[dict[str, Any]]) -> None:
    for index, event in enumerate([found] if isinstance(found, dict) else found):
        for name in event:
            if not _EXTENSION_NAME.fullmatch(name):
                where = "$" if isinstance(found, dict) else f"$[{index}]"
                raise InvalidInput(
                    f"invalid event: extension names hold letters and digits only: {name!r} - at `{where}`"
                )


def _normalised(event: _Incoming, where: str, namespace: str, received_at: datetime) -> Event:
    if event.specversion not in _SPEC_VERSIONS:
        raise _wrong(where, "specversion", f"unsupported version {event.specversion!r}, use 1.0")
    if event.datacontenttype not in _DATA_TYPES:
        raise _wrong(where, "datacontenttype", f"must be {JSON}")
    source = event.source
    if _PLAIN_SOURCE.fullmatch(source) is None and not _is_uri_reference(source):
        raise _wrong(where, "source", f"{source!r} is no URI reference")
    time = received_at if event.time is None else _instant(event.time, where)
    data = _data(event.data, where)
    return Event(namespace, event.id, source, event.type, event.subject, time, data, received_at)


def _all_normalised(incoming: Sequence[_Incoming], namespace: str, received_at: datetime) -> list[Event] | None:
    """Normalise a batch, rule by rule instead of event by event; None when an event seems to break one.

    What breaks which rule is left to `_normalised`: that is far slower, and right to be, as it names the event.
    """
    if not (
        {event.specversion for event in incoming} <= _SPEC_VERSIONS
        and {event.datacontenttype for event in incoming} <= _DATA_TYPES
        and all(map(_is_uri_reference, {event.source for event in incoming}))
    ):
        return None
    times = _instants([event.time for event in incoming], received_at)
    if times is None:
        return None
    try:
        events = [
            Event(namespace, one.id, one.source, one.type, one.subject, time, str(one.data, "utf-8"), received_at)
            for one, time in zip(incoming, times, strict=True)
        ]
    except UnicodeDecodeError:
        return None
    return events if {event.data[:1] for event in events} <= _DATA_BEGINS else None


def _wrong(where: str, member: str, reason: str) -> InvalidInput:
    return InvalidInput(f"invalid event: {member}: {reason} - at `{where}.{member}`")


def _cut(text: str) -> str:
    # Digits beyond the microsecond are cut, never rounded: rounding could move an event into the next second.
    return _LONG_FRACTION.sub(r"\1", text)


def _instant(text: str, where: str) -> datetime:
    try:
        instant = msgspec.convert(text if len(text) <= _LONGEST_EXACT else _cut(text), datetime)
        if instant.tzinfo is not UTC:
            if instant.tzinfo is None:
                raise _wrong(where, "time", f"{text!r} is no RFC 3339 instant")
            instant = instant.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        raise _wrong(where, "time", f"{text!r} is no RFC 3339 instant") from None
    if not EARLIEST <= instant <= LATEST:
        raise _wrong(where, "time", f"{text!r} lies outside of {EARLIEST:%Y-%m-%d} to {LATEST:%Y-%m-%d}")
    return instant


def _instants(texts: Sequence[str | None], absent: datetime) -> Sequence[datetime] | None:
    given = [text for text in texts if text is not None]
    if not given:
        return [absent] * len(texts)
    if max(map(len, given)) > _LONGEST_EXACT:
        given = [_cut(text) for text in given]
    try:
        instants = msgspec.convert(given, list[_Instant])
        instants = [instant if instant.tzinfo is UTC else instant.astimezone(UTC) for instant in instants]
    except (msgspec.ValidationError, OverflowError):
        return None
    if min(instants) < EARLIEST or max(instants) > LATEST:
        return None
    if len(given) == len(texts):
        return instants
    found = iter(instants)
    return [absent if text is None else next(found) for text in texts]


def _data(raw: msgspec.Raw, where: str) -> str:
    try:
        text = str(raw, "utf-8")
    except UnicodeDecodeError as error:
        raise _wrong(where, "data", f"is no UTF-8: {error.reason}") from None
    if text[:1] not in _DATA_BEGINS:
        raise _wrong(where, "data", "must be an object")
    return text


def _is_uri_reference(source: str) -> bool:
    if _BAD_URI.search(source):
        return False
    if ":" not in source:
        return True
    first_segment, _, _ = source.partition("/")
    scheme, colon, _ = first_segment.partition(":")
    # A colon in the first segment is only right after a scheme (RFC 3986, section 4.2).
    return not colon or _SCHEME.fullmatch(scheme) is not None or "?" in scheme or "#" in scheme


class Payload(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """The value of a log record (metering section 3.4), with the fraction of the time beside the whole seconds."""

    id: Text
    type: Text
    source: Text
    subject: Text
    time: Annotated[int, msgspec.Meta(ge=0, le=int(LATEST.timestamp()))]
    data: str = msgspec.field()
    micros: Annotated[int, msgspec.Meta(ge=0, lt=1_000_000)] = 0


_payload_decoder = msgspec.json.Decoder(Payload)
_encoder = msgspec.json.Encoder()


def payload_of(event: Event) -> Payload:
    """Return what is kept of an event in its log record. Namespace and receive time travel beside it."""
    since = event.time - EARLIEST
    return Payload(
        event.id,
        event.type,
        event.source,
        event.subject,
        since.days * 86_400 + since.seconds,
        event.data,
        since.microseconds,
    )


def to_payload(event: Event) -> bytes:
    """Write the value of the event's log record."""
    return _encoder.encode(payload_of(event))


def read_payload(payload: bytes) -> Payload:
    """Read the value of a log record.

    Raises:
        ValueError: it is none of an event, or its time is out of range.
    """
    return _payload_decoder.decode(payload)


def read_payloads(payloads: Iterable[bytes]) -> list[Payload]:
    """Read the values of many log records.

    Raises:
        ValueError: one of them is none of an event; `read_payload` tells which.
    """
    return list(map(_payload_decoder.decode, payloads))


def from_payload(payload: bytes, *, namespace: str, ingested_at: datetime) -> Event:
    """Read an event back from its log record and what travels beside it.

    Raises:
        ValueError: it is no record of an event.
    """
    if not namespace:
        raise ValueError("a record needs a namespace")
    value = read_payload(payload)
    return Event(
        namespace=namespace,
        id=value.id,
        source=value.source,
        type=value.type,
        subject=value.subject,
        time=EARLIEST + timedelta(seconds=value.time, microseconds=value.micros),
        data=value.data,
        ingested_at=ingested_at,
    )
