"""How this process is configured, for finding processes that differ; no part of the contract."""

from typing import Literal

from fastapi import APIRouter

from meterhouse.api.deps import ServicesDep
from meterhouse.api.problems import errors
from meterhouse.api.wire import V3Model

router = APIRouter(tags=["Operations"])

Backend = Literal["embedded", "server"]


class Configuration(V3Model):
    """The switches that decide how this process behaves."""

    version: str
    roles: list[str]
    namespace: str
    locked_namespaces: list[str]
    credits_enabled: bool
    simulated_time: bool
    postgres: Backend
    clickhouse: Backend
    event_log: Literal["embedded", "kafka"]


@router.get(
    "/api/v3/meterhouse/configuration",
    operation_id="getConfiguration",
    summary="Read the configuration of the answering process",
    responses=errors("v3", 401, 403, 500, 503),
)
async def get_configuration(services: ServicesDep) -> Configuration:
    """Tell the switches of the answering process. Processes of one installation must agree on all but their roles."""
    return Configuration.model_validate(services.configuration)
