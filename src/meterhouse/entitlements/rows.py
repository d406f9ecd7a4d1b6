"""Rows as values."""

from collections.abc import Sequence

from meterhouse.catalog.prices import UnitConversion
from meterhouse.entitlements import repository
from meterhouse.entitlements.entitlement import Entitlement, EntitlementType, Grant, Metered
from meterhouse.entitlements.expiration import Expiration, ExpirationUnit
from meterhouse.entitlements.models import EntitlementRow, GrantRow, UsageResetRow
from meterhouse.entitlements.periods import Stretch, UsagePeriods
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.periods import Duration, Recurrence


async def entitlements(session: ReadSession, rows: Sequence[EntitlementRow]) -> list[Entitlement]:
    """Return rows with their manual resets, in the given order."""
    metered = [row.id for row in rows if row.type == EntitlementType.METERED]
    resets = await repository.resets(session, metered) if metered else {}
    return [entitlement(row, resets.get(row.id, ())) for row in rows]


def entitlement(row: EntitlementRow, resets: Sequence[UsageResetRow] = ()) -> Entitlement:
    """Return a row; `resets` are its manual ones in order of time."""
    usage_period = None
    if row.usage_period_interval is not None and row.usage_period_anchor is not None:
        usage_period = Recurrence(Duration.parse(row.usage_period_interval), row.usage_period_anchor)
    return Entitlement(
        id=row.id,
        namespace=row.namespace,
        type=EntitlementType(row.type),
        customer_id=row.customer_id,
        feature_id=row.feature_id,
        feature_key=row.feature_key,
        active_from=row.active_from,
        active_to=row.active_to,
        metadata=row.labels,
        annotations=row.annotations,
        subscription_id=row.subscription_id,
        usage_period=usage_period,
        metered=_metered(row, usage_period, resets),
        config=row.config,
        revision=row.revision,
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
    )


def _metered(row: EntitlementRow, usage_period: Recurrence | None, resets: Sequence[UsageResetRow]) -> Metered | None:
    if usage_period is None or row.measure_usage_from is None:
        return None
    later = [Stretch(reset.reset_at, Recurrence(usage_period.interval, reset.anchor)) for reset in resets]
    return Metered(
        periods=UsagePeriods((Stretch(row.measure_usage_from, usage_period), *later)),
        resets={reset.reset_at: reset.preserve_overage for reset in resets},
        is_soft_limit=bool(row.is_soft_limit),
        preserve_overage=bool(row.preserve_overage_at_reset),
        issue_after_reset=row.issue_after_reset,
        issue_priority=row.issue_after_reset_priority,
        conversion=None if row.unit_config is None else UnitConversion.model_validate(row.unit_config),
    )


def grant(row: GrantRow) -> Grant:
    """Return a row."""
    expiration = recurrence = None
    if row.expiration_count is not None and row.expiration_unit is not None:
        expiration = Expiration(row.expiration_count, ExpirationUnit(row.expiration_unit))
    if row.recurrence_interval is not None and row.recurrence_anchor is not None:
        recurrence = Recurrence(Duration.parse(row.recurrence_interval), row.recurrence_anchor)
    return Grant(
        id=row.id,
        namespace=row.namespace,
        entitlement_id=row.entitlement_id,
        amount=row.amount,
        priority=row.priority,
        effective_at=row.effective_at,
        expiration=expiration,
        expires_at=row.expires_at,
        rollover_min=row.rollover_min,
        rollover_max=row.rollover_max,
        recurrence=recurrence,
        voided_at=row.voided_at,
        metadata=row.labels,
        annotations=row.annotations,
        created_at=row.created_at,
        updated_at=row.updated_at,
        deleted_at=row.deleted_at,
    )
