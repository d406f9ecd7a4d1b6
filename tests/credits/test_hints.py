"""Grants that nothing may use are made, and what is odd about them is told."""

from meterhouse.catalog import features
from meterhouse.catalog.features import NewFeature
from meterhouse.credits.hints import hints
from meterhouse.customers import service as customers
from tests.credits.conftest import NS, Story


async def test_a_feature_that_was_archived_may_still_use_credit(story: Story) -> None:
    async with story.db.write() as session:
        for key in ("kept", "archived"):
            await features.create(session, NS, NewFeature(key, key.title()))
        await features.archive(session, NS, "archived", uses=())
    grant = await story.grant("5", features=("kept", "archived", "missing"))
    async with story.db.read() as session:
        assert await hints(session, NS, grant) == ["no feature has the key missing"]


async def test_credit_in_a_currency_that_the_customer_is_not_charged_in(story: Story) -> None:
    euros, dollars = await story.grant("5", currency="EUR"), await story.grant("5")
    async with story.db.write() as session:
        assert await hints(session, NS, euros) == []
        await customers.set_currency(session, NS, story.customer_id, "USD")
        assert await hints(session, NS, euros) == ["the customer is charged in USD, credit in EUR pays none of it"]
        assert await hints(session, NS, dollars) == []
