"""Where the usage of metered entitlements comes from (entitlements section 8)."""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b

from meterhouse.catalog import features
from meterhouse.catalog.prices import UnitConversion
from meterhouse.customers import service as customers
from meterhouse.entitlements.burndown import Phase
from meterhouse.entitlements.entitlement import Entitlement
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.money import ZERO
from meterhouse.kernel.periods import Period
from meterhouse.kernel.precision import exact
from meterhouse.metering import meters
from meterhouse.metering.filters import Filter
from meterhouse.metering.marks import MarkRequest
from meterhouse.metering.meter import Aggregation, Meter
from meterhouse.metering.query import MeterQuery, UsageRow, Window
from meterhouse.metering.usage import UsageRequest


@dataclass(frozen=True, slots=True)
class Source:
    """What measures the usage of an entitlement: the feature's meter and filters, the customer's subjects as of now."""

    meter: Meter
    subjects: tuple[str, ...]
    filters: Mapping[str, Filter]
    conversion: UnitConversion | None

    @property
    def takes_latest(self) -> bool:
        """Tell whether usage is not what was added in a time but what there was at its end."""
        return self.meter.aggregation is Aggregation.LATEST

    @property
    def adds_up(self) -> bool:
        """Tell whether the usage of a time is the sum of the usages of its parts."""
        return self.meter.aggregation in (Aggregation.SUM, Aggregation.COUNT)

    def requests(self, phase: Phase) -> list[UsageRequest]:
        """Return what to measure for the usage of a phase, in the order that `usage` takes it."""
        if phase.start == phase.end:
            return []
        if self.meter.aggregation is not Aggregation.UNIQUE_COUNT:
            return [self.request(Period(phase.start, phase.end))]
        # What is new in the phase is what the usage period has not had before.
        return [self.request(Period(phase.period_start, end)) for end in (phase.end, phase.start)]

    def request(self, period: Period) -> UsageRequest:
        """Return what to measure for a time."""
        return UsageRequest(self.meter.namespace, self.meter, self.subjects, period, filters=self.filters)

    def minutes(self, period: Period) -> MeterQuery:
        """Return what to ask for the usage of each minute of a time."""
        return MeterQuery(
            self.meter,
            period.start,
            period.end,
            window=Window.MINUTE,
            customers={"": self.subjects},
            filters=self.filters,
        )

    @exact
    def sums(self, phases: Sequence[Phase], lasting: Sequence[Phase], used: Sequence[UsageRow]) -> dict[Phase, Decimal]:
        """Return the usage of phases from that of minutes, which never lie in two; `lasting` are those with any."""
        sums = dict.fromkeys(phases, ZERO)
        starts = [phase.start for phase in lasting]
        for row in used:
            sums[lasting[bisect_right(starts, row.start) - 1]] += row.value
        return {phase: self.converted(quantity) for phase, quantity in sums.items()}

    @exact
    def usage(self, measured: Sequence[Decimal]) -> Decimal:
        """Return the usage of a phase from what its requests measured."""
        if not measured:
            return ZERO
        return self.converted(measured[0] - sum(measured[1:], ZERO))

    @exact
    def converted(self, quantity: Decimal) -> Decimal:
        """Return a measured quantity in the unit of the grants."""
        if self.conversion is None:
            return quantity
        factor = self.conversion.conversion_factor
        return quantity * factor if self.conversion.operation == "multiply" else quantity / factor

    def mark_request(self, period: Period, counted_from: datetime) -> MarkRequest:
        """Return what tells whether the usage of a time has changed."""
        return MarkRequest(self.meter.namespace, self.meter.event_type, self.subjects, period, counted_from)

    def basis(self) -> str:
        """Return a digest of all that usage depends on, but for the events: equal ones measure the same."""
        meter = self.meter
        described = [
            meter.id,
            meter.event_type,
            meter.aggregation,
            meter.value_property,
            meter.event_from and meter.event_from.isoformat(),
            sorted(self.subjects),
            sorted((name, meter.group_by.get(name), one.to_json()) for name, one in self.filters.items()),
            self.conversion and self.conversion.model_dump(mode="json"),
        ]
        return blake2b(json.dumps(described, sort_keys=True).encode(), digest_size=16).hexdigest()


async def sources(session: ReadSession, namespace: str, metered: Sequence[Entitlement]) -> dict[str, Source]:
    """Return the sources of metered entitlements, by entitlement, with a fixed number of statements."""
    owners = await customers.find_many(session, namespace, {one.customer_id for one in metered})
    named = await features.named(session, namespace, ids={one.feature_id for one in metered})
    by_id = {feature.id: feature for feature in named}
    measuring = await meters.find_many(session, namespace, {one.meter_id for one in named if one.meter_id is not None})
    found = {}
    for entitlement in metered:
        feature, terms = by_id[entitlement.feature_id], entitlement.metered
        found[entitlement.id] = Source(
            meter=measuring[feature.meter_id or ""],
            subjects=owners[entitlement.customer_id].usage_subjects(),
            filters=feature.meter_filters,
            conversion=None if terms is None else terms.conversion,
        )
    return found
