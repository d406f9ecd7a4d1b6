"""Entitlements that come with the items of a subscription (subscriptions section 11).

The subscription tells what it has; here the entitlements are brought in line. One is the same as long as it begins at
the same instant with the same content, so moving its end keeps it, and doing all this twice changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from meterhouse.catalog import features
from meterhouse.catalog.prices import UnitConversion
from meterhouse.catalog.ratecards import (
    EntitlementTemplate,
    MeteredEntitlementTemplate,
    StaticEntitlementTemplate,
)
from meterhouse.customers import service as customers
from meterhouse.customers.customer import Customer
from meterhouse.entitlements import repository, service
from meterhouse.entitlements.entitlement import EntitlementType, NewEntitlement, NewRecurrence
from meterhouse.entitlements.models import EntitlementRow
from meterhouse.entitlements.service import Schedule
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import invalid
from meterhouse.kernel.periods import Duration


@dataclass(frozen=True, slots=True)
class ItemEntitlement:
    """What one version of an item gives access to.

    Attributes:
        active_from, active_to: of the version.
        phase_start: usage is measured from there, also by versions that begin later.
        billing_anchor: usage periods are counted from there.
        cadence: of usage periods where the template names none.
        conversion: of measured usage.
    """

    feature_key: str
    template: EntitlementTemplate
    active_from: datetime
    active_to: datetime | None
    phase_start: datetime
    billing_anchor: datetime
    cadence: Duration | None = None
    conversion: UnitConversion | None = None


@dataclass(frozen=True, slots=True)
class _Wanted:
    item: ItemEntitlement
    new: NewEntitlement
    when: Schedule

    def identity(self) -> tuple[Any, ...]:
        """Return what makes a stored entitlement the same."""
        return (self.item.feature_key, self.item.active_from, service.columns(self.new, self.when))


async def align(
    session: WriteSession, namespace: str, customer_id: str, subscription_id: str, items: Sequence[ItemEntitlement]
) -> None:
    """Give a customer what the items of a subscription say, and nothing else that the subscription gave before.

    The caller holds the customer's lock.

    Raises:
        NotFound: a feature is not live.
        InvalidInput: a feature has no meter for a metered template, or a usage period is out of range.
        Conflict: the customer has an entitlement to a feature that does not come from this subscription.
    """
    stored = list(await repository.of_subscription(session, namespace, subscription_id))
    if not items and not stored:
        return
    wanted = [_wanted(item, subscription_id) for item in items]
    kept: list[tuple[EntitlementRow, _Wanted]] = []
    new: list[_Wanted] = []
    for one in wanted:
        row = next((row for row in stored if _identity(row) == one.identity()), None)
        if row is None:
            new.append(one)
        else:
            stored.remove(row)
            kept.append((row, one))
    customer = await customers.get(session, namespace, customer_id)
    # In this order no two of them ever overlap on the way.
    await _delete(session, stored)
    await _move_ends(session, customer, kept)
    for one in new:
        feature = await features.resolve(session, namespace, key=one.item.feature_key)
        await service.schedule(session, customer, feature, one.new, one.when)


def _identity(row: EntitlementRow) -> tuple[Any, ...]:
    columns = (
        *("type", "labels", "usage_period_interval", "usage_period_anchor", "measure_usage_from", "issue_after_reset"),
        *("issue_after_reset_priority", "is_soft_limit", "preserve_overage_at_reset", "config", "unit_config"),
    )
    return (row.feature_key, row.active_from, {name: getattr(row, name) for name in columns})


def _wanted(item: ItemEntitlement, subscription_id: str) -> _Wanted:
    template = item.template
    kind, measured_from = EntitlementType.BOOLEAN, None
    members: dict[str, Any] = {}
    if isinstance(template, StaticEntitlementTemplate):
        kind, members = EntitlementType.STATIC, {"config": template.config}
    elif isinstance(template, MeteredEntitlementTemplate):
        kind, measured_from = EntitlementType.METERED, item.phase_start
        interval = template.usage_period or item.cadence
        if interval is None:
            raise invalid(f"the entitlement to feature {item.feature_key} has no usage period", field="$.usagePeriod")
        members = {
            "usage_period": NewRecurrence(interval, item.billing_anchor),
            "is_soft_limit": template.is_soft_limit,
            "preserve_overage": template.preserve_overage_at_reset,
            "issue_after_reset": template.issue_after_reset,
            "issue_priority": template.issue_after_reset_priority,
        }
    new = NewEntitlement(kind, feature_key=item.feature_key, metadata=template.metadata or {}, **members)
    conversion = item.conversion if kind is EntitlementType.METERED else None
    when = Schedule(item.active_from, item.active_to, subscription_id, measured_from, conversion)
    return _Wanted(item, new, when)


async def _delete(session: WriteSession, rows: Sequence[EntitlementRow]) -> None:
    if not rows:
        return
    now = clock.now()
    for row in rows:
        row.deleted_at = now
    await session.flush()
    await repository.end_grants(session, [row.id for row in rows], now)


async def _move_ends(session: WriteSession, customer: Customer, kept: Sequence[tuple[EntitlementRow, _Wanted]]) -> None:
    """Move ends, the earlier ones first: what is cut makes room for what grows."""
    moved = [(row, one.item.active_to) for row, one in kept if row.active_to != one.item.active_to]
    for grows in (False, True):
        for row, end in moved:
            if _grows(row.active_to, end) is not grows:
                continue
            if grows:
                await service.refuse_overlap(session, customer, row.feature_key, row.active_from, end, but=row.id)
            row.active_to = end
            await session.flush()


def _grows(before: datetime | None, after: datetime | None) -> bool:
    return before is not None and (after is None or after > before)
