"""v2 events: the list with operators and cursors (metering section 11)."""

from typing import Annotated, TypeVar

import orjson
from fastapi import APIRouter, Query, Response
from pydantic import Field, ValidationError, model_validator

from meterhouse.api import cursors
from meterhouse.api.deps import Namespace, ServicesDep
from meterhouse.api.problems import errors
from meterhouse.api.v1.events import MAX_LIMIT, IngestedEvent, event_service, explain, owners_of, show
from meterhouse.api.v1.features import FilterString
from meterhouse.api.wire import Instant, Opt, Ulid, V1EventModel
from meterhouse.kernel.errors import InvalidInput
from meterhouse.metering.filters import Filter, Operator
from meterhouse.metering.listing import EventQuery, Instants, InstantTest

router = APIRouter(tags=["Events"])

# Levels of $and and $or in one filter (metering section 11).
_MAX_DEPTH = 1


class FilterTime(V1EventModel):
    """One condition on an instant. Exactly one operator is set; `$and` and `$or` combine conditions."""

    gt: Opt[Instant] = Field(None, alias="$gt")
    gte: Opt[Instant] = Field(None, alias="$gte")
    lt: Opt[Instant] = Field(None, alias="$lt")
    lte: Opt[Instant] = Field(None, alias="$lte")
    and_: "Opt[list[FilterTime]]" = Field(None, alias="$and")
    or_: "Opt[list[FilterTime]]" = Field(None, alias="$or")

    @model_validator(mode="after")
    def _one_operator(self) -> "FilterTime":
        self.to_value()
        return self

    def to_value(self) -> InstantTest | None:
        """Read the condition; None filters nothing.

        Raises:
            ValueError: several operators are set.
        """
        compared = [(Operator.GT, self.gt), (Operator.GTE, self.gte), (Operator.LT, self.lt), (Operator.LTE, self.lte)]
        tests = [InstantTest(operator, at) for operator, at in compared if at is not None]
        for operator, members in ((Operator.AND, self.and_), (Operator.OR, self.or_)):
            parts = tuple(part for one in members or () if (part := one.to_value()) is not None)
            tests += [InstantTest(operator, parts=parts)] if parts else []
        if len(tests) > 1:
            raise ValueError("multiple operators are set")
        return tests[0] if tests else None


class FilterIDExact(V1EventModel):
    """A condition on an id."""

    in_: Opt[list[Ulid]] = Field(None, alias="$in")


class EventsFilter(V1EventModel):
    """Which events to list; all members must hold."""

    id: Opt[FilterString] = None
    source: Opt[FilterString] = None
    subject: Opt[FilterString] = None
    customer_id: Opt[FilterIDExact] = None
    type: Opt[FilterString] = None
    time: Opt[FilterTime] = None
    ingested_at: Opt[FilterTime] = None


class IngestedEventCursorPaginatedResponse(V1EventModel):
    """Events, the latest first, and where to go on."""

    items: list[IngestedEvent] = Field(max_length=MAX_LIMIT)
    next_cursor: str | None = Field(None, description="Give it as `cursor` to go on; null at the end.")


@router.get(
    "/api/v2/events",
    operation_id="listEventsV2",
    summary="List ingested events by conditions",
    response_model=IngestedEventCursorPaginatedResponse,
    responses=errors("v1", 400, 401, 403, 412, 500, 503),
)
async def list_events_v2(
    namespace: Namespace,
    services: ServicesDep,
    cursor: Annotated[str | None, Query(description="Where the last page ended.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many events to show.")] = MAX_LIMIT,
    client_id: Annotated[
        str | None, Query(alias="clientId", min_length=1, max_length=36, description="Accepted for compatibility.")
    ] = None,
    conditions: Annotated[
        str | None,
        Query(
            alias="filter",
            description="Conditions as the JSON text of an object with the members id, source, subject, customerId, "
            "type, time, ingestedAt; combined by $and or $or one level deep at most.",
            json_schema_extra={"contentMediaType": "application/json"},
        ),
    ] = None,
) -> Response:
    """Show events, the latest first, with what keeps them from counting."""
    chosen = _read(conditions)
    ids = chosen.customer_id.in_ if chosen.customer_id else None
    async with services.db.read() as session:
        filtered = None if ids is None else await owners_of(session, namespace, ids)
    texts = {"id": chosen.id, "source": chosen.source, "subject": chosen.subject, "type": chosen.type}
    times = {Instants.TIME: chosen.time, Instants.INGESTED_AT: chosen.ingested_at}
    query = EventQuery(
        namespace,
        limit + 1,
        filters={name: test for name, one in texts.items() if one and (test := _checked(name, one.to_value()))},
        instants={at: bounds for at, one in times.items() if one and (bounds := _shallow(at, one.to_value()))},
        subjects=None if filtered is None else list(filtered),
        after=cursors.decode(cursor) if cursor else None,
    )
    found = await event_service(services).list_events(query)
    page = found[:limit]
    shown = [show(entry) for entry in await explain(services, namespace, page, filtered)]
    following = cursors.encode(page[-1].time, page[-1].row_id) if len(found) > limit else None
    return Response(orjson.dumps({"items": shown, "nextCursor": following}), media_type="application/json")


def _read(text: str | None) -> EventsFilter:
    try:
        return EventsFilter.model_validate_json(text) if text else EventsFilter()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise InvalidInput(f"filter is invalid: {where}: {first['msg']}") from None


def _checked(name: str, test: Filter | None) -> Filter | None:
    if test is not None and _has_empty_operand(test):
        raise InvalidInput(f"filter is invalid: {name}: an operand must not be empty")
    return _shallow(name, test)


Test = TypeVar("Test", Filter, InstantTest)


def _shallow(name: str, test: Test | None) -> Test | None:
    if test is not None and test.depth() > _MAX_DEPTH:
        raise InvalidInput(f"filter is invalid: {name}: conditions may be combined {_MAX_DEPTH} level deep")
    return test


def _has_empty_operand(test: Filter) -> bool:
    empty = "" in test.values or (test.operator in (Operator.IN, Operator.NIN) and not test.values)
    return empty or any(_has_empty_operand(part) for part in test.filters)
