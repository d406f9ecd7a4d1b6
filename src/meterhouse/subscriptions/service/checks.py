"""What a schedule must meet when it is sold or changed, beside the rules of the schedule itself."""

from collections.abc import Collection

from meterhouse.catalog import features
from meterhouse.catalog.features import Feature
from meterhouse.customers import service as customers
from meterhouse.customers.customer import Customer
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import invalid
from meterhouse.subscriptions import validation
from meterhouse.subscriptions.spec import SubscriptionSpec


async def check(session: WriteSession, namespace: str, spec: SubscriptionSpec) -> None:
    """Check the rules of the schedule, and that the features of its items are there.

    Raises:
        InvalidSchedule: it breaks rules.
    """
    validation.block(validation.schedule_issues(spec))
    validation.block(validation.alignment_issues(spec))
    cards = [item.rate_card for phase in spec.phases for items in phase.items.values() for item in items]
    live = await live_features(session, namespace, {card.feature_key for card in cards if card.feature_key is not None})
    validation.block(validation.feature_issues(spec, live))


async def live_features(session: WriteSession, namespace: str, keys: Collection[str]) -> dict[str, Feature]:
    """Return the live features of these keys, by key; none of them can be archived before the commit."""
    found = await features.named(session, namespace, keys=keys)
    # Held, so that a feature cannot be archived between this look and the commit.
    held = await features.held(session, namespace, [feature.id for feature in found])
    return {feature.key: feature for feature in held if feature.archived_at is None}


def check_currency(customer: Customer, spec: SubscriptionSpec, field: str) -> None:
    """Check that the customer can be invoiced for the schedule; `field` is where the request asks for it.

    Raises:
        InvalidInput: it has prices in another currency than the customer's.
    """
    if customer.currency not in (None, spec.currency) and spec.has_priced_items():
        message = f"customer is invoiced in {customer.currency}, the subscription is priced in {spec.currency}"
        raise invalid(f"currencies must match: {message}", field=field)


async def settle_currency(session: WriteSession, customer: Customer, spec: SubscriptionSpec) -> None:
    """Let the first schedule with a price decide the customer's currency."""
    if customer.currency is None and spec.has_priced_items():
        await customers.set_currency(session, customer.namespace, customer.id, spec.currency)
