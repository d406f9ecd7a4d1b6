"""JSONPaths into event data: the subset that ClickHouse's JSON functions know (metering section 8).

A path is parsed once and written back in one canonical form, so that the two spellings of a member (`$.a`, `$['a']`)
are one path, and whatever is accepted here is accepted by the engine.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

_MAX_INDEX = 2**31 - 1  # the engine wraps larger ones around
_WHITE = r"[ \t]*"
_MEMBER = re.compile(
    rf"""{_WHITE}(?:
        \.{_WHITE}(?P<bare>[A-Za-z_][A-Za-z0-9_]*|[0-9]+(?![A-Za-z0-9_.]))
      | \.{_WHITE}"(?P<dotted>(?:[^"\\]|\\.)+)"
      | \[{_WHITE}(?:"(?P<double>(?:[^"\\]|\\.)+)"|'(?P<single>(?:[^'\\]|\\.)+)'){_WHITE}\]
    )""",
    re.VERBOSE,
)
_INDEX = re.compile(rf"{_WHITE}\[{_WHITE}(?P<inside>\*|[0-9][0-9, to\t]*){_WHITE}\]")
_RANGE = re.compile(r"(?P<low>[0-9]+)(?:[ \t]+to[ \t]+(?P<high>[0-9]+))?")

Ranges = tuple[tuple[int, int], ...]


class InvalidPath(ValueError):
    """The text is no path that can be applied to event data."""


@dataclass(frozen=True, slots=True)
class Path:
    """A parsed path.

    Attributes:
        steps: member names, index ranges (half-open), or None for every element.
        text: the canonical form, which ClickHouse reads.
    """

    steps: tuple[str | Ranges | None, ...]
    text: str

    def names(self) -> tuple[str, ...]:
        """Return the member names on the way."""
        return tuple(step for step in self.steps if isinstance(step, str))

    def matches(self, document: object) -> Iterable[object]:
        """Return what the path finds, in document order."""
        if len(self.steps) == 1 and isinstance(self.steps[0], str):
            # By far the most common path; it is followed for every event that is stored.
            return (document[self.steps[0]],) if isinstance(document, dict) and self.steps[0] in document else ()
        return _walk(document, self.steps)


@lru_cache(maxsize=4096)
def parse(text: str) -> Path:
    """Parse a path such as `$.usage.tokens`, `$['a-b'][0]` or `$.items[*].price`.

    Raises:
        InvalidPath: the text does not start with `$` or uses what the engine does not know.
    """
    stripped = text.strip(" \t")
    if not stripped.startswith("$"):
        raise InvalidPath(f"JSONPath must start with $: {text!r}")
    steps: list[str | Ranges | None] = []
    position = 1
    while position < len(stripped):
        if match := _MEMBER.match(stripped, position):
            name = next(group for group in match.groups() if group is not None)
            steps.append(name if match["bare"] else re.sub(r"\\(.)", r"\1", name, flags=re.DOTALL))
        elif match := _INDEX.match(stripped, position):
            steps.append(_ranges(match["inside"], text))
        else:
            raise InvalidPath(f"JSONPath cannot be read from {stripped[position:]!r} on: {text!r}")
        position = match.end()
    return Path(tuple(steps), "$" + "".join(map(_write, steps)))


def _ranges(inside: str, text: str) -> Ranges | None:
    if inside == "*":
        return None
    ranges = []
    for part in inside.split(","):
        match = _RANGE.fullmatch(part.strip(" \t"))
        if match is None:
            raise InvalidPath(f"JSONPath has an index that cannot be read: {text!r}")
        low = int(match["low"][:20])
        high = int(match["high"][:20]) if match["high"] else low + 1
        if high <= low or high > _MAX_INDEX:
            raise InvalidPath(f"JSONPath has an index out of range: {text!r}")
        ranges.append((low, high))
    return tuple(ranges)


def _write(step: str | Ranges | None) -> str:
    if step is None:
        return "[*]"
    if isinstance(step, str):
        escaped = step.replace("\\", "\\\\").replace('"', '\\"')
        return f'."{escaped}"'
    return "[" + ", ".join(str(low) if high == low + 1 else f"{low} to {high}" for low, high in step) + "]"


def _walk(value: object, steps: tuple[str | Ranges | None, ...]) -> Iterator[object]:
    if not steps:
        yield value
        return
    step, rest = steps[0], steps[1:]
    if isinstance(step, str):
        if isinstance(value, dict) and step in value:
            yield from _walk(value[step], rest)
    elif isinstance(value, list):
        whole = ((0, len(value)),)
        for low, high in whole if step is None else step:
            for item in value[low:high]:
                yield from _walk(item, rest)
