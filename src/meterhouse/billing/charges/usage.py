"""Reading the meter of a charge: cumulative from the charge's start, bounded by event time and by stored-at time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from meterhouse.billing.charges.intents import ChargeIntent
from meterhouse.billing.charges.models import ChargeRow
from meterhouse.billing.errors import BillingError
from meterhouse.catalog import features
from meterhouse.catalog.features import Feature
from meterhouse.customers import service as customers
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.money import ZERO
from meterhouse.kernel.periods import Period
from meterhouse.metering import meters
from meterhouse.metering.meters import Meter
from meterhouse.metering.usage import UsageReader, UsageRequest


@dataclass(frozen=True, slots=True)
class Metered:
    """The feature and the meter that a charge is counted by."""

    feature: Feature
    meter: Meter


def _unreadable(reason: str) -> BillingError:
    return BillingError("invoice_line_snapshot_failed", reason, component="openmeter.metering")


async def feature_of(session: ReadSession, row: ChargeRow) -> Feature | None:
    """Return the feature that was noted when the charge started, else the one its key means now."""
    return (await _features(session, row.namespace, [row]))[row.id]


async def _features(session: ReadSession, namespace: str, rows: Sequence[ChargeRow]) -> dict[str, Feature | None]:
    noted = {row.feature_id for row in rows if row.feature_id is not None}
    by_id = {one.id: one for one in await features.named(session, namespace, ids=noted)} if noted else {}
    found = {row.id: by_id.get(row.feature_id) if row.feature_id is not None else None for row in rows}
    missing = {row.id: row.feature_key for row in rows if found[row.id] is None and row.feature_key}
    by_key = await features.for_billing(session, namespace, set(missing.values()))
    return found | {row_id: by_key.get(key) for row_id, key in missing.items()}


async def metered_of(
    session: ReadSession, namespace: str, rows: Sequence[ChargeRow]
) -> dict[str, Metered | BillingError]:
    """Return by charge what counts its usage, or why nothing does; archived features and deleted meters still count."""
    found = await _features(session, namespace, rows)
    ids = {feature.meter_id for feature in found.values() if feature is not None and feature.meter_id is not None}
    counting = await meters.find_many(session, namespace, ids) if ids else {}
    return {row.id: _metered(row, found[row.id], counting) for row in rows}


def _metered(row: ChargeRow, feature: Feature | None, counting: Mapping[str, Meter]) -> Metered | BillingError:
    if feature is None:
        return _unreadable(f"feature not found: {row.feature_key}")
    if feature.meter_id is None:
        return _unreadable(f"feature {feature.key} has no meter")
    meter = counting.get(feature.meter_id)
    return Metered(feature, meter) if meter is not None else _unreadable(f"meter not found: {feature.meter_key}")


async def metered(session: ReadSession, row: ChargeRow) -> Metered:
    """Return what counts the charge's usage; archived features and deleted meters still count.

    Raises:
        BillingError: code `invoice_line_snapshot_failed`: there is no such feature, or it has no meter.
    """
    found = (await metered_of(session, row.namespace, [row]))[row.id]
    if not isinstance(found, Metered):
        raise found
    return found


async def request(
    session: ReadSession, row: ChargeRow, intent: ChargeIntent, *, until: datetime, stored_before: datetime
) -> UsageRequest:
    """Return what to ask the meter: event times from the charge's start to `until`, stored before the bound.

    Raises:
        BillingError: code `invoice_line_snapshot_failed`: nothing counts the charge's usage.
    """
    found = await metered(session, row)
    customer = await customers.get(session, row.namespace, row.customer_id)
    return bounded(found, customer.usage_subjects(), intent, until=until, stored_before=stored_before)


def bounded(
    found: Metered, subjects: tuple[str, ...], intent: ChargeIntent, *, until: datetime, stored_before: datetime
) -> UsageRequest:
    """Put the bounds of a charge around its meter."""
    return UsageRequest(
        namespace=intent.namespace,
        meter=found.meter,
        subjects=subjects,
        period=Period(intent.service_period.start, until),
        stored_before=stored_before,
        filters=found.feature.meter_filters,
    )


async def quantity(reader: UsageReader, asked: UsageRequest) -> Decimal:
    """Read the meter; no subject and an empty period have no usage."""
    return ZERO if not asked.subjects or asked.period.is_empty() else await reader.quantity(asked)


def previous_count(counts: Sequence[Decimal | None]) -> Decimal:
    """Return the cumulative quantity of the last run before, zero without one."""
    return next((count for count in reversed(counts) if count is not None), ZERO)
