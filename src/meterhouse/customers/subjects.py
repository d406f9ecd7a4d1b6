"""Subjects that follow from customers: every subject key of a customer has a subject (customers section 10)."""

from collections.abc import Sequence

from meterhouse.customers import repository
from meterhouse.kernel.db import WriteSession
from meterhouse.kernel.errors import InvalidInput


async def provision(session: WriteSession, namespace: str, customer_id: str, keys: Sequence[str]) -> None:
    """Make the subjects that are missing for a customer's subject keys.

    Raises:
        InvalidInput: a key is the id of a subject, which would make that subject unreachable by id or key.
    """
    if not keys:
        return
    if taken := await repository.subject_ids_among(session, namespace, keys):
        raise InvalidInput(f"use subject key instead of id: {', '.join(taken)}")
    made_by = {"createdBy": "subject.provisioner", "customerId": customer_id}
    await repository.add_subjects(session, namespace, keys, made_by)
