"""What subscriptions say before their customer changes or goes (customers sections 3, 4 and 6)."""

from meterhouse.customers.customer import Customer
from meterhouse.customers.guards import Guards
from meterhouse.kernel import clock
from meterhouse.kernel.db import ReadSession, WriteSession
from meterhouse.kernel.errors import Conflict, InvalidInput, Issue, invalid
from meterhouse.subscriptions import repository
from meterhouse.subscriptions.status import Status, status_of
from meterhouse.subscriptions.views import SubscriptionView


async def _not_ended(session: ReadSession, customer: Customer) -> list[SubscriptionView]:
    rows = await repository.not_ended(session, customer.namespace, customer.id, clock.now())
    return await repository.views(session, rows)


def _has_started(view: SubscriptionView) -> bool:
    return status_of(view, clock.now()) is not Status.SCHEDULED


def _ids(views: list[SubscriptionView]) -> str:
    return ", ".join(view.id for view in views)


def _is_paid(view: SubscriptionView) -> bool:
    return any(item.rate_card.is_billable() for phase in view.phases for item in phase.items)


async def refuse_deletion(session: WriteSession, customer: Customer) -> None:
    """Keep a customer while a subscription runs or is about to.

    Raises:
        InvalidInput: one runs, canceled or not.
        Conflict: one is scheduled.
    """
    views = await _not_ended(session, customer)
    running = [view for view in views if _has_started(view)]
    if running:
        raise InvalidInput(f"customer has active subscriptions: {_ids(running)}", issues=_issues("active", running))
    if views:
        message = f"customer has scheduled subscriptions, delete them first: {_ids(views)}"
        raise Conflict(message, issues=_issues("scheduled", views))


def _issues(state: str, views: list[SubscriptionView]) -> list[Issue]:
    return [
        Issue(
            f"deleting_customer_with_{state}_subscriptions",
            f"subscription {view.id} is {state}",
            attributes={"subscriptions": [view.id]},
        )
        for view in views
    ]


async def refuse_change(session: WriteSession, before: Customer, after: Customer) -> None:
    """Keep what a subscription is metered and invoiced by.

    Raises:
        InvalidInput: a subject key more or less that usage is counted by, the customer's own key included, while a
            subscription runs.
        Conflict: another currency than that of a subscription with prices that has not ended.
    """
    lost = set(before.usage_subjects()) - set(after.usage_subjects())
    gained = set(after.subject_keys) - set(before.usage_subjects())
    other_currency = before.currency != after.currency
    if not (lost or gained or other_currency):
        return
    views = await _not_ended(session, before)
    if (lost or gained) and any(_has_started(view) for view in views):
        if lost == {before.key} and not gained:
            message = "cannot change the key of customer with active subscriptions: usage is counted by it"
            raise invalid(f"{message}, so keep it among the subject keys", field="$.key")
        message = "cannot change subject keys for customer with active subscriptions"
        raise invalid(message, field="$.usage_attribution.subject_keys")
    bound = [view for view in views if _is_paid(view) and view.currency != after.currency]
    if other_currency and bound:
        raise Conflict(f"the currency is that of paid subscriptions: {_ids(bound)}")


GUARDS = Guards(deletion=(refuse_deletion,), change=(refuse_change,))
