"""Use cases of entitlements: creating, finding, replacing and deleting them (entitlements sections 2 and 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError

from meterhouse.catalog import features
from meterhouse.catalog.features import Feature
from meterhouse.catalog.prices import UnitConversion
from meterhouse.customers import service as customers
from meterhouse.customers.customer import Customer
from meterhouse.entitlements import checks, grants, repository, rows
from meterhouse.entitlements.entitlement import (
    Entitlement,
    EntitlementType,
    MeasureFrom,
    NewEntitlement,
)
from meterhouse.entitlements.minutes import floored
from meterhouse.entitlements.models import ONE_AT_A_TIME, EntitlementRow
from meterhouse.entitlements.repository import EntitlementFilter, Stretch
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import ReadSession, WriteSession, violated
from meterhouse.kernel.errors import Conflict, InvalidInput, NotFound, invalid
from meterhouse.kernel.ids import is_ulid
from meterhouse.kernel.locks import lock
from meterhouse.kernel.periods import Recurrence
from meterhouse.kernel.reach import within_reach

__all__ = [
    "EntitlementFilter",
    "Schedule",
    "Stretch",
    "active_of",
    "columns",
    "create",
    "delete",
    "find_of_customer",
    "get",
    "get_of_customer",
    "list_entitlements",
    "of_subscription",
    "override",
    "refuse_overlap",
    "schedule",
]


@dataclass(frozen=True, slots=True)
class Schedule:
    """When an entitlement holds, and which subscription manages it.

    Attributes:
        measure_usage_from: since when usage counts; None takes what the request says.
        conversion: of measured usage.
    """

    active_from: datetime
    active_to: datetime | None = None
    subscription_id: str | None = None
    measure_usage_from: datetime | None = None
    conversion: UnitConversion | None = None


def _not_found(name: str) -> NotFound:
    return NotFound(f"entitlement not found: {name}")


async def create(session: WriteSession, namespace: str, customer_id: str, new: NewEntitlement) -> Entitlement:
    """Give a customer an entitlement from now on.

    Raises:
        InvalidInput: the request contradicts a rule of section 3, or the customer has no subjects to measure.
        NotFound: no such customer or live feature.
        CustomerDeleted: the customer was deleted.
        Conflict: the customer has an entitlement to the feature already; `conflictingEntityId` names it.
    """
    checks.check_new(new)
    customer = await _locked_customer(session, namespace, customer_id)
    feature = await _feature(session, namespace, new)
    return await _add(session, customer, feature, new, Schedule(clock.now()))


async def _locked_customer(session: WriteSession, namespace: str, customer_id: str) -> Customer:
    """Return a live customer whose subscriptions and entitlements nobody else changes meanwhile, nor deletes it."""
    await lock(session, "customer", namespace, customer_id, "subscription")
    return await customers.get_live(session, namespace, customer_id)


async def _feature(session: WriteSession, namespace: str, new: NewEntitlement) -> Feature:
    if new.feature_id is not None:
        named = await features.resolve(session, namespace, feature_id=new.feature_id)
    else:
        named = await features.resolve(session, namespace, key=new.feature_key)
    # Held, so that it cannot be archived between this look and the commit.
    (feature,) = await features.held(session, namespace, [named.id])
    if feature.archived_at is not None:
        raise NotFound(f"feature not found: {feature.key}")
    return feature


async def schedule(
    session: WriteSession, customer: Customer, feature: Feature, new: NewEntitlement, when: Schedule
) -> Entitlement:
    """Give a customer an entitlement for a time. The caller holds the customer's lock and the feature.

    Raises:
        InvalidInput, Conflict: as for `create`.
    """
    checks.check_new(new)
    return await _add(session, customer, feature, new, when)


async def _add(
    session: WriteSession, customer: Customer, feature: Feature, new: NewEntitlement, when: Schedule
) -> Entitlement:
    await refuse_overlap(session, customer, feature.key, when.active_from, when.active_to)
    if not customer.usage_subjects():
        raise invalid("the customer has neither a key nor subject keys, so nothing can be measured", field="$.customer")
    if new.type is EntitlementType.METERED and feature.meter_id is None:
        raise invalid(f"feature {feature.key} has no meter, so its use cannot be metered", field="$.featureKey")
    row = _row(customer, feature, new, when)
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        if violated(error) != ONE_AT_A_TIME:
            raise
        raise _conflict(feature.key, None) from error
    made = rows.entitlement(row)
    if made.metered is not None:
        # What was used before counts for a schedule: another version of an item sees what the one before it saw.
        begins = clock.now() if when.subscription_id is None else made.metered.periods.start
        await grants.issue(session, made, new.grants, at=begins)
    return made


async def refuse_overlap(
    session: ReadSession,
    customer: Customer,
    feature_key: str,
    start: datetime,
    end: datetime | None,
    *,
    but: str | None = None,
) -> None:
    """Refuse a second entitlement at any time of [start, end); `but` is the id of one that does not count.

    Raises:
        Conflict: there is one.
    """
    other = await repository.overlapping(session, customer.namespace, customer.id, feature_key, start, end, but=but)
    if other is not None:
        raise _conflict(feature_key, other.id)


def _conflict(feature_key: str, entitlement_id: str | None) -> Conflict:
    extensions = {} if entitlement_id is None else {"conflictingEntityId": entitlement_id}
    named = "" if entitlement_id is None else f": {entitlement_id}"
    message = f"the customer has an entitlement to feature {feature_key} at that time{named}"
    return Conflict(message, extensions=extensions)


def columns(new: NewEntitlement, when: Schedule) -> dict[str, Any]:
    """Return what a row holds of a request, whatever the customer, the feature and the time it is for.

    Raises:
        InvalidInput: the usage period or an instant is out of range.
    """
    metered = new.type is EntitlementType.METERED
    period = None
    if new.usage_period is not None:
        period = checks.recurrence(new.usage_period, clock.now(), "$.usagePeriod", shortest=checks.HOUR)
    return {
        "type": str(new.type),
        "labels": dict(new.metadata),
        "usage_period_interval": None if period is None else str(period.interval),
        "usage_period_anchor": None if period is None else period.anchor,
        "measure_usage_from": _measured_from(new, when, period) if metered and period is not None else None,
        "issue_after_reset": new.issue_after_reset,
        "issue_after_reset_priority": new.issue_priority,
        "is_soft_limit": bool(new.is_soft_limit) if metered else None,
        "preserve_overage_at_reset": bool(new.preserve_overage) if metered else None,
        "config": new.config,
        "unit_config": None if when.conversion is None else when.conversion.model_dump(mode="json"),
    }


def _row(customer: Customer, feature: Feature, new: NewEntitlement, when: Schedule) -> EntitlementRow:
    return EntitlementRow(
        namespace=customer.namespace,
        customer_id=customer.id,
        feature_id=feature.id,
        feature_key=feature.key,
        active_from=when.active_from,
        active_to=when.active_to,
        annotations={} if when.subscription_id is None else {"subscription.id": when.subscription_id},
        subscription_id=when.subscription_id,
        revision=0,
        **columns(new, when),
    )


def _measured_from(new: NewEntitlement, when: Schedule, period: Recurrence) -> datetime:
    if when.measure_usage_from is not None:
        return floored(when.measure_usage_from)
    match new.measure_usage_from:
        case None | MeasureFrom.NOW:
            return floored(clock.now())
        case MeasureFrom.CURRENT_PERIOD_START:
            return floored(period.period_at(clock.now()).start)
        case instant:
            return floored(within_reach(instant, "$.measureUsageFrom"))


async def get(session: ReadSession, namespace: str, entitlement_id: str) -> Entitlement:
    """Return an entitlement, whether or not it holds now.

    Raises:
        NotFound: there is none, or it was deleted.
    """
    row = await repository.find(session, namespace, entitlement_id)
    if row is None:
        raise _not_found(entitlement_id)
    return (await rows.entitlements(session, [row]))[0]


async def find_of_customer(
    session: ReadSession, namespace: str, customer_id: str, id_or_feature_key: str, at: datetime
) -> Entitlement | None:
    """Return a customer's entitlement with this id, or the one to the feature of this key that holds at `at`."""
    if is_ulid(id_or_feature_key.upper()):
        row = await repository.find(session, namespace, id_or_feature_key.upper())
        if row is not None:
            return (await rows.entitlements(session, [row]))[0] if row.customer_id == customer_id else None
    chosen = EntitlementFilter(customer_ids=[customer_id], features=[id_or_feature_key], active_at=at)
    found = [row for row in await repository.active(session, namespace, chosen) if row.feature_key == id_or_feature_key]
    return (await rows.entitlements(session, found[:1]))[0] if found else None


async def get_of_customer(
    session: ReadSession, namespace: str, customer_id: str, id_or_feature_key: str
) -> Entitlement:
    """Return a customer's entitlement as `find_of_customer` does for now.

    Raises:
        NotFound: there is none.
    """
    found = await find_of_customer(session, namespace, customer_id, id_or_feature_key, clock.now())
    if found is None:
        raise _not_found(id_or_feature_key)
    return found


async def active_of(
    session: ReadSession,
    namespace: str,
    customer_ids: Sequence[str],
    at: datetime,
    *,
    feature_keys: Sequence[str] | None = None,
) -> list[Entitlement]:
    """Return what these customers may use at `at`, by feature key; of these features where any are named."""
    chosen = EntitlementFilter(customer_ids=customer_ids, features=feature_keys, active_at=at)
    return await rows.entitlements(session, await repository.active(session, namespace, chosen))


async def of_subscription(session: ReadSession, namespace: str, subscription_id: str) -> list[Entitlement]:
    """Return what a subscription gives, at whatever time, by feature key."""
    chosen = EntitlementFilter(subscription_ids=[subscription_id])
    return await rows.entitlements(session, await repository.active(session, namespace, chosen))


async def list_entitlements(
    session: ReadSession, namespace: str, chosen: EntitlementFilter, sorts: Sequence[Sort], stretch: Stretch
) -> tuple[list[Entitlement], int]:
    """Return a stretch of the entitlements that are not deleted, and how many match.

    Args:
        sorts: by `created_at`, `updated_at`.
    """
    found, total = await repository.listed(session, namespace, chosen, sorts, stretch)
    return await rows.entitlements(session, found), total


async def override(
    session: WriteSession, namespace: str, customer_id: str, id_or_feature_key: str, new: NewEntitlement
) -> Entitlement:
    """End an entitlement now and begin another one in its place, with grants of its own (section 3.2).

    Raises:
        NotFound: the customer has no such entitlement now.
        Forbidden: a subscription manages it.
        InvalidInput: the new one is to another feature, the old one begins no earlier or has ended, or as for `create`.
        Conflict: the old one is to end already, or another one follows.
    """
    checks.check_new(new)
    customer = await _locked_customer(session, namespace, customer_id)
    feature = await _feature(session, namespace, new)
    old = await get_of_customer(session, namespace, customer.id, id_or_feature_key)
    old.require_unmanaged()
    now = clock.now()
    if feature.key != old.feature_key:
        raise invalid(f"the entitlement is to feature {old.feature_key}, not {feature.key}", field="$.featureKey")
    if old.active_from >= now:
        raise InvalidInput(f"the entitlement begins at {old.active_from.isoformat()}, so nothing can follow it now")
    if old.active_to is not None and old.active_to < now:
        raise InvalidInput(f"the entitlement ended at {old.active_to.isoformat()}")
    if old.active_to is not None:
        raise Conflict(f"the entitlement ends at {old.active_to.isoformat()} already")
    row = await _row_for_update(session, namespace, old.id)
    row.active_to = now
    await session.flush()
    await repository.end_grants(session, [old.id], now)
    return await _add(session, customer, feature, new, Schedule(now))


async def _row_for_update(session: WriteSession, namespace: str, entitlement_id: str) -> EntitlementRow:
    row = await repository.find(session, namespace, entitlement_id, for_update=True)
    if row is None:
        raise _not_found(entitlement_id)
    return row


async def delete(session: WriteSession, namespace: str, entitlement_id: str) -> None:
    """Delete an entitlement with its grants.

    Raises:
        NotFound: there is none, or it was deleted before.
        Forbidden: a subscription manages it.
    """
    row = await _row_for_update(session, namespace, entitlement_id)
    rows.entitlement(row).require_unmanaged()
    row.deleted_at = clock.now()
    await session.flush()
    await repository.end_grants(session, [row.id], row.deleted_at)
