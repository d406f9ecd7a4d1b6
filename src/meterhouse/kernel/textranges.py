"""Ranges of text, for constraints that exclude rows of one owner whose times overlap.

An exclusion constraint needs an operator that GiST can index. Text has none without an extension, but a range of text
has one: the range that holds one text alone overlaps itself and nothing else.
"""

from typing import Any

from sqlalchemy import TextClause, event, text

from meterhouse.kernel.db import Base

TEXT_RANGE = "meterhouse_textrange"
CREATE_TEXT_RANGE = f"""
DO $$ BEGIN
  CREATE TYPE {TEXT_RANGE} AS RANGE (subtype = text, collation = "C");
EXCEPTION WHEN duplicate_object THEN NULL;
END $$
"""


def only(column: str) -> TextClause:
    """Return the range that holds the column's text alone."""
    return text(f"{TEXT_RANGE}({column}, {column}, '[]')")


@event.listens_for(Base.metadata, "before_create")
def _create_text_range(_: Any, connection: Any, **__: Any) -> None:
    connection.execute(text(CREATE_TEXT_RANGE))
