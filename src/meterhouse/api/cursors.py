"""Cursors of lists that are paged by an instant and an id (api-conventions section 8).

A cursor is the base64 of `<instant in whole seconds>,<id>`. Instants have microseconds here, and a page must go on
exactly where the last one ended: a fraction stands behind the id, after a tilde.
"""

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta

from meterhouse.kernel.errors import InvalidInput

_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})")
_FRACTION = re.compile(r"(?P<id>.+)~(?P<micros>\d{6})", re.DOTALL)


def encode(at: datetime, row_id: str) -> str:
    """Return the cursor of a row."""
    instant = at.astimezone(UTC)
    fraction = f"~{instant.microsecond:06d}" if instant.microsecond else ""
    text = f"{instant:%Y-%m-%dT%H:%M:%SZ},{row_id}{fraction}"
    return base64.b64encode(text.encode()).decode()


def decode(cursor: str) -> tuple[datetime, str]:
    """Return the instant and id of a row.

    Raises:
        InvalidInput: the text is no cursor.
    """
    try:
        text = base64.b64decode(cursor, validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidInput("invalid cursor: it is not base64") from None
    instant, comma, row_id = text.partition(",")
    if not comma or not row_id:
        raise InvalidInput("invalid cursor: it holds no instant and id")
    try:
        if not _INSTANT.fullmatch(instant):
            raise ValueError
        at = datetime.fromisoformat(instant.upper()).astimezone(UTC)
        if match := _FRACTION.fullmatch(row_id):
            at, row_id = at + timedelta(microseconds=int(match["micros"])), match["id"]
    except (ValueError, OverflowError):
        raise InvalidInput("invalid cursor: its instant cannot be read") from None
    return at, row_id
