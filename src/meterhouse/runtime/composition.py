"""Which service is built from which: the only place that knows every concrete class."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp

from meterhouse.api.app import create_app
from meterhouse.api.services import Services
from meterhouse.apps.registry import InstalledApps
from meterhouse.apps.sandbox import SandboxApp
from meterhouse.billing.charges import jobs as charge_jobs
from meterhouse.billing.charges.service import Charges
from meterhouse.billing.collection import Collection
from meterhouse.billing.invoices.service import Invoices
from meterhouse.billing.profiles import Profiles
from meterhouse.kernel.jobs import DueWork, JobHandler
from meterhouse.kernel.testclock import SimulatedTime
from meterhouse.kernel.worker import JobWorker
from meterhouse.metering.events.embedded import EmbeddedLog
from meterhouse.metering.query import MeterQueries
from meterhouse.metering.sink import Sink
from meterhouse.metering.usage import ClickHouseUsage
from meterhouse.runtime.backends import Backends, Progress, running
from meterhouse.settings import Settings


@dataclass(frozen=True, slots=True)
class Application:
    """A composed process: what its roles run."""

    asgi: ASGIApp
    services: Services
    sink: Sink
    worker: JobWorker
    due_works: Sequence[DueWork]


@asynccontextmanager
async def compose(settings: Settings, progress: Progress) -> AsyncIterator[Application]:
    """Build everything on the backends of `settings`; when the block ends, the backends are closed or stopped.

    Raises:
        EngineError: an embedded engine does not start.
    """
    async with running(settings, progress) as backends:
        log = EmbeddedLog(backends.db)
        try:
            yield await _composed(settings, backends, log)
        finally:
            await log.close()


async def _composed(settings: Settings, backends: Backends, log: EmbeddedLog) -> Application:
    db = backends.db
    sink = Sink(log, backends.clickhouse, db)
    apps = InstalledApps()
    profiles = Profiles(apps)
    queries = MeterQueries(backends.clickhouse)
    charges = Charges(ClickHouseUsage(queries), profiles, credits_enabled=settings.credits_enabled)
    invoices = Invoices(charges, profiles, apps, {"sandbox": SandboxApp()})
    charges.connect(invoices)

    handlers: list[JobHandler] = [*charge_jobs.handlers(db, charges)]
    due_works: list[DueWork] = [*charge_jobs.due_work(db, charges), *Collection(db, invoices).due_work()]
    worker = JobWorker(db, handlers)
    simulated_time = None
    if settings.test_clock is not None:
        simulated_time = SimulatedTime(db, due_works, drain_events=sink.drain, drain_jobs=worker.drain)
        await simulated_time.start(settings.test_clock)
    services = Services(
        db=db,
        namespace=settings.namespace.default,
        probes={"postgres": backends.ping_postgres, "clickhouse": backends.ping_clickhouse},
        simulated_time=simulated_time,
    )
    return Application(
        asgi=create_app(services, max_body_bytes=settings.max_body_bytes),
        services=services,
        sink=sink,
        worker=worker,
        due_works=due_works,
    )
