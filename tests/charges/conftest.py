"""Worlds with and without credits, at the end of February 2025."""

from collections.abc import AsyncIterator

import pytest

from meterhouse.kernel import clock
from meterhouse.kernel.db import Database
from tests.charges.world import World, at


@pytest.fixture
async def world(db: Database) -> AsyncIterator[World]:
    """Invoices only: the namespace has no credits."""
    with clock.frozen(at("2-28")) as time:
        made = World(db, time, credits_enabled=False)
        await made.furnish()
        yield made


@pytest.fixture
async def credit_world(db: Database) -> AsyncIterator[World]:
    """Charges that take credits."""
    with clock.frozen(at("2-28")) as time:
        made = World(db, time, credits_enabled=True)
        await made.furnish()
        yield made
