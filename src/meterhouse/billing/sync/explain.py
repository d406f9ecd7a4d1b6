"""Why a subscription gives nothing to invoice, as the customer of the API sees it (subscription-sync section 9.6)."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from meterhouse.billing.sync.models import SyncStateRow
from meterhouse.billing.sync.targets import has_billables, has_custom_currency
from meterhouse.catalog.prices import SettlementMode
from meterhouse.subscriptions.status import Status, status_of
from meterhouse.subscriptions.views import SubscriptionView


class Reason(StrEnum):
    """The reasons, as codes of the wire."""

    STARTS_IN_FUTURE = "starts_in_future"
    SYNC_PENDING = "sync_pending"
    SYNC_FAILED = "sync_failed"
    NO_BILLABLE_ITEMS = "no_billable_items"
    CREDIT_ONLY = "credit_only"
    CUSTOM_CURRENCY = "custom_currency"
    CUSTOMER_DELETED = "customer_deleted"


@dataclass(frozen=True, slots=True)
class SubscriptionReason:
    """One subscription that gives nothing to invoice.

    Attributes:
        at: when that changes by itself: the start, or the next sync; None when time changes nothing.
        error: what failed, for `sync_failed`.
    """

    id: str
    reason: Reason
    at: datetime | None = None
    error: str | None = None


def reason_of(
    view: SubscriptionView, state: SyncStateRow | None, customer_deleted_at: datetime | None, now: datetime
) -> SubscriptionReason | None:
    """Return the reason of one live subscription, the most basic first; None when it has charges to invoice."""
    failed = state is not None and state.last_error is not None
    pending = state is None or state.subscription_version != view.updated_at or _overdue(state, now)
    status = status_of(view, now)
    if status is Status.INACTIVE and not failed and not pending:
        return None
    if customer_deleted_at is not None:
        return SubscriptionReason(view.id, Reason.CUSTOMER_DELETED)
    if not has_billables(view):
        return SubscriptionReason(view.id, Reason.NO_BILLABLE_ITEMS)
    if has_custom_currency(view):
        return SubscriptionReason(view.id, Reason.CUSTOM_CURRENCY)
    if state is not None and failed:
        return SubscriptionReason(view.id, Reason.SYNC_FAILED, state.due_at, state.last_error)
    if status is Status.SCHEDULED:
        return SubscriptionReason(view.id, Reason.STARTS_IN_FUTURE, view.active_from)
    if pending:
        return SubscriptionReason(view.id, Reason.SYNC_PENDING, now)
    if view.settlement_mode is SettlementMode.CREDIT_ONLY:
        return SubscriptionReason(view.id, Reason.CREDIT_ONLY)
    return None


def _overdue(state: SyncStateRow, now: datetime) -> bool:
    return state.due_at is not None and state.due_at <= now
