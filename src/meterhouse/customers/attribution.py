"""Which customer an event subject belongs to (customers section 1)."""

from collections.abc import Collection

from meterhouse.customers import repository, service
from meterhouse.customers.customer import Customer
from meterhouse.kernel.db import ReadSession
from meterhouse.kernel.errors import InvalidInput, NotFound


async def resolve(session: ReadSession, namespace: str, subjects: Collection[str]) -> dict[str, Customer | None]:
    """Return, for each subject, the live customer whose key or subject key it is, or None.

    A live string belongs to one customer at most, so there is nothing to choose between.

    Raises:
        InvalidInput: no subject is given, or an empty one.
    """
    if not subjects or any(not subject for subject in subjects):
        raise InvalidInput("at least one subject is required, and none may be empty")
    held = {row.subject: row.customer_id for row in await repository.attributions(session, namespace, subjects)}
    customers = await service.find_many(session, namespace, set(held.values()))
    return {subject: customers[held[subject]] if subject in held else None for subject in subjects}


async def holders_of_subject_keys(session: ReadSession, namespace: str, subjects: Collection[str]) -> list[str]:
    """Return the ids of the live customers that have one of these subject keys; keys of customers do not count."""
    held = await repository.attributions(session, namespace, subjects)
    return sorted({row.customer_id for row in held if row.is_subject_key})


async def resolve_one(session: ReadSession, namespace: str, subject: str) -> Customer:
    """Return the live customer that a subject belongs to.

    Raises:
        NotFound: the subject belongs to nobody.
    """
    customer = (await resolve(session, namespace, [subject]))[subject]
    if customer is None:
        raise NotFound(f"no customer has the key or subject key: {subject}")
    return customer
