"""Why nothing can be invoiced, subscription by subscription (subscription-sync section 9.6)."""

from sqlalchemy import update

from meterhouse.billing.sync.explain import Reason, SubscriptionReason
from meterhouse.catalog.models import FeatureRow
from meterhouse.customers.models import CustomerRow
from meterhouse.subscriptions.models import SubscriptionItemRow
from tests.sync.builders import FEE, TOKENS, at, card, flat
from tests.sync.conftest import NS, World


async def told(world: World) -> list[SubscriptionReason]:
    async with world.db.read() as session:
        return await world.sync.explain(session, NS, world.customer_id)


async def test_a_synced_subscription_has_nothing_to_tell(world: World) -> None:
    view = await world.subscribe(FEE)
    await world.synced(view.id)
    assert await told(world) == []


async def test_not_synced_yet(world: World) -> None:
    view = await world.subscribe(FEE)
    assert await told(world) == [SubscriptionReason(view.id, Reason.SYNC_PENDING, at("1-15"))]


async def test_overdue(world: World) -> None:
    view = await world.subscribe(FEE)
    await world.synced(view.id)
    world.time.at = at("2-16")
    assert await told(world) == [SubscriptionReason(view.id, Reason.SYNC_PENDING, at("2-16"))]


async def test_starts_in_the_future(world: World) -> None:
    view = await world.subscribe(TOKENS, start=at("2-01"))
    await world.synced(view.id)
    assert await told(world) == [SubscriptionReason(view.id, Reason.STARTS_IN_FUTURE, at("2-01"))]


async def test_nothing_has_a_price(world: World) -> None:
    view = await world.subscribe(card("access", None))
    await world.synced(view.id)
    assert await told(world) == [SubscriptionReason(view.id, Reason.NO_BILLABLE_ITEMS)]


async def test_credits_alone(world: World) -> None:
    view = await world.subscribe(FEE, credit_only=True)
    assert (await world.synced(view.id)).failures == ()
    assert await told(world) == [SubscriptionReason(view.id, Reason.CREDIT_ONLY)]


async def test_a_failed_item(world: World) -> None:
    view = await world.subscribe(TOKENS)
    async with world.db.write() as session:
        await session.execute(update(FeatureRow).values(key="other"))
    await world.synced(view.id)
    (reason,) = await told(world)
    assert (reason.id, reason.reason, reason.at) == (view.id, Reason.SYNC_FAILED, at("1-15T00:01"))
    assert reason.error == f"{view.id}/main/tokens/v[0]/period[0]: feature not found: tokens"


async def test_a_custom_currency(world: World) -> None:
    view = await world.subscribe(FEE)
    async with world.db.write() as session:
        odd = card("fee", flat("70"), currency="GEMS").model_dump(mode="json")
        await session.execute(update(SubscriptionItemRow).values(rate_card=odd))
    await world.sync.sync_quietly(world.db, NS, view.id)
    assert await told(world) == [SubscriptionReason(view.id, Reason.CUSTOM_CURRENCY)]


async def test_a_deleted_customer(world: World) -> None:
    view = await world.subscribe(FEE)
    async with world.db.write() as session:
        await session.execute(update(CustomerRow).values(deleted_at=at("1-15")))
    await world.synced(view.id)
    assert await told(world) == [SubscriptionReason(view.id, Reason.CUSTOMER_DELETED)]
    state = await world.state(view.id)
    assert (state.has_billables, state.next_sync_after) == (False, None)


async def test_an_ended_subscription_is_not_mentioned(world: World) -> None:
    view = await world.subscribe(card("access", None))
    world.time.at = at("1-20")
    await world.cancel(view.id)
    await world.synced(view.id)
    assert await told(world) == []
