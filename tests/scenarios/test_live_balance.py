"""What a live balance costs: requests are gated on it, so the number of its round trips is part of its behaviour."""

from collections.abc import Mapping
from contextvars import ContextVar
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event

from meterhouse.metering.clickhouse import ClickHouse
from tests.scenarios.conftest import NewWorld
from tests.scenarios.world import World

# The customer, the charges with their runs, features, meters, promised grants, the ledger.
SQL_STATEMENTS = 6


def _card(key: str, **members: Any) -> dict[str, Any]:
    usage = {"type": "usage_based", "featureKey": key, "price": {"type": "unit", "amount": "0.02"}}
    return {"key": key, "name": key, "billingCadence": "P1M", **usage, **members}


async def _sell(world: World, *aggregations: str) -> None:
    """Make the plan `pro`: a price for each of several meters, and a fee."""
    cards = [_card("seat", type="flat_fee", featureKey=None, price={"type": "flat", "amount": "7"})]
    for aggregation in aggregations:
        key = aggregation.lower()
        meter = {"slug": key, "eventType": "completion", "aggregation": aggregation}
        if aggregation != "COUNT":
            meter["valueProperty"] = "$.tokens"
        await world.call("POST", "/api/v1/meters", meter, status=201)
        feature = {"key": key, "name": key, "meterSlug": key}
        await world.call("POST", "/api/v1/features", feature, status=201)
        cards.append(_card(key))
    phase = {"key": "main", "name": "Main", "duration": None, "rateCards": cards}
    plan = {"key": "pro", "name": "Pro", "currency": "USD", "billingCadence": "P1M", "phases": [phase]}
    made = await world.call("POST", "/api/v1/plans", plan, status=201)
    await world.call("POST", f"/api/v1/plans/{made['id']}/publish")


@pytest.mark.parametrize(
    ("aggregations", "live"), [(["SUM"], "100.00"), (["SUM", "COUNT", "UNIQUE_COUNT", "LATEST"], "99.40")]
)
async def test_a_live_balance_takes_few_statements_however_many_meters_count(
    new_world: NewWorld, monkeypatch: pytest.MonkeyPatch, aggregations: list[str], live: str
) -> None:
    async with new_world() as world:
        await _sell(world, *aggregations)
        customer = await world.customer()
        await world.grant(customer, Decimal(110))
        await world.subscribe(customer)
        await world.settle()
        for tokens in (100, 25, 25):
            await world.ingest(Decimal(tokens))
        world.pass_time(timedelta(minutes=5))
        await world.settle()

        asking = ContextVar("asking", default=False)
        statements: list[str] = []
        readings: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            # The sink and its jobs have statements of their own meanwhile.
            if asking.get():
                statements.append(statement)

        plain = ClickHouse.query

        async def read(clickhouse: ClickHouse, sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
            if asking.get():
                readings.append(sql)
            return await plain(clickhouse, sql, parameters)

        engine = world.app.services.db.engine.sync_engine
        event.listen(engine, "before_cursor_execute", note)
        monkeypatch.setattr(ClickHouse, "query", read)
        asking.set(True)
        balance = await world.balance(customer)
        event.remove(engine, "before_cursor_execute", note)

        # The fee is on an invoice already.
        assert balance == {"settled": Decimal(103), "live": Decimal(live), "pending": 0}
        assert len(statements) == SQL_STATEMENTS, "\n\n".join(statements)
        assert len(readings) == 1
