"""v1 progress of meter queries (metering section 16)."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from meterhouse.api.deps import Namespace, ServicesDep
from meterhouse.api.problems import errors
from meterhouse.api.wire import Instant, V1EventModel
from meterhouse.kernel.errors import NotFound

router = APIRouter(tags=["Lookup Information"])


class Progress(V1EventModel):
    """How far a meter query is."""

    success: int = Field(ge=0, description="Events read so far.")
    failed: int = Field(0, ge=0, description="Always 0: a query that fails is answered with its error.")
    total: int = Field(ge=0, description="Events to read.")
    updated_at: Instant


@router.get(
    "/api/v1/info/progress/{id}",
    operation_id="getProgress",
    summary="Get the progress of a meter query",
    responses=errors("v1", 400, 401, 403, 404, 412, 500, 503),
)
async def get_progress(
    client_id: Annotated[str, Path(alias="id", description="The `clientId` that the query was sent with.")],
    services: ServicesDep,
    namespace: Namespace,
) -> Progress:
    """Tell how far the latest meter query of a client is, for five minutes after it began or ended."""
    if services.tracked_queries is None:
        raise NotFound(f"progress not found: {client_id}")
    found = await services.tracked_queries.progress(namespace, client_id)
    return Progress(success=found.success, total=found.total, updated_at=found.updated_at)
