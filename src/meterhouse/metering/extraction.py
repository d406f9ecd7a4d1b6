"""Values out of event data, exactly (metering sections 8 and 19).

Every JSON function of ClickHouse reads numbers through a double. The sink therefore takes numbers from the JSON text
itself, and for the rows where a double would change a number's text it also keeps `exact_data`: the same JSON with
those numbers written as strings. `JSON_VALUE` gives a string back untouched, so a query that has to fall back to JSON
reads the same text that the sink puts in a slot.
"""

import contextlib
import json
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from meterhouse.kernel.money import plain
from meterhouse.metering.jsonpath import Path

# Digits of Decimal(38, 19): 19 before the point and 19 after.
_SCALE = 19
_LIMIT = Decimal(10) ** _SCALE
# A number with a larger exponent has no plain form worth keeping; its text stays as written.
_MAX_EXPONENT = 60
# A number of more digits is treated as no value.
_MAX_DIGITS = 4000
# What a double carries without a change of text: 15 significant digits, and for integers all of 64 bits.
_DOUBLE_DIGITS = 15
_INTEGER_DIGITS = 18

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
# What fits as it stands.
FITTING_NUMBER = r"-?[0-9]{1,19}(?:\.[0-9]{1,19})?"
_FITTING_NUMBER = re.compile(FITTING_NUMBER)
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?', re.DOTALL)
_PLAIN_TOKEN = re.compile(r"-?(?P<whole>[0-9]+)(?:\.(?P<fraction>[0-9]+))?")
# Cheap test that finds every number a double could change, and some harmless ones.
SUSPICIOUS = r"[:,\[\s](?:-?[0-9][0-9.]{15}|-?[0-9.]+[eE]|-0|-?0\.00)"
_SUSPICIOUS = re.compile(SUSPICIOUS)
# A member that can be a field of a struct.
_NAMEABLE = re.compile(r'[^"\\\x00-\x1f]+')


def _canonical(token: str) -> str:
    """Return the one text of a JSON number: plain, without trailing zeros."""
    if len(token) < _DOUBLE_DIGITS and token.isdigit():
        return token
    if len(token) > _MAX_DIGITS:
        return ""
    try:
        value = Decimal(token)
    except InvalidOperation:
        return token.lower()
    if not value or abs(value.adjusted()) <= _MAX_EXPONENT:
        return plain(value)
    return token.lower()


def _survives_a_double(token: str) -> bool:
    match = _PLAIN_TOKEN.fullmatch(token)
    if match is None:
        return False
    whole, fraction = match["whole"], match["fraction"]
    if fraction is None:
        return len(whole) <= _INTEGER_DIGITS
    if whole == "0":
        significant = fraction.lstrip("0")
        # Below a hundredth the engine writes an exponent; minus zero keeps its sign.
        return bool(significant) and len(significant) <= _DOUBLE_DIGITS and len(fraction) - len(significant) < 2
    return len(whole) + len(fraction) <= _DOUBLE_DIGITS


def exact_form(data: str) -> str:
    """Return `data` with the numbers that a double would change as strings, or "" when there is none."""
    if _SUSPICIOUS.search(data) is None:
        return ""
    changed = False

    def keep(match: re.Match[str]) -> str:
        nonlocal changed
        token = match[0]
        if token[0] == '"' or _survives_a_double(token):
            return token
        changed = True
        return f'"{_canonical(token)}"'

    rewritten = _TOKENS.sub(keep, data)
    return rewritten if changed else ""


class Number(str):
    """The text of a JSON number, told apart from a JSON string."""

    __slots__ = ()


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        members.setdefault(name, value)
    return members


_decoder = msgspec.json.Decoder(float_hook=Number)
_NO_DATA = frozenset({"", "null"})


def parse(data: str, names: Sequence[str] = ()) -> object:
    """Parse event data with numbers as their text. Data that cannot be parsed gives None.

    Args:
        data: the JSON text, in its exact form where it has one, or "".
        names: members that will be looked up. Where one occurs more than once the first counts, as in the engine.
    """
    if data in _NO_DATA:
        return None
    try:
        if any(data.count(f'"{name}"') > 1 for name in names):
            return json.loads(data, parse_float=Number, parse_int=Number, object_pairs_hook=_first_wins)
        return _decoder.decode(data)
    except (ValueError, RecursionError):
        return None


def text_at(document: object, path: Path) -> str:
    """Return the first scalar at the path as text: "" when there is none, `null` for null (metering section 8)."""
    for found in path.matches(document):
        if (text := _text_of(found)) is not None:
            return text
    return ""


def _text_of(value: object) -> str | None:
    if type(value) is str:
        return value
    if isinstance(value, Number):
        return _canonical(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        text = repr(value)
        return _canonical(text) if "e" in text else text.removesuffix(".0")
    return None


class Documents:
    """The data of many events of one type, of which only what some paths lead to is read.

    The texts at a path are those that `parse` and `text_at` give, event by event.

    Args:
        datas: as for `parse`; numbers that a double would change must be strings in it, as `exact_form` writes them.
        paths: what will be asked for.
    """

    def __init__(self, datas: Sequence[str], paths: Sequence[Path]) -> None:
        self._datas = datas
        self._joined = "\n".join(datas)
        firsts = {path.steps[0] for path in paths if path.steps}
        names = tuple(sorted(name for name in firsts if isinstance(name, str) and _NAMEABLE.fullmatch(name)))
        self._fields = {name: attrgetter(f"f{index}") for index, name in enumerate(names)}
        self._documents: list[msgspec.Struct] | None = None
        with contextlib.suppress(ValueError, RecursionError):
            read = _members(names).decode
            self._documents = [read("{}" if data in _NO_DATA else data) for data in datas]

    def texts(self, path: Path) -> list[str]:
        """Return the text at the path, for each event."""
        field = self._fields.get(path.steps[0]) if path.steps and isinstance(path.steps[0], str) else None
        if field is None or self._documents is None:
            return [text_at(parse(data, path.names()), path) for data in self._datas]
        values = list(map(field, self._documents))
        if len(path.steps) > 1:
            rest = Path(path.steps[1:], "")
            texts = ["" if value is msgspec.UNSET else text_at(value, rest) for value in values]
        elif set(map(type, values)) == {str}:
            texts = values
        else:
            texts = [_text_of(value) or "" for value in values]
        for index in self._ambiguous(path, len(values) - values.count(msgspec.UNSET)):
            texts[index] = text_at(parse(self._datas[index], path.names()), path)
        return texts

    def _ambiguous(self, path: Path, found: int) -> set[int]:
        """Return the events in which a member of the path may occur again: the last was read, but the first counts."""
        quoted = [f'"{name}"' for name in path.names()]
        # An escape may be another way to write the name.
        if len(path.steps) == 1 and "\\" not in self._joined and self._joined.count(quoted[0]) == found:
            return set()
        return {index for name in quoted for index, data in enumerate(self._datas) if data.count(name) > 1}


@lru_cache(maxsize=1024)
def _members(names: tuple[str, ...]) -> msgspec.json.Decoder[msgspec.Struct]:
    """Return what reads these members of an object, and passes over the others."""
    fields = [(f"f{index}", Any, msgspec.UNSET) for index in range(len(names))]
    rename = {f"f{index}": name for index, name in enumerate(names)}
    return msgspec.json.Decoder(msgspec.defstruct("Members", fields, rename=rename, gc=False))


def number_of(text: str) -> Decimal | None:
    """Read a number from text (metering section 8); None when it is none, or does not fit 19 digits before the point.

    Digits after the 19th decimal are cut.
    """
    if _FITTING_NUMBER.fullmatch(text) is not None:
        return Decimal(text)
    if not text or _NUMBER.fullmatch(text) is None:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        # An exponent of more digits than Python reads.
        return None
    if not value or value.adjusted() < -_SCALE:
        return Decimal(0)
    if value.adjusted() >= _SCALE:
        return None
    return Decimal(_cut(value))


def _cut(value: Decimal) -> str:
    text = format(value, "f")
    head, dot, tail = text.partition(".")
    return head + dot + tail[:_SCALE] if dot else head
