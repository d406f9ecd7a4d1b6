"""Which service is built from which: the only place that knows every concrete class."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from starlette.types import ASGIApp

from meterhouse import __version__
from meterhouse.api.app import create_app
from meterhouse.api.services import Services
from meterhouse.api.wire import format_instant
from meterhouse.apps import customer_data
from meterhouse.apps.registry import InstalledApps
from meterhouse.apps.sandbox import SandboxApp
from meterhouse.billing.charges import jobs as charge_jobs
from meterhouse.billing.charges.service import Charges
from meterhouse.billing.collection import Collection
from meterhouse.billing.invoices.creation import INVOICE_CREATED
from meterhouse.billing.invoices.customer_guards import refuse_deletion
from meterhouse.billing.invoices.service import Explain, Invoices
from meterhouse.billing.planmigrations import jobs as plan_migration_jobs
from meterhouse.billing.planmigrations.service import PlanMigrations
from meterhouse.billing.profiles import Profiles
from meterhouse.billing.sync import jobs as sync_jobs
from meterhouse.billing.sync.customer_guards import settle_first
from meterhouse.billing.sync.service import SubscriptionSync
from meterhouse.credits import jobs as credit_jobs
from meterhouse.customers.customer import Customer
from meterhouse.customers.guards import Guards
from meterhouse.customers.provisioning import SubjectCustomers
from meterhouse.customers.subjects import SubjectFollower
from meterhouse.entitlements.access import Access
from meterhouse.entitlements.guards import GUARDS as ENTITLEMENT_GUARDS
from meterhouse.entitlements.history import Histories
from meterhouse.kernel.db import Database, ReadSession, WriteSession
from meterhouse.kernel.jobs import DueWork, JobHandler
from meterhouse.kernel.testclock import SimulatedTime
from meterhouse.kernel.worker import JobWorker
from meterhouse.ledger import accounts
from meterhouse.metering import jobs as metering_jobs
from meterhouse.metering.corrections import Corrections
from meterhouse.metering.events.embedded import EmbeddedLog
from meterhouse.metering.events.kafka import KafkaLog
from meterhouse.metering.events.log import EventLog
from meterhouse.metering.listing import StoredEvents
from meterhouse.metering.marks import UsageMarks
from meterhouse.metering.progress.tracker import TrackedQueries
from meterhouse.metering.query import MeterQueries
from meterhouse.metering.sink import Sink
from meterhouse.metering.usage import ClickHouseUsage
from meterhouse.portal.service import Portal
from meterhouse.runtime import usage_changed
from meterhouse.runtime.backends import Backends, Progress, running
from meterhouse.runtime.provisioning import provision
from meterhouse.settings import Settings
from meterhouse.subscriptions.customer_guards import GUARDS as SUBSCRIPTION_GUARDS


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
        log = event_log(settings, backends.db)
        try:
            yield await build(settings, backends, log)
        finally:
            await log.close()


def event_log(settings: Settings, db: Database) -> EventLog:
    """Build the log that the settings name."""
    if settings.kafka_bootstrap_servers is None:
        return EmbeddedLog(db)
    cafile = settings.kafka_ssl_cafile
    security = {
        "security.protocol": settings.kafka_security_protocol,
        "sasl.mechanism": settings.kafka_sasl_mechanism,
        "sasl.username": settings.kafka_sasl_username,
        "sasl.password": settings.kafka_sasl_password,
        "ssl.ca.location": None if cafile is None else str(cafile),
    }
    return KafkaLog(
        settings.kafka_bootstrap_servers,
        settings.kafka_topic,
        partitions=settings.kafka_partitions,
        group=settings.kafka_group_id,
        configuration={name: value for name, value in security.items() if value is not None},
    )


async def build(settings: Settings, backends: Backends, log: EventLog) -> Application:
    """Build every service on backends that run already, and make the meters of the settings."""
    db = backends.db
    sink = Sink(log, backends.clickhouse, db, on_stored=usage_changed.announcer(db))
    apps = InstalledApps()
    profiles = Profiles(apps)
    queries = MeterQueries(backends.clickhouse, max_rows=settings.query_max_rows)
    marks = UsageMarks(backends.clickhouse)
    charges = _charges(settings, queries, profiles)
    sync = SubscriptionSync(charges, profiles)
    invoices = Invoices(
        charges,
        profiles,
        apps,
        {"sandbox": SandboxApp()},
        explain=_explain(sync),
        locked_namespaces=settings.namespace.locked,
    )
    charges.connect(invoices)
    plan_migrations = PlanMigrations(db, charges, sync)

    worker = JobWorker(
        db,
        [
            *charge_jobs.handlers(db, charges),
            *credit_jobs.handlers(db),
            *sync_jobs.handlers(db, sync),
            *plan_migration_jobs.handlers(plan_migrations),
            *metering_jobs.handlers(db, backends.clickhouse, log),
            JobHandler(INVOICE_CREATED, _refill(db, sync)),
            usage_changed.handler(db),
        ],
    )
    # In this order where several are due at one instant: first what makes lines, then what bills them.
    due_works = [
        *sync_jobs.due_work(db, sync),
        *charge_jobs.due_work(db, charges),
        *Collection(db, invoices).due_work(),
    ]
    simulated_time = await _simulated_time(settings, db, due_works, sink, worker)
    await provision(settings, db)
    guards = _guards(settings, sync)
    services = Services(
        db=db,
        namespace=settings.namespace.default,
        event_log=log,
        max_batch_events=settings.max_batch_events,
        sink=sink if "sink" in settings.roles else None,
        meter_queries=queries,
        access=Access(queries, marks),
        histories=Histories(queries, marks),
        stored_events=StoredEvents(backends.clickhouse),
        corrections=Corrections(db, backends.clickhouse, queries, log),
        tracked_queries=TrackedQueries(db, queries),
        portal=_portal(settings),
        credits_enabled=settings.credits_enabled,
        charges=charges,
        invoices=invoices,
        plan_migrations=plan_migrations,
        customer_guards=guards,
        subject_follower=_subject_follower(settings, guards),
        profiles=profiles,
        subscription_changed=partial(sync.sync_quietly, db),
        probes={"postgres": backends.ping_postgres, "clickhouse": backends.ping_clickhouse, "event_log": log.ping},
        simulated_time=simulated_time,
        configuration=_shown(settings),
    )
    asgi = create_app(services, max_body_bytes=settings.max_body_bytes)
    return Application(asgi, services, sink, worker, due_works)


def _charges(settings: Settings, queries: MeterQueries, profiles: Profiles) -> Charges:
    return Charges(
        ClickHouseUsage(queries),
        profiles,
        credits_enabled=settings.credits_enabled,
        late_grants=settings.late_grants,
        locked_namespaces=settings.namespace.locked,
    )


def _shown(settings: Settings) -> Mapping[str, Any]:
    """Return the switches that decide how this process behaves; no addresses and no secrets."""
    return {
        "version": __version__,
        "roles": list(settings.roles),
        "namespace": settings.namespace.default,
        "locked_namespaces": sorted(settings.namespace.locked),
        "credits_enabled": settings.credits_enabled,
        "simulated_time": settings.test_clock is not None,
        "postgres": "embedded" if settings.database_url is None else "server",
        "clickhouse": "embedded" if settings.clickhouse_url is None else "server",
        "event_log": "embedded" if settings.kafka_bootstrap_servers is None else "kafka",
    }


async def _simulated_time(
    settings: Settings, db: Database, due_works: Sequence[DueWork], sink: Sink, worker: JobWorker
) -> SimulatedTime | None:
    if settings.test_clock is None:
        return None
    simulated_time = SimulatedTime(db, due_works, drain_events=sink.drain, drain_jobs=worker.drain)
    await simulated_time.start(settings.test_clock)
    return simulated_time


def _guards(settings: Settings, sync: SubscriptionSync) -> Guards:
    billing = Guards(deletion=(settle_first(sync), refuse_deletion), deleted=(customer_data.delete_with_customer,))
    guards = SUBSCRIPTION_GUARDS + ENTITLEMENT_GUARDS + billing
    return guards + Guards(creation=(_open_accounts,)) if settings.credits_enabled else guards


def _subject_follower(settings: Settings, guards: Guards) -> SubjectFollower | None:
    if not settings.customer_enable_subject_hook:
        return None
    return SubjectCustomers(guards, ignore_errors=settings.customer_ignore_errors)


async def _open_accounts(session: WriteSession, customer: Customer) -> None:
    """Give a customer its ledger accounts with its creation, so that every customer has them (ledger section 9)."""
    await accounts.provision(session, customer.namespace, customer.id)


def _portal(settings: Settings) -> Portal | None:
    if settings.portal_token_secret is None:
        return None
    lifetime = timedelta(seconds=settings.portal_token_lifetime_seconds)
    return Portal(settings.portal_token_secret.get_secret_value(), lifetime)


def _explain(sync: SubscriptionSync) -> Explain:
    """Tell invoices, in the words of the wire, what the sync knows of a customer's subscriptions."""

    async def explain(session: ReadSession, namespace: str, customer_id: str) -> Sequence[Mapping[str, Any]]:
        return [
            {
                "id": found.id,
                "reason": str(found.reason),
                "at": None if found.at is None else format_instant(found.at),
                "error": found.error,
            }
            for found in await sync.explain(session, namespace, customer_id)
        ]

    return explain


def _refill(db: Database, sync: SubscriptionSync) -> Callable[[Mapping[str, str]], Awaitable[None]]:
    """Give the subscriptions behind a new invoice their next lines (subscription-sync section 6)."""

    async def refill(payload: Mapping[str, str]) -> None:
        for subscription_id in filter(None, payload["subscription_ids"].split(",")):
            await sync.sync_quietly(db, payload["namespace"], subscription_id)

    return refill
