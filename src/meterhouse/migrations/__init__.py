"""The history of the relational schema, one linear line of alembic revisions. See `meterhouse.migrate`."""
