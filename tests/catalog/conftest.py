"""A tenant with two meters."""

import pytest

from meterhouse.kernel.db import Database
from meterhouse.metering import meters
from meterhouse.metering.meters import Aggregation, Meter, NewMeter

NS = "default"


@pytest.fixture
async def meter(db: Database) -> Meter:
    """A meter that adds up, with dimensions `zone` and `kind`."""
    async with db.write() as session:
        return await meters.create(
            session,
            NS,
            NewMeter(
                key="calls",
                name="Calls",
                event_type="call",
                aggregation=Aggregation.SUM,
                value_property="$.n",
                group_by={"zone": "$.zone", "kind": "$.kind"},
            ),
        )


@pytest.fixture
async def average(db: Database) -> Meter:
    """A meter that no feature can use."""
    async with db.write() as session:
        new = NewMeter("load", "Load", "load", Aggregation.AVG, "$.n")
        return await meters.create(session, NS, new)
