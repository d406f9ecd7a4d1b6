"""The servers that are compared, each in its own process: `python servers.py <name>` prints its port and serves."""

import argparse
import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Receive, Scope, Send

from meterhouse.api.app import create_app
from meterhouse.api.services import Services
from meterhouse.api.v1.ingest import ingest_app
from meterhouse.metering.events.event import Event
from meterhouse.metering.events.log import EventConsumer
from meterhouse.runtime.composition import compose
from meterhouse.runtime.serving import settle
from meterhouse.settings import Settings

START_TIMEOUT_SECONDS = 120
MAX_BODY = Settings.model_fields["max_body_bytes"].default


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body and answer: the least that any application on this server does."""
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Discard:
    """A log that keeps nothing: what is left of ingest is reading and checking."""

    async def append(self, events: Sequence[Event]) -> None:
        """Forget the events."""

    async def consumer(self) -> EventConsumer:
        """Refuse: there is nothing to read."""
        raise NotImplementedError

    async def end(self) -> Mapping[int, int]:
        """Return no partitions."""
        return {}

    async def close(self) -> None:
        """Do nothing."""


class CloudEvent(BaseModel):
    """The event as a pydantic body: what a FastAPI route would usually take."""

    model_config = ConfigDict(extra="allow")

    id: str = Field(min_length=1)
    source: str = Field(min_length=1)
    type: str = Field(min_length=1)
    subject: str = Field(min_length=1)
    specversion: str = "1.0"
    time: datetime | None = None
    data: dict[str, Any] | None = None


def pydantic_route() -> ASGIApp:
    """Build a FastAPI application with one ordinary route for events."""
    app = FastAPI()

    @app.post("/api/v1/events", status_code=204)
    async def post(body: CloudEvent | list[CloudEvent]) -> None:
        pass

    @app.get("/bare")
    async def get() -> dict[str, str]:
        return {"balance": "1"}

    return app


App = AbstractAsyncContextManager[ASGIApp]


@asynccontextmanager
async def _ready(app: ASGIApp) -> AsyncIterator[ASGIApp]:
    yield app


def _quiet(_: str) -> None:
    pass


def _settings(directory: Path | None) -> Settings:
    assert directory is not None
    return Settings(data_dir=directory)


@asynccontextmanager
async def log_only(directory: Path | None) -> AsyncIterator[ASGIApp]:
    """Serve everything, with an embedded log that nobody reads."""
    async with compose(_settings(directory), _quiet) as application:
        yield application.asgi


@asynccontextmanager
async def whole(directory: Path | None) -> AsyncIterator[ASGIApp]:
    """Serve everything, with the sink and the jobs."""
    async with compose(_settings(directory), _quiet) as application:
        works = [asyncio.create_task(application.sink.run()), asyncio.create_task(application.worker.run())]
        yield application.asgi
        for work in works:
            work.cancel()
        await asyncio.wait(works)


SERVERS: Mapping[str, Callable[[Path | None], App]] = {
    "bare": lambda _: _ready(bare),
    "function": lambda _: _ready(ingest_app(Discard(), "default")),
    "application": lambda _: _ready(
        create_app(Services(db=None, namespace="default", event_log=Discard()), max_body_bytes=MAX_BODY)  # type: ignore[arg-type]
    ),
    "pydantic": lambda _: _ready(pydantic_route()),
    "log": log_only,
    "whole": whole,
}


class Announcing(uvicorn.Server):
    """Tells the port as soon as requests are taken."""

    async def startup(self, sockets: Any = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        self.announce(self.servers[0].sockets[0].getsockname()[1])

    def announce(self, port: int) -> None:
        """Print the port for whoever started this process."""
        print(port, flush=True)


def config(app: ASGIApp) -> uvicorn.Config:
    """Return how every application is served: as `meterhouse serve` does."""
    return uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )


@dataclass(frozen=True, slots=True)
class Running:
    """A server in its own process."""

    pid: int
    port: int


@asynccontextmanager
async def serving(name: str, directory: Path | None = None) -> AsyncIterator[Running]:
    """Run a server for the length of the block."""
    given = [] if directory is None else ["--data-dir", str(directory)]
    child = await asyncio.create_subprocess_exec(sys.executable, __file__, name, *given, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        line = await asyncio.wait_for(child.stdout.readline(), START_TIMEOUT_SECONDS)
        if not line:
            raise RuntimeError(f"server {name} does not start")
        yield Running(child.pid, int(line))
    finally:
        if child.returncode is None:
            child.terminate()
            await asyncio.wait_for(child.wait(), START_TIMEOUT_SECONDS)


async def _serve(name: str, directory: Path | None) -> None:
    async with SERVERS[name](directory) as app:
        settle()
        await Announcing(config(app)).serve()


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SERVERS)
    parser.add_argument("--data-dir", type=Path)
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    uvloop.run(_serve(given.name, given.data_dir))


if __name__ == "__main__":
    _main()
