"""v1 debug metrics (metering sections 16 and 19)."""

from collections.abc import Iterable

from fastapi import APIRouter
from starlette.responses import PlainTextResponse

from meterhouse.api.deps import Namespace, ServicesDep
from meterhouse.api.problems import errors
from meterhouse.kernel import clock
from meterhouse.kernel.errors import FeatureDisabled

router = APIRouter(tags=["Debug"])


@router.get(
    "/api/v1/debug/metrics",
    operation_id="getDebugMetrics",
    summary="Get event metrics",
    response_class=PlainTextResponse,
    responses=errors("v1", 400, 401, 403, 412, 500, 501, 503),
)
async def get_debug_metrics(services: ServicesDep, namespace: Namespace) -> PlainTextResponse:
    """Count, by subject, the events stored since midnight UTC, in the OpenMetrics text format."""
    if services.stored_events is None:
        raise FeatureDisabled("events are not served by this process")
    midnight = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    return PlainTextResponse(exposition(await services.stored_events.count_by_subject(namespace, midnight)))


def exposition(counts: Iterable[tuple[str, int]]) -> str:
    """Write counts by subject as one counter."""
    samples = (f'openmeter_events_total{{subject="{_label(subject)}"}} {count}' for subject, count in counts)
    head = ("# TYPE openmeter_events counter", "# HELP openmeter_events Events stored since midnight UTC.")
    return "\n".join([*head, *samples, "# EOF", ""])


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
