"""v3 cost queries of features (catalog-extras section 5.2)."""

from typing import Annotated

from fastapi import APIRouter, Body, Query
from pydantic import Field

from meterhouse.api.deps import Namespace, ServicesDep
from meterhouse.api.problems import errors
from meterhouse.api.v1.meter_queries import query_service
from meterhouse.api.v3.features import FeatureId
from meterhouse.api.v3.meter_queries import MeterQueryRequest, to_query
from meterhouse.api.wire import CurrencyCode, Instant, Numeric, Opt, V3EventModel
from meterhouse.catalog import featurecost, features
from meterhouse.catalog.featurecost import CostRow, PriceTime

router = APIRouter(tags=["OpenMeter Features"])


class FeatureCostQueryRow(V3EventModel):
    """What some usage cost."""

    usage: Numeric
    cost: Numeric | None = Field(description="Exact, not rounded; null when no part of the usage has a price.")
    currency: CurrencyCode
    detail: Opt[str] = Field(None, description="Why some of the usage has no price.")
    from_: Instant = Field(alias="from")
    to: Instant
    dimensions: dict[str, str]

    @classmethod
    def of(cls, row: CostRow) -> "FeatureCostQueryRow":
        """Show a row, its window in the zone of the question."""
        return cls.model_construct(
            usage=row.usage,
            cost=row.cost,
            currency=row.currency,
            detail=row.detail,
            from_=row.start,
            to=row.end,
            dimensions=dict(row.dimensions),
        )


class FeatureCostQueryResult(V3EventModel):
    """The answer to a cost query."""

    from_: Opt[Instant] = Field(None, alias="from")
    to: Opt[Instant] = None
    data: list[FeatureCostQueryRow]


@router.post(
    "/api/v3/openmeter/features/{featureId}/cost/query",
    operation_id="queryFeatureCost",
    summary="Query the cost of a feature",
    responses=errors("v3", 400, 401, 403, 404),
)
async def query_feature_cost(
    feature_id: FeatureId,
    namespace: Namespace,
    services: ServicesDep,
    body: Annotated[MeterQueryRequest | None, Body()] = None,
    prices_of: Annotated[
        PriceTime,
        Query(description="Prices of models that count: those of `now`, or those that held at the time of `usage`."),
    ] = PriceTime.NOW,
) -> FeatureCostQueryResult:
    """Price the usage of a feature with its unit cost of now, the most expensive rows first."""
    queries, asked = query_service(services), body or MeterQueryRequest()
    async with services.db.read() as session:
        feature = await features.get(session, namespace, feature_id)
        meter_id = featurecost.check_costed(feature)
        query, _ = await to_query(session, namespace, meter_id, asked)
    rows = await featurecost.cost(services.db, queries, namespace, feature, query, prices_of=prices_of)
    shown = [FeatureCostQueryRow.of(row) for row in rows]
    return FeatureCostQueryResult.model_construct(from_=asked.from_, to=asked.to, data=shown)
