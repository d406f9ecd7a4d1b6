"""What is odd about a grant that nothing forbids: credit that no charge will take (subscription-sync section 9.5)."""

from meterhouse.catalog import features
from meterhouse.credits.grants import Grant
from meterhouse.customers import service as customers
from meterhouse.kernel.db import ReadSession


async def hints(session: ReadSession, namespace: str, grant: Grant) -> list[str]:
    """Return a sentence for each reason why the grant may stay untouched, none when it looks usable."""
    customer = await customers.get(session, namespace, grant.customer_id)
    found = []
    if customer.currency not in (None, grant.currency):
        found.append(f"the customer is charged in {customer.currency}, credit in {grant.currency} pays none of it")
    known = await features.for_billing(session, namespace, set(grant.features))
    found += [f"no feature has the key {key}" for key in grant.features if key not in known]
    return found
