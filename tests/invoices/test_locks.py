"""Transactions that meet wait for each other in one order, never in a circle."""

import asyncio
from decimal import Decimal

from meterhouse.billing.invoices.numbers import NumberScope, draw_number
from meterhouse.credits import grants, invoiced
from meterhouse.credits.grants import FundingMethod, NewGrant
from meterhouse.customers import service as customers
from meterhouse.customers.customer import NewCustomer
from meterhouse.kernel import clock
from meterhouse.ledger import accounts
from tests.invoices.conftest import NS, World, at


async def test_an_invoice_that_is_numbered_and_booked_meets_a_grant(world: World) -> None:
    customer = world.customer.id
    grant = NewGrant(customer, "Credit", FundingMethod.NONE, "USD", Decimal(5))
    async with world.db.write() as session:
        await accounts.provision(session, NS, customer)

    async def give() -> None:
        async with world.db.write() as session:
            await grants.create(session, NS, grant)

    async with world.db.write() as session:
        await draw_number(session, NS, NumberScope.SANDBOX, customer_id=customer, customer_name="Acme", currency="USD")
        giving = asyncio.create_task(give())
        await asyncio.sleep(0.3)  # until it waits
        await invoiced.accrue(
            session,
            namespace=NS,
            customer_id=customer,
            charge_id="charge",
            run_id="run",
            currency="USD",
            amount=Decimal(7),
            booked_at=clock.now(),
        )
    await giving


async def test_the_first_two_customers_of_a_namespace_get_their_lines(world: World) -> None:
    async with world.db.write() as session:
        other = await customers.create(session, NS, NewCustomer(name="Other", key="other"))
        await world.profiles.merged(session, NS, other.id)
        pending = asyncio.create_task(world.flat("fee", "5.00", at("02-01T00:00")))
        await asyncio.sleep(0.3)  # until it waits
        await draw_number(
            session, NS, NumberScope.GATHERING, customer_id=other.id, customer_name="Other", currency="USD"
        )
    assert await pending
