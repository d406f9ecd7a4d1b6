"""The event value and its decoding from CloudEvents (metering sections 3 and 19)."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from meterhouse.kernel.errors import InvalidInput, TooLarge

JSON = "application/json"
CLOUDEVENT = "application/cloudevents+json"
CLOUDEVENT_BATCH = "application/cloudevents-batch+json"

# Bounds one append to the log; a body of 10 MiB of the smallest possible events holds about as many.
MAX_BATCH_EVENTS = 100_000

# What ClickHouse's DateTime can hold; windows and partitions are computed in it.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2106, 2, 7, 6, 28, 15, 999_999, tzinfo=UTC)

_SPEC_VERSIONS = ("1.0", "0.3")

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
_LONG_FRACTION = re.compile(r"(\.[0-9]{6})[0-9]+")
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
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type not in (JSON, CLOUDEVENT, CLOUDEVENT_BATCH):
        raise InvalidInput(f"invalid content type: {media_type or 'none'}")
    found = _parse(body, extensions)
    single = isinstance(found, _Incoming)
    if (single and media_type == CLOUDEVENT_BATCH) or (not single and media_type == CLOUDEVENT):
        raise InvalidInput(f"invalid event: {media_type} holds {'one event' if not single else 'an array of events'}")
    incoming: Sequence[_Incoming] = [found] if isinstance(found, _Incoming) else found
    if not incoming and media_type == JSON:
        raise InvalidInput("invalid event: no events found")
    if len(incoming) > max_events:
        raise TooLarge(f"a batch may hold {max_events} events at most")
    return [
        _normalised(event, "$" if single else f"$[{index}]", namespace, received_at)
        for index, event in enumerate(incoming)
    ]


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
    if event.datacontenttype not in (None, JSON):
        raise _wrong(where, "datacontenttype", f"must be {JSON}")
    if not _is_uri_reference(event.source):
        raise _wrong(where, "source", f"{event.source!r} is no URI reference")
    return Event(
        namespace=namespace,
        id=event.id,
        source=event.source,
        type=event.type,
        subject=event.subject,
        time=received_at if event.time is None else _instant(event.time, where),
        data=_data(event.data, where),
        ingested_at=received_at,
    )


def _wrong(where: str, member: str, reason: str) -> InvalidInput:
    return InvalidInput(f"invalid event: {member}: {reason} - at `{where}.{member}`")


def _instant(text: str, where: str) -> datetime:
    # Digits beyond the microsecond are cut, never rounded: rounding could move an event into the next second.
    if len(text) > len("2025-03-01T10:00:00.000000Z"):
        text = _LONG_FRACTION.sub(r"\1", text)
    try:
        instant = msgspec.convert(text, datetime)
        if instant.tzinfo is None:
            raise _wrong(where, "time", f"{text!r} is no RFC 3339 instant")
        if instant.tzinfo is not UTC:
            instant = instant.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        raise _wrong(where, "time", f"{text!r} is no RFC 3339 instant") from None
    if not EARLIEST <= instant <= LATEST:
        raise _wrong(where, "time", f"{text!r} lies outside of {EARLIEST:%Y-%m-%d} to {LATEST:%Y-%m-%d}")
    return instant


def _data(raw: msgspec.Raw, where: str) -> str:
    try:
        text = bytes(raw).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _wrong(where, "data", f"is no UTF-8: {error.reason}") from None
    if text and text != "null" and text[0] != "{":
        raise _wrong(where, "data", "must be an object")
    return text


def _is_uri_reference(source: str) -> bool:
    if source.isalnum():
        return True
    if _BAD_URI.search(source):
        return False
    if ":" not in source:
        return True
    first_segment, _, _ = source.partition("/")
    scheme, colon, _ = first_segment.partition(":")
    # A colon in the first segment is only right after a scheme (RFC 3986, section 4.2).
    return not colon or _SCHEME.fullmatch(scheme) is not None or "?" in scheme or "#" in scheme


class _Payload(msgspec.Struct, omit_defaults=True, gc=False):
    """The value of a log record (metering section 3.4), with the fraction of the time beside the whole seconds."""

    id: str
    type: str
    source: str
    subject: str
    time: int
    data: str = msgspec.field()
    micros: int = 0


_payload_decoder = msgspec.json.Decoder(_Payload)
_encoder = msgspec.json.Encoder()


def to_payload(event: Event) -> bytes:
    """Write the value of the event's log record. Namespace and receive time travel beside it."""
    return _encoder.encode(
        _Payload(
            id=event.id,
            type=event.type,
            source=event.source,
            subject=event.subject,
            time=int(event.time.replace(microsecond=0).timestamp()),
            data=event.data,
            micros=event.time.microsecond,
        )
    )


def from_payload(payload: bytes, *, namespace: str, ingested_at: datetime) -> Event:
    """Read a log record back.

    Raises:
        ValueError: it is no record of an event.
    """
    value = _payload_decoder.decode(payload)
    if not (namespace and value.id and value.type and value.source and value.subject):
        raise ValueError("a record needs a namespace, id, type, source and subject")
    try:
        time = datetime.fromtimestamp(value.time, UTC)
        if value.micros:
            time = time.replace(microsecond=value.micros)
    except (OverflowError, OSError) as error:
        raise ValueError(f"time of the record is out of range: {value.time}") from error
    if not EARLIEST <= time <= LATEST:
        raise ValueError(f"time of the record is out of range: {value.time}")
    return Event(
        namespace=namespace,
        id=value.id,
        source=value.source,
        type=value.type,
        subject=value.subject,
        time=time,
        data=value.data,
        ingested_at=ingested_at,
    )
