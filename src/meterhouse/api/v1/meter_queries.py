"""v1 meter queries: usage as JSON or CSV, subjects and dimension values of a meter (metering sections 10 and 12.6)."""

import ast
import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field, TypeAdapter, ValidationError

from meterhouse.api.deps import Namespace, ServicesDep
from meterhouse.api.problems import errors
from meterhouse.api.services import Services
from meterhouse.api.v1.features import FilterString
from meterhouse.api.v1.meters import MeterIdOrSlug
from meterhouse.api.wire import Instant, Opt, V1EventModel, format_instant
from meterhouse.customers import service as customers
from meterhouse.customers import subjects
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import FeatureDisabled, InvalidInput, NotFound
from meterhouse.kernel.money import plain
from meterhouse.metering import checks, filters, meters
from meterhouse.metering.filters import Filter
from meterhouse.metering.query import CUSTOMER, SUBJECT, MeterQueries, MeterQuery, UsageRow, Window

router = APIRouter(tags=["Meters"])

MAX_OBJECT = 10_000  # characters of an object in one parameter: nobody filters by more
MAX_LISTED = 100  # subjects, customers or dimensions of one query, as the contract declares
# The values of a dimension are found by reading every event in the range (metering section 12.6).
VALUES_OLDEST, VALUES_LONGEST, VALUES_DEFAULT = timedelta(days=90), timedelta(days=30), timedelta(hours=24)

_CLIENT_ID = "Your name for the query: `GET /api/v1/info/progress/{id}` tells by it how far the query is."
_SIMPLE_FILTER = "filterGroupBy["
SIMPLE_FILTER_PARAMETER = {
    "name": "filterGroupBy",
    "in": "query",
    "required": False,
    "style": "deepObject",
    "deprecated": True,
    "description": "Count only events whose dimension has this text: `filterGroupBy[model]=gpt-4`.",
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
}
_TEXTS = TypeAdapter(dict[str, str])
_FILTERS = TypeAdapter(dict[str, FilterString])


class WindowSize(StrEnum):
    """The size of the windows of an answer."""

    MINUTE = "MINUTE"
    HOUR = "HOUR"
    DAY = "DAY"
    MONTH = "MONTH"


class MeterQueryRequest(V1EventModel):
    """A question to a meter."""

    client_id: Opt[str] = Field(None, min_length=1, max_length=36, description=_CLIENT_ID)
    from_: Opt[Instant] = Field(None, alias="from", description="Earliest event time, included. Cut to the second.")
    to: Opt[Instant] = Field(None, description="Event time to stop before. Cut to the second.")
    window_size: Opt[WindowSize] = Field(None, description="Give one number per window; one for all when absent.")
    window_time_zone: str = Field("UTC", description="IANA name of the zone whose days and months are meant.")
    subject: Opt[list[str]] = Field(None, max_length=MAX_LISTED, description="Count only these subjects, each apart.")
    filter_customer_id: Opt[list[str]] = Field(
        None, max_length=MAX_LISTED, description="Count only these customers, each apart."
    )
    filter_group_by: Opt[dict[str, list[str]]] = Field(
        None, description="Count only events whose dimension has one of the texts."
    )
    advanced_meter_group_by_filters: Opt[dict[str, FilterString]] = Field(
        None, description="Conditions by dimension. Not together with `filterGroupBy`."
    )
    group_by: Opt[list[str]] = Field(
        None, max_length=MAX_LISTED, description="Dimensions to split by, and the words subject and customer_id."
    )


class MeterQueryRow(V1EventModel):
    """One number of an answer."""

    value: float = Field(description="The exact number; it may have more digits than a double holds.")
    window_start: Instant
    window_end: Instant
    subject: str | None
    customer_id: Opt[str] = None
    group_by: dict[str, str | None]


class MeterQueryResult(V1EventModel):
    """The answer to a meter query."""

    from_: Opt[Instant] = Field(None, alias="from")
    to: Opt[Instant] = None
    window_size: Opt[WindowSize] = None
    data: list[MeterQueryRow]


_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}},
    **errors("v1", 400, 401, 403, 404, 412, 500, 503),
}


def query_service(services: Services) -> MeterQueries:
    """Return the service that answers queries.

    Raises:
        FeatureDisabled: this process was composed without it.
    """
    if services.meter_queries is None:
        raise FeatureDisabled("meter queries are not served by this process")
    return services.meter_queries


@router.get(
    "/api/v1/meters/{meterIdOrSlug}/query",
    operation_id="queryMeter",
    summary="Query a meter",
    response_model=MeterQueryResult,
    responses=_RESPONSES,
    openapi_extra={"parameters": [SIMPLE_FILTER_PARAMETER]},
)
async def query_meter(
    request: Request,
    namespace: Namespace,
    services: ServicesDep,
    id_or_slug: MeterIdOrSlug,
    client_id: Annotated[
        str | None, Query(alias="clientId", min_length=1, max_length=36, description=_CLIENT_ID)
    ] = None,
    from_: Annotated[Instant | None, Query(alias="from", description="Earliest event time, included.")] = None,
    to: Annotated[Instant | None, Query(description="Event time to stop before.")] = None,
    window_size: Annotated[
        WindowSize | None, Query(alias="windowSize", description="Give one number per window.")
    ] = None,
    window_time_zone: Annotated[
        str, Query(alias="windowTimeZone", description="IANA name of the zone whose days and months are meant.")
    ] = "UTC",
    subject: Annotated[list[str] | None, Query(description="Count only these subjects, each apart.")] = None,
    filter_customer_id: Annotated[
        list[str] | None,
        Query(alias="filterCustomerId", max_length=MAX_LISTED, description="Count only these customers, each apart."),
    ] = None,
    advanced: Annotated[
        str | None,
        Query(
            alias="advancedMeterGroupByFilters",
            description="Conditions by dimension, as the JSON text of an object. Not together with `filterGroupBy`.",
        ),
    ] = None,
    group_by: Annotated[
        list[str] | None, Query(alias="groupBy", description="Dimensions to split by, subject and customer_id too.")
    ] = None,
) -> Response:
    """Measure usage. Dimensions can be filtered by `filterGroupBy[name]=text`."""
    # Every part was checked above; the list limits of the body do not hold for a URL.
    asked = MeterQueryRequest.model_construct(
        client_id=client_id,
        from_=from_,
        to=to,
        window_size=window_size,
        window_time_zone=window_time_zone,
        subject=subject,
        filter_customer_id=filter_customer_id,
        filter_group_by=simple_filters(request),
        advanced_meter_group_by_filters=parse_advanced(advanced),
        group_by=group_by,
    )
    return await answer(request, services, namespace, id_or_slug, asked)


def simple_filters(request: Request) -> dict[str, list[str]] | None:
    """Read `filterGroupBy[name]=text` parameters: the texts by name.

    Raises:
        InvalidInput: a whole object in one parameter cannot be read. Dropped, it would make the answer count too much.
    """
    simple: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        if name.startswith(_SIMPLE_FILTER) and name.endswith("]"):
            simple.setdefault(name[len(_SIMPLE_FILTER) : -1], []).append(value)
        elif name == SIMPLE_FILTER_PARAMETER["name"]:
            for dimension, text in _whole_object(value).items():
                simple.setdefault(dimension, []).append(text)
    return simple or None


def _whole_object(text: str) -> dict[str, str]:
    # The official Python client writes the object like Python does, in one parameter.
    try:
        return _TEXTS.validate_python(ast.literal_eval(text[:MAX_OBJECT]))
    except (ValidationError, ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise InvalidInput("filterGroupBy is invalid: write filterGroupBy[dimension]=text") from None


def parse_advanced(text: str | None) -> dict[str, FilterString] | None:
    """Read the JSON text of conditions by dimension.

    Raises:
        InvalidInput: it is none.
    """
    if text is None:
        return None
    try:
        return _FILTERS.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidInput(f"advancedMeterGroupByFilters is invalid: {first['msg']}") from None


@router.post(
    "/api/v1/meters/{meterIdOrSlug}/query",
    operation_id="queryMeterPost",
    summary="Query a meter with a body",
    response_model=MeterQueryResult,
    responses=_RESPONSES,
)
async def query_meter_post(
    request: Request, namespace: Namespace, services: ServicesDep, id_or_slug: MeterIdOrSlug, body: MeterQueryRequest
) -> Response:
    """Measure usage, with longer lists than a URL holds."""
    return await answer(request, services, namespace, id_or_slug, body)


async def answer(
    request: Request, services: Services, namespace: str, id_or_slug: str, asked: MeterQueryRequest
) -> Response:
    """Answer a query as JSON or CSV."""
    queries = query_service(services)
    async with services.db.read() as session:
        query = await to_query(session, namespace, id_or_slug, asked)
    tracked = services.tracked_queries
    if tracked is not None and asked.client_id is not None:
        rows = await tracked.usage(asked.client_id, query)
    else:
        rows = await queries.usage(query)
    if request.headers.get("accept", "").partition(";")[0].strip().lower() == "text/csv":
        disposition = f"attachment; filename={query.meter.key}.csv"
        async with services.db.read() as session:
            subjects_shown = {row.subject for row in rows if row.subject is not None}
            names = await subjects.display_names(session, namespace, subjects_shown)
        content = to_csv(query, rows, names)
        return Response(content, headers={"content-type": "text/csv", "content-disposition": disposition})
    echo = {"from": asked.from_, "to": asked.to}
    document: dict[str, object] = {name: format_instant(at) for name, at in echo.items() if at is not None}
    if asked.window_size is not None:
        document["windowSize"] = asked.window_size.value
    document["data"] = [_row(query, row) for row in rows]
    return Response(orjson.dumps(document), media_type="application/json")


async def to_query(session: ReadSession, namespace: str, id_or_slug: str, asked: MeterQueryRequest) -> MeterQuery:
    """Find what a query speaks of and check it.

    Raises:
        NotFound: the meter or a customer does not exist, or the customer is deleted.
        InvalidInput: a rule of metering section 10.2 is broken.
    """
    meter = await meters.get_by_id_or_key(session, namespace, id_or_slug)
    query = MeterQuery(
        meter,
        asked.from_,
        asked.to,
        window=Window(asked.window_size.value.lower()) if asked.window_size else None,
        zone=checks.zone_of(asked.window_time_zone),
        subjects=asked.subject,
        customers=await _attribution(session, namespace, asked.filter_customer_id or ()),
        group_by=asked.group_by or (),
        filters=_filters(asked),
    )
    checks.check(query)
    return query


async def _attribution(
    session: ReadSession, namespace: str, customer_ids: Sequence[str]
) -> Mapping[str, Sequence[str]] | None:
    if not customer_ids:
        return None
    found = await customers.find_many(session, namespace, customer_ids)
    for customer_id in customer_ids:
        if customer_id not in found or found[customer_id].deleted_at is not None:
            raise NotFound(f"customer not found: {customer_id}")
    subjects = {customer_id: found[customer_id].usage_subjects() for customer_id in customer_ids}
    checks.check_attribution(subjects)
    return subjects


def _filters(asked: MeterQueryRequest) -> dict[str, Filter]:
    simple, advanced = asked.filter_group_by, asked.advanced_meter_group_by_filters
    if simple and advanced:
        raise InvalidInput("filterGroupBy and advancedMeterGroupByFilters cannot be used together")
    if simple:
        return {name: filters.any_of(tuple(values)) for name, values in simple.items()}
    return {name: one for name, body in (advanced or {}).items() if (one := body.to_value()) is not None}


def _row(query: MeterQuery, row: UsageRow) -> dict[str, object]:
    shown: dict[str, object] = {
        # The digits themselves: a float would lose some.
        "value": orjson.Fragment(plain(row.value)),
        "windowStart": format_instant(row.start),
        "windowEnd": format_instant(row.end),
        "subject": row.subject,
        "groupBy": dict(row.groups),
    }
    if CUSTOMER in query.groups():
        shown["customerId"] = row.customer_id
    return shown


def to_csv(query: MeterQuery, rows: Sequence[UsageRow], display_names: Mapping[str, str | None]) -> str:
    """Write an answer as CSV (metering section 10.8).

    Args:
        display_names: of the subjects that are registered; where there are any, the names get a column.
    """
    groups = [name for name in query.groups() if name != SUBJECT]
    with_subject = SUBJECT in query.groups()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    subject_columns = [SUBJECT, *(["subject_display_name"] if display_names else [])] if with_subject else []
    writer.writerow(["window_start", "window_end", *subject_columns, *groups, "value"])
    for row in rows:
        split = [row.customer_id if name == CUSTOMER else row.groups[name] for name in groups]
        subject = [row.subject, display_names.get(row.subject or "")][: len(subject_columns)]
        writer.writerow([format_instant(row.start), format_instant(row.end), *subject, *split, f"{row.value:.6f}"])
    return text.getvalue()


@router.get(
    "/api/v1/meters/{meterIdOrSlug}/subjects",
    operation_id="listMeterSubjects",
    summary="List the subjects of a meter",
    response_model=list[str],
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def list_meter_subjects(
    namespace: Namespace,
    services: ServicesDep,
    id_or_slug: MeterIdOrSlug,
    from_: Annotated[Instant | None, Query(alias="from", description="Earliest event time, included.")] = None,
    to: Annotated[Instant | None, Query(description="Event time to stop before.")] = None,
) -> list[str]:
    """Show the different subjects with events of the meter's type."""
    async with services.db.read() as session:
        meter = await meters.get_by_id_or_key(session, namespace, id_or_slug)
    checks.check(MeterQuery(meter, from_, to))
    return await query_service(services).subjects(meter, from_, to)


@router.get(
    "/api/v1/meters/{meterIdOrSlug}/group-by/{groupByKey}/values",
    operation_id="listMeterGroupByValues",
    summary="List the values of a dimension",
    response_model=list[str],
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def list_meter_group_by_values(
    namespace: Namespace,
    services: ServicesDep,
    id_or_slug: MeterIdOrSlug,
    dimension: Annotated[str, Path(alias="groupByKey", description="Name of a dimension of the meter.")],
    from_: Annotated[
        Instant | None, Query(alias="from", description="Earliest event time; 24 hours before the end when absent.")
    ] = None,
    to: Annotated[Instant | None, Query(description="Event time to stop before; now when absent.")] = None,
) -> list[str]:
    """Show the different texts of a dimension; "" stands for events without it."""
    async with services.db.read() as session:
        meter = await meters.get_by_id_or_key(session, namespace, id_or_slug)
        now: datetime = clock.now()
    start = from_ or (to or now) - VALUES_DEFAULT
    checks.check(MeterQuery(meter, start, to))
    if dimension not in meter.group_by:
        raise InvalidInput(f"invalid group by: {dimension}")
    if start <= now - VALUES_OLDEST:
        raise InvalidInput(f"from must lie within the last {VALUES_OLDEST.days} days")
    if (to or now) - start > VALUES_LONGEST:
        raise InvalidInput(f"the range must not be longer than {VALUES_LONGEST.days} days")
    return await query_service(services).dimension_values(meter, dimension, start, to)
