"""v1 events: taking them in and listing them (metering sections 3 and 11)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from meterhouse.api.deps import Namespace, ServicesDep
from meterhouse.api.problems import errors
from meterhouse.api.services import Services
from meterhouse.api.v1.ingest import accept_request, request_body
from meterhouse.api.wire import Instant, Opt, Ulid, V1EventModel, format_instant
from meterhouse.customers import attribution
from meterhouse.customers import service as customers
from meterhouse.customers.customer import Customer
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import FeatureDisabled, InvalidInput
from meterhouse.metering import filters, meters, validation, voids
from meterhouse.metering.filters import Filter, Operator
from meterhouse.metering.listing import EventQuery, Instants, InstantTest, StoredEvent, StoredEvents
from meterhouse.metering.voids import VoidState

router = APIRouter(tags=["Events"])

MAX_LIMIT = 100  # events of one answer, as the contract declares
OLDEST = timedelta(days=32)  # how far back a list may look: older partitions would be read in full

_EVENT = {"$ref": "#/components/schemas/Event"}


class Event(V1EventModel):
    """An event in the form of CloudEvents 1.0."""

    id: str = Field(min_length=1, description="With the source, what makes an event one and the same.")
    source: str = Field(min_length=1, description="What produced the event: a URI reference.")
    specversion: str = Field("1.0", min_length=1, description="Version of CloudEvents.")
    type: str = Field(min_length=1, description="What happened; meters count events of one type.")
    datacontenttype: Opt[Literal["application/json"]] = Field(None, description="Always JSON.")
    dataschema: Opt[str] = Field(None, min_length=1, description="Accepted, and not kept.")
    subject: str = Field(min_length=1, description="Who used it: the key or a subject key of a customer.")
    time: Opt[Instant] = Field(None, description="When it happened; when it was received, if absent.")
    data: Opt[dict[str, Any]] = Field(None, description="What meters read values and dimensions from.")


class IngestedEvent(V1EventModel):
    """A stored event."""

    event: Event
    customer_id: Opt[Ulid] = Field(None, description="The customer that the subject belongs to now.")
    validation_error: Opt[str] = Field(None, description="Why the event does not count, one reason a line.")
    ingested_at: Instant
    stored_at: Instant


@router.post(
    "/api/v1/events",
    operation_id="ingestEvents",
    summary="Ingest events",
    status_code=204,
    response_model=None,
    responses=errors("v1", 400, 401, 403, 412, 413, 500, 503),
    openapi_extra=request_body(_EVENT),
)
async def ingest_events(request: Request, namespace: Namespace, services: ServicesDep) -> Response:
    """Take in one event or many, all or none. The answer is given when they are durable; an event that was taken in
    before, with the same source and id, is not counted again.
    """
    # The server answers this in front of the router (`ingest.ingest_app`); here it stands for OpenAPI and for
    # applications that mount the router alone.
    return await accept_request(request, services, namespace, "v1")


@router.get(
    "/api/v1/events",
    operation_id="listEvents",
    summary="List ingested events",
    response_model=list[IngestedEvent],
    responses=errors("v1", 400, 401, 403, 412, 500, 503),
)
async def list_events(
    namespace: Namespace,
    services: ServicesDep,
    client_id: Annotated[
        str | None, Query(alias="clientId", min_length=1, max_length=36, description="Accepted for compatibility.")
    ] = None,
    ingested_at_from: Annotated[
        Instant | None, Query(alias="ingestedAtFrom", description="Earliest receive time, included.")
    ] = None,
    ingested_at_to: Annotated[
        Instant | None, Query(alias="ingestedAtTo", description="Receive time to stop before.")
    ] = None,
    event_id: Annotated[str | None, Query(alias="id", description="A part of the id.")] = None,
    subject: Annotated[str | None, Query(description="The whole subject.")] = None,
    customer_id: Annotated[list[str] | None, Query(alias="customerId", description="Ids of customers.")] = None,
    from_: Annotated[
        Instant | None, Query(alias="from", description="Earliest event time; 32 days ago when absent.")
    ] = None,
    to: Annotated[Instant | None, Query(description="Event time to stop before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many events to show.")] = MAX_LIMIT,
) -> Response:
    """Show the latest events with what keeps them from counting."""
    oldest = clock.now() - OLDEST
    if (from_ is not None and from_ < oldest) or (ingested_at_from is not None and ingested_at_from < oldest):
        raise InvalidInput(f"from must lie within the last {OLDEST.days} days")
    if to is not None and from_ is not None and to < from_:
        raise InvalidInput("to must not be before from")
    if ingested_at_to is not None and ingested_at_from is not None and ingested_at_to < ingested_at_from:
        raise InvalidInput("ingestedAtTo must not be before ingestedAtFrom")
    texts = {"id": Filter(Operator.CONTAINS, (event_id,)) if event_id else None}
    texts["subject"] = filters.eq(subject) if subject else None
    instants = {
        Instants.TIME: _between(from_ or oldest, to),
        Instants.INGESTED_AT: _between(ingested_at_from, ingested_at_to),
    }
    async with services.db.read() as session:
        filtered = await owners_of(session, namespace, customer_id or ()) if customer_id else None
    query = EventQuery(
        namespace,
        limit,
        filters={name: one for name, one in texts.items() if one is not None},
        instants={name: test for name, test in instants.items() if test is not None},
        subjects=None if filtered is None else list(filtered),
    )
    found = await event_service(services).list_events(query)
    shown = [show(entry) for entry in await explain(services, namespace, found, filtered)]
    return Response(orjson.dumps(shown), media_type="application/json")


def _between(start: datetime | None, end: datetime | None) -> InstantTest | None:
    tests = [InstantTest(Operator.GTE, start)] if start else []
    tests += [InstantTest(Operator.LT, end)] if end else []
    return InstantTest(Operator.AND, parts=tuple(tests)) if tests else None


def event_service(services: Services) -> StoredEvents:
    """Return the service that lists events.

    Raises:
        FeatureDisabled: this process was composed without it.
    """
    if services.stored_events is None:
        raise FeatureDisabled("events are not listed by this process")
    return services.stored_events


async def owners_of(session: ReadSession, namespace: str, ids: Sequence[str]) -> dict[str, Customer]:
    """Return the customers of a filter by the subjects that count for them.

    Raises:
        InvalidInput: a customer does not exist.
    """
    found = await customers.find_many(session, namespace, ids)
    for customer_id in ids:
        if customer_id not in found:
            raise InvalidInput(f"customer not found: {customer_id}")
    return {subject: found[one] for one in ids for subject in found[one].usage_subjects()}


@dataclass(frozen=True, slots=True)
class Explained:
    """A stored event with what is known of it when it is read.

    Attributes:
        problems: what keeps it from counting, apart from being voided.
    """

    event: StoredEvent
    customer_id: str | None
    problems: Sequence[str]
    void: VoidState | None


async def explain(
    services: Services, namespace: str, found: Sequence[StoredEvent], filtered: Mapping[str, Customer] | None
) -> list[Explained]:
    """Find the customers of events and what keeps them from counting.

    Args:
        filtered: the customers of the filter in use, by subject; they show as the customers of its events.
    """
    if not found:
        return []
    async with services.db.read() as session:
        owners = filtered or await attribution.resolve(session, namespace, {event.subject for event in found})
        by_type = {
            event_type: await meters.of_event_type(session, namespace, event_type)
            for event_type in sorted({event.type for event in found})
        }
        voided = await voids.states(session, namespace, found)
    explained = []
    for event in found:
        owner = owners.get(event.subject)
        problems = validation.messages(
            event.type, event.data, event.subject, by_type[event.type], has_customer=owner is not None
        )
        customer_id = None if owner is None else owner.id
        explained.append(Explained(event, customer_id, problems, voided.get(voids.voidable(event))))
    return explained


def show(entry: Explained) -> dict[str, object]:
    """Show an event as v1 and v2 do."""
    shown: dict[str, object] = {
        "event": cloud_event(entry.event),
        "ingestedAt": format_instant(entry.event.ingested_at),
        "storedAt": format_instant(entry.event.stored_at),
    }
    if entry.customer_id is not None:
        shown["customerId"] = entry.customer_id
    problems = [*entry.problems, *([f"event is voided: {entry.void.reason}"] if entry.void else [])]
    if problems:
        shown["validationError"] = "\n".join(problems)
    return shown


def cloud_event(event: StoredEvent) -> dict[str, object]:
    """Show a stored event as a complete CloudEvent, its data exactly as it was sent."""
    shown: dict[str, object] = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": format_instant(event.time),
    }
    if event.data:
        shown |= {"datacontenttype": "application/json", "data": orjson.Fragment(event.data)}
    return shown
