"""Probes for whatever runs the server: is the process alive, and can it serve."""

import asyncio
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

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
    """Tell whether each backend answers: 200 when all do, else 503."""
    states: dict[str, Any] = {}
    for name, probe in services(request).probes.items():
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await probe()
            states[name] = "ok"
        except Exception as error:  # the probe's answer is the failure
            log.warning("backend does not answer", backend=name, exc_info=error)
            states[name] = "unavailable"
    ready = all(state == "ok" for state in states.values())
    status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse({"status": "ok" if ready else "unavailable", "backends": states}, status)
