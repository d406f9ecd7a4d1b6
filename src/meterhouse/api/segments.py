"""Keys that hold a slash, in paths: a segment is what stands between the slashes that are not escaped (RFC 3986, 2.2).

Servers hand on the path with its escapes undone, where `%2F` looks like the end of a segment, and routers read that. So
what was escaped is marked until the routers are through.
"""

import re
from urllib.parse import unquote

from fastapi import Request
from starlette.types import Scope

_ESCAPED_SLASH = re.compile("%2[fF]")
# Half a surrogate pair: no path has it of its own, because undoing escapes gives whole characters.
_MARK = "\udc2f"


def keep_segments_whole(scope: Scope) -> Scope:
    """Return the scope with a mark in its path for each slash that was escaped."""
    raw: bytes = scope.get("raw_path") or b""
    if b"%2" not in raw:
        return scope
    parts = _ESCAPED_SLASH.split(raw.decode("latin-1"))
    return {**scope, "path": _MARK.join(map(unquote, parts))} if len(parts) > 1 else scope


async def restore_slashes(request: Request) -> None:
    """Put the slashes into the path parameters, before anything reads them."""
    for name, value in request.path_params.items():
        request.path_params[name] = value.replace(_MARK, "/")
