"""Manual resets: they cut the current usage period short (entitlements section 11)."""

from datetime import datetime

from meterhouse.entitlements import grants, repository, rows
from meterhouse.entitlements.minutes import MINUTE, floored
from meterhouse.entitlements.models import UsageResetRow
from meterhouse.kernel import clock
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import InvalidInput, NotFound, invalid

_FIELD = "$.effectiveAt"


async def reset(
    session: WriteSession,
    namespace: str,
    entitlement_id: str,
    *,
    at: datetime | None = None,
    retain_anchor: bool = False,
    preserve_overage: bool | None = None,
) -> None:
    """Begin a new usage period, now unless another instant of the current one is given.

    Args:
        retain_anchor: go on counting periods from where they were counted; otherwise from here.
        preserve_overage: whether overage is carried over; None: as at automatic resets.

    Raises:
        NotFound: no such entitlement.
        InvalidInput: it is not metered, or the instant lies in the future, before the current usage period, or in the
            minute of the last manual reset.
        Forbidden: a subscription manages the entitlement.
    """
    row = await repository.find(session, namespace, entitlement_id, for_update=True)
    if row is None:
        raise NotFound(f"entitlement not found: {entitlement_id}")
    (entitlement,) = await rows.entitlements(session, [row])
    metered = entitlement.metered
    if metered is None:
        raise InvalidInput("only metered entitlements can be reset")
    entitlement.require_unmanaged()
    now = clock.now()
    if at is not None and at > now:
        raise invalid("a reset cannot lie in the future", field=_FIELD)
    begins = floored(now if at is None else at)
    if begins == metered.periods.last_manual_reset:
        raise invalid("usage was reset, or began to be measured, in the same minute", field=_FIELD)
    # That no other reset lies in between follows: each begins a usage period.
    current = metered.periods.current(now)
    if begins < current.start:
        message = f"a reset cannot lie before the current usage period, which began at {current.start.isoformat()}"
        raise invalid(message, field=_FIELD)
    anchor = metered.periods.stretch_at(begins).recurrence.anchor if retain_anchor else begins
    session.add(
        UsageResetRow(
            namespace=namespace,
            entitlement_id=row.id,
            reset_at=begins,
            anchor=anchor,
            preserve_overage=metered.preserve_overage if preserve_overage is None else preserve_overage,
            created_at=now,
        )
    )
    # A snapshot of that very instant was taken without the reset.
    await grants.changed(session, row, begins - MINUTE)
