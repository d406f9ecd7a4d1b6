"""Building blocks of wire schemas: naming, decimals, instants, omitted members (api-conventions sections 6, 15-19)."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from meterhouse.kernel.money import plain
from meterhouse.kernel.periods import Duration

T = TypeVar("T")


def _is_none(value: object) -> bool:
    return value is None


# A member that is left out of the answer when it has no value. Use as `description: Opt[str] = None`.
Opt = Annotated[T | None, Field(exclude_if=_is_none)]


# Postgres stores neither the NUL character nor half a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def _unstorable(value: object, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the texts in plain JSON that cannot be stored, with their places. Inner models look after themselves."""
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _unstorable(key, (*path, key))
            yield from _unstorable(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unstorable(item, (*path, index))


def _take_literally(schema: object) -> None:
    """Let truth values and whole numbers be nothing else: not `"yes"`, `1` or `"3"` (api-conventions section 6)."""
    if isinstance(schema, dict):
        if schema.get("type") in ("bool", "int"):
            schema["strict"] = True
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            _take_literally(part)


class _WireModel(BaseModel):
    # False where text may be that of events, which are not kept in Postgres: see V1EventModel.
    checks_text: ClassVar[bool] = True

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        _take_literally(schema)
        return schema

    @model_validator(mode="after")
    def _storable(self) -> Self:
        if not self.checks_text:
            return self
        fields = type(self).model_fields
        found = [
            InitErrorDetails(
                type=PydanticCustomError(
                    "unstorable_text", "must not contain the NUL character or half a surrogate pair"
                ),
                loc=place,
                input=text,
            )
            for name, value in self.__dict__.items()
            for place, text in _unstorable(value, (fields[name].alias or name,))
        ]
        if found:
            raise ValidationError.from_exception_data(type(self).__name__, found)
        return self


class V1Model(_WireModel):
    """A v1 or v2 schema: camelCase on the wire, unknown members of requests ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", from_attributes=True)


class V3Model(_WireModel):
    """A v3 schema: snake_case on the wire, unknown members of requests refused."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)


class V1EventModel(V1Model):
    """A v1 schema that holds text of events, which may be any text."""

    checks_text = False


class V3EventModel(V3Model):
    """A v3 schema that holds text of events, which may be any text."""

    checks_text = False


def format_instant(instant: datetime) -> str:
    """Write an instant in RFC 3339: UTC as `Z`, other zones by offset, fractions as short as they can be."""
    text = instant.isoformat(timespec="microseconds")
    head, dot, tail = text.partition(".")
    digits, zone = tail[:6].rstrip("0"), tail[6:]
    return head + (f"{dot}{digits}" if digits else "") + ("Z" if zone in ("+00:00", "") else zone)


def _to_utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("must be an RFC 3339 instant with an offset or Z")
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies outside the years 1 to 9999 in UTC") from None


# Of section 5.6: a space for the T, no seconds or an offset without its colon are forms of ISO 8601 alone.
RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def _instant_text_only(value: object) -> object:
    # Of anything else, such as a number, pydantic would make an instant in its own way.
    if isinstance(value, datetime) or (isinstance(value, str) and RFC3339.fullmatch(value)):
        return value
    raise ValueError("must be an RFC 3339 instant with an offset or Z, such as 2026-01-31T00:00:00Z")


# An instant: any offset on input, UTC inside and on output.
Instant = Annotated[
    datetime,
    BeforeValidator(_instant_text_only),
    AfterValidator(_to_utc),
    PlainSerializer(format_instant, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]

DECIMAL_PATTERN = r"^\-?[0-9]+(\.[0-9]+)?$"
MAX_DECIMAL_LENGTH = 64  # products of two such numbers stay exact in the contexts that billing calculates in


def _decimal_from_text(value: object) -> object:
    if isinstance(value, Decimal):
        return value
    if not isinstance(value, str) or not re.fullmatch(DECIMAL_PATTERN, value):
        raise ValueError('must be a decimal number written as a string, such as "12.50"')
    if len(value) > MAX_DECIMAL_LENGTH:
        raise ValueError(f"must have at most {MAX_DECIMAL_LENGTH} characters")
    return Decimal(value)


# Money, prices and quantities: a decimal string without exponent; shortest form on output.
Numeric = Annotated[
    Decimal,
    BeforeValidator(_decimal_from_text),
    PlainSerializer(plain, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": DECIMAL_PATTERN}),
]


def _number_from_json(value: object) -> object:
    if isinstance(value, str | bool):
        raise ValueError("must be a number")
    # The shortest text of a parsed number is what the client wrote: 12.3 must not become 12.300000000000000710.
    return repr(value) if isinstance(value, float) else value


def _number_to_json(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


# A decimal that is a JSON number on the wire: percentages and entitlement amounts.
JSONNumber = Annotated[
    Decimal,
    BeforeValidator(_number_from_json),
    Field(allow_inf_nan=False, max_digits=38),
    PlainSerializer(_number_to_json, when_used="json"),
    WithJsonSchema({"type": "number", "format": "double"}),
]


_LONGEST = Duration(years=100)  # nothing that is sold lasts longer, and dates must stay within the calendar
_DURATION_DECIMALS = 6  # of the seconds: what an instant holds
_DURATION_LENGTH = 64  # far more characters than any such duration needs


def duration_from_text(text: str) -> Duration:
    """Read a duration of a request.

    Raises:
        ValueError: it is none, or one that nothing can last: longer than a hundred years, finer than an instant, or
            with parts of both signs.
    """
    if len(text) > _DURATION_LENGTH:
        raise ValueError(f"a duration must have at most {_DURATION_LENGTH} characters")
    if not text.isascii():  # digits of other scripts are digits to Python
        raise ValueError(f"invalid ISO 8601 duration: {text!r}")
    duration = Duration.parse(text)
    if duration.has_mixed_signs():
        raise ValueError("the parts of a duration must have one sign")
    if abs(duration.approximate_seconds()) > _LONGEST.approximate_seconds():
        raise ValueError(f"must not be longer than {_LONGEST}")
    if duration.seconds != round(duration.seconds, _DURATION_DECIMALS):
        raise ValueError(f"the seconds of a duration must have at most {_DURATION_DECIMALS} decimals")
    return duration


def read_duration(value: object) -> Duration:
    """Read a duration of a request from its text alone: JSON has other things that would make one.

    Raises:
        ValueError: it is no text, or see `duration_from_text`.
    """
    if isinstance(value, Duration):
        return value
    if not isinstance(value, str):
        raise ValueError("must be an ISO 8601 duration written as a string, such as P1M")
    return duration_from_text(value)


# An ISO 8601 duration; the units it was written in are kept.
ISODuration = Annotated[
    Duration,
    PlainValidator(read_duration),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "duration"}),
]


def _unsigned(value: object) -> object:
    if isinstance(value, str) and ("+" in value or "-" in value):
        raise ValueError("the parts of a duration must have no sign")
    return value


# A duration of v3, which knows none that look back.
UnsignedDuration = Annotated[ISODuration, BeforeValidator(_unsigned)]


def _positive(duration: Duration) -> Duration:
    if not duration.is_positive():
        raise ValueError("must be longer than nothing")
    return duration


# The distance between the ticks of something that recurs.
Interval = Annotated[ISODuration, AfterValidator(_positive)]

ULID_PATTERN = r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$"
KEY_PATTERN = r"^[a-z0-9]+(?:_[a-z0-9]+)*$"

Ulid = Annotated[str, StringConstraints(pattern=ULID_PATTERN)]
ResourceKey = Annotated[str, StringConstraints(pattern=KEY_PATTERN, min_length=1, max_length=64)]
ExternalKey = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Description = Annotated[str, StringConstraints(max_length=1024)]
Whole = Annotated[int, Field(ge=-(2**31 - 1), le=2**31 - 1)]  # what a column of whole numbers holds
Counted = Annotated[int, Field(ge=1, le=2**31 - 1)]
Email = Annotated[str, StringConstraints(max_length=320)]  # no address is longer, and lists are ordered by it
CurrencyCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class V1Resource(V1Model):
    """The members that most v1 resources begin with."""

    id: Ulid
    name: Name
    description: Opt[Description] = None
    metadata: Opt[dict[str, str]] = None
    created_at: Instant
    updated_at: Instant
    deleted_at: Opt[Instant] = None


def dump(value: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON form of a wire object, by alias."""
    return value.model_dump(mode="json", by_alias=True) if isinstance(value, BaseModel) else dict(value)
