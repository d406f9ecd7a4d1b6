"""Use cases of grants: issuing, adding, voiding and listing them (entitlements section 6)."""

from collections.abc import Sequence
from datetime import datetime

from meterhouse.entitlements import checks, repository, rows
from meterhouse.entitlements.entitlement import Entitlement, EntitlementType, Grant, NewGrant
from meterhouse.entitlements.minutes import floored
from meterhouse.entitlements.models import EntitlementRow, GrantRow
from meterhouse.entitlements.repository import EntitlementFilter, Stretch
from meterhouse.kernel import clock
from meterhouse.kernel.conditions import Sort
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import InvalidInput, NotFound, invalid

__all__ = ["create", "issue", "list_grants", "list_of", "void"]

# Of the grant that comes with each reset, where none is given: behind grants that are added without a priority.
DEFAULT_ISSUE_PRIORITY = 1
ISSUED = "issueAfterReset"


async def issue(session: WriteSession, entitlement: Entitlement, further: Sequence[NewGrant], *, at: datetime) -> None:
    """Make the grants that a metered entitlement begins with; the one of each reset from the usage period at `at`."""
    metered = entitlement.metered
    if metered is None:
        return
    if metered.issue_after_reset:
        begins = metered.periods.current(at).start
        amount = metered.issue_after_reset
        session.add(
            GrantRow(
                namespace=entitlement.namespace,
                entitlement_id=entitlement.id,
                amount=amount,
                priority=DEFAULT_ISSUE_PRIORITY if metered.issue_priority is None else metered.issue_priority,
                effective_at=begins,
                rollover_min=amount,
                rollover_max=amount,
                labels={},
                annotations={ISSUED: True},
            )
        )
    for index, new in enumerate(further):
        session.add(_checked(entitlement, new, f"$.grants[{index}]"))
    await session.flush()


def _checked(entitlement: Entitlement, new: NewGrant, field: str) -> GrantRow:
    checks.check_grant(new, field)
    effective = floored(new.effective_at)
    _require_current(entitlement, effective, f"{field}.effectiveAt")
    recurrence = None
    if new.recurrence is not None:
        recurrence = checks.recurrence(new.recurrence, effective, f"{field}.recurrence", shortest=checks.MINUTE)
    expiration = new.expiration
    return GrantRow(
        namespace=entitlement.namespace,
        entitlement_id=entitlement.id,
        amount=new.amount,
        priority=new.priority,
        effective_at=effective,
        expiration_count=expiration and expiration.count,
        expiration_unit=expiration and str(expiration.unit),
        expires_at=expiration and expiration.after(effective),
        rollover_min=new.rollover_min,
        rollover_max=new.amount if new.rollover_max is None else new.rollover_max,
        recurrence_interval=recurrence and str(recurrence.interval),
        recurrence_anchor=recurrence and recurrence.anchor,
        labels=dict(new.metadata),
        annotations=dict(new.annotations),
    )


def _require_current(entitlement: Entitlement, at: datetime, field: str) -> None:
    """Refuse what would change usage periods that are over."""
    period = entitlement.current_usage_period(clock.now())
    if period is not None and at < period.start:
        message = f"{at.isoformat()} lies before the current usage period, which began at {period.start.isoformat()}"
        raise invalid(message, field=field)


async def create(session: WriteSession, namespace: str, entitlement_id: str, new: NewGrant) -> Grant:
    """Add a grant to an entitlement, whether or not it holds now.

    Raises:
        NotFound: no such entitlement.
        InvalidInput: it is not metered, the amount is not positive, or the grant begins in a usage period that is over.
        Forbidden: a subscription manages the entitlement.
    """
    entitlement, owner = await _held(session, namespace, entitlement_id)
    if entitlement.type is not EntitlementType.METERED:
        raise InvalidInput("grants are only supported for metered entitlements")
    entitlement.require_unmanaged()
    row = _checked(entitlement, new, "$")
    session.add(row)
    await changed(session, owner, row.effective_at)
    return rows.grant(row)


async def _held(session: WriteSession, namespace: str, entitlement_id: str) -> tuple[Entitlement, EntitlementRow]:
    owner = await repository.find(session, namespace, entitlement_id, for_update=True)
    if owner is None:
        raise NotFound(f"entitlement not found: {entitlement_id}")
    return (await rows.entitlements(session, [owner]))[0], owner


async def changed(session: WriteSession, owner: EntitlementRow, since: datetime) -> None:
    """Note that what a locked entitlement came to after `since` has changed."""
    owner.revision += 1
    await session.flush()
    await repository.drop_snapshots(session, owner.id, since)


async def void(session: WriteSession, namespace: str, grant_id: str, at: datetime | None = None) -> None:
    """End a grant at an instant of the current usage period, now unless it is given. What it has covered stays covered.

    Raises:
        NotFound: no such grant.
        InvalidInput: it is voided already, or the instant lies in the future or before the current usage period.
        Forbidden: a subscription manages the entitlement.
    """
    found = await repository.find_grant(session, namespace, grant_id)
    if found is None:
        raise _not_found(grant_id)
    entitlement, owner = await _held(session, namespace, found.entitlement_id)
    row = await repository.find_grant(session, namespace, grant_id)
    if row is None:
        raise _not_found(grant_id)
    entitlement.require_unmanaged()
    if row.voided_at is not None:
        raise InvalidInput(f"grant was voided at {row.voided_at.isoformat()} already")
    now = clock.now()
    ends = floored(now if at is None else at)
    if ends > now:
        raise invalid("a grant cannot be voided in the future", field="at")
    _require_current(entitlement, ends, "at")
    row.voided_at = ends
    await changed(session, owner, ends)


def _not_found(grant_id: str) -> NotFound:
    return NotFound(f"grant not found: {grant_id}")


async def list_grants(
    session: ReadSession, namespace: str, owners: EntitlementFilter, sorts: Sequence[Sort], stretch: Stretch
) -> tuple[list[Grant], int]:
    """Return a stretch of the grants that are not deleted, of entitlements that are not, and how many match."""
    found, total = await repository.listed_grants(session, namespace, owners, sorts, stretch)
    return [rows.grant(row) for row in found], total


async def list_of(
    session: ReadSession, namespace: str, entitlement_id: str, sorts: Sequence[Sort], stretch: Stretch
) -> tuple[list[Grant], int]:
    """Return a stretch of the grants of one entitlement, and how many it has."""
    return await list_grants(session, namespace, EntitlementFilter(ids=[entitlement_id]), sorts, stretch)
