"""How much one answer may hold."""

import pytest

from meterhouse.kernel.errors import InvalidInput
from meterhouse.metering.meters import Aggregation
from meterhouse.metering.query import MeterQueries, MeterQuery
from tests.metering.conftest import House, event
from tests.metering.http import client_of


async def test_an_answer_has_a_bounded_number_of_rows(house: House) -> None:
    meter = await house.meter(Aggregation.COUNT, group_by={"tier": "$.tier"})
    await house.send(*(event(str(i), "2025-03-01T10:00:00Z", f"s{i}", {"tier": f"t{i}"}) for i in range(4)))
    exactly, fewer = MeterQueries(house.clickhouse, max_rows=4), MeterQueries(house.clickhouse, max_rows=3)
    query = MeterQuery(meter, group_by=["tier"])
    assert len(await exactly.usage(query)) == 4
    with pytest.raises(InvalidInput, match="more than 3 rows"):
        await fewer.usage(query)
    with pytest.raises(InvalidInput, match="more than 3 different values"):
        await fewer.subjects(meter, None, None)
    house.queries = fewer
    async with client_of(house) as client:
        answer = await client.get(f"/api/v1/meters/{meter.id}/query", params={"groupBy": "tier"})
    assert answer.status_code == 400
    assert "shorter range" in answer.json()["detail"]
