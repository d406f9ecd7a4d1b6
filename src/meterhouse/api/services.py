"""The services that routes use, made once by the composition root (`meterhouse.runtime`)."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from meterhouse.billing.charges.service import Charges
from meterhouse.billing.invoices.service import Invoices
from meterhouse.billing.planmigrations.service import PlanMigrations
from meterhouse.billing.profiles import Profiles
from meterhouse.catalog import plans
from meterhouse.catalog.features import FeatureUse, keep_meter
from meterhouse.catalog.taxcodes import TaxCodeUse
from meterhouse.catalog.taxcodeuses import tax_code_use
from meterhouse.customers.guards import Guards
from meterhouse.customers.subjects import SubjectFollower
from meterhouse.entitlements.access import Access
from meterhouse.entitlements.guards import GUARDS as ENTITLEMENT_GUARDS
from meterhouse.entitlements.guards import keep_meter as keep_measuring_meter
from meterhouse.entitlements.history import Histories
from meterhouse.kernel.db import Database
from meterhouse.kernel.testclock import SimulatedTime
from meterhouse.metering.corrections import Corrections
from meterhouse.metering.events.event import MAX_BATCH_EVENTS
from meterhouse.metering.events.log import EventLog
from meterhouse.metering.listing import StoredEvents
from meterhouse.metering.meters import Guard as MeterGuard
from meterhouse.metering.progress.tracker import TrackedQueries
from meterhouse.metering.query import MeterQueries
from meterhouse.metering.sink import Sink
from meterhouse.portal.service import Portal
from meterhouse.subscriptions import service as subscriptions
from meterhouse.subscriptions.customer_guards import GUARDS as SUBSCRIPTION_GUARDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One field per collaborator that a route needs beyond its session.

    Attributes:
        probes: by the name of a backend, what raises when it does not answer.
        feature_uses: what keeps a feature from being archived.
        tax_code_uses: what keeps a tax code from being deleted.
        customer_guards: what completes the creation of a customer, or refuses its change or deletion.
        subject_follower: what follows from creating, changing and deleting subjects; None where nothing does.
        subscription_changed: brings billing up to date with a subscription (namespace, id), up to an instant or now;
            called after the change is committed.
        credits_enabled: whether customers have credit; without it charges are paid by invoice alone.
        charges: everything billable.
        invoices, profiles, plan_migrations: None on a server without billing.
        access, histories: read what entitlements are worth, and were; None where usage cannot be measured.
        event_log: takes in usage events, at most `max_batch_events` a request.
        sink: stores them; None where another process does.
        meter_queries: answers meter queries.
        stored_events: lists raw events.
        corrections: voids and replaces events.
        tracked_queries: answers meter queries of clients that ask how far they are.
        portal: issues and checks portal tokens; None on a server without a secret for them.
        meter_guards: what may keep a meter from being deleted, or a dimension from being taken away.
        reserved_event_types: regular expressions of event types that no meter may count.
        simulated_time: moves the clock; None on a server that runs on real time.
        configuration: the switches of this process, to compare processes by.
    """

    db: Database
    namespace: str
    probes: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    credits_enabled: bool = True
    charges: Charges | None = None
    simulated_time: SimulatedTime | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)
    access: Access | None = None
    histories: Histories | None = None
    event_log: EventLog | None = None
    max_batch_events: int = MAX_BATCH_EVENTS
    sink: Sink | None = None
    meter_queries: MeterQueries | None = None
    stored_events: StoredEvents | None = None
    corrections: Corrections | None = None
    tracked_queries: TrackedQueries | None = None
    portal: Portal | None = None
    meter_guards: tuple[MeterGuard, ...] = (keep_meter, keep_measuring_meter)
    reserved_event_types: tuple[str, ...] = ()
    feature_uses: tuple[FeatureUse, ...] = (plans.feature_use, subscriptions.feature_use)
    tax_code_uses: tuple[TaxCodeUse, ...] = (tax_code_use,)
    customer_guards: Guards = SUBSCRIPTION_GUARDS + ENTITLEMENT_GUARDS
    subject_follower: SubjectFollower | None = None
    subscription_changed: Callable[[str, str, datetime | None], Awaitable[None]] | None = None
    invoices: Invoices | None = None
    plan_migrations: PlanMigrations | None = None
    profiles: Profiles | None = None
