"""One process with its roles, from start to clean stop."""

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import prometheus_client
import structlog
import uvicorn
from starlette.types import ASGIApp

from meterhouse.api.middleware import add_request_id
from meterhouse.engines import EngineError
from meterhouse.kernel import clock
from meterhouse.kernel.scheduler import run_forever
from meterhouse.runtime.backends import Progress
from meterhouse.runtime.composition import Application, compose
from meterhouse.settings import Settings

log = structlog.get_logger(__name__)

# How long a connection may idle between requests: longer than clients keep theirs, so that they close it and not we.
IDLE_SECONDS = 120
# How long open requests may take after Ctrl-C; longer ones are cut off and rolled back.
GRACE_SECONDS = 10
# How long stored events may take after Ctrl-C; the rest stays in the log and is stored after the next start.
DRAIN_SECONDS = 10
# Connections waiting to be accepted, as many as busy clients open at once.
BACKLOG = 2048


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handling: stopping is our matter, because more than requests has to stop."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()


async def run(settings: Settings, progress: Progress) -> None:
    """Run the process's roles until SIGINT or SIGTERM, then stop in order: requests, events, jobs, engines.

    Raises:
        EngineError: something that the user can mend keeps the process from starting.
    """
    configure_logging()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    # Taken before the engines start, so that a port in use is told at once.
    listener = _bound(settings.host, settings.port) if "api" in settings.roles else None
    with _measured(settings):
        await _run(settings, progress, listener, stop)


def settle() -> None:
    """Leave what has been made so far out of garbage collections.

    Routes, schemas and mappings are hundreds of thousands of objects that live as long as the process. Looking through
    them again and again took half of the time of a process with many requests under way.
    """
    gc.collect()
    gc.freeze()


async def _run(settings: Settings, progress: Progress, listener: socket.socket | None, stop: asyncio.Event) -> None:
    async with compose(settings, progress) as application:
        settle()
        log.info("configuration", **application.services.configuration)
        background = asyncio.create_task(_together(_background(settings, application)))
        # None of it ends by itself; when it breaks, the process stops with its error.
        background.add_done_callback(lambda task: stop.set() if _broke(task) else None)
        if listener is None:
            progress(f"Running as {','.join(settings.roles)}")
            await stop.wait()
        else:
            await _serve(application.asgi, listener, stop, progress)
        progress("Stopping")
        # With servers other sinks go on; here nobody would before the next start.
        if settings.embedded and not background.done():
            await _drain(application)
        background.cancel()
        with suppress(asyncio.CancelledError):
            await background


@contextmanager
def _measured(settings: Settings) -> Iterator[None]:
    """Answer with metrics on a port of their own, if the settings name one."""
    if settings.metrics_port is None:
        yield
        return
    try:
        server, thread = prometheus_client.start_http_server(settings.metrics_port, settings.host)
    except OSError as error:
        raise EngineError(
            f"cannot listen on {settings.host} port {settings.metrics_port}: {error.strerror}. "
            "Choose another METERHOUSE_METRICS_PORT."
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _broke(task: asyncio.Task[None]) -> bool:
    return not task.cancelled() and task.exception() is not None


async def _together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for work in works:
            tasks.create_task(work)


def _background(settings: Settings, application: Application) -> Iterator[Coroutine[Any, Any, None]]:
    if "sink" in settings.roles:
        yield application.sink.run()
    if "worker" in settings.roles:
        yield application.worker.run()
        # On simulated time due work is done on the way of the clock, and at no other time.
        if application.services.simulated_time is None:
            yield run_forever(application.services.db, application.due_works, settings.scheduler_tick_seconds)


async def _serve(app: ASGIApp, listener: socket.socket, stop: asyncio.Event, progress: Progress) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    config = uvicorn.Config(
        app,
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config, lambda: progress(f"Listening on http://{shown}:{port} (documentation at /docs)"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await serving


async def _drain(application: Application) -> None:
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            await application.sink.drain()
    except TimeoutError:
        log.warning("events wait in the log for the next start")


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise EngineError(f"cannot listen on {host} port {port}: {error.strerror}. Choose another --port.") from error
    return listener


def _on_terminal() -> structlog.typing.Processor:
    # Tracebacks without the values of variables: printing these takes minutes where they hold the whole application,
    # and they hold secrets.
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


def configure_logging() -> None:
    """Write log lines to standard error: coloured on a terminal, else one JSON object a line; times by the clock."""
    terminal = sys.stderr.isatty()

    def stamp(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["time"] = clock.now().isoformat()
        return event

    structlog.configure(
        processors=[
            add_request_id,
            structlog.processors.add_log_level,
            stamp,
            *([] if terminal else [structlog.processors.format_exc_info]),
            _on_terminal() if terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
