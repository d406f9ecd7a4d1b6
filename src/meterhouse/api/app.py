"""The HTTP application: two FastAPI applications, one per API generation, behind one door.

They are separate because they differ in everything around a route: error shape, strictness, OpenAPI document. Every
module of `api.v1` and `api.v3` that has a `router` is served.
"""

import pkgutil
from importlib import import_module
from types import ModuleType

from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from meterhouse.api import openapi, problems, v1, v3
from meterhouse.api.docs import create_docs
from meterhouse.api.middleware import Edge
from meterhouse.api.parameters import sent_as_json, well_formed
from meterhouse.api.segments import keep_segments_whole, restore_slashes
from meterhouse.api.services import Services
from meterhouse.api.v1.ingest import ingest_app
from meterhouse.api.v1.portal import CORS_PREFIX

V3_PREFIX = "/api/v3"
# Posts of events pass the routers by.
INGEST: dict[str, problems.Version] = {"/api/v1/events": "v1", "/api/v3/openmeter/events": "v3"}


def _routers(package: ModuleType) -> list[APIRouter]:
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    modules = [import_module(f"{package.__name__}.{name}") for name in names]
    return [module.router for module in modules if hasattr(module, "router")]


def _application(package: ModuleType, version: problems.Version, title: str, openapi_url: str) -> FastAPI:
    app = FastAPI(
        title=title,
        version="1.0.0",
        openapi_url=openapi_url,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=True,
        dependencies=[Depends(restore_slashes), Depends(well_formed), Depends(sent_as_json)],
    )
    problems.install(app, version)
    for router in _routers(package):
        app.include_router(router)
    openapi.tidy(app)
    return app


def create_v1() -> FastAPI:
    """Build the application of `/api/v1` and `/api/v2`."""
    return _application(v1, "v1", "Meterhouse API v1", "/api/swagger.json")


def create_v3() -> FastAPI:
    """Build the application of `/api/v3`."""
    app = _application(v3, "v3", "Meterhouse API v3", "/api/v3/openapi.json")

    @app.get("/api/v3/openapi.yaml", include_in_schema=False)
    def document() -> Response:
        return Response(openapi.to_yaml(app), media_type="application/yaml")

    return app


def _open_to_all_origins(app: ASGIApp) -> ASGIApp:
    """Let pages of any site read the answers: what they see depends on the portal token that they send."""
    return CORSMiddleware(
        app,
        allow_origin_regex=".*",  # answers with the origin itself; `*` is refused where credentials are sent
        allow_methods=["GET", "OPTIONS"],
        allow_headers=["Accept", "Authorization", "Content-Type"],
        allow_credentials=True,
        max_age=1728000,
    )


def create_app(services: Services, *, max_body_bytes: int) -> ASGIApp:
    """Build what uvicorn serves."""
    first, third, docs = create_v1(), create_v3(), create_docs()
    first.state.services = third.state.services = services
    portal = _open_to_all_origins(first)
    hot: dict[str, ASGIApp] = {}
    if services.event_log is not None:
        hot = {
            path: ingest_app(
                services.event_log, services.namespace, version=version, max_events=services.max_batch_events
            )
            for path, version in INGEST.items()
        }

    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        scope = keep_segments_whole(scope)
        path: str = scope.get("path", "")
        if path in hot and scope.get("method") == "POST":
            await hot[path](scope, receive, send)
            return
        if path == V3_PREFIX or path.startswith(V3_PREFIX + "/"):
            app: ASGIApp = third
        elif path == "/docs" or path.startswith("/docs/"):
            app = docs
        elif path == CORS_PREFIX or path.startswith(CORS_PREFIX + "/"):
            app = portal
        else:
            app = first
        await app(scope, receive, send)

    return Edge(door, max_body_bytes=max_body_bytes)
