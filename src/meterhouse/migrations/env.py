"""Run by alembic, on the connection that `meterhouse.migrate` hands over."""

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import text
from sqlalchemy.types import TypeDecorator, TypeEngine

from meterhouse.schema import metadata


def render_item(kind: str, item: object, autogen: AutogenContext) -> str | Literal[False]:
    """Write our own column types as the database types that they are: a revision must outlive our code."""
    if kind != "type" or not isinstance(item, TypeEngine) or not type(item).__module__.startswith("meterhouse."):
        return False
    if isinstance(item, TypeDecorator):
        found: type = type(item.impl_instance)
    else:
        found = next(base for base in type(item).__mro__ if not base.__module__.startswith("meterhouse."))
    if found.__module__.startswith("sqlalchemy.dialects.postgresql"):
        autogen.imports.add("from sqlalchemy.dialects import postgresql")
        return f"postgresql.{found.__name__}()"
    return f"sa.{found.__name__}()"


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata(),
    compare_type=True,
    compare_server_default=True,
    render_item=render_item,
)
with context.begin_transaction():
    # Processes that start together migrate one after the other; the later ones find nothing left to do.
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('meterhouse-migrate', 0))"))
    context.run_migrations()
