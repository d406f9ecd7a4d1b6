"""What the routes of entitlements share."""

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import BackgroundTasks, Path, Query

from meterhouse.api import fields
from meterhouse.api.deps import ServicesDep
from meterhouse.api.v1.entitlements.parts import WindowedBalanceHistory
from meterhouse.api.v1.meter_queries import WindowSize
from meterhouse.api.wire import Instant
from meterhouse.customers import service as customers
from meterhouse.customers.customer import Customer
from meterhouse.entitlements import service
from meterhouse.entitlements.access import Access, Answer, Value
from meterhouse.entitlements.entitlement import Entitlement
from meterhouse.entitlements.history import Histories, HistoryQuery
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import Unavailable
from meterhouse.metering.checks import zone_of
from meterhouse.metering.query import Window

T = TypeVar("T")

# All grants of one entitlement, in the one list that has no pages.
MAX_GRANTS_SHOWN = 1000
FEATURE_KEY = r"^[a-z0-9]+(?:_[a-z0-9]+)*$"
ULID = r"^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$"
# Of one list parameter: all of them become part of one statement.
MAX_LISTED = 100
# Parameters by the names that the domain gives them.
_PARAMETERS = {"from": "$.from", "to": "$.to", "time": "$.time", "$.time_zone": "$.windowTimeZone"}

IdOrFeatureKey = Annotated[
    str,
    Path(
        alias="entitlementIdOrFeatureKey",
        min_length=1,
        max_length=64,
        pattern=f"{FEATURE_KEY}|{ULID}",
        description="The id of an entitlement, or the key of a feature: the entitlement to it that holds now.",
    ),
]
EntitlementId = Annotated[str, Path(alias="entitlementId", pattern=ULID, description="The id of an entitlement.")]
Time = Annotated[Instant | None, Query(alias="time", description="When; now when absent. Read to the full minute.")]
Features = Annotated[list[str] | None, Query(alias="feature", max_length=MAX_LISTED, description="Ids or keys.")]
IncludeDeleted = Annotated[
    bool, Query(alias="includeDeleted", description="Accepted for compatibility; deleted ones are never shown.")
]
HistoryFrom = Annotated[
    Instant | None, Query(alias="from", description="Begin here; at the last reset by hand when absent.")
]
HistoryTo = Annotated[Instant | None, Query(description="Stop here; now when absent.")]
HistoryWindow = Annotated[WindowSize, Query(alias="windowSize", description="The size of the windows.")]
HistoryZone = Annotated[
    str, Query(alias="windowTimeZone", description="IANA name of the zone whose days and months are meant.")
]


def access_of(services: ServicesDep) -> Access:
    """Return what reads values.

    Raises:
        Unavailable: this process does not measure usage.
    """
    if services.access is None:
        raise Unavailable("usage cannot be measured here")
    return services.access


def histories_of(services: ServicesDep) -> Histories:
    """Return what reads histories; raises as `access_of` does."""
    if services.histories is None:
        raise Unavailable("usage cannot be measured here")
    return services.histories


def remember(background: BackgroundTasks, services: ServicesDep, answer: Answer) -> None:
    """Let the next reading begin later, once this one is answered."""
    if answer.notes:
        background.add_task(access_of(services).remember, services.db, answer.notes)


async def value_of(
    session: ReadSession,
    namespace: str,
    services: ServicesDep,
    background: BackgroundTasks,
    customer_id: str,
    id_or_feature_key: str,
    time: Instant | None,
) -> Value | None:
    """Return what an entitlement of a customer is worth, now when no time is given; None: there is none then."""
    at = time or clock.now()
    found = await service.find_of_customer(session, namespace, customer_id, id_or_feature_key, at)
    if found is None:
        return None
    with fields.named(_PARAMETERS):
        answer = await access_of(services).values(session, namespace, [found], at)
    remember(background, services, answer)
    return answer.values[0]


async def history_of(
    session: ReadSession,
    namespace: str,
    services: ServicesDep,
    found: Entitlement,
    window: WindowSize,
    zone: str,
    start: Instant | None,
    end: Instant | None,
) -> WindowedBalanceHistory:
    """Return how an entitlement was burnt down."""
    histories = histories_of(services)
    with fields.named(_PARAMETERS):
        query = HistoryQuery(Window(window.value.lower()), zone_of(zone), start, end)
        return WindowedBalanceHistory.of(await histories.of(session, namespace, found, query))


async def shown_all(
    session: ReadSession,
    namespace: str,
    entitlements: Sequence[Entitlement],
    show: Callable[[Entitlement, Customer], T],
) -> list[T]:
    """Show entitlements of any customers."""
    owners = await customers.find_many(session, namespace, {one.customer_id for one in entitlements})
    return [show(one, owners[one.customer_id]) for one in entitlements]
