"""v3 events: the list (metering section 11)."""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import Field

from meterhouse.api import cursors
from meterhouse.api.deps import Namespace, ServicesDep
from meterhouse.api.filters import FieldKind, list_parameters, parse_filters, parse_sort
from meterhouse.api.problems import InvalidParameterError, errors
from meterhouse.api.v1.events import Explained, cloud_event, event_service, explain, owners_of
from meterhouse.api.v3.events import PATH, MeteringEvent
from meterhouse.api.wire import Instant, Opt, Ulid, V3EventModel, format_instant
from meterhouse.kernel import conditions
from meterhouse.kernel.conditions import Check, Condition, Sort
from meterhouse.metering.filters import Filter, Operator
from meterhouse.metering.listing import EventQuery, Instants, InstantTest

router = APIRouter(tags=["Metering Events"])

DEFAULT_SIZE, MAX_SIZE = 20, 100  # events of a page (api-conventions section 8)
_MAX_DEPTH = 1  # levels of OR and AND in one filter (metering section 11)

_TEXTS = ("id", "source", "subject", "type")
_FIELDS: Mapping[str, FieldKind] = {
    **dict.fromkeys(_TEXTS, FieldKind.STRING),
    "customer_id": FieldKind.ULID,
    **dict.fromkeys((instant.value for instant in Instants), FieldKind.INSTANT),
}
_SORT_FIELDS = tuple(instant.value for instant in Instants)

_SIMPLE = {
    conditions.Operator.EQ: Operator.EQ,
    conditions.Operator.NEQ: Operator.NE,
    conditions.Operator.GT: Operator.GT,
    conditions.Operator.GTE: Operator.GTE,
    conditions.Operator.LT: Operator.LT,
    conditions.Operator.LTE: Operator.LTE,
    conditions.Operator.CONTAINS: Operator.CONTAINS,
}


class VoidedState(V3EventModel):
    """Why an event does not count any more. No part of the contract: present only on events that were voided."""

    at: Instant = Field(description="When it was voided.")
    reason: str
    actor: str = Field(description="Who voided it.")


class CustomerReference(V3EventModel):
    """Names a customer."""

    id: Ulid


class MeteringIngestedEventValidationError(V3EventModel):
    """What keeps an event from counting."""

    code: str
    message: str
    attributes: Opt[dict[str, Any]] = None


class MeteringIngestedEvent(V3EventModel):
    """A stored event."""

    event: MeteringEvent
    customer: Opt[CustomerReference] = Field(None, description="The customer that the subject belongs to now.")
    ingested_at: Instant
    stored_at: Instant
    validation_errors: Opt[list[MeteringIngestedEventValidationError]] = Field(
        None, description="What keeps it from counting; absent when nothing does."
    )
    voided: Opt[VoidedState] = None


class CursorMetaPage(V3EventModel):
    """Where a page stands: cursors for `page[after]`."""

    first: Opt[str] = Field(None, description="Cursor of the first entry; absent on an empty page.")
    last: Opt[str] = Field(None, description="Cursor of the last entry; absent on an empty page.")
    next: str | None = Field(description="Cursor to go on; null at the end.")
    previous: str | None = Field(description="Always null: there is no way back.")
    size: int = Field(description="How many entries were asked for.")


class CursorMeta(V3EventModel):
    """Facts about the answer."""

    page: CursorMetaPage


class IngestedEventPaginatedResponse(V3EventModel):
    """A page of events."""

    data: list[MeteringIngestedEvent]
    meta: CursorMeta


_PAGE_PARAMETER = {
    "name": "page",
    "in": "query",
    "required": False,
    "style": "deepObject",
    "description": f"`page[size]`: how many events, 1 to {MAX_SIZE}. `page[after]`: the cursor to go on behind.",
    "schema": {
        "type": "object",
        "properties": {
            "size": {"type": "integer", "minimum": 1, "maximum": MAX_SIZE, "default": DEFAULT_SIZE},
            "after": {"type": "string"},
        },
    },
}


@router.get(
    PATH,
    operation_id="listMeteringEvents",
    summary="List events",
    response_model=IngestedEventPaginatedResponse,
    responses=errors("v3", 400, 401, 403),
    openapi_extra={
        "parameters": [_PAGE_PARAMETER, *list_parameters(_FIELDS, _SORT_FIELDS)["parameters"]],
    },
)
async def list_metering_events(
    request: Request,
    namespace: Namespace,
    services: ServicesDep,
) -> Response:
    """List events, the latest first unless asked otherwise, with what keeps them from counting."""
    size, after = _page(request)
    sort = _sort(request)
    given = parse_filters(request, _FIELDS)
    owned = given.pop("customer_id", None)
    async with services.db.read() as session:
        filtered = None if owned is None else await owners_of(session, namespace, _ids(owned))
    query = EventQuery(
        namespace,
        size + 1,
        filters={name: test for name in _TEXTS if name in given and (test := _text(name, given[name]))},
        instants={one: _instant(given[one.value]) for one in Instants if one.value in given},
        subjects=None if filtered is None else list(filtered),
        sort=Instants(sort.field),
        descending=sort.descending,
        after=after,
    )
    found = await event_service(services).list_events(query)
    page = found[:size]
    cursor = {one.row_id: cursors.encode(getattr(one, sort.field), one.row_id) for one in page}
    meta: dict[str, Any] = {"size": size, "next": None, "previous": None}
    if page:
        meta |= {"first": cursor[page[0].row_id], "last": cursor[page[-1].row_id]}
    if len(found) > size:
        meta["next"] = meta["last"]
    shown = [show(entry) for entry in await explain(services, namespace, page, filtered)]
    return Response(orjson.dumps({"data": shown, "meta": {"page": meta}}), media_type="application/json")


def show(entry: Explained) -> dict[str, object]:
    """Show an event."""
    shown: dict[str, object] = {
        "event": cloud_event(entry.event),
        "ingested_at": format_instant(entry.event.ingested_at),
        "stored_at": format_instant(entry.event.stored_at),
    }
    if entry.customer_id is not None:
        shown["customer"] = {"id": entry.customer_id}
    if entry.problems:
        shown["validation_errors"] = [{"code": "validation_error", "message": text} for text in entry.problems]
    if entry.void is not None:
        shown["voided"] = {
            "at": format_instant(entry.void.at),
            "reason": entry.void.reason,
            "actor": entry.void.actor,
        }
    return shown


def _page(request: Request) -> tuple[int, Any]:
    parameters = request.query_params
    for name in parameters:
        if name.startswith("page[") and name not in ("page[size]", "page[after]"):
            raise InvalidParameterError(name, "events can only be paged by page[size] and page[after]")
    text = parameters.get("page[size]")
    try:
        size = DEFAULT_SIZE if text is None else int(text)
    except ValueError:
        raise InvalidParameterError("page[size]", "must be a whole number") from None
    if not 1 <= size <= MAX_SIZE:
        raise InvalidParameterError("page[size]", f"must be between 1 and {MAX_SIZE}")
    after = parameters.get("page[after]")
    return size, cursors.decode(after) if after else None


def _sort(request: Request) -> Sort:
    default = Sort(Instants.TIME.value, descending=True)
    if request.query_params.getlist("sort") == [""]:
        return default
    sorts = parse_sort(request, _SORT_FIELDS, [default], descending=True)
    if len(sorts) > 1:
        raise InvalidParameterError("sort", "events are ordered by one field")
    return sorts[0]


def _ids(condition: Condition) -> list[str]:
    ids: list[str] | None = None
    for check in condition.checks:
        if check.operator not in (conditions.Operator.EQ, conditions.Operator.OEQ):
            raise InvalidParameterError("filter", "filter[customer_id] takes eq and oeq only", rule="format")
        wanted = check.operand if isinstance(check.operand, tuple) else (check.operand,)
        ids = [str(one) for one in wanted if ids is None or one in ids]
    return ids or []


def _text(field: str, condition: Condition) -> Filter:
    tests = tuple(_test(check) for check in condition.checks)
    whole = tests[0] if len(tests) == 1 else Filter(Operator.AND, filters=tests)
    if whole.depth() > _MAX_DEPTH:
        raise InvalidParameterError("filter", f"filter[{field}]: ocontains cannot be combined", rule="format")
    return whole


def _test(check: Check) -> Filter:
    operand = check.operand
    if check.operator is conditions.Operator.EXISTS:
        return Filter(Operator.EXISTS, present=bool(operand))
    texts = tuple(str(one) for one in operand) if isinstance(operand, tuple) else (str(operand),)
    if check.operator is conditions.Operator.OEQ:
        return Filter(Operator.IN, texts)
    if check.operator is conditions.Operator.OCONTAINS:
        return Filter(Operator.OR, filters=tuple(Filter(Operator.CONTAINS, (text,)) for text in texts))
    return Filter(_SIMPLE[check.operator], texts)


def _instant(condition: Condition) -> InstantTest:
    # The parser gives instants for fields of this kind only.
    tests = [InstantTest(_SIMPLE[check.operator], check.operand) for check in condition.checks]  # type: ignore[arg-type]
    return InstantTest(Operator.AND, parts=tuple(tests))
