"""Usage of a meter as one number: what billing and entitlements ask for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from meterhouse.kernel.periods import Period
from meterhouse.metering.filters import Filter
from meterhouse.metering.meter import Meter
from meterhouse.metering.query import MeterQueries, MeterQuery


@dataclass(frozen=True, slots=True)
class UsageRequest:
    """Which usage to measure.

    Attributes:
        namespace: the tenant.
        meter: the definition that is applied to the raw events.
        subjects: event subjects whose usage is aggregated together; none means no usage.
        period: event times that count, half-open.
        stored_before: count only events stored strictly before this instant; None counts all that is stored.
        filters: conditions on the meter's dimensions, by name.
    """

    namespace: str
    meter: Meter
    subjects: tuple[str, ...]
    period: Period
    stored_before: datetime | None = None
    filters: Mapping[str, Filter] = field(default_factory=dict)


class UsageReader(Protocol):
    """Anything that can measure usage."""

    async def quantity(self, request: UsageRequest) -> Decimal:
        """Return the meter's aggregate over the request, exactly; 0 when no event carries a usable value."""
        ...

    async def quantities(self, requests: Sequence[UsageRequest]) -> list[Decimal]:
        """Return the quantity of each request, all measured together."""
        ...


class ClickHouseUsage:
    """Measures usage on the raw events in ClickHouse."""

    def __init__(self, queries: MeterQueries) -> None:
        self._queries = queries

    async def quantity(self, request: UsageRequest) -> Decimal:
        """Return the meter's aggregate over the request. See `UsageReader`."""
        return (await self.quantities([request]))[0]

    async def quantities(self, requests: Sequence[UsageRequest]) -> list[Decimal]:
        """Return the aggregate of each request. See `UsageReader`."""
        quantities = [Decimal(0)] * len(requests)
        some = [at for at, one in enumerate(requests) if one.subjects and not one.period.is_empty()]
        for at, found in zip(some, await self._queries.totals([_query(requests[at]) for at in some]), strict=True):
            quantities[at] = found if found is not None else Decimal(0)
        return quantities


def _query(request: UsageRequest) -> MeterQuery:
    # All subjects are one customer: asked as such, their events are aggregated together.
    return MeterQuery(
        request.meter,
        request.period.start,
        request.period.end,
        customers={"": request.subjects},
        filters=request.filters,
        stored_before=request.stored_before,
    )
