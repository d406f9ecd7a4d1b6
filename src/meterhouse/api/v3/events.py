"""v3 events: taking them in (metering section 3)."""

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from meterhouse.api.deps import Namespace, ServicesDep
from meterhouse.api.problems import errors
from meterhouse.api.v1.ingest import accept_request, request_body
from meterhouse.api.wire import Instant, Opt, V3EventModel

router = APIRouter(tags=["Metering Events"])

PATH = "/api/v3/openmeter/events"


class MeteringEvent(V3EventModel):
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


_EVENT = MeteringEvent.model_json_schema()


@router.post(
    PATH,
    operation_id="ingestMeteringEvents",
    summary="Ingest events",
    status_code=202,
    response_class=Response,
    responses=errors("v3", 400, 401, 403, 413, 503),
    openapi_extra=request_body(_EVENT),
)
async def ingest_metering_events(request: Request, namespace: Namespace, services: ServicesDep) -> Response:
    """Take in one event or many, all or none. The answer is given when they are durable; an event that was taken in
    before, with the same source and id, is not counted again.
    """
    # The server answers this in front of the router, see `v1.ingest`.
    return await accept_request(request, services, namespace, "v3")
