"""v3 meter queries: usage as JSON or CSV (metering section 10)."""

import csv
import io
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import Field

from meterhouse.api.deps import Namespace, ServicesDep
from meterhouse.api.problems import errors
from meterhouse.api.v1.meter_queries import query_service
from meterhouse.api.v3.features import QueryFilterStringMapItem
from meterhouse.api.v3.meters import PATH, MeterId
from meterhouse.api.wire import Instant, Numeric, Opt, V3EventModel, format_instant
from meterhouse.customers import service as customers
from meterhouse.customers.customer import Customer
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import Issue, NotFound, invalid
from meterhouse.kernel.money import plain
from meterhouse.metering import checks, meters
from meterhouse.metering.filters import Filter, Operator, from_json
from meterhouse.metering.query import CUSTOMER, SUBJECT, MeterQuery, UsageRow, Window

router = APIRouter(tags=["Meters"])

MAX_DIMENSIONS = 100  # dimensions to split by, as the contract declares
MAX_FILTERS = 10  # filtered dimensions: each is a condition of the query


class MeterQueryGranularity(StrEnum):
    """The size of the windows of an answer."""

    MINUTE = "PT1M"
    HOUR = "PT1H"
    DAY = "P1D"
    MONTH = "P1M"


class MeterQueryFilters(V3EventModel):
    """Which events count."""

    dimensions: Opt[Annotated[dict[str, QueryFilterStringMapItem], Field(max_length=MAX_FILTERS)]] = Field(
        None, description="Conditions by dimension; `subject` and `customer_id` take eq and in, and split the answer."
    )


class MeterQueryRequest(V3EventModel):
    """A question to a meter."""

    from_: Opt[Instant] = Field(None, alias="from", description="Earliest event time, included. Cut to the second.")
    to: Opt[Instant] = Field(None, description="Event time to stop before. Cut to the second.")
    granularity: Opt[MeterQueryGranularity] = Field(None, description="Give one number per window.")
    time_zone: str = Field("UTC", description="IANA name of the zone whose days and months are meant.")
    group_by_dimensions: Opt[list[str]] = Field(
        None, max_length=MAX_DIMENSIONS, description="Dimensions to split by, `subject` and `customer_id` too."
    )
    filters: Opt[MeterQueryFilters] = None


class MeterQueryRow(V3EventModel):
    """One number of an answer, with the dimensions that it is split by; one that the events lack is left out."""

    value: Numeric
    from_: Instant = Field(alias="from")
    to: Instant
    dimensions: dict[str, str]


class MeterQueryResult(V3EventModel):
    """The answer to a meter query."""

    from_: Opt[Instant] = Field(None, alias="from")
    to: Opt[Instant] = None
    data: list[MeterQueryRow]


@router.post(
    PATH + "/{meterId}/query",
    operation_id="queryMeter",
    summary="Query a meter",
    response_model=MeterQueryResult,
    responses={
        200: {"content": {"text/csv": {"schema": {"type": "string"}}}},
        **errors("v3", 400, 401, 403, 404),
    },
)
async def query_meter(
    request: Request, meter_id: MeterId, body: MeterQueryRequest, namespace: Namespace, services: ServicesDep
) -> Response:
    """Measure usage."""
    queries = query_service(services)
    async with services.db.read() as session:
        query, owners = await to_query(session, namespace, meter_id, body)
    rows = await queries.usage(query)
    if request.headers.get("accept", "").partition(";")[0].strip().lower() == "text/csv":
        disposition = f"attachment; filename={query.meter.key}.csv"
        content = _to_csv(query, rows, owners)
        return Response(content, headers={"content-type": "text/csv", "content-disposition": disposition})
    document: dict[str, Any] = {"data": [_row(row) for row in rows]}
    echo = {"from": body.from_, "to": body.to}
    document |= {name: format_instant(at) for name, at in echo.items() if at is not None}
    return _json(document)


def _json(document: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")


async def to_query(
    session: ReadSession, namespace: str, meter_id: str, body: MeterQueryRequest
) -> tuple[MeterQuery, dict[str, Customer]]:
    """Read a question to a meter, with the customers that it names.

    Raises:
        NotFound: the meter or a customer is unknown.
        InvalidInput: the question breaks a rule.
    """
    meter = await meters.get(session, namespace, meter_id)
    given = (body.filters.dimensions if body.filters else None) or {}
    read = {name: _filter(item) for name, item in given.items()}
    conditions = {name: one for name, one in read.items() if one is not None}
    subjects = _exact(SUBJECT, conditions.pop(SUBJECT, None))
    wanted = _exact(CUSTOMER, conditions.pop(CUSTOMER, None))
    owners = await _owners(session, namespace, wanted) if wanted else {}
    attribution = {customer_id: customer.usage_subjects() for customer_id, customer in owners.items()}
    checks.check_attribution(attribution)
    query = MeterQuery(
        meter,
        body.from_,
        body.to,
        window=Window[body.granularity.name] if body.granularity else None,
        zone=checks.zone_of(body.time_zone),
        subjects=subjects,
        customers=attribution or None,
        group_by=tuple(dict.fromkeys(body.group_by_dimensions or ())),
        filters=conditions,
    )
    checks.check(query)
    return query, owners


def _filter(item: QueryFilterStringMapItem) -> Filter | None:
    return from_json(item.model_dump(by_alias=True), aliases={"neq": Operator.NE})


def _exact(name: str, condition: Filter | None) -> tuple[str, ...] | None:
    if condition is None:
        return None
    if condition.operator not in (Operator.EQ, Operator.IN):
        raise invalid(
            f"{name} can be filtered by eq and in only",
            code="unsupported_filter_operator",
            field=f"$.filters.dimensions.{name}",
        )
    return condition.values


async def _owners(session: ReadSession, namespace: str, ids: Sequence[str]) -> dict[str, Customer]:
    found = await customers.find_many(session, namespace, ids)
    for customer_id in ids:
        if customer_id not in found:
            message = f"customer not found: {customer_id}"
            field = f"$.filters.dimensions.{CUSTOMER}"
            raise NotFound(message, issues=[Issue("customer_not_found", message, field)])
    return {customer_id: found[customer_id] for customer_id in ids}


def _row(row: UsageRow) -> dict[str, object]:
    split = {SUBJECT: row.subject, CUSTOMER: row.customer_id, **row.groups}
    return {
        "value": plain(row.value),
        "from": format_instant(row.start),
        "to": format_instant(row.end),
        "dimensions": {name: text for name, text in split.items() if text is not None},
    }


def _to_csv(query: MeterQuery, rows: Sequence[UsageRow], owners: Mapping[str, Customer]) -> str:
    """Write an answer as CSV (metering section 10.8)."""
    dimensions = [name for name in query.groups() if name not in (SUBJECT, CUSTOMER)]
    by_subject, by_customer = SUBJECT in query.groups(), CUSTOMER in query.groups()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = ["from", "to", *([SUBJECT] if by_subject else [])]
    header += [CUSTOMER, "customer_key", "customer_name"] if by_customer else []
    writer.writerow([*header, *dimensions, "value"])
    for row in rows:
        split: list[str | None] = [row.subject] if by_subject else []
        if by_customer and row.customer_id is not None:
            owner = owners[row.customer_id]
            split += [owner.id, owner.key, owner.name]
        groups = [row.groups[name] for name in dimensions]
        writer.writerow([format_instant(row.start), format_instant(row.end), *split, *groups, plain(row.value)])
    return text.getvalue()
