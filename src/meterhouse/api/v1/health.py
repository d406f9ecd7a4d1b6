"""Probes for whatever runs the server: is the process alive, can it serve, and what does it count."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import prometheus_client
import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from meterhouse.api.deps import services

router = APIRouter()
log = structlog.get_logger(__name__)

PROBE_SECONDS = 5  # a backend that is slower than this does not serve requests in useful time either


@router.get("/healthz", include_in_schema=False)
async def healthz() -> dict[str, str]:
    """Tell that the process answers."""
    return {"status": "ok"}


@router.get("/readyz", include_in_schema=False)
async def readyz(request: Request) -> JSONResponse:
    """Tell whether each backend answers: 200 when all do, else 503.

    Where this process stores events, `sink.lag` tells how many it has yet to read. However many, requests are served.
    """
    found = services(request)
    states = dict(await asyncio.gather(*(_state(name, probe) for name, probe in found.probes.items())))
    ready = all(state == "ok" for state in states.values())
    answer: dict[str, Any] = {"status": "ok" if ready else "unavailable", "backends": states}
    if found.sink is not None:
        answer["sink"] = {"lag": found.sink.lag}
    return JSONResponse(answer, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)


async def _state(name: str, probe: Callable[[], Awaitable[None]]) -> tuple[str, str]:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await probe()
    except Exception as error:  # the probe's answer is the failure
        log.warning("backend does not answer", backend=name, exc_info=error)
        return name, "unavailable"
    return name, "ok"


@router.get("/metrics", include_in_schema=False)
async def metrics() -> Response:
    """Give what this process counts, in the text form of Prometheus."""
    return Response(prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST)
