"""What a sync leaves behind: when to sync next, and what went wrong (subscription-sync sections 5 and 9.2)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from meterhouse.billing.sync.models import SyncStateRow
from meterhouse.billing.sync.targets import Targets
from meterhouse.kernel import clock

# A failure is tried again soon, because most pass, and then less and less often, because the rest wait for a person.
FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ItemFailure:
    """An item that a sync had to skip: the identity of its charge, and why."""

    reference: str
    message: str


def new_state(namespace: str, subscription_id: str, customer_id: str, version: datetime) -> SyncStateRow:
    """Return the state of a subscription that was never tried."""
    return SyncStateRow(
        subscription_id=subscription_id,
        namespace=namespace,
        customer_id=customer_id,
        subscription_version=version,
        has_billables=False,
        attempts=0,
        item_errors=[],
        fingerprints={},
    )


def record_sync(
    state: SyncStateRow,
    version: datetime,
    wanted: Targets,
    failures: Sequence[ItemFailure],
    fixed: Collection[str | None],
) -> None:
    """Note a sync of the subscription's `version` that came through, single failed items aside.

    `fixed` are the identities of charges that keep their content, so they need no fingerprint.
    """
    now = clock.now()
    over = wanted.complete and wanted.limit is not None and wanted.limit <= now
    state.subscription_version = version
    state.synced_at = now
    state.has_billables = wanted.limit is not None
    state.next_sync_after = None if over else wanted.limit
    state.due_at = state.next_sync_after
    state.item_errors = [{"reference": failure.reference, "message": failure.message} for failure in failures]
    state.fingerprints = _fingerprints(state.fingerprints, wanted, failures, fixed)
    if not failures:
        _succeed(state)
        return
    _fail(state, "; ".join(f"{failure.reference}: {failure.message}" for failure in failures))
    retry = now + _wait(state.attempts)
    state.due_at = min(retry, state.next_sync_after or retry)


def record_failure(state: SyncStateRow, version: datetime, message: str) -> None:
    """Note a sync that failed as a whole."""
    state.subscription_version = version
    _fail(state, message)
    state.due_at = clock.now() + _wait(state.attempts)


def record_pointless(state: SyncStateRow, version: datetime) -> None:
    """Note that the subscription cannot be synced as it is; only a change of it makes it due again."""
    state.subscription_version = version
    state.has_billables, state.next_sync_after, state.due_at = False, None, None
    _succeed(state)


def _succeed(state: SyncStateRow) -> None:
    state.attempts, state.last_error, state.error_at = 0, None, None


def _fail(state: SyncStateRow, message: str) -> None:
    state.attempts += 1
    state.last_error, state.error_at = message, clock.now()


def _wait(attempts: int) -> timedelta:
    wait = FIRST_RETRY
    for _ in range(1, attempts):
        if wait >= LONGEST_RETRY:
            break
        wait *= 2
    return min(wait, LONGEST_RETRY)


def _fingerprints(
    old: dict[str, str], wanted: Targets, failures: Sequence[ItemFailure], fixed: Collection[str | None]
) -> dict[str, str]:
    failed = {failure.reference for failure in failures}
    kept = {reference: mark for reference, mark in old.items() if reference in failed}
    synced = {
        intent.unique_reference_id: intent.content_digest()
        for intent in wanted.intents
        if intent.unique_reference_id is not None
        and intent.unique_reference_id not in fixed
        and intent.unique_reference_id not in failed
    }
    return kept | synced
